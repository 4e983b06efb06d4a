//! The registry of stage kinds. A kind registers itself with [`register_kind!`](crate::register_kind).

use std::collections::BTreeMap;

use crate::{Stage, did_you_mean};

/// A registered kind: what `takt stages` prints, what `takt schema` emits, how params become a stage.
pub struct Kind {
    /// Its dotted name: `clean.drop_nulls`.
    pub name: &'static str,
    /// Raised when the same params would give another result; part of cache keys.
    pub version: u32,
    /// A stage as a user would write it: YAML of one list item, `- clean.drop_nulls: {columns: [amount]}`.
    pub example: &'static str,
    /// The params' JSON Schema; its description is the kind's.
    pub params: fn() -> schemars::Schema,
    /// Params to stage. The params have already been held against the schema.
    pub parse: fn(&serde_yaml::Value) -> Result<Box<dyn Stage>, serde_yaml::Error>,
}

inventory::collect!(Kind);

impl Kind {
    /// One line: what it does. The first paragraph of the params' docs.
    pub fn about(&self) -> String {
        let description = self.description();
        description
            .split("\n\n")
            .next()
            .unwrap_or_default()
            .replace('\n', " ")
    }

    /// The whole description.
    pub fn description(&self) -> String {
        (self.params)()
            .get("description")
            .and_then(|text| text.as_str())
            .unwrap_or_default()
            .to_owned()
    }

    /// The last word of its name: the default id of a stage.
    pub fn last_word(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// The first word of its name: `source`, `clean`, `model`.
    pub fn family(&self) -> &'static str {
        self.name.split('.').next().unwrap_or(self.name)
    }
}

/// All kinds that are linked in.
pub struct Registry {
    kinds: BTreeMap<&'static str, &'static Kind>,
}

impl Registry {
    /// Every registered kind.
    ///
    /// # Errors
    /// The name of a kind that is registered twice.
    pub fn collect() -> Result<Self, String> {
        let mut kinds = BTreeMap::new();
        for kind in inventory::iter::<Kind> {
            if kinds.insert(kind.name, kind).is_some() {
                return Err(format!(
                    "the stage kind `{}` is registered twice",
                    kind.name
                ));
            }
        }
        Ok(Self { kinds })
    }

    /// The kind of that name.
    pub fn get(&self, name: &str) -> Option<&'static Kind> {
        self.kinds.get(name).copied()
    }

    /// "did you mean", for a name that is no kind.
    pub fn suggestion(&self, name: &str) -> Option<String> {
        did_you_mean(name, self.kinds.keys().copied())
    }

    /// All kinds, by name.
    pub fn iter(&self) -> impl Iterator<Item = &'static Kind> {
        self.kinds.values().copied()
    }
}

/// Registers a params struct as a stage kind.
///
/// The struct is the stage: it derives `Deserialize` (with `deny_unknown_fields`) and `JsonSchema`, its doc comments are
/// what `takt stages` prints, and it implements [`Stage`](crate::Stage).
///
/// ```text
/// taktline_core::register_kind! {
///     DropNulls, "clean.drop_nulls", version: 1,
///     example: "- clean.drop_nulls: {columns: [amount]}",
/// }
/// ```
#[macro_export]
macro_rules! register_kind {
    ($params:ty, $name:literal, version: $version:literal, example: $example:expr $(,)?) => {
        $crate::inventory::submit! {
            $crate::Kind {
                name: $name,
                version: $version,
                example: $example,
                params: || $crate::schemars::schema_for!($params),
                parse: |params| {
                    // Variants with settings are maps with one key (`conv: {…}`), not YAML tags (`!conv {…}`).
                    $crate::serde_yaml::with::singleton_map_recursive::deserialize::<$params, _>(params)
                        .map(|stage| Box::new(stage) as Box<dyn $crate::Stage>)
                },
            }
        }
    };
}
