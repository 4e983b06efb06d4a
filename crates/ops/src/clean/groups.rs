//! Rows that belong together.

use polars::prelude::{Column as PolarsColumn, DataFrame, GroupsIndicator, IdxSize, PolarsResult};
use taktline_core::{CheckContext, ParamPath, Problem};

/// The rows of each group, the groups in order of first appearance; null is a value like any other. Without keys all rows
/// are one group.
pub(super) fn rows_of(keys: &[PolarsColumn], height: usize) -> PolarsResult<Vec<Vec<IdxSize>>> {
    if height == 0 {
        return Ok(Vec::new());
    }
    if keys.is_empty() {
        return Ok(vec![(0..height as IdxSize).collect()]);
    }
    let keys: Vec<PolarsColumn> = keys
        .iter()
        .enumerate()
        .map(|(place, key)| key.clone().with_name(place.to_string().into()))
        .collect();
    let frame = DataFrame::new(height, keys.clone())?;
    let groups = frame.group_by_with_series(keys, true, true)?.into_groups();
    Ok(groups
        .iter()
        .map(|group| match group {
            GroupsIndicator::Idx((_, rows)) => rows.iter().copied().collect(),
            GroupsIndicator::Slice([first, length]) => (first..first + length).collect(),
        })
        .collect())
}

/// Reports a param that means nothing beside the others.
pub(super) fn report_unused(key: &str, label: &str, cx: &mut CheckContext<'_>) {
    let message = format!("stage `{}` has no use for `{key}` here", cx.stage);
    cx.report(
        Problem::error("unused-param", ParamPath::kind().join(key), message)
            .label(label)
            .help("leave it out"),
    );
}

#[cfg(test)]
mod tests {
    use polars::df;

    use super::*;

    #[test]
    fn groups_come_in_order_of_first_appearance() {
        let data = df!("a" => [Some("x"), None, Some("x"), Some("ä")], "b" => [1_i64, 1, 1, 1])
            .expect("a frame");
        assert_eq!(
            rows_of(data.columns(), 4).expect("groups"),
            [vec![0, 2], vec![1], vec![3]]
        );
        assert_eq!(rows_of(&[], 2).expect("groups"), [vec![0, 1]]);
        assert!(rows_of(&[], 0).expect("groups").is_empty());
        let empty = data.slice(0, 0);
        assert!(rows_of(empty.columns(), 0).expect("groups").is_empty());
    }
}
