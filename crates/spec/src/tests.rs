//! Specs over a few small kinds: what is refused, with which words, and where.

mod kinds;

use std::path::Path;

use proptest::prelude::*;
use taktline_core::{Capabilities, Diagnostic, Problem, Registry, Role, Severity, path};

use crate::{Checked, Occurrence, Options, SourceText, check, locate, parse, schema};

fn environment(name: &str) -> Option<String> {
    match name {
        "ROWS" => Some("40".into()),
        "PASSWORD" => Some("hunter22".into()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn check_with(text: &str, params: &[(&str, &str)], seed: Option<u64>) -> Checked {
    let registry = Registry::collect().expect("no kind twice");
    let options = Options {
        params: params
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        seed,
        directory: Path::new("."),
        capabilities: Capabilities::default(),
        environment: &environment,
        occurrence: Occurrence::now(),
        registry: &registry,
    };
    check(SourceText::new("a.yaml", text), &options)
}

fn checked(text: &str) -> Checked {
    check_with(text, &[], None)
}

/// `code line:column message`, and what is underlined.
fn shown(text: &str, diagnostic: &Diagnostic) -> String {
    let place = diagnostic
        .location
        .as_ref()
        .map_or_else(String::new, |location| {
            format!(
                "{}:{} [{}] ",
                location.line,
                location.column,
                &text[location.span.clone()]
            )
        });
    let mut line = format!("{} {place}{}", diagnostic.code, diagnostic.message);
    for help in &diagnostic.help {
        line.push_str(&format!(" | {help}"));
    }
    line
}

fn findings(text: &str) -> Vec<String> {
    let checked = checked(text);
    let refused = checked
        .diagnostics
        .iter()
        .any(|diagnostic| diagnostic.severity == Severity::Error);
    assert_eq!(refused, checked.plan.is_none());
    checked
        .diagnostics
        .iter()
        .map(|diagnostic| shown(text, diagnostic))
        .collect()
}

/// Stages below a table with `amount`, `channel` and `fraud`.
fn with_stages(stages: &str) -> String {
    format!(
        "pipeline: test\ncolumns: {{fraud: {{role: target}}}}\nstages:\n  - source.table: {{columns: {{amount: f64, channel: text, fraud: bool}}}}\n{stages}"
    )
}

#[track_caller]
fn assert_findings(text: &str, expected: &[&str]) {
    let found = findings(text);
    assert_eq!(found, expected, "\n{}\n", found.join("\n"));
}

#[track_caller]
fn assert_stage_findings(stages: &str, expected: &[&str]) {
    assert_findings(&with_stages(stages), expected);
}

#[test]
fn a_model_inside_a_stage_is_held_against_its_own_kind() {
    let around = |model: &str| {
        format!(
            "  - clean.select: {{columns: [amount, fraud]}}\n  - model.around: {{model: {model}}}\n"
        )
    };
    for good in [
        "{model.line: {}}",
        "{model.line: }",
        "{model.around: {model: {model.line: }}}",
    ] {
        assert_stage_findings(&around(good), &[]);
    }
    assert_stage_findings(
        &around("{model.lien: {}}"),
        &[
            "unknown-kind 6:28 [model.lien] there is no stage kind `model.lien` | did you mean `model.line`?",
        ],
    );
    assert_stage_findings(
        &around("{model.line: {alow_pii: true}}"),
        &[
            "unknown-param 6:41 [alow_pii] `model.line` has no param `alow_pii` | did you mean `allow_pii`?",
        ],
    );
    assert_stage_findings(
        &around("{model.around: {model: {model.line: {allow_pii: 3}}}}"),
        &["wrong-type 6:75 [3] `allow_pii`: expected `true` or `false`, found `3`"],
    );
    assert_stage_findings(
        &around("{clean.select: {columns: [amount]}}"),
        &["wrong-kind 6:28 [clean.select] `clean.select` is no `model.*` stage"],
    );
    assert_stage_findings(
        &around("{}"),
        &["out-of-range 6:27 [{}] `model` must not be empty"],
    );
}

const GOOD: &str = r#"
pipeline: card-fraud
about: Find fraud.
seed: 3
params:
  rows: {default: 20, about: how many}
  ratio: 0.5
  name: amount
columns:
  fraud: {role: target}
  card: {role: pii}
stages:
  - source.table: {columns: {amount: f64, card: text, fraud: bool}, rows: "${rows}"}
    id: payments
  - features.derive: {double: ["${name}"]}
  - clean.select: {columns: [double, fraud]}
  - split.random: {test: "${ratio}"}
  - features.scale: {columns: [double]}
  - model.line:
    id: line
    about: a line
  - evaluate.line: {metrics: [accuracy]}
    cache: false
  - deploy.bundle: {require: {accuracy: ">= 0.6"}}
  - sink.nowhere:
    from: line
schedule:
  - {id: nightly, cron: "0 2 * * *", timezone: Asia/Shanghai, catch_up: 1d, overlap: skip, retries: {limit: 3, backoff: 30s}, timeout: 2h}
tests:
  - name: nothing is lost
    given: {payments: [{amount: 1.0}]}
    stage: derive
    expect: {rows: 1}
"#;

#[test]
fn a_good_spec_becomes_a_plan() {
    let checked = checked(GOOD);
    assert_eq!(checked.diagnostics, vec![]);
    let plan = checked.plan.expect("a plan");
    assert_eq!(
        (plan.pipeline.as_str(), plan.seed, plan.about.as_deref()),
        ("card-fraud", 3, Some("Find fraud."))
    );
    let ids: Vec<&str> = plan.stages.iter().map(|stage| stage.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "payments", "derive", "select", "random", "scale", "line", "line-2", "bundle",
            "nowhere"
        ]
    );
    let inputs: Vec<Vec<usize>> = plan
        .stages
        .iter()
        .map(|stage| stage.inputs.clone())
        .collect();
    assert_eq!(
        inputs,
        [
            vec![],
            vec![0],
            vec![1],
            vec![2],
            vec![3],
            vec![4],
            vec![5],
            vec![6],
            vec![5]
        ]
    );
    let payments = &plan.stages[0];
    assert_eq!(payments.params["rows"], 20);
    assert_eq!((payments.location.line, payments.location.column), (13, 5));
    assert_eq!(
        payments.schema.column("card").map(|column| column.role),
        Some(Role::Pii)
    );
    assert_eq!(plan.stages[3].params["test"], 0.5);
    assert_eq!(plan.stages[1].params["double"][0], "amount");
    assert_eq!(plan.stages[6].schema.facts.metrics, ["accuracy"]);
    assert!(!plan.stages[6].cache && plan.stages[5].cache);
    assert_eq!(
        plan.schedule[0]
            .retries
            .as_ref()
            .map(|retries| retries.limit),
        Some(3)
    );
    assert_eq!(plan.tests[0].case.expect.rows, Some(1));
    assert_eq!(plan.columns.len(), 2);
    assert_eq!(
        plan.summary()[2].columns,
        [
            ("double".to_owned(), "f64".to_owned()),
            ("fraud".to_owned(), "bool".to_owned())
        ]
    );
}

#[test]
fn seed_and_params_come_from_outside() {
    let checked = check_with(
        GOOD,
        &[("rows", "5"), ("ratio", "0.25"), ("rows", "7")],
        Some(11),
    );
    let plan = checked.plan.expect("a plan");
    assert_eq!(plan.seed, 11);
    assert_eq!(plan.stages[0].params["rows"], 7);
    let wrong = |params: &[(&str, &str)]| {
        let checked = check_with(GOOD, params, None);
        assert!(checked.plan.is_none());
        checked
            .diagnostics
            .iter()
            .map(|diagnostic| shown(GOOD, diagnostic))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        wrong(&[("row", "5")]),
        ["undefined-param `--param row=…` names no param of the pipeline | did you mean `rows`?"]
    );
    assert_eq!(
        wrong(&[("rows", "many")]),
        ["wrong-type `--param rows=many`: expected a whole number"]
    );
    assert_eq!(
        wrong(&[("rows", "2.5")]),
        ["wrong-type `--param rows=2.5`: expected a whole number"]
    );
    let plain = check_with(
        "pipeline: a\nstages:\n  - source.table: {columns: {a: f64}}\n",
        &[],
        None,
    );
    assert_eq!(plain.plan.map(|plan| plan.seed), Some(crate::DEFAULT_SEED));
}

#[test]
fn a_seed_is_never_another_than_written() {
    let seed = |written: &str| {
        let text = format!(
            "pipeline: a\nseed: {written}\nstages:\n  - source.table: {{columns: {{a: f64}}}}\n"
        );
        check_with(&text, &[], None).plan.map(|plan| plan.seed)
    };
    assert_eq!(seed("18446744073709551615"), Some(u64::MAX));
    assert_eq!(seed("1e3"), Some(1000));
    assert_eq!(seed("99999999999999999999999"), None);
    assert_eq!(seed("-1"), None);
    assert_eq!(seed(".inf"), None);
}

#[test]
fn no_sink_writes_where_another_stage_does() {
    assert_stage_findings(
        "  - source.table: {columns: {a: f64}}\n  - sink.nowhere: {path: out/a.csv}\n  - sink.nowhere: {path: out/./a.csv}\n    id: again\n  - sink.nowhere: {path: out/b.csv}\n",
        &[
            "file-taken 7:26 [out/./a.csv] stage `again` would replace the file that `nowhere` writes | write to another file",
        ],
    );
}

#[test]
fn the_document_has_a_shape() {
    assert_findings(
        "- a\n",
        &["wrong-type 1:1 [- a] the pipeline expects a map, found a list"],
    );
    assert_findings(
        "pipelin: a\nstages: []\nparams: {a-b: 1}\n",
        &[
            "missing-key 1:1 [pipelin] the pipeline needs the key `pipeline` | `pipeline`: the pipeline's name: lower-case words joined by `-` or `_`",
            "unknown-key 1:1 [pipelin] the pipeline has no key `pipelin` | did you mean `pipeline`?",
            "out-of-range 2:9 [[]] `stages` must not be empty",
            "unused-param 3:10 [a-b] nothing reads the param `a-b` | read it with `${a-b}`, or remove it",
        ],
    );
    assert_findings(
        "pipeline: Bad Name\nseed: -1\ncolumns: {a: {role: tagret}, b: {roll: id}}\nstages:\n  - source.table: {columns: {a: f64, b: f64}}\n",
        &[
            "wrong-format 1:11 [Bad Name] `pipeline` cannot be `Bad Name` | the pipeline's name: lower-case words joined by `-` or `_`",
            "out-of-range 2:7 [-1] `seed` must be at least 0, found `-1`",
            "unknown-value 3:21 [tagret] `columns.a.role` cannot be `tagret` | did you mean `target`?",
            "missing-key 3:30 [b] `columns.b` needs the key `role` | `role`: what the column is for",
            "unknown-key 3:34 [roll] `columns.b` has no key `roll` | did you mean `role`?",
        ],
    );
}

#[test]
fn schedules_and_tests_have_a_shape() {
    let text = with_stages(
        "schedule:\n  - {id: a, cron: daily, overlap: never}\n  - {id: a, cron: 0 2 * * *, timeout: 2 hours}\ntests:\n  - {name: t, given: {tabel: []}, stage: table, expect: {row: 1}}\n",
    );
    assert_findings(
        &text,
        &[
            "invalid-cron 6:19 [daily] `daily` has 1 field | a cron expression has five (minute, hour, day, month, weekday), or six with seconds before them",
            "unknown-value 6:35 [never] `overlap` of item 1 of `schedule` cannot be `never` | known: `skip`, `queue`, `cancel_previous`, `allow`",
            "duplicate-id 7:10 [a] two schedules have the id `a`",
            "wrong-format 7:39 [2 hours] `timeout` of item 2 of `schedule` cannot be `2 hours` | a span of time: `500ms`, `30s`, `5m`, `2h` or `1d`",
            "unknown-stage 9:23 [tabel] the test names `tabel`, which is no stage | did you mean `table`?",
            "unknown-key 9:58 [row] `expect` of item 1 of `tests` has no key `row` | did you mean `rows`?",
        ],
    );
}

#[test]
fn a_stage_has_one_known_kind() {
    assert_stage_findings(
        "  - clean.selekt: {columns: [amount]}\n  - select: {columns: [amount]}\n  - {id: a}\n  - clean.select: {columns: [amount]}\n    features.scale: {columns: [amount]}\n  - clean.select\n  - clean.select: {columns: [amount]}\n    columns: [a]\n    form: table\n",
        &[
            "unknown-kind 5:5 [clean.selekt] there is no stage kind `clean.selekt` | did you mean `clean.select`?",
            "unknown-kind 6:5 [select] there is no stage kind `select` | did you mean `clean.select`?",
            "missing-kind 7:5 [{id: a}] this stage has no kind | add a key that names one, for example `clean.drop_nulls: {}`; `takt stages` lists them",
            "two-kinds 9:5 [features.scale] a stage has one kind; this one has `clean.select` and `features.scale` | begin a stage of its own with `- `",
            "missing-kind 10:5 [clean.select] a stage is a map with its kind as a key, found text `clean.select` | write `- clean.select: {}`",
            "unknown-key 12:5 [columns] a stage has no key `columns` | `columns` is a param of `clean.select`: put it under the kind's key",
            "unknown-key 13:5 [form] a stage has no key `form` | did you mean `from`?",
        ],
    );
}

#[test]
fn ids_are_names_and_are_taken_once() {
    assert_stage_findings(
        "  - clean.select: {columns: [amount]}\n    id: table\n  - clean.select: {columns: [amount]}\n    id: table\n  - clean.select: {columns: [amount]}\n    id: ../up\n  - clean.select: {columns: [amount]}\n    id: 5\n    cache: sometimes\n",
        &[
            "duplicate-id 8:9 [table] two stages have the id `table`",
            "invalid-id 10:9 [../up] `../up` cannot be a stage's id | use letters, digits, `_` and `-`, begin with a letter, at most 64",
            "invalid-id 12:9 [5] `5` cannot be a stage's id | use letters, digits, `_` and `-`, begin with a letter, at most 64",
            "wrong-type 13:12 [sometimes] `cache`: expected `true` or `false`, found text `sometimes`",
        ],
    );
    let plan = checked(&with_stages("  - clean.select: {columns: [amount, fraud]}\n    id: table\n  - clean.select: {columns: [amount, fraud]}\n  - clean.select: {columns: [amount, fraud]}\n  - clean.select: {columns: [fraud]}\n"))
        .plan
        .expect("a plan");
    let ids: Vec<&str> = plan.stages.iter().map(|stage| stage.id.as_str()).collect();
    assert_eq!(ids, ["table-2", "table", "select", "select-2", "select-3"]);
}

#[test]
fn inputs_exist_and_fit() {
    assert_stage_findings(
        "  - clean.select: {columns: [amount]}\n    from: tabel\n  - clean.join: {on: amount}\n  - clean.join: {on: amount}\n    from: [table, table]\n  - clean.select: {columns: [amount]}\n    from: [table, join]\n  - source.table: {columns: {a: f64}}\n    from: table\n",
        &[
            "unknown-stage 6:11 [tabel] `from` names `tabel`, which is no stage | did you mean `table`?",
            "wrong-inputs 7:5 [clean.join] stage `join` reads 2 stages, and has 1 | name them with `from: [first, second]`",
            "wrong-inputs 11:5 [from] stage `select-2` reads one stage, and has 2 | name one stage in `from`",
            "wrong-inputs 13:5 [from] `table-2` is a source and reads no stage | remove `from`",
        ],
    );
    assert_findings(
        "pipeline: a\nstages:\n  - clean.select: {columns: [amount]}\n",
        &[
            "missing-input 3:5 [clean.select] stage `select` is the first and has nothing to read | begin with a `source.*` stage, or name what it reads with `from`",
        ],
    );
}

#[test]
fn cycles_are_shown_as_a_chain() {
    assert_stage_findings(
        "  - clean.select: {columns: [amount, fraud]}\n    id: a\n    from: c\n  - clean.select: {columns: [amount, fraud]}\n    id: b\n  - clean.select: {columns: [amount, fraud]}\n    id: c\n  - clean.select: {columns: [amount, fraud]}\n    id: self\n    from: self\n",
        &[
            "cycle 7:5 [from] stages read each other in a circle: `a` → `b` → `c` → `a` | change a `from` so that every stage reads only stages that do not need it",
            "cycle 14:5 [from] stages read each other in a circle: `self` → `self` | change a `from` so that every stage reads only stages that do not need it",
        ],
    );
}

#[test]
fn a_stage_may_read_one_that_is_written_below() {
    let plan = checked(&with_stages("  - clean.select: {columns: [amount]}\n    id: late\n    from: early\n  - clean.select: {columns: [amount, fraud]}\n    id: early\n    from: table\n"))
        .plan
        .expect("a plan");
    let ids: Vec<&str> = plan.stages.iter().map(|stage| stage.id.as_str()).collect();
    assert_eq!(ids, ["table", "early", "late"]);
    assert_eq!(plan.stages[2].inputs, [1]);
}

#[test]
fn substitution_says_what_it_lacks() {
    let text = "pipeline: a\nparams: {rows: 5, ratio: {type: number}, port: {default: x, type: integer}}\nstages:\n  - source.table: {columns: {a: f64}, rows: \"${row}\"}\n  - clean.note: {text: \"x ${env:NOPE} ${env:NOPE:-ok} $$ ${foo:x}\", other: 'a ${rows'}\n  - clean.note: {text: \"${rows} rows, ${secret:NONE}\"}\n";
    assert_findings(
        text,
        &[
            "missing-param 2:19 [ratio] the param `ratio` has no default and was not given | give it with `--param ratio=…`, or declare a `default`",
            "unused-param 2:19 [ratio] nothing reads the param `ratio` | read it with `${ratio}`, or remove it",
            "unused-param 2:42 [port] nothing reads the param `port` | read it with `${port}`, or remove it",
            "wrong-type 2:58 [x] the param `port` should be a whole number, and its default is text `x`",
            "undefined-param 4:46 [${row}] `${row}` names no param | did you mean `${rows}`?",
            "unset-environment 5:27 [${env:NOPE}] the environment variable `NOPE` is not set | set it, or give a default: `${env:NOPE:-default}`",
            "undefined-param 5:58 [${foo:x}] `${foo:x}` has an unknown prefix | write `${name}`, `${env:NAME}`, `${env:NAME:-default}` or `${secret:NAME}`",
            "unterminated-substitution 5:79 [${rows] `${` without its `}` | close it, or write `$$` for a dollar",
            "unset-environment 6:39 [${secret:NONE}] the secret `NONE` is not set | set the environment variable `NONE`",
        ],
    );
}

#[test]
fn a_param_that_is_only_misspelt_is_no_second_mistake() {
    let text = "pipeline: a\nparams: {rows: 5, spare: 1}\nstages:\n  - source.table: {columns: {a: f64}, rows: \"${row}\"}\n";
    assert_findings(
        text,
        &[
            "unused-param 2:19 [spare] nothing reads the param `spare` | read it with `${spare}`, or remove it",
            "undefined-param 4:46 [${row}] `${row}` names no param | did you mean `${rows}`?",
        ],
    );
}

#[test]
fn substitution_takes_the_type_of_the_param() {
    let text = "pipeline: a\nparams: {rows: 5, flag: true, word: w, big: {default: 1e3, type: integer}}\nstages:\n  - source.table: {columns: {a: f64}, rows: \"${env:ROWS}\"}\n  - clean.note: {text: \"$$5 $1 ${rows}-${flag}-${word} ^a$\", other: \"${env:EMPTY}${env:NO:-d}\"}\n  - clean.note: {text: \"${word}\"}\n  - source.table: {columns: {a: f64}, rows: \"${big}\"}\n";
    let checked = checked(text);
    assert_eq!(checked.diagnostics, vec![]);
    let plan = checked.plan.expect("a plan");
    assert_eq!(plan.stages[0].params["rows"], 40);
    assert_eq!(plan.stages[1].params["text"], "$5 $1 5-true-w ^a$");
    assert_eq!(plan.stages[1].params["other"], "d");
    assert_eq!(plan.stages[2].params["text"], "w");
    assert_eq!(plan.stages[3].params["rows"], 1000);
}

#[test]
fn secrets_stay_secret() {
    let text = "pipeline: a\nparams: {login: \"${secret:PASSWORD}\"}\nstages:\n  - source.table: {columns: {a: f64}}\n  - clean.note: {text: \"me:${secret:PASSWORD}@host\"}\n  - clean.note: {text: \"${login}\"}\n";
    let checked_plan = checked(text);
    assert_eq!(checked_plan.diagnostics, vec![]);
    let plan = checked_plan.plan.expect("a plan");
    assert_eq!(plan.stages[1].params["text"], "me:${secret:PASSWORD}@host");
    assert_eq!(plan.stages[2].params["text"], "${secret:PASSWORD}");
    assert_eq!(
        plan.redact("cannot log in as hunter22"),
        "cannot log in as ${secret:PASSWORD}"
    );
    let problem =
        Problem::error("refused", path!["text"], "no `me:hunter22@host`").range(Some(0..2));
    let diagnostic = locate(&plan, 1, &problem);
    assert_eq!(
        shown(text, &diagnostic),
        "refused 5:25 [me] no `me:${secret:PASSWORD}@host`"
    );

    // The stage itself gets the value, and what it says of it is hidden.
    let refusing = text.replace("me:${secret:PASSWORD}@host", "refuse ${secret:PASSWORD}");
    assert_findings(
        &refusing,
        &["refused 5:24 [\"refuse ${secret:PASSWORD}\"] cannot note `refuse ${secret:PASSWORD}`"],
    );
    assert_findings(
        "pipeline: a\nstages:\n  - source.table: {columns: {a: f64}, rows: \"${secret:PASSWORD}\"}\n",
        &[
            "wrong-type 3:45 [\"${secret:PASSWORD}\"] `rows`: expected a whole number, found text `${secret:PASSWORD}`",
        ],
    );
}

#[test]
fn params_fit_their_schema() {
    assert_findings(
        "pipeline: a\nstages:\n  - source.table: {colums: {a: f64}, rows: -5}\n  - source.table: {columns: {a: float}, rows: 2.5}\n  - source.table: {columns: [], rows: abc}\n  - source.table:\n  - source.table: {columns: {a: f64}, rows: 1e3}\n  - source.table: {columns: {}, rows: 99999999999999999999}\n  - source.table: [1]\n",
        &[
            "missing-param 3:5 [source.table] `source.table` needs the param `columns` | `columns`: its columns",
            "unknown-param 3:20 [colums] `source.table` has no param `colums` | did you mean `columns`?",
            "out-of-range 3:44 [-5] `rows` must be at least 0, found `-5`",
            "unknown-value 4:33 [float] `columns.a` cannot be `float` | known: `f64`, `text`, `bool`",
            "wrong-type 4:47 [2.5] `rows`: expected a whole number, found `2.5`",
            "wrong-type 5:29 [[]] `columns`: expected a map, found a list",
            "wrong-type 5:39 [abc] `rows`: expected a whole number, found text `abc`",
            "missing-param 6:5 [source.table] `source.table` needs the param `columns` | `columns`: its columns",
            "out-of-range 8:29 [{}] `columns` must not be empty",
            "out-of-range 8:39 [99999999999999999999] `rows` must be at most 18446744073709551615, found `100000000000000000000`",
            "wrong-type 9:5 [source.table] `source.table` expects a map, found a list",
        ],
    );
}

#[test]
fn variants_are_explained_by_the_one_that_was_meant() {
    let stage = |layers: &str| {
        let text = format!(
            "pipeline: a\nstages:\n  - source.table: {{columns: {{a: f64}}}}\n  - model.network: {layers}\n"
        );
        findings(&text)
    };
    assert_eq!(
        stage(
            "{layers: [flatten, {conv: {filters: 2, kernel: 3}}, {dense: {units: 3, activation: relu}}]}"
        ),
        Vec::<String>::new()
    );
    assert_eq!(
        stage("{layers: [flaten, {conf: {filters: 2}}, conv, 5]}"),
        [
            "unknown-value 4:30 [flaten] item 1 of `layers` cannot be `flaten` | did you mean `flatten`?",
            "unknown-value 4:39 [conf] item 2 of `layers` cannot be `conf` | did you mean `conv`?",
            "wrong-type 4:60 [conv] item 3 of `layers`: `conv` needs settings of its own | write `conv: {…}`",
            "wrong-type 4:66 [5] item 4 of `layers`: expected text or a map, found `5`",
        ]
    );
    assert_eq!(
        stage(
            "{layers: [{conv: {filters: many, kernel: 3}}, {conv: {filter: 2, kernel: 0}}, {dense: {units: 3, activation: rellu}}]}"
        ),
        [
            "wrong-type 4:47 [many] `conv.filters` of item 1 of `layers`: expected a whole number, found text `many`",
            "missing-param 4:67 [conv] `conv` of item 2 of `layers` needs the param `filters` | `filters`: how many filters",
            "unknown-param 4:74 [filter] `conv` of item 2 of `layers` has no param `filter` | did you mean `filters`?",
            "out-of-range 4:93 [0] `conv.kernel` of item 2 of `layers` must be at least 1, found `0`",
            "unknown-value 4:129 [rellu] `dense.activation` of item 3 of `layers` cannot be `rellu` | did you mean `relu`?",
        ]
    );
    assert_eq!(
        stage("{layers: [flatten], optimizer: {kind: adm}, stop: 1.5}"),
        [
            "unknown-value 4:58 [adm] `optimizer.kind` cannot be `adm` | did you mean `adam`?",
            "wrong-type 4:70 [1.5] `stop`: expected a whole number or a map, found `1.5`",
        ]
    );
    assert_eq!(
        stage("{layers: [flatten], optimizer: {kind: sgd, rat: 0.1}, stop: {patience: 0}}"),
        [
            "missing-param 4:40 [optimizer] `optimizer` needs the param `rate` | `rate`: the rate",
            "unknown-param 4:63 [rat] `optimizer` has no param `rat` | did you mean `rate`?",
            "out-of-range 4:91 [0] `stop.patience` must be at least 1, found `0`",
        ]
    );
    assert_eq!(
        stage("{layers: [flatten], optimizer: {rate: 0.1}}"),
        [
            "missing-param 4:40 [optimizer] `optimizer` needs the param `kind` | known: `adam`, `sgd`"
        ]
    );
}

#[test]
fn what_serde_refuses_has_a_place_too() {
    assert_stage_findings(
        "  - clean.note: {text: serde says no}\n",
        &["invalid-params 5:24 [serde says no] `clean.note`: the note `serde says no` is refused"],
    );
}

#[test]
fn columns_are_looked_for_in_the_frame_above() {
    let text = with_stages(
        "  - clean.select: {columns: [amount, fraud]}\n  - features.derive:\n      a: [amout]\n      b: [channel]\n  - features.derive: {c: [amuont]}\n",
    );
    let checked = checked(&text);
    let found: Vec<String> = checked
        .diagnostics
        .iter()
        .map(|diagnostic| shown(&text, diagnostic))
        .collect();
    assert_eq!(
        found,
        [
            "unknown-column 7:11 [amout] `derive` reads `amout` | did you mean `amount` (f64)?",
            "unknown-column 8:11 [channel] `derive` reads `channel` | known: `amount`, `fraud`",
        ]
    );
    assert_eq!(
        checked.diagnostics[0].notes,
        ["`select` (line 5) gives `amount` (f64), `fraud` (bool)"]
    );
    assert_eq!(
        checked.diagnostics[1].notes,
        ["`table` (line 4) still has `channel`; `select` (line 5) drops it"]
    );
}

#[test]
fn a_stage_that_is_wrong_hides_no_other_mistakes_and_causes_none() {
    assert_stage_findings(
        "  - features.dervie: {a: [amount]}\n  - clean.select: {columns: [a, fraud]}\n  - split.random: {test: 2}\n",
        &[
            "unknown-kind 5:5 [features.dervie] there is no stage kind `features.dervie` | did you mean `features.derive`?",
            "out-of-range 7:26 [2] `test` must be at most 1, found `2`",
        ],
    );
}

#[test]
fn roles_name_columns_that_exist() {
    assert_findings(
        "pipeline: a\ncolumns: {amout: {role: id}}\nstages:\n  - source.table: {columns: {amount: f64}}\n",
        &["unknown-column 2:11 [amout] no stage has a column `amout` | did you mean `amount`?"],
    );
}

#[test]
fn nothing_learns_above_the_split() {
    assert_stage_findings(
        "  - features.scale: {columns: [amount]}\n  - split.random: {test: 0.2}\n    id: parts\n  - features.scale: {columns: [amount]}\n",
        &[
            "fitted-above-split 5:5 [features.scale] stage `scale` learns from rows that `parts` has not split yet | move it below `parts`",
        ],
    );
}

#[test]
fn nothing_learns_from_the_answer_or_from_people() {
    assert_findings(
        "pipeline: a\ncolumns: {fraud: {role: target}, card: {role: pii}}\nstages:\n  - source.table: {columns: {amount: f64, card: f64, fraud: bool}}\n  - features.derive: {hint: [amount, fraud]}\n  - features.derive: {again: [hint], who: [card]}\n  - split.random: {test: 0.2}\n  - model.line:\n  - model.line: {allow_pii: true}\n    from: random\n",
        &[
            "target-leak 5:23 [hint] model `line` would learn from `hint`, which is computed from the target: `hint` ← `fraud` | drop `hint` above the model, or give it `role: ignore` under `columns:`",
            "target-leak 5:23 [hint] model `line-2` would learn from `hint`, which is computed from the target: `hint` ← `fraud` | drop `hint` above the model, or give it `role: ignore` under `columns:`",
            "target-leak 6:23 [again] model `line` would learn from `again`, which is computed from the target: `again` ← `fraud` | drop `again` above the model, or give it `role: ignore` under `columns:`",
            "target-leak 6:23 [again] model `line-2` would learn from `again`, which is computed from the target: `again` ← `fraud` | drop `again` above the model, or give it `role: ignore` under `columns:`",
            "pii-feature 6:38 [who] model `line` would learn from personal data: `who` ← `card` | drop `who` above the model, or set `allow_pii: true` on `line`",
        ],
    );
}

#[test]
fn rows_that_scoring_would_lose_are_warned_of() {
    let text = with_stages(
        "  - clean.keep: {column: amount}\n  - features.derive: {a: [amount]}\n  - clean.keep: {column: amount}\n  - split.random: {test: 0.2}\n  - model.line:\n  - clean.keep: {column: amount}\n  - deploy.bundle:\n",
    );
    assert_findings(
        &text,
        &[
            "drops-rows 7:5 [clean.keep] stage `keep-2` drops rows between the first feature and the model `line` | move it above the first `features.*` stage",
        ],
    );
    assert!(checked(&text).is_ok());
    assert_findings(&text.replace("  - deploy.bundle:\n", ""), &[]);
}

#[test]
fn gates_need_metrics_and_bundles_a_model() {
    let above = "  - split.random: {test: 0.2}\n  - model.line:\n";
    assert_stage_findings(
        &format!(
            "{above}  - evaluate.line: {{metrics: [accuracy, recall]}}\n  - deploy.bundle: {{require: {{acuracy: '> 0.5', recall: '> 0.5', loss: '< 1'}}}}\n"
        ),
        &[
            "unknown-metric 8:31 [acuracy] no evaluation above produces the metric `acuracy` | did you mean `accuracy`?",
            "unknown-metric 8:66 [loss] no evaluation above produces the metric `loss`",
        ],
    );
    assert_stage_findings(
        &format!("{above}  - deploy.bundle: {{require: {{accuracy: '> 0.5'}}}}\n"),
        &[
            "nothing-evaluated 7:21 [require] stage `bundle` requires metrics, and nothing above it evaluates | put an `evaluate.*` stage between the model and this stage",
        ],
    );
    assert_stage_findings(
        "  - deploy.bundle:\n",
        &[
            "nothing-to-deploy 5:5 [deploy.bundle] stage `bundle` has no model above it to deploy | put a `model.*` stage above it, or name its branch with `from`",
        ],
    );
    assert_stage_findings(
        &format!("{above}  - model.line:\n  - deploy.bundle:\n"),
        &[
            "two-models 8:5 [deploy.bundle] stage `bundle` has two models above it: `line` and `line-2` | a bundle holds one model, and those that it learns from: give each model its own branch with `from`",
        ],
    );
}

#[test]
fn unreadable_text_is_refused_with_its_place() {
    assert_findings(
        "pipeline: a\nstages:\n\t- source.table: {}\n",
        &[
            "tab-indentation 3:1 [\t] a tab indents this line; YAML indents with spaces only | replace the tab by two spaces",
        ],
    );
    assert_findings(
        "pipeline: a\npipeline: b\nstages:\n  - source.tabel: {columns: {a: f64}}\n",
        &[
            "duplicate-key 2:1 [pipeline] the key `pipeline` is given twice",
            "unknown-kind 4:5 [source.tabel] there is no stage kind `source.tabel` | did you mean `source.table`?",
        ],
    );
}

#[test]
fn the_schema_takes_what_check_takes() {
    let registry = Registry::collect().expect("no kind twice");
    let schema = schema(&registry);
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let accepts = |text: &str| {
        let tree = parse(&SourceText::new("a.yaml", text))
            .expect("readable")
            .to_json();
        validator.is_valid(&tree)
    };
    assert!(accepts(GOOD));
    assert!(!accepts(
        &GOOD.replace("features.derive", "features.derove")
    ));
    assert!(!accepts(&GOOD.replace("test: \"${ratio}\"", "test: much")));
    assert!(!accepts(
        &GOOD.replace("rows: \"${rows}\"", "rows: \"rows\"")
    ));
    let network = "pipeline: a\nstages:\n  - model.network: {layers: [flatten, {conv: {filters: \"${n}\", kernel: 3}}], optimizer: {kind: sgd, rate: 1}}\n";
    assert!(accepts(network));
    assert!(!accepts(
        &network.replace("filters: \"${n}\"", "filters: n")
    ));
    assert!(!accepts(&network.replace("flatten", "flaten")));
    let select = schema
        .pointer("/$defs/Stage/properties/clean.select/description")
        .and_then(|text| text.as_str());
    assert_eq!(select, Some("Keep only these columns."));
    for kind in registry.iter() {
        let text = format!("pipeline: a\nstages:\n  {}\n", kind.example);
        assert!(accepts(&text), "{}", kind.example);
    }
}

#[test]
fn two_hundred_stages_take_little_time() {
    let stage = "  - features.derive: {a: [amount], b: [amount]}\n";
    let text = with_stages(&stage.repeat(199));
    let started = std::time::Instant::now();
    assert!(checked(&text).is_ok());
    // Unoptimised, on a busy machine: only a quadratic walk is so slow.
    assert!(started.elapsed().as_secs() < 5);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,80}") {
        let _ = parse(&SourceText::new("a.yaml", text));
    }

    #[test]
    fn no_yaml_like_text_makes_the_check_panic(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "pipeline: a\n", "stages:\n", "  - ", "source.table: ", "{", "}", "[", "]", ": ", "\n", "    ", "\t", "&a ",
                "*a", "<<: ", "\"", "'", "| ", ">-\n", "# c", "é", "${", "}", "$$", "${rows}", "!!int ", "!x ", "---\n", "...\n", ",",
                "- ", "? ", "1e3", ".nan", "~", "from: ", "id: ", "params: {rows: 5}\n", "columns: ", "\r\n", "\u{feff}", "%YAML 1.2\n",
            ]),
            0..40,
        )
    ) {
        let text = parts.concat();
        let checked = checked(&text);
        for location in checked.diagnostics.iter().filter_map(|diagnostic| diagnostic.location.as_ref()) {
            prop_assert!(text.get(location.span.clone()).is_some());
        }
    }

    #[test]
    fn no_change_to_a_spec_makes_the_check_panic(at in 0..GOOD.len(), length in 0usize..12, put in "[ -~\t\né]{0,6}") {
        let end = (at + length).min(GOOD.len());
        let text = format!("{}{put}{}", &GOOD[..at], &GOOD[end..]);
        let _ = checked(&text);
    }
}
