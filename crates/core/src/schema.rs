//! Column names, types and roles; what `takt check` knows about a frame before any row is read.

use std::collections::BTreeSet;

use polars::prelude::{DataType, Schema as PolarsSchema, TimeUnit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{classifier, suggest::did_you_mean};

/// The column that `split.*` adds: `train`, `validation` or `test` for each row.
pub const PARTITION: &str = "partition";

/// A part of the data, as `split.*` labels it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Partition {
    /// Estimators and models learn from these rows.
    Train,
    /// Early stopping and threshold choice look at these rows.
    Validation,
    /// Only evaluation sees these rows.
    Test,
}

impl Partition {
    /// The label in the [`PARTITION`] column.
    pub fn label(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A model may learn from it.
    #[default]
    Feature,
    /// What a model learns to say.
    Target,
    /// Names the row; never a feature.
    Id,
    /// Personal data; never a feature unless the model says `allow_pii: true`.
    Pii,
    /// When the row happened; never a feature by itself.
    Time,
    /// How much the row counts in training and evaluation.
    Weight,
    /// Kept, but not a feature.
    Ignore,
    /// Made by taktline: the partition label, a model's outputs. Not for users to declare.
    #[serde(skip_deserializing)]
    #[schemars(skip)]
    Internal,
}

/// One column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub dtype: DataType,
    /// What it is for.
    pub role: Role,
    /// Its possible values, where the source knows them before reading (class folders, label files), in class order.
    pub categories: Option<Vec<String>>,
    /// The target columns that its values were computed from (itself included, for a target).
    pub from_target: BTreeSet<String>,
    /// The personal-data columns that its values were computed from (itself included, for such a column).
    pub from_pii: BTreeSet<String>,
}

impl Column {
    /// A feature column.
    pub fn new(name: impl Into<String>, dtype: DataType) -> Self {
        Self {
            name: name.into(),
            dtype,
            role: Role::Feature,
            categories: None,
            from_target: BTreeSet::new(),
            from_pii: BTreeSet::new(),
        }
    }

    /// The same column under this name.
    pub fn named(&self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            dtype: self.dtype.clone(),
            role: self.role,
            categories: self.categories.clone(),
            from_target: self.from_target.clone(),
            from_pii: self.from_pii.clone(),
        }
    }

    /// With a role; a target or personal-data column starts its own lineage.
    pub fn with_role(mut self, role: Role) -> Self {
        self.role = role;
        match role {
            Role::Target => {
                self.from_target.insert(self.name.clone());
            }
            Role::Pii => {
                self.from_pii.insert(self.name.clone());
            }
            _ => {}
        }
        self
    }

    /// With its possible values.
    pub fn with_categories(mut self, categories: Vec<String>) -> Self {
        self.categories = Some(categories);
        self
    }

    /// Whether it stands for columns whose names only training will know: `channel=*` for `channel=web` and its like.
    ///
    /// `takt check` sees such a column where a fitted stage will make one for each value it learns; a run never does.
    pub fn is_open(&self) -> bool {
        self.name.ends_with("=*")
    }

    /// Whether it stands for that column, among others.
    pub fn stands_for(&self, name: &str) -> bool {
        self.is_open() && name.starts_with(self.name.trim_end_matches('*'))
    }

    /// Whether its values are numbers (integers, floats) or booleans, which models take as 0 and 1.
    pub fn is_numeric(&self) -> bool {
        self.dtype.is_primitive_numeric() || self.dtype == DataType::Boolean
    }

    /// For an array column, its shape and the type of its items: an image is `(height, width, channels)`.
    pub fn array(&self) -> Option<(Vec<usize>, DataType)> {
        let mut shape = Vec::new();
        let mut dtype = &self.dtype;
        while let DataType::Array(inner, width) = dtype {
            shape.push(*width);
            dtype = inner;
        }
        (!shape.is_empty()).then(|| (shape, dtype.clone()))
    }
}

/// What the stages above have established, besides columns.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts {
    /// The id of the stage that the rows come out of; empty before the planner has set it.
    pub stage: String,
    /// A `split.*` stage has labelled the rows with these parts.
    pub partitions: Vec<Partition>,
    /// The stage that gave the training part rows made from other training rows: what is learned on some of them does not
    /// leave out the answers of the others.
    pub multiplied_by: Option<String>,
    /// Training rows of some classes were added or left out: the training part does not tell how frequent classes are.
    pub is_balanced: bool,
    /// The target of the model above, once there is one.
    pub model_target: Option<String>,
    /// The model above was brought as it is and has learned from none of these rows.
    pub learned_elsewhere: bool,
    /// The class labels of the model above, where they are known before training.
    pub classes: Option<Vec<String>>,
    /// Only the rows tell the classes of the model above, and with them which columns it gives: no other reason makes the schema of
    /// its rows incomplete.
    pub lacks_classes_only: bool,
    /// Metrics that the evaluations above will produce.
    pub metrics: Vec<String>,
}

/// The columns of a frame, in order, and the facts known about it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Schema {
    /// The columns.
    pub columns: Vec<Column>,
    /// What the stages above have established.
    pub facts: Facts,
    /// A stage above was wrong, so that columns may be missing here: do not report unknown columns again.
    pub incomplete: bool,
}

impl Schema {
    /// A schema of these columns.
    pub fn new(columns: Vec<Column>) -> Self {
        Self {
            columns,
            ..Self::default()
        }
    }

    /// Every column of a polars schema, as features.
    pub fn from_polars(schema: &PolarsSchema) -> Self {
        Self::new(
            schema
                .iter()
                .map(|(name, dtype)| Column::new(name.as_str(), dtype.clone()))
                .collect(),
        )
    }

    /// Names and types only.
    pub fn to_polars(&self) -> PolarsSchema {
        self.columns
            .iter()
            .map(|column| (column.name.as_str().into(), column.dtype.clone()))
            .collect()
    }

    /// The column of that name, or the one that stands for it until training is done.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns
            .iter()
            .find(|column| column.name == name)
            .or_else(|| self.columns.iter().find(|column| column.stands_for(name)))
    }

    /// Whether a column of that name is there, or may turn out to be.
    pub fn may_have(&self, name: &str) -> bool {
        let may_come = || !self.facts.lacks_classes_only || classifier::is_of_classes(name);
        self.column(name).is_some() || (self.incomplete && may_come())
    }

    /// The names, where `channel=*` is replaced by the columns that training made in its place, each name once.
    ///
    /// Before training `channel=*` is a column itself and stays.
    pub fn expand<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Vec<String> {
        let mut expanded: Vec<String> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut add = |name: &str| {
            if seen.insert(name.to_owned()) {
                expanded.push(name.to_owned());
            }
        };
        for name in names {
            match name.strip_suffix('*') {
                Some(prefix)
                    if prefix.ends_with('=') && self.names().all(|known| known != name) =>
                {
                    self.names()
                        .filter(|known| known.starts_with(prefix))
                        .for_each(&mut add);
                }
                _ => add(name),
            }
        }
        expanded
    }

    /// The column of that name, to change.
    pub fn column_mut(&mut self, name: &str) -> Option<&mut Column> {
        self.columns.iter_mut().find(|column| column.name == name)
    }

    /// Column names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// Adds the column, or puts it in the place of the one with its name.
    pub fn set(&mut self, column: Column) {
        match self.column_mut(&column.name) {
            Some(existing) => *existing = column,
            None => self.columns.push(column),
        }
    }

    /// The columns with this role.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &Column> {
        self.columns
            .iter()
            .filter(move |column| column.role == role)
    }

    /// The target column, if exactly one is declared.
    pub fn target(&self) -> Option<&Column> {
        let mut targets = self.with_role(Role::Target);
        targets.next().filter(|_| targets.next().is_none())
    }

    /// "did you mean", for a name that is not a column here.
    pub fn suggestion(&self, name: &str) -> Option<String> {
        match crate::suggest::closest(name, self.names()) {
            Some(known) => {
                let dtype = self
                    .column(known)
                    .map(|column| type_name(&column.dtype))
                    .unwrap_or_default();
                Some(format!("did you mean `{known}` ({dtype})?"))
            }
            None => did_you_mean(name, self.names()),
        }
    }
}

/// A type's name as users write and read it: `i64`, `f64`, `text`, `bool`, `datetime`, `array[28, 28, 1] of u8`.
pub fn type_name(dtype: &DataType) -> String {
    match dtype {
        DataType::Boolean => "bool".into(),
        DataType::String => "text".into(),
        DataType::Binary => "bytes".into(),
        DataType::Date => "date".into(),
        DataType::Time => "time".into(),
        DataType::Datetime(TimeUnit::Microseconds, None) => "datetime".into(),
        DataType::Datetime(unit, None) => format!("datetime[{unit}]"),
        DataType::Datetime(_, Some(zone)) => format!("datetime[{zone}]"),
        DataType::Duration(_) => "duration".into(),
        DataType::Null => "null".into(),
        DataType::List(inner) => format!("list of {}", type_name(inner)),
        DataType::Array(..) => {
            let (shape, inner) = Column::new("", dtype.clone())
                .array()
                .unwrap_or((Vec::new(), DataType::Null));
            let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
            format!("array[{}] of {}", shape.join(", "), type_name(&inner))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_types_as_users_write_them() {
        let image = DataType::Array(
            Box::new(DataType::Array(
                Box::new(DataType::Array(Box::new(DataType::UInt8), 1)),
                28,
            )),
            28,
        );
        assert_eq!(type_name(&image), "array[28, 28, 1] of u8");
        assert_eq!(type_name(&DataType::Float64), "f64");
    }

    #[test]
    fn a_column_may_stand_for_several_until_training_names_them() {
        let schema = Schema::new(vec![
            Column::new("channel=*", DataType::UInt8),
            Column::new("kind", DataType::String),
        ]);
        assert_eq!(
            schema
                .column("channel=web")
                .map(|column| column.name.as_str()),
            Some("channel=*")
        );
        assert_eq!(schema.column("channel"), None);
        assert_eq!(schema.column("kind=a"), None);
    }

    #[test]
    fn training_names_the_columns_that_one_stood_for() {
        let before = Schema::new(vec![
            Column::new("amount", DataType::Float64),
            Column::new("channel=*", DataType::UInt8),
        ]);
        assert_eq!(
            before.expand(["channel=*", "amount"]),
            ["channel=*", "amount"]
        );
        let after = Schema::new(
            ["channel=web", "amount", "channel=shop"]
                .map(|name| Column::new(name, DataType::UInt8))
                .into(),
        );
        assert_eq!(
            after.expand(["channel=shop", "amount", "channel=*"]),
            ["channel=shop", "amount", "channel=web"]
        );
        assert_eq!(after.expand(["kind"]), ["kind"]);
    }

    #[test]
    fn one_target_or_none() {
        let schema = Schema::new(vec![
            Column::new("label", DataType::Int64).with_role(Role::Target),
        ]);
        assert_eq!(
            schema.target().map(|column| column.name.as_str()),
            Some("label")
        );
        assert!(
            schema
                .target()
                .is_some_and(|column| column.from_target.contains("label"))
        );
    }
}
