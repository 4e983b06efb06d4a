//! Counts in messages: `1 row`, `1,200 rows`.

/// 12345678 as `12,345,678`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many of what the noun names: `1 row`, `2 rows`, `1,200 categories`.
pub fn counted<N: TryInto<u64>>(number: N, noun: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{} {}", thousands(number), plural(noun)),
    }
}

/// Of regular nouns; of several words the last is the noun.
fn plural(noun: &str) -> String {
    let is_vowel = |letter: char| "aeiou".contains(letter);
    if let Some(stem) = noun
        .strip_suffix('y')
        .filter(|stem| !stem.ends_with(is_vowel))
    {
        return format!("{stem}ies");
    }
    match ["s", "x", "ch", "sh"].iter().any(|end| noun.ends_with(end)) {
        true => format!("{noun}es"),
        false => format!("{noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_many() {
        assert_eq!(counted(1_usize, "row"), "1 row");
        assert_eq!(counted(0_u64, "row"), "0 rows");
        assert_eq!(counted(1200_u32, "training row"), "1,200 training rows");
        assert_eq!(counted(2, "category"), "2 categories");
        assert_eq!(counted(2, "class"), "2 classes");
        assert_eq!(counted(2, "day"), "2 days");
        assert_eq!(thousands(1_000_000), "1,000,000");
        assert_eq!(thousands(999), "999");
    }
}
