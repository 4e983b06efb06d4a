//! Runs the `tests:` of a pipeline: given rows in the place of stages, the same engine, expectations about what comes out.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Instant,
};

use polars::prelude::{DataFrame, DataType, IntoLazy, Series};
use serde::Serialize;
use taktline_core::{
    Cancellation, Diagnostic, Error, Expression, Location, Operation, PARTITION, Partition,
    Problem, Result, Schema, path, sql,
};
use taktline_spec::{Plan, Row, TestExpectation, locate_in_test};

use crate::{
    cells,
    difference::{Difference, difference},
    local,
    record::unrecorded,
    run::{Failure, Run, RunOptions, Unobserved},
    store::Store,
    streaming,
};

/// Rows that break a condition and are shown.
const EXAMPLES: usize = 5;

/// What became of one test.
#[derive(Debug, Clone, Serialize)]
pub struct TestResult {
    /// Its name.
    pub name: String,
    /// The stage that it looks at.
    pub stage: String,
    /// Where it is written.
    pub location: Location,
    /// Whether all expectations are met.
    pub passed: bool,
    /// What is not as expected.
    pub findings: Vec<Finding>,
    /// Seconds it took.
    pub seconds: f64,
}

/// Something that is not as a test expects.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case", tag = "finding")]
pub enum Finding {
    /// There are more rows, or fewer.
    Rows {
        /// As many were expected.
        expected: u64,
        /// As many are there.
        found: u64,
    },
    /// The rows are others.
    Frame(Difference),
    /// The frame has not the columns that training was expected to make.
    Columns {
        /// The columns that are not there.
        missing: Vec<String>,
        /// Those that are.
        found: Vec<String>,
    },
    /// Rows do not meet the condition.
    Condition {
        /// The condition.
        condition: String,
        /// Rows that do not meet it.
        violations: usize,
        /// Rows in all.
        rows: usize,
        /// The columns that the condition reads.
        columns: Vec<String>,
        /// Some of the rows that do not meet it: their number from 1, and their cells in those columns.
        examples: Vec<(usize, Vec<String>)>,
    },
    /// An error was expected, and none came.
    NotRefused {
        /// What its message was to hold.
        expected: String,
        /// Rows that came out instead.
        rows: usize,
    },
    /// Another error came than was expected.
    OtherRefusal {
        /// What its message was to hold.
        expected: String,
        /// The error.
        diagnostic: Box<Diagnostic>,
    },
    /// The rows could not be made.
    Error {
        /// The error.
        diagnostic: Box<Diagnostic>,
    },
}

/// Runs one test of the plan. Nothing is kept: no cache is read or written, no sink writes.
pub fn test(
    plan: &Plan,
    index: usize,
    directory: &Path,
    cancellation: &Cancellation,
) -> TestResult {
    let start = Instant::now();
    let test = &plan.tests[index];
    let findings = Case {
        plan,
        index,
        directory,
        cancellation,
    }
    .findings();
    TestResult {
        name: test.case.name.clone(),
        stage: test.case.stage.clone(),
        location: test.location.clone(),
        passed: findings.is_empty(),
        findings,
        seconds: start.elapsed().as_secs_f64(),
    }
}

struct Case<'a> {
    plan: &'a Plan,
    index: usize,
    directory: &'a Path,
    cancellation: &'a Cancellation,
}

/// The rows of the stage that is looked at, with what is known about their columns.
struct Came {
    data: DataFrame,
    schema: Schema,
}

impl Case<'_> {
    fn findings(&self) -> Vec<Finding> {
        let expect = &self.plan.tests[self.index].case.expect;
        match (self.run(), &expect.refused) {
            (Ok(came), None) => self
                .compared(&came, expect)
                .unwrap_or_else(|diagnostic| vec![Finding::Error { diagnostic }]),
            (Ok(came), Some(expected)) => vec![Finding::NotRefused {
                expected: expected.clone(),
                rows: came.data.height(),
            }],
            (Err(Refusal::Stage(diagnostic)), Some(expected)) => {
                if diagnostic.message.contains(expected.as_str()) {
                    Vec::new()
                } else {
                    vec![Finding::OtherRefusal {
                        expected: expected.clone(),
                        diagnostic,
                    }]
                }
            }
            (Err(Refusal::Stage(diagnostic) | Refusal::Test(diagnostic)), _) => {
                vec![Finding::Error { diagnostic }]
            }
        }
    }

    /// The rows of the stage, made from the given ones by the code that a run uses.
    fn run(&self) -> Result<Came, Refusal> {
        let plan = self.plan;
        let case = &plan.tests[self.index].case;
        let here =
            |error: Error| Refusal::Test(Box::new(self.problem(path!["name"], error.to_string())));
        let place = |id: &str| {
            plan.stages
                .iter()
                .position(|stage| stage.id == id)
                .ok_or_else(|| here(Error::Data(format!("there is no stage `{id}`"))))
        };
        let looked_at = place(&case.stage)?;
        // What stages learn is kept somewhere while the test runs, but not in the project.
        let scratch = tempfile::tempdir()
            .map_err(|error| here(Error::writing(std::env::temp_dir(), error)))?;
        let store = Store::new(scratch.path());
        let options = RunOptions {
            fresh: true,
            ..RunOptions::default()
        };
        let mut run = Run::new(
            plan,
            &store,
            self.directory,
            &options,
            &Unobserved,
            self.cancellation,
            unrecorded(plan).map_err(here)?,
        );
        for (id, rows) in &case.given {
            let stage = place(id)?;
            let data = self
                .frame(rows, &plan.stages[stage].schema, &path!["given", id])
                .map_err(Refusal::Test)?;
            run.give(stage, data);
        }
        match run.whole(looked_at) {
            Ok((data, schema)) => Ok(Came { data, schema }),
            Err(failed) => {
                let Failure { diagnostic, .. } = run.failure_without_trace(failed);
                Err(Refusal::Stage(diagnostic))
            }
        }
    }

    /// Given rows with the columns of the stage's schema.
    fn frame(
        &self,
        rows: &[Row],
        schema: &Schema,
        at: &taktline_core::ParamPath,
    ) -> Result<DataFrame, Box<Diagnostic>> {
        let columns = schema
            .columns
            .iter()
            .map(|column| {
                let name = &column.name;
                let is_label = name == PARTITION && rows.iter().all(|row| !row.contains_key(name));
                if is_label {
                    let train = serde_yaml::Value::from(Partition::Train.label());
                    let labels = rows.iter().map(|_| Some(&train));
                    return self.column(name, &column.dtype, labels, at);
                }
                self.column(name, &column.dtype, cells_of(rows, name), at)
            })
            .collect::<Result<Vec<Series>, _>>()?;
        let columns = columns.into_iter().map(Into::into).collect();
        DataFrame::new(rows.len(), columns)
            .map_err(|error| Box::new(self.problem(at.clone(), error.to_string())))
    }

    fn column<'v>(
        &self,
        name: &str,
        dtype: &DataType,
        values: impl IntoIterator<Item = Option<&'v serde_yaml::Value>>,
        at: &taktline_core::ParamPath,
    ) -> Result<Series, Box<Diagnostic>> {
        cells::column(name, dtype, values).map_err(|misfit| {
            let message = format!("column `{name}`: {}", misfit.reason);
            Box::new(self.problem(at.join(misfit.row).join(name), message))
        })
    }

    fn problem(&self, at: taktline_core::ParamPath, message: String) -> Diagnostic {
        locate_in_test(
            self.plan,
            self.index,
            &Problem::error("bad-test", at, message),
        )
    }

    fn compared(
        &self,
        came: &Came,
        expect: &TestExpectation,
    ) -> Result<Vec<Finding>, Box<Diagnostic>> {
        let mut findings = Vec::new();
        let found = came.data.height() as u64;
        if let Some(expected) = expect.rows
            && expected != found
        {
            findings.push(Finding::Rows { expected, found });
        }
        if let Some(rows) = &expect.frame {
            findings.extend(self.compared_frame(came, rows)?);
        }
        if let Some(condition) = &expect.condition {
            let at = path!["expect", "condition"];
            let held = held(came, condition)
                .map_err(|error| Box::new(self.problem(at, error.to_string())))?;
            findings.extend(held);
        }
        Ok(findings)
    }

    fn compared_frame(
        &self,
        came: &Came,
        rows: &[Row],
    ) -> Result<Option<Finding>, Box<Diagnostic>> {
        let at = path!["expect", "frame"];
        let mut named: BTreeSet<&str> = rows
            .iter()
            .flat_map(BTreeMap::keys)
            .map(String::as_str)
            .collect();
        let there: Vec<&str> = came
            .data
            .get_column_names()
            .into_iter()
            .map(|name| name.as_str())
            .collect();
        let missing: Vec<String> = named
            .iter()
            .filter(|name| !there.contains(name))
            .map(|name| (*name).to_owned())
            .collect();
        if !missing.is_empty() {
            return Ok(Some(Finding::Columns {
                missing,
                found: there.into_iter().map(str::to_owned).collect(),
            }));
        }
        if rows.is_empty() {
            named.extend(&there);
        }
        let mut columns = Vec::new();
        let mut names = Vec::new();
        // In the frame's order, which is what its reader knows.
        for column in came.data.columns() {
            let name = column.name().to_string();
            if named.contains(name.as_str()) {
                let wanted = self.column(&name, column.dtype(), cells_of(rows, &name), &at)?;
                columns.push(wanted.into());
                names.push(name);
            }
        }
        let compare = || {
            let expected = DataFrame::new(rows.len(), columns)?;
            difference(&expected, &came.data.select(names)?)
        };
        let difference =
            compare().map_err(|error| Box::new(self.problem(at.clone(), error.to_string())))?;
        Ok(difference.map(Finding::Frame))
    }
}

enum Refusal {
    /// A stage could not work on the rows.
    Stage(Box<Diagnostic>),
    /// The test itself is wrong.
    Test(Box<Diagnostic>),
}

fn cells_of<'r>(
    rows: &'r [Row],
    name: &'r str,
) -> impl Iterator<Item = Option<&'r serde_yaml::Value>> {
    rows.iter().map(move |row| row.get(name))
}

/// Whether every row meets the condition.
fn held(came: &Came, condition: &str) -> Result<Option<Finding>> {
    const HOLDS: &str = "\u{1}holds";
    let compiled = sql::compile(condition, &came.schema).map_err(|problems| {
        let messages: Vec<String> = problems.into_iter().map(|one| one.message).collect();
        Error::Data(messages.join("; "))
    })?;
    let reads: Vec<String> = compiled.expression.columns().into_iter().collect();
    let operation = Operation::With(vec![(HOLDS.to_owned(), compiled.expression)]);
    let query = local::apply(
        &[
            operation,
            Operation::Project(
                reads
                    .iter()
                    .map(String::as_str)
                    .chain([HOLDS])
                    .map(|name| (name.to_owned(), Expression::column(name)))
                    .collect(),
            ),
        ],
        &[came.data.clone().lazy()],
        std::slice::from_ref(&came.schema),
    )?;
    let data = streaming::unshared(query).collect()?;
    let broken: Vec<usize> = data
        .column(HOLDS)?
        .bool()?
        .iter()
        .enumerate()
        .filter(|(_, holds)| *holds != Some(true))
        .map(|(row, _)| row)
        .collect();
    if broken.is_empty() {
        return Ok(None);
    }
    let examples = broken
        .iter()
        .take(EXAMPLES)
        .map(|row| {
            let cells = reads
                .iter()
                .map(|name| Ok(cells::text(&data.column(name)?.get(*row)?)))
                .collect::<Result<Vec<String>>>()?;
            Ok((row + 1, cells))
        })
        .collect::<Result<_>>()?;
    Ok(Some(Finding::Condition {
        condition: condition.to_owned(),
        violations: broken.len(),
        rows: data.height(),
        columns: reads,
        examples,
    }))
}
