//! Reads IDX files, the format of the MNIST digits.

use std::{error::Error, fs::File, io::Read};

use flate2::read::MultiGzDecoder;

/// The sides and the bytes of a gzipped IDX file of bytes.
pub(crate) fn read(path: &str) -> Result<(Vec<usize>, Vec<u8>), Box<dyn Error>> {
    let mut bytes = Vec::new();
    MultiGzDecoder::new(File::open(path)?).read_to_end(&mut bytes)?;
    let dimensions = usize::from(*bytes.get(3).ok_or("too short")?);
    let start = 4 + 4 * dimensions;
    let sides = bytes
        .get(4..start)
        .ok_or("too short")?
        .as_chunks::<4>()
        .0
        .iter()
        .map(|side| u32::from_be_bytes(*side) as usize)
        .collect();
    Ok((sides, bytes.split_off(start)))
}
