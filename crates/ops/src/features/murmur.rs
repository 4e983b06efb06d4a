//! MurmurHash3, 32 bits: a hash that is the same on every machine and in every version.

/// The hash of these bytes with seed 0 (Austin Appleby, MurmurHash3_x86_32, public domain).
pub(super) fn hash(bytes: &[u8]) -> u32 {
    let scramble = |block: u32| {
        block
            .wrapping_mul(0xcc9e_2d51)
            .rotate_left(15)
            .wrapping_mul(0x1b87_3593)
    };
    let (blocks, rest) = bytes.as_chunks::<4>();
    let mut hash = 0_u32;
    for block in blocks {
        hash = (hash ^ scramble(u32::from_le_bytes(*block)))
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64);
    }
    let last = rest
        .iter()
        .rev()
        .fold(0_u32, |last, byte| last << 8 | u32::from(*byte));
    hash ^= scramble(last);
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_reference_hash() {
        // `sklearn.utils.murmurhash3_32(text, seed=0, positive=True)`, scikit-learn 1.9.
        let known = [
            ("", 0),
            ("a", 0x3c25_69b2),
            ("ab", 0x9bbf_d75f),
            ("abc", 0xb3dd_93fa),
            ("hello", 0x248b_fa47),
            ("gute Straße", 0x5165_b872),
        ];
        for (text, expected) in known {
            assert_eq!(hash(text.as_bytes()), expected, "{text}");
        }
    }
}
