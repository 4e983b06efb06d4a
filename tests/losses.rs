//! Nothing is lost silently: rows that go and values that change are told.

use std::fs;

use serde_json::{Value, json};

use crate::harness::Project;

const SPEC: &str = "\
pipeline: shop
stages:
  - source.csv: {path: sales.csv}
    id: sales
  - clean.drop_duplicates: {on: [id]}
  - clean.fill_null: {columns: [units], value: 0}
  - clean.cast: {columns: {price: f64}, on_error: \"null\"}
  - clean.filter: {where: units >= 0}
  - sink.csv: {path: out/sales.csv}
";

const SALES: &str = "\
id,units,price
1,3,2.5
1,3,2.5
2,,n/a
3,-4,1.0
4,,3
5,7,?
";

fn project() -> Project {
    let project = Project::with(SPEC);
    project.write("sales.csv", SALES);
    project
}

fn stages(project: &Project) -> Vec<Value> {
    let arguments = ["run", "pipeline.yaml", "--format", "json"];
    let report = project.takt(arguments).run().succeeded().json();
    report["stages"].as_array().expect("stages").clone()
}

#[test]
fn every_stage_tells_what_it_dropped_and_changed() {
    let project = project();
    let told: Vec<Value> = stages(&project)
        .into_iter()
        .map(|stage| {
            json!([
                stage["id"],
                stage["rows_in"],
                stage["rows_out"],
                stage["rows_dropped"],
                stage["changes"]
            ])
        })
        .collect();
    let units = json!([{"column": "units", "changed": 2, "nulls_made": 0, "nulls_filled": 2}]);
    let price = json!([{"column": "price", "changed": 2, "nulls_made": 2, "nulls_filled": 0}]);
    assert_eq!(
        told,
        [
            json!(["sales", null, 6, null, null]),
            json!(["drop_duplicates", 6, 5, 1, null]),
            json!(["fill_null", 5, 5, null, units]),
            json!(["cast", 5, 5, null, price]),
            json!(["filter", 5, 4, 1, null]),
            json!(["csv", 4, 4, null, null]),
        ]
    );
    assert_eq!(
        project.read("out/sales.csv"),
        "id,units,price\n1,3,2.5\n2,0,\n4,0,3.0\n5,7,\n"
    );
}

#[test]
fn terminal_and_report_show_it() {
    let project = project();
    let outcome = project.takt(["run", "pipeline.yaml"]).run().succeeded();
    let report = outcome
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("report  "))
        .expect("a report");
    let html = fs::read_to_string(project.path(report)).expect("the report");
    for told in [
        "-1 row",
        "units: 2 values (2 from null)",
        "price: 2 values (2 to null)",
    ] {
        assert!(html.contains(told), "the report does not say `{told}`");
    }
    let text: String = outcome
        .stdout
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    for told in ["-1 row", "from null", "to null"] {
        assert!(
            text.contains(told),
            "`{told}` is not told:\n{}",
            outcome.stdout
        );
    }
}

#[test]
fn branches_and_joins_count_each_row_once() {
    let project = Project::with(
        "\
pipeline: shop
stages:
  - source.csv: {path: sales.csv}
    id: sales
  - clean.fill_null: {columns: [units], value: 0}
    id: filled
  - clean.filter: {where: units > 0}
    id: sold
    from: filled
  - clean.filter: {where: units <= 0}
    id: unsold
    from: filled
  - sink.csv: {path: out/sold.csv}
    id: sold_out
    from: sold
  - sink.csv: {path: out/unsold.csv}
    id: unsold_out
    from: unsold
",
    );
    project.write("sales.csv", SALES);
    let stages = stages(&project);
    let of = |id: &str| {
        stages
            .iter()
            .find(|stage| stage["id"] == id)
            .expect("the stage")
    };
    assert_eq!(of("filled")["changes"][0]["changed"], 2);
    assert_eq!(
        (&of("sold")["rows_out"], &of("sold")["rows_dropped"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(
        (&of("unsold")["rows_out"], &of("unsold")["rows_dropped"]),
        (&json!(3), &json!(3))
    );
}

#[test]
fn rows_that_a_fitted_stage_drops_are_told() {
    let project = Project::with(
        "\
pipeline: far
stages:
  - source.csv: {path: rows.csv}
  - clean.clip_outliers: {columns: [v], method: iqr, action: drop}
  - sink.csv: {path: out.csv}
",
    );
    let rows: String = (0..20).map(|row| format!("{}\n", row % 5)).collect();
    project.write("rows.csv", format!("v\n{rows}900\n-900\n"));
    let told = &stages(&project)[1];
    assert_eq!(told["rows_dropped"], 2, "{told}");
}

#[test]
fn a_value_that_does_not_fit_is_told_with_its_row() {
    let project = Project::with(
        "pipeline: prices
stages:
  - source.csv: {path: rows.csv, schema: {price: text, count: text}}
  - clean.filter: {where: shop <> 'closed'}
  - clean.cast: {columns: {count: i64, price: f64}}
    id: numbers
  - sink.csv: {path: out.csv}
",
    );
    project.write(
        "rows.csv",
        "shop,price,count\nclosed,free,1\na,1.5,2\nb,,3\nc,2.5 EUR,4\nd,n/a,5\n",
    );
    let failed = project.takt(["run", "pipeline.yaml"]).run();
    assert_eq!(failed.code, 1);
    let told = "stage `numbers`: 2 of 4 values of `price` cannot turn from text into f64: \"2.5 EUR\", \"n/a\"; the first is in row 3";
    assert!(failed.stderr.contains(told), "{}", failed.stderr);
    assert!(
        failed.stderr.contains("on_error: 'null'"),
        "{}",
        failed.stderr
    );
    assert!(!project.path("out.csv").exists());
}

#[test]
fn values_that_a_feature_stage_makes_null_are_told() {
    let project = Project::with(
        "\
pipeline: drugs
stages:
  - source.csv: {path: drugs.csv, schema: {weight: text}}
  - split.column: {column: part}
  - features.smiles: {column: smiles, descriptors: [rings], elements: [], on_error: \"null\"}
    id: molecules
  - features.ordinal: {columns: [dose], unknown: \"null\"}
    id: doses
  - features.derive: {grams: try_cast(weight as double), tons: grams / 1000000, light: \"nullif(dose, 0)\"}
    id: weights
  - features.lag: {columns: [grams], over: id}
    id: earlier
  - sink.csv: {path: out.csv}
",
    );
    project.write(
        "drugs.csv",
        "id,smiles,dose,weight,part\n1,CCO,low,1,train\n2,c1ccccc1,high,heavy,train\n3,no molecule,low,,test\n4,,huge,2,test\n5,C,,3,test\n",
    );
    let changes: Vec<Value> = stages(&project)
        .into_iter()
        .map(|stage| stage["changes"].clone())
        .collect();
    let to_null =
        |column: &str| json!({"column": column, "changed": 1, "nulls_made": 1, "nulls_filled": 0});
    assert_eq!(
        changes[2],
        json!([to_null("smiles_rings")]),
        "a text that is no molecule"
    );
    assert_eq!(
        changes[3],
        json!([to_null("dose")]),
        "a category of the test rows alone"
    );
    assert_eq!(changes[4], json!([to_null("grams"), to_null("tons")]));
    // A first row has no row before it.
    assert_eq!(changes[5], Value::Null);
}

/// As many rows may come out of an inner join as went in, and most of them be lost.
#[test]
fn an_inner_join_tells_the_rows_that_found_no_partner() {
    let sums = "  - features.aggregate: {by: [key], aggregate: {price: sum(price)}}\n";
    for more in ["", sums] {
        let project = Project::with(&format!(
            "\
pipeline: joined
stages:
  - source.csv: {{path: sales.csv}}
    id: sales
  - source.csv: {{path: prices.csv}}
    id: prices
  - features.join: {{on: [key], how: inner}}
    id: priced
    from: [sales, prices]
{more}  - sink.csv: {{path: out.csv}}
"
        ));
        project.write("sales.csv", "key,units\na,1\nb,2\nc,3\n,4\n");
        project.write(
            "prices.csv",
            "key,price\na,1.5\na,2.5\na,3.5\na,4.5\nd,5.5\n",
        );
        let joined = stages(&project).swap_remove(2);
        let told = [
            &joined["rows_in"],
            &joined["rows_out"],
            &joined["rows_dropped"],
        ];
        assert_eq!(told, [&json!(4), &json!(4), &json!(3)], "{more}");
        let out = project.read("out.csv");
        match more {
            "" => assert_eq!(out, "key,units,price\na,1,1.5\na,1,2.5\na,1,3.5\na,1,4.5\n"),
            _ => assert_eq!(out, "key,price\na,12.0\n"),
        }
    }
}

#[test]
fn categories_that_training_did_not_see_are_counted() {
    let project = Project::with(
        "\
pipeline: shops
columns:
  sold: {role: target}
stages:
  - source.csv: {path: rows.csv}
  - split.column: {column: part}
  - features.one_hot: {columns: shop, unknown: ignore}
  - features.frequency: {columns: town}
  - features.target_encode: {columns: street, task: regression}
  - sink.ndjson: {path: rows.ndjson}
",
    );
    let rows: Vec<String> = (0..12)
        .map(|row| match row % 2 {
            0 => format!("train,a,b,c,{row}.5"),
            _ => format!("train,d,e,f,{row}.5"),
        })
        .chain(["new,b,c", "a,new,c", "new,new,new", "a,b,"].map(|new| format!("test,{new},1.5")))
        .collect();
    project.write(
        "rows.csv",
        format!("part,shop,town,street,sold\n{}\n", rows.join("\n")),
    );
    let told: Vec<Value> = stages(&project)
        .into_iter()
        .flat_map(|stage| stage["changes"].as_array().cloned().unwrap_or_default())
        .map(|change| json!([change["column"], change["unseen"]]))
        .collect();
    assert_eq!(
        told,
        [json!(["shop", 2]), json!(["town", 2]), json!(["street", 1])]
    );
    let outcome = project
        .takt(["run", "pipeline.yaml", "--fresh"])
        .run()
        .succeeded();
    assert!(
        outcome.stdout.contains("shop: 2 not seen in training"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn numbers_that_json_cannot_hold_are_counted() {
    let project = Project::with(
        "pipeline: numbers\nstages:\n  - source.csv: {path: rows.csv}\n  - sink.ndjson: {path: rows.ndjson}\n",
    );
    // However they are written, they are numbers.
    project.write("rows.csv", "x,y\n1.5,1\nnan,2\nInfinity,3\n,4\n");
    let changes = stages(&project)[1]["changes"].clone();
    let made = json!([{"column": "x", "changed": 2, "nulls_made": 2, "nulls_filled": 0}]);
    assert_eq!(changes, made);
    let written = project.read("rows.ndjson");
    assert_eq!(written.matches("\"x\":null").count(), 3, "{written}");
}

#[test]
fn rows_of_all_inputs_go_into_a_union() {
    let project = Project::with(
        "pipeline: both\nstages:\n  - source.csv: {path: rows.csv}\n    id: one\n  - source.csv: {path: rows.csv}\n    id: other\n  - clean.union: {}\n    from: [one, other]\n    id: both\n  - sink.ndjson: {path: rows.ndjson}\n",
    );
    project.write("rows.csv", "x\n1\n2\n3\n");
    let union = &stages(&project)[2];
    assert_eq!([&union["rows_in"], &union["rows_out"]], [6, 6]);
}

#[test]
fn a_number_without_room_in_half_the_size_is_told() {
    let spec = |on_error: &str| {
        format!(
            "pipeline: narrow\nstages:\n  - source.csv: {{path: rows.csv}}\n  - clean.cast: {{columns: {{x: f32}}, on_error: \"{on_error}\"}}\n  - sink.parquet: {{path: rows.parquet}}\n"
        )
    };
    let project = Project::with(&spec("null"));
    project.write("rows.csv", "x\n1.5\n1e300\ninf\n");
    let made = json!([{"column": "x", "changed": 1, "nulls_made": 1, "nulls_filled": 0}]);
    assert_eq!(stages(&project)[1]["changes"], made);
    project.write("pipeline.yaml", spec("error"));
    let outcome = project.takt(["run", "pipeline.yaml"]).run().ended_with(1);
    assert!(outcome.stderr.contains("1e300"), "{}", outcome.stderr);
}

#[test]
fn a_sum_beyond_64_bits_is_an_error_and_no_other_number() {
    for by in ["by: shop, ", ""] {
        let project = Project::with(&format!(
            "pipeline: sums\nstages:\n  - source.csv: {{path: rows.csv}}\n  - features.aggregate: {{{by}aggregate: {{s: sum(x)}}}}\n  - sink.csv: {{path: out.csv}}\n"
        ));
        project.write(
            "rows.csv",
            "shop,x\na,9223372036854775807\na,9223372036854775807\n",
        );
        let outcome = project.takt(["run", "pipeline.yaml"]).run().ended_with(1);
        assert!(
            outcome.stderr.contains("does not fit a whole number"),
            "{}",
            outcome.stderr
        );
    }
}
