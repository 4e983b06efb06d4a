//! "did you mean": the nearest known name to one that does not exist.

/// The candidate nearest to `name`, if any is near enough to be worth suggesting.
///
/// Nearness is the Jaro–Winkler similarity on lower-cased names (at least 0.8), or a dotted name's last word matching.
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    let last_word = |dotted: &str| dotted.rsplit('.').next().unwrap_or(dotted).to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let mut similarity = strsim::jaro_winkler(&wanted, &candidate.to_lowercase());
            if candidate.contains('.') && last_word(candidate) == last_word(name) {
                similarity = similarity.max(0.9);
            }
            (candidate, similarity)
        })
        .filter(|(_, similarity)| *similarity >= 0.8)
        .max_by(|left, right| left.1.total_cmp(&right.1))
        .map(|(candidate, _)| candidate)
}

/// The help line for an unknown name: the nearest candidate, or the list of candidates when it is short.
pub fn did_you_mean<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    if let Some(candidate) = closest(name, candidates.iter().copied()) {
        return Some(format!("did you mean `{candidate}`?"));
    }
    match candidates.len() {
        0 => None,
        1..=12 => Some(format!("known: {}", quoted(&candidates))),
        _ => Some(format!("known: {}, …", quoted(&candidates[..12]))),
    }
}

fn quoted(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_near_name_and_nothing_far() {
        assert_eq!(closest("amout", ["amount", "account"]), Some("amount"));
        assert_eq!(
            closest("drop_null", ["clean.drop_nulls", "clean.drop_duplicates"]),
            None
        );
        assert_eq!(
            closest("features.drop_nulls", ["clean.drop_nulls", "split.time"]),
            Some("clean.drop_nulls")
        );
        assert_eq!(closest("zzz", ["amount"]), None);
    }
}
