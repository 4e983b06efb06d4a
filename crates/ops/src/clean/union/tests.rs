use std::fs;

use polars::{
    df,
    prelude::{DataFrame, DataType},
};
use taktline_core::Role;

use super::*;
use crate::{
    columns::testing::{check_all, schema, stage, told},
    testing::{applied, run},
};

fn problems(params: &str, inputs: &[Schema]) -> Vec<(&'static str, String)> {
    told(check_all(&stage::<Union>(params), inputs).1)
}

#[track_caller]
fn gives(params: &str, inputs: &[DataFrame], expected: polars::prelude::PolarsResult<DataFrame>) {
    let found = applied(&stage::<Union>(params), inputs).expect(params);
    assert_eq!(found, expected.expect("a frame"), "{params}");
}

#[test]
fn rows_come_below_each_other_by_name() {
    let north = df!("day" => [1_i64, 2], "sold" => [Some(0.5), None]).expect("a frame");
    let south = df!("sold" => [1.5], "day" => [3_i64]).expect("a frame");
    gives(
        "{}",
        &[north.clone(), south.clone()],
        df!("day" => [1_i64, 2, 3], "sold" => [Some(0.5), None, Some(1.5)]),
    );
    gives(
        "{source: region, labels: [north, süd, again]}",
        &[north.slice(0, 1), south.clone(), north.slice(1, 1)],
        df!("day" => [1_i64, 3, 2], "sold" => [Some(0.5), Some(1.5), None], "region" => ["north", "süd", "again"]),
    );
    gives(
        "{source: input}",
        &[north.slice(0, 0), south.clone(), south.slice(0, 0)],
        df!("day" => [3_i64], "sold" => [1.5], "input" => ["2"]),
    );
}

#[test]
fn what_an_input_lacks_is_null() {
    let inputs = [
        df!("a" => [1_i64]).expect("a frame"),
        df!("b" => ["x"], "a" => [2_i64]).expect("a frame"),
        df!("c" => [true]).expect("a frame"),
    ];
    gives(
        "{missing: 'null', source: s}",
        &inputs,
        df!(
            "a" => [Some(1_i64), Some(2), None],
            "b" => [None, Some("x"), None],
            "c" => [None, None, Some(true)],
            "s" => ["1", "2", "3"],
        ),
    );
}

#[test]
fn ids_of_stages_are_the_labels() {
    let folder = std::env::temp_dir().join(format!("takt-union-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("n.csv"), "x\n1\n").expect("a file");
    fs::write(folder.join("s.csv"), "x\n2\n3\n").expect("a file");
    let found = run(
        "pipeline: union\nstages:\n  - source.csv: {path: n.csv}\n    id: north\n  - source.csv: {path: s.csv}\n    id: south\n  - clean.union: {source: region}\n    from: [north, south]\n",
        &folder,
    );
    fs::remove_dir_all(&folder).expect("removed");
    assert_eq!(
        found.expect("rows"),
        df!("x" => [1_i64, 2, 3], "region" => ["north", "south", "south"]).expect("a frame")
    );
}

#[test]
fn roles_and_lineage_of_all_inputs_stay() {
    let mut second = schema([("a", DataType::Int64), ("b", DataType::String)]);
    second.columns[0] = second.columns[0].clone().with_role(Role::Pii);
    second.columns[1] = second.columns[1].clone().with_role(Role::Id);
    let inputs = [schema([("a", DataType::Int64)]), second];
    let (output, problems) = check_all(&stage::<Union>("{missing: 'null'}"), &inputs);
    assert!(problems.is_empty(), "{problems:?}");
    assert!(output.columns[0].from_pii.contains("a"));
    assert_eq!(output.columns[1].role, Role::Id);
}

#[test]
fn refuses_what_does_not_go_together() {
    let inputs = [
        schema([("a", DataType::Int64), ("b", DataType::String)]),
        schema([("a", DataType::Float64), ("c", DataType::Date)]),
    ];
    assert_eq!(
        problems("{source: b, labels: [x]}", &inputs),
        [
            (
                "name-taken",
                "stage `this` makes a column `b`, which its input already has".to_owned()
            ),
            (
                "wrong-count",
                "stage `this` has 1 labels for 2 inputs".to_owned()
            ),
            (
                "type-mismatch",
                "stage `this` cannot put `a` of input 2 (f64) below that of input 1 (i64)"
                    .to_owned()
            ),
            (
                "missing-column",
                "stage `this` finds no `c` in input 1".to_owned()
            ),
            (
                "missing-column",
                "stage `this` finds no `b` in input 2".to_owned()
            ),
        ]
    );
    assert_eq!(
        problems("{missing: 'null', labels: [x, y]}", &inputs)[0].0,
        "unused-param"
    );
    let mut split = [inputs[0].clone(), inputs[0].clone()];
    split[1].facts.partitions = vec![taktline_core::Partition::Train];
    assert_eq!(problems("{}", &split)[0].0, "already-split");
}
