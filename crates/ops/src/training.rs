//! What stages share that look at the target and at the parts of a split.

use taktline_core::{CheckContext, Column, ParamPath, Partition, Problem, Role, Schema, path};

use crate::columns;

/// The target: the column that is named, or the only one with the role `target`; with the param that the spec names it by.
///
/// An unknown name, and a schema without just one target, are reported.
pub(crate) fn target<'s>(
    named: Option<&str>,
    schema: &'s Schema,
    cx: &mut CheckContext<'_>,
) -> Option<(ParamPath, &'s Column)> {
    if let Some(name) = named {
        let column = columns::find(schema, name, path!["target"], cx)?;
        return Some((path!["target"], column));
    }
    let target = schema.target();
    if target.is_none() && !schema.incomplete {
        let found = columns::declared_with(schema, Role::Target, "target");
        cx.report(
            Problem::error(
                "no-target",
                ParamPath::kind(),
                format!("stage `{}` does not know the target: {found}", cx.stage),
            )
            .help("say `target: NAME`, or declare one column under `columns:` as `{role: target}`"),
        );
    }
    Some((ParamPath::kind(), target?))
}

/// The name of the target of a checked stage; none where scoring brings no such column.
pub(crate) fn target_name(named: Option<&str>, schema: &Schema) -> Option<String> {
    named
        .or_else(|| schema.target().map(|column| column.name.as_str()))
        .map(str::to_owned)
}

/// Reports a stage that has no split above it, so that nothing tells which rows are for training.
pub(crate) fn needs_split(schema: &Schema, why: &str, cx: &mut CheckContext<'_>) {
    if schema.facts.partitions.contains(&Partition::Train) || schema.incomplete {
        return;
    }
    cx.report(
        Problem::error(
            "no-split",
            ParamPath::kind(),
            format!(
                "stage `{}` needs to know which rows are for training, and nothing above splits them",
                cx.stage
            ),
        )
        .label(why)
        .help("put a `split.*` stage above it"),
    );
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use polars::prelude::DataType;

    use super::*;
    use crate::columns::testing::{in_check, schema, told};

    fn reported(look: impl FnOnce(&mut CheckContext<'_>)) -> Vec<(&'static str, String)> {
        told(in_check(Path::new("."), look).1)
    }

    #[test]
    fn the_target_is_named_or_declared() {
        let mut input = schema([("sold", DataType::Int64), ("bad", DataType::Boolean)]);
        assert_eq!(
            reported(|cx| assert!(target(None, &input, cx).is_none())),
            [(
                "no-target",
                "stage `this` does not know the target: no column has the role `target`".to_owned()
            )]
        );
        assert_eq!(
            reported(|cx| assert!(target(Some("bat"), &input, cx).is_none()))[0].0,
            "unknown-column"
        );
        input.columns[1].role = Role::Target;
        assert_eq!(target_name(None, &input).as_deref(), Some("bad"));
        assert_eq!(target_name(Some("sold"), &input).as_deref(), Some("sold"));
        let found = reported(|cx| {
            let (_, column) = target(None, &input, cx).expect("the target");
            assert_eq!(column.name, "bad");
        });
        assert!(found.is_empty(), "{found:?}");
        input.columns[0].role = Role::Target;
        assert!(
            reported(|cx| assert!(target(None, &input, cx).is_none()))[0]
                .1
                .ends_with("2 columns have the role `target`")
        );
    }

    #[test]
    fn a_split_must_be_above() {
        let mut input = schema([("a", DataType::Int64)]);
        assert_eq!(
            reported(|cx| needs_split(&input, "because", cx))[0].0,
            "no-split"
        );
        input.facts.partitions = vec![Partition::Train, Partition::Test];
        assert!(reported(|cx| needs_split(&input, "because", cx)).is_empty());
    }
}
