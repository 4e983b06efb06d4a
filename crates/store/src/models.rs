//! The model registry: versions of a name, and aliases (`production`) that say which version counts.

use serde::Serialize;
use sqlx::{Any, Transaction, any::AnyRow};

use crate::{
    Error, Metric, Promotion, Result, RunStore,
    database::{cell, json_cell, json_text},
};

/// A version of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Model {
    /// The model's name.
    pub name: String,
    /// Counted from 1.
    pub version: i64,
    /// The bundle's id: the hash of its content.
    pub bundle: String,
    /// The bundle's folder.
    pub place: String,
    /// The run that made it.
    pub run: Option<String>,
    /// When it was registered.
    #[serde(serialize_with = "crate::times::time")]
    pub registered_at: i64,
    /// What it reached in that run.
    pub metrics: Vec<Metric>,
    /// The aliases that name it.
    pub aliases: Vec<String>,
}

/// A change of an alias.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alias {
    /// The version that it has named since.
    pub version: i64,
    /// Since when.
    #[serde(serialize_with = "crate::times::time")]
    pub at: i64,
    /// Why.
    pub why: String,
}

const COLUMNS: &str = "name, version, bundle, place, run, registered_at, metrics";

impl RunStore {
    /// Registers a bundle as the next version of a name; one that is registered already keeps its version. `model.version` and
    /// `model.aliases` are not looked at. Answers the version.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn register(&self, model: &Model) -> Result<i64> {
        let mut transaction = self.exclusive().await?;
        let version = self.write_model(&mut transaction, model).await?;
        self.commit(transaction).await?;
        Ok(version)
    }

    pub(crate) async fn write_model(
        &self,
        transaction: &mut Transaction<'static, Any>,
        model: &Model,
    ) -> Result<i64> {
        let known = sqlx::query("SELECT version FROM models WHERE name = $1 AND bundle = $2")
            .bind(model.name.clone())
            .bind(model.bundle.clone())
            .fetch_optional(&mut **transaction)
            .await
            .map_err(self.unread())?;
        if let Some(known) = known {
            return cell(&known, "version");
        }
        let row = sqlx::query(
            "SELECT COALESCE(MAX(version), 0) + 1 AS version FROM models WHERE name = $1",
        )
        .bind(model.name.clone())
        .fetch_one(&mut **transaction)
        .await
        .map_err(self.unread())?;
        let version: i64 = cell(&row, "version")?;
        sqlx::query("INSERT INTO models (name, version, bundle, place, run, registered_at, metrics) VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind(model.name.clone())
            .bind(version)
            .bind(model.bundle.clone())
            .bind(model.place.clone())
            .bind(model.run.clone())
            .bind(model.registered_at)
            .bind(json_text("metrics", &model.metrics)?)
            .execute(&mut **transaction)
            .await
            .map_err(self.unwritten())?;
        Ok(version)
    }

    /// Versions, the newest of each name first; of one name, or of all.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn models(&self, name: Option<&str>) -> Result<Vec<Model>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM models WHERE $1 = '' OR name = $1 ORDER BY name, version DESC"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(name.unwrap_or_default().to_owned())
            .fetch_all(&self.pool)
            .await
            .map_err(self.unread())?;
        let mut models = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
        let rows =
            sqlx::query("SELECT name, alias, version FROM model_aliases ORDER BY name, alias")
                .fetch_all(&self.pool)
                .await
                .map_err(self.unread())?;
        for row in &rows {
            let (name, version): (String, i64) = (cell(row, "name")?, cell(row, "version")?);
            let named = models
                .iter_mut()
                .find(|model| model.name == name && model.version == version);
            if let Some(model) = named {
                model.aliases.push(cell(row, "alias")?);
            }
        }
        Ok(models)
    }

    /// The version of that number, of that alias, or `latest`.
    ///
    /// # Errors
    /// There is none.
    pub async fn model(&self, name: &str, version: &str) -> Result<Model> {
        let models = self.models(Some(name)).await?;
        if models.is_empty() {
            return Err(Error::NotFound(format!(
                "no model `{name}` is registered; `takt models list` shows those that are"
            )));
        }
        let number = version
            .strip_prefix('v')
            .unwrap_or(version)
            .parse::<i64>()
            .ok();
        let wanted = |model: &&Model| match number {
            Some(number) => model.version == number,
            None => model.aliases.iter().any(|alias| alias == version),
        };
        if version == "latest"
            && !models
                .iter()
                .any(|model| model.aliases.iter().any(|alias| alias == "latest"))
        {
            return Ok(models[0].clone());
        }
        models.iter().find(wanted).cloned().ok_or_else(|| {
            let newest = models[0].version;
            Error::NotFound(match number {
                Some(_) => format!("the model `{name}` has no version {version}; its newest is {newest}"),
                None => format!(
                    "no version of the model `{name}` is called `{version}`; `takt models promote {name} {newest} --alias {version}` would call its newest so"
                ),
            })
        })
    }

    /// Lets an alias name a version.
    ///
    /// # Errors
    /// There is no such version, or the alias names it already.
    pub async fn promote(
        &self,
        name: &str,
        version: i64,
        alias: &str,
        why: &str,
        now: i64,
    ) -> Result<()> {
        check_alias(alias)?;
        let mut transaction = self.exclusive().await?;
        self.point(&mut transaction, name, version, alias, why, now)
            .await?;
        self.commit(transaction).await
    }

    /// Lets an alias name a version that a run made, unless it does so already, or must not: somebody rolled back from this version, or
    /// another version has come to be called so than the one that it was compared with. Answers why not.
    pub(crate) async fn point_anew(
        &self,
        transaction: &mut Transaction<'static, Any>,
        name: &str,
        version: i64,
        Promotion {
            alias,
            compared,
            over,
        }: &Promotion,
        why: &str,
        now: i64,
    ) -> Result<Option<String>> {
        check_alias(alias)?;
        let known = sqlx::query("SELECT version FROM model_aliases WHERE name = $1 AND alias = $2")
            .bind(name.to_owned())
            .bind(alias.clone())
            .fetch_optional(&mut **transaction)
            .await
            .map_err(self.unread())?;
        let current = known.map(|row| cell::<i64>(&row, "version")).transpose()?;
        if current == Some(version) {
            return Ok(None);
        }
        if *compared && current != *over {
            let current = current.map_or("no version".to_owned(), |one| format!("version {one}"));
            let over = over.map_or("none".to_owned(), |one| format!("version {one}"));
            return Ok(Some(format!(
                "version {version} is not promoted: meanwhile {current} is called `{alias}`, and it was compared with {over}"
            )));
        }
        let left = sqlx::query("SELECT number FROM model_alias_changes WHERE name = $1 AND alias = $2 AND why = $3 AND number > (SELECT MAX(number) FROM model_alias_changes WHERE name = $1 AND alias = $2 AND version = $4)")
            .bind(name.to_owned())
            .bind(alias.clone())
            .bind(rolled_back_from(version))
            .bind(version)
            .fetch_optional(&mut **transaction)
            .await
            .map_err(self.unread())?;
        if left.is_some() {
            return Ok(Some(format!(
                "version {version} is not promoted: somebody rolled back from it; `takt models promote {name} {version}` brings it back"
            )));
        }
        self.point(transaction, name, version, alias, why, now)
            .await?;
        Ok(None)
    }

    async fn point(
        &self,
        transaction: &mut Transaction<'static, Any>,
        name: &str,
        version: i64,
        alias: &str,
        why: &str,
        now: i64,
    ) -> Result<()> {
        let known = sqlx::query("SELECT version FROM models WHERE name = $1 AND version = $2")
            .bind(name.to_owned())
            .bind(version)
            .fetch_optional(&mut **transaction)
            .await
            .map_err(self.unread())?;
        if known.is_none() {
            return Err(Error::NotFound(format!(
                "the model `{name}` has no version {version}"
            )));
        }
        sqlx::query("INSERT INTO model_aliases (name, alias, version, since) VALUES ($1, $2, $3, $4) ON CONFLICT (name, alias) DO UPDATE SET version = $3, since = $4")
            .bind(name.to_owned())
            .bind(alias.to_owned())
            .bind(version)
            .bind(now)
            .execute(&mut **transaction)
            .await
            .map_err(self.unwritten())?;
        sqlx::query("INSERT INTO model_alias_changes (name, alias, number, version, at, why) SELECT $1, $2, COALESCE(MAX(number), 0) + 1, $3, $4, $5 FROM model_alias_changes WHERE name = $1 AND alias = $2")
            .bind(name.to_owned())
            .bind(alias.to_owned())
            .bind(version)
            .bind(now)
            .bind(why.to_owned())
            .execute(&mut **transaction)
            .await
            .map_err(self.unwritten())?;
        Ok(())
    }

    /// Lets an alias name the version that it named before; that version.
    ///
    /// # Errors
    /// It has named no other.
    pub async fn rollback(&self, name: &str, alias: &str, now: i64) -> Result<i64> {
        let (current, before) = self.current_and_before(name, alias).await?;
        let mut transaction = self.exclusive().await?;
        let why = rolled_back_from(current);
        self.point(&mut transaction, name, before, alias, &why, now)
            .await?;
        self.commit(transaction).await?;
        Ok(before)
    }

    /// The version that an alias would go back to.
    ///
    /// # Errors
    /// It has named no other.
    pub async fn version_before(&self, name: &str, alias: &str) -> Result<i64> {
        let (_, before) = self.current_and_before(name, alias).await?;
        Ok(before)
    }

    async fn current_and_before(&self, name: &str, alias: &str) -> Result<(i64, i64)> {
        // A name that nobody has is told first.
        self.model(name, "latest").await?;
        let changes = self.alias_changes(name, alias).await?;
        let current = changes.last().ok_or_else(|| {
            Error::NotFound(format!(
                "no version of the model `{name}` is called `{alias}`"
            ))
        })?;
        // A rollback is a change itself: going back twice goes back two versions, not there and back again.
        let mut trail: Vec<i64> = Vec::new();
        for change in &changes {
            match change.why.starts_with(ROLLED_BACK) {
                true => {
                    trail.pop();
                }
                false => trail.push(change.version),
            }
        }
        trail.pop();
        match trail.last() {
            Some(before) => Ok((current.version, *before)),
            None => Err(Error::Refused(format!(
                "`{alias}` of the model `{name}` has named no version before {}",
                current.version
            ))),
        }
    }

    /// Every change of an alias, the first first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn alias_changes(&self, name: &str, alias: &str) -> Result<Vec<Alias>> {
        let query = sqlx::query("SELECT version, at, why FROM model_alias_changes WHERE name = $1 AND alias = $2 ORDER BY number")
            .bind(name.to_owned())
            .bind(alias.to_owned());
        self.all(query, |row| {
            Ok(Alias {
                version: cell(row, "version")?,
                at: cell(row, "at")?,
                why: cell(row, "why")?,
            })
        })
        .await
    }
}

/// Refuses what cannot be told from a version's number, or from `latest`.
fn check_alias(alias: &str) -> Result<()> {
    let is_word = alias.starts_with(|first: char| first.is_ascii_alphabetic());
    let number = alias.strip_prefix('v').map(str::parse::<i64>);
    if alias == "latest" || !is_word || matches!(number, Some(Ok(_))) {
        return Err(Error::Refused(format!(
            "`{alias}` cannot be an alias; write a word that begins with a letter, such as `production`"
        )));
    }
    Ok(())
}

/// How the reason of a rollback begins.
const ROLLED_BACK: &str = "rolled back";

fn rolled_back_from(version: i64) -> String {
    format!("{ROLLED_BACK} from version {version}")
}

fn read(row: &AnyRow) -> Result<Model> {
    Ok(Model {
        name: cell(row, "name")?,
        version: cell(row, "version")?,
        bundle: cell(row, "bundle")?,
        place: cell(row, "place")?,
        run: cell(row, "run")?,
        registered_at: cell(row, "registered_at")?,
        metrics: json_cell(row, "metrics")?,
        aliases: Vec::new(),
    })
}
