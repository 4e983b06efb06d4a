//! What `features.join` and `features.join_asof` share: the keys of both sides, and the names that columns of the right get.

use polars::prelude::DataType;
use taktline_core::{
    CheckContext, Column, PARTITION, ParamPath, ParamStep, Problem, Schema, path, type_name,
};

use crate::columns::{self, Names};

/// Both inputs; empty schemas where the planner found none (and said so).
pub(super) fn sides(inputs: &[Schema]) -> (&Schema, &Schema) {
    (
        columns::input(inputs),
        columns::input(inputs.get(1..).unwrap_or_default()),
    )
}

/// The params that name keys: both sides at once, or each.
pub(super) struct KeyParams<'a> {
    pub(super) both: (&'static str, Option<&'a Names>),
    pub(super) left: (&'static str, Option<&'a Names>),
    pub(super) right: (&'static str, Option<&'a Names>),
}

impl KeyParams<'_> {
    /// Left and right names; those without a partner are left out.
    pub(super) fn pairs(&self) -> Vec<(String, String)> {
        let names = |names: Option<&Names>| names.map(Names::to_vec).unwrap_or_default();
        match self.both.1 {
            Some(both) => both
                .iter()
                .map(|name| (name.to_owned(), name.to_owned()))
                .collect(),
            None => names(self.left.1)
                .into_iter()
                .zip(names(self.right.1))
                .collect(),
        }
    }

    /// The key columns of both sides; every problem with the params and with the columns is reported.
    pub(super) fn find<'s>(
        &self,
        left: &'s Schema,
        right: &'s Schema,
        cx: &mut CheckContext<'_>,
    ) -> Vec<(ParamPath, &'s Column, &'s Column)> {
        let key_of = |name: &str| path![ParamStep::KeyOf(name.to_owned())];
        let (left_names, left_path, right_names, right_path) = match (
            self.both.1,
            self.left.1,
            self.right.1,
        ) {
            (Some(both), None, None) => (both, path![self.both.0], both, path![self.both.0]),
            (None, Some(left), Some(right)) => {
                (left, path![self.left.0], right, path![self.right.0])
            }
            (Some(_), _, _) => {
                let other = if self.left.1.is_some() {
                    self.left.0
                } else {
                    self.right.0
                };
                cx.report(Problem::error(
                        "contradicting-params",
                        key_of(other),
                        format!("stage `{}` has both `{}` and `{other}`", cx.stage, self.both.0),
                    ).help(format!(
                        "`{}` is for keys of one name on both sides, `{}` with `{}` for keys of different names",
                        self.both.0, self.left.0, self.right.0
                    )));
                return Vec::new();
            }
            (None, None, None) => return Vec::new(),
            (None, given, _) => {
                let (given, missing) = if given.is_some() {
                    (self.left.0, self.right.0)
                } else {
                    (self.right.0, self.left.0)
                };
                cx.report(
                    Problem::error(
                        "missing-param",
                        key_of(given),
                        format!("stage `{}` has `{given}` without `{missing}`", cx.stage),
                    )
                    .help(format!("`{}` names keys of both sides", self.both.0)),
                );
                return Vec::new();
            }
        };
        let found_left = left_names.find(left, &left_path, cx);
        let before = cx.problems.len();
        let found_right = right_names.find(right, &right_path, cx);
        if self.both.1.is_some() {
            // A name that comes twice was reported for the left side.
            let mut index = 0;
            cx.problems.retain(|problem| {
                index += 1;
                index <= before || problem.code != "duplicate-name"
            });
        }
        tell_right(right, before, cx);
        if left_names.iter().count() != right_names.iter().count() {
            cx.report(
                Problem::error(
                    "wrong-count",
                    right_path,
                    format!(
                        "stage `{}` names {} keys of the left input and {} of the right",
                        cx.stage,
                        left_names.iter().count(),
                        right_names.iter().count()
                    ),
                )
                .label("one for each key of the left is needed"),
            );
            return Vec::new();
        }
        let left_of = |path: &ParamPath, name: &str| {
            // Keys belong together by their place in the list.
            let position = right_names
                .located(&right_path)
                .position(|(other, known)| other == *path && known == name)?;
            let wanted = left_names.iter().nth(position)?;
            found_left
                .iter()
                .find(|(_, column)| column.name == wanted)
                .map(|(_, column)| *column)
        };
        found_right
            .iter()
            .filter_map(|(path, column)| {
                Some((path.clone(), left_of(path, &column.name)?, *column))
            })
            .collect()
    }
}

/// The stage that an input comes from, in backticks; its side, where that is not known.
fn input_name(input: &Schema, side: &str) -> String {
    match input.facts.stage.as_str() {
        "" => format!("the {side} input"),
        id => format!("`{id}`"),
    }
}

/// Problems reported since `before` are about the right input: says so, and what it has.
pub(super) fn tell_right(right: &Schema, before: usize, cx: &mut CheckContext<'_>) {
    let name = input_name(right, "right");
    for problem in &mut cx.problems[before..] {
        if problem.code != "unknown-column" {
            continue;
        }
        problem.message = problem.message.replace(
            "which its input does not have",
            &format!("which {name} does not have"),
        );
        if problem.notes.is_empty() && right.columns.len() <= 12 {
            let known: Vec<String> = right.names().map(|name| format!("`{name}`")).collect();
            problem
                .notes
                .push(format!("{name} has {}", known.join(", ")));
        }
    }
}

/// Whether values of the two types can be equal to each other and to nothing by accident; else it is reported.
pub(super) fn keys_meet(
    path: &ParamPath,
    left: &Column,
    right: &Column,
    cx: &mut CheckContext<'_>,
) -> bool {
    for column in [left, right] {
        if column.dtype.is_nested() || column.dtype.is_float() {
            columns::report_type(
                column,
                "keys of text, whole numbers, dates or truth values",
                path.clone(),
                cx,
            );
            return false;
        }
    }
    use DataType::{Categorical, Datetime, Enum, String};
    let is_text = |dtype: &DataType| matches!(dtype, String | Categorical(..) | Enum(..));
    let meets = match (&left.dtype, &right.dtype) {
        (left, right) if left == right => true,
        (left, right) if left.is_integer() && right.is_integer() => true,
        (left, right) if is_text(left) && is_text(right) => true,
        (Datetime(_, left), Datetime(_, right)) => left.is_some() == right.is_some(),
        _ => false,
    };
    if !meets {
        report_unlike(
            path,
            left,
            right,
            "`clean.cast` brings them to one type",
            cx,
        );
    }
    meets
}

/// Reports two columns that cannot be compared.
pub(super) fn report_unlike(
    path: &ParamPath,
    left: &Column,
    right: &Column,
    help: &str,
    cx: &mut CheckContext<'_>,
) {
    let (left_type, right_type) = (type_name(&left.dtype), type_name(&right.dtype));
    cx.report(
        Problem::error(
            "type-mismatch",
            path.clone(),
            format!(
                "stage `{}` compares `{}` of the left input, which is {left_type}, with `{}` of the right, which is {right_type}",
                cx.stage, left.name, right.name
            ),
        )
        .label(format!("{left_type} on the left, {right_type} on the right"))
        .help(help),
    );
}

/// Which columns of the right come in, under which names.
pub(super) struct Wanted<'a> {
    pub(super) select: Option<&'a Names>,
    pub(super) prefix: Option<&'a str>,
    pub(super) suffix: &'a str,
}

impl Wanted<'_> {
    /// Columns of the right and the names they get; keys only where they are selected.
    pub(super) fn columns(
        &self,
        left: &Schema,
        right: &Schema,
        keys: &[&str],
    ) -> Vec<(String, String)> {
        let chosen = match self.select {
            Some(select) => right.expand(select.iter()),
            None => right
                .names()
                // Which part a row is in is the left side's to say.
                .filter(|name| !keys.contains(name) && *name != PARTITION)
                .map(str::to_owned)
                .collect(),
        };
        chosen
            .into_iter()
            .filter(|name| right.column(name).is_some())
            .map(|name| {
                let wanted = match self.prefix {
                    Some(prefix) => format!("{prefix}{name}"),
                    None if left.column(&name).is_some() => format!("{name}{}", self.suffix),
                    None => name.clone(),
                };
                (name, wanted)
            })
            .collect()
    }

    /// Reports columns of the right that are not there, and names that are taken.
    pub(super) fn check(
        &self,
        left: &Schema,
        right: &Schema,
        keys: &[&str],
        cx: &mut CheckContext<'_>,
    ) {
        let path = path!["select"];
        if let Some(select) = self.select {
            let before = cx.problems.len();
            select.find_with_open(right, &path, cx);
            tell_right(right, before, cx);
        }
        if self.prefix.is_none() && self.suffix.is_empty() {
            cx.report(
                Problem::error(
                    "bad-name",
                    path!["suffix"],
                    "a suffix needs a letter at least",
                )
                .label("this is empty"),
            );
            return;
        }
        let mut taken: Vec<String> = Vec::new();
        for (name, wanted) in self.columns(left, right, keys) {
            let place = self
                .select
                .and_then(|select| {
                    let mut located = select.located(&path);
                    located.find(|(_, selected)| *selected == name)
                })
                .map_or_else(ParamPath::kind, |(place, _)| place);
            if taken.contains(&wanted) {
                cx.report(
                    Problem::error(
                        "name-taken",
                        place,
                        format!("stage `{}` would make two columns `{wanted}`", cx.stage),
                    )
                    .help("choose another `prefix` or `suffix`"),
                );
            } else {
                columns::is_free(left, &wanted, place, cx);
            }
            taken.push(wanted);
        }
    }
}
