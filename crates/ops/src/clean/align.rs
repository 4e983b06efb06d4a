//! `clean.align`.

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Operation, ParamPath, Problem, Relational, Result, Schema, Shape, Stage,
    output_schema, register_kind,
};

use super::union::called;

/// Put the columns of several inputs side by side, row by row: features from one file, the target from another.
///
/// The inputs are named by `from`: the first row of each belongs to the first row of the others, and so on. Different numbers
/// of rows are an error when the pipeline runs, and names that several inputs have when it is checked. Where a key says which
/// rows belong together, join on it instead: nothing but their order holds these together.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Align {}

register_kind! {
    Align, "clean.align", version: 1,
    example: "- clean.align: {}\n  from: [measured, result]",
}

impl Align {
    fn operations(inputs: &[Schema]) -> Vec<Operation> {
        (1..inputs.len())
            .map(|right| Operation::Beside {
                right,
                columns: inputs[right]
                    .names()
                    .map(|name| (name.to_owned(), name.to_owned()))
                    .collect(),
            })
            .collect()
    }
}

impl Stage for Align {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        if inputs
            .iter()
            .skip(1)
            .any(|input| !input.facts.partitions.is_empty())
        {
            let message = format!("stage `{}` has an input that is split already", cx.stage);
            cx.report(
                Problem::error("already-split", ParamPath::kind(), message)
                    .label("there is a split above one of its inputs")
                    .help("put the split below"),
            );
        }
        let named = |index: usize| inputs[index].names().map(move |name| (name, index));
        let mut known: Vec<(&str, usize)> = Vec::new();
        for (name, index) in (0..inputs.len()).flat_map(named) {
            match known.iter().find(|(first, _)| *first == name) {
                None => known.push((name, index)),
                Some((_, first)) => {
                    let message = format!(
                        "stage `{}` finds `{name}` in {} and in {}",
                        cx.stage,
                        called(inputs, *first),
                        called(inputs, index)
                    );
                    cx.report(
                        Problem::error("name-taken", ParamPath::kind(), message)
                            .label(format!("two columns `{name}`"))
                            .help("rename or drop one of them above, with `clean.rename` or `clean.drop`"),
                    );
                }
            }
        }
        output_schema(&Self::operations(inputs), inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }

    fn arity(&self) -> RangeInclusive<usize> {
        2..=64
    }
}

impl Relational for Align {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        Ok(Self::operations(inputs))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use polars::df;

    use super::*;
    use crate::testing::{applied, run};

    #[test]
    fn columns_stand_side_by_side() {
        let inputs = [
            df!("x" => [1_i64, 2], "y" => ["a", "b"]).expect("a frame"),
            df!("z" => [Some(0.5), None]).expect("a frame"),
            df!("ü" => [true, false]).expect("a frame"),
        ];
        assert_eq!(
            applied(&Align {}, &inputs).expect("rows"),
            df!("x" => [1_i64, 2], "y" => ["a", "b"], "z" => [Some(0.5), None], "ü" => [true, false])
                .expect("a frame")
        );
        let empty: Vec<_> = inputs.iter().map(|input| input.slice(0, 0)).collect();
        assert_eq!(applied(&Align {}, &empty).expect("no rows").height(), 0);
        let shorter = [inputs[0].clone(), inputs[1].clone(), inputs[2].slice(0, 1)];
        let error = applied(&Align {}, &shorter)
            .expect_err("too few")
            .to_string();
        assert!(error.contains("has 2 rows and the other has 1"), "{error}");
    }

    #[test]
    fn files_of_a_pipeline_align() {
        let folder = std::env::temp_dir().join(format!("takt-align-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        for (name, text) in [
            ("a.csv", "x\n1\n2\n"),
            ("b.csv", "y\n3\n4\n"),
            ("c.csv", "y\n3\n"),
            ("d.csv", "x\n3\n4\n"),
        ] {
            fs::write(folder.join(name), text).expect("a file");
        }
        let with = |other: &str| {
            let spec = format!(
                "pipeline: align\nstages:\n  - source.csv: {{path: a.csv}}\n    id: a\n  - source.csv: {{path: {other}.csv}}\n    id: {other}\n  - clean.align: {{}}\n    from: [a, {other}]\n"
            );
            run(&spec, &folder)
        };
        let (aligned, shorter, clash) = (with("b"), with("c"), with("d"));
        fs::remove_dir_all(&folder).expect("removed");
        assert_eq!(
            aligned.expect("rows"),
            df!("x" => [1_i64, 2], "y" => [3_i64, 4]).expect("a frame")
        );
        let shorter = shorter.expect_err("too few");
        assert!(
            shorter.contains("`a` has 2 rows and `c` has 1"),
            "{shorter}"
        );
        assert_eq!(
            clash.expect_err("a clash"),
            "name-taken: stage `align` finds `x` in `a` and in `d`"
        );
    }
}
