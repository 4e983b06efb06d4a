//! `takt models`

use serde::Serialize;
use taktline_store::{Alias, Model, RunStore, now};

use super::runs::paired;
use crate::{
    args::{ModelsArguments, ModelsCommand},
    exit,
    output::{Align, BOLD, Output, Table, figure, styled},
    run_store::{self, local_time},
};

pub(crate) fn models(arguments: &ModelsArguments, output: &mut Output) -> anyhow::Result<u8> {
    let runtime = run_store::runtime()?;
    runtime.block_on(async {
        let store = run_store::open_existing().await?;
        match &arguments.command {
            ModelsCommand::List { name } => list(&store, name.as_deref(), output).await,
            ModelsCommand::Show { model } => show(&store, model, output).await,
            ModelsCommand::Promote {
                name,
                which,
                alias,
                because,
            } => {
                let model = store.model(name, which).await?;
                check_bundle(&model)?;
                let version = model.version;
                let why = because.as_deref().unwrap_or("promoted by hand");
                store.promote(name, version, alias, why, now()).await?;
                told(name, version, alias, "", output)
            }
            ModelsCommand::Rollback { name, alias } => {
                let before = store.version_before(name, alias).await?;
                check_bundle(&store.model(name, &before.to_string()).await?)?;
                let version = store.rollback(name, alias, now()).await?;
                told(name, version, alias, " again", output)
            }
            ModelsCommand::Diff {
                name,
                first,
                second,
            } => diff(&store, name, first, second, output).await,
        }
    })
}

/// A version whose files are gone can serve nobody.
fn check_bundle(model: &Model) -> anyhow::Result<()> {
    if std::path::Path::new(&model.place).is_dir() {
        return Ok(());
    }
    anyhow::bail!(
        "the bundle of `{}` version {} is not there any more: {}",
        model.name,
        model.version,
        model.place
    )
}

fn told(
    name: &str,
    version: i64,
    alias: &str,
    again: &str,
    output: &mut Output,
) -> anyhow::Result<u8> {
    match output.is_json() {
        true => {
            output.json(&serde_json::json!({"name": name, "version": version, "alias": alias}))?
        }
        false => output.line(format!("{name} {version} is `{alias}`{again}"))?,
    }
    Ok(exit::OK)
}

/// Metrics on rows that the model did not learn from.
fn held_out(model: &Model) -> Vec<(String, f64)> {
    model
        .metrics
        .iter()
        .filter(|metric| metric.is_held_out())
        .filter_map(|metric| Some((metric.full_name(), metric.value?)))
        .collect()
}

async fn list(store: &RunStore, name: Option<&str>, output: &mut Output) -> anyhow::Result<u8> {
    let models = store.models(name).await?;
    if output.is_json() {
        output.json(&models)?;
        return Ok(exit::OK);
    }
    if models.is_empty() {
        output.line("no models are registered; a run with `deploy.bundle` registers its bundle")?;
        return Ok(exit::OK);
    }
    let mut table = Table::new([
        ("model", Align::Left),
        ("version", Align::Right),
        ("called", Align::Left),
        ("registered", Align::Left),
        ("bundle", Align::Left),
        ("first metric", Align::Left),
    ]);
    for model in &models {
        let metric = held_out(model)
            .first()
            .map(|(name, value)| format!("{name} {}", figure(*value)));
        table.row([
            model.name.clone(),
            model.version.to_string(),
            model.aliases.join(", "),
            local_time(model.registered_at),
            model.bundle.clone(),
            metric.unwrap_or_default(),
        ]);
    }
    output.table(&table)?;
    Ok(exit::OK)
}

/// `card-fraud`, `card-fraud@3`, `card-fraud@production`.
fn named(text: &str) -> (&str, &str) {
    text.split_once('@').unwrap_or((text, "latest"))
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    model: Model,
    history: Vec<(String, Vec<Alias>)>,
}

async fn show(store: &RunStore, text: &str, output: &mut Output) -> anyhow::Result<u8> {
    let (name, version) = named(text);
    let model = store.model(name, version).await?;
    let mut history = Vec::new();
    for alias in &model.aliases {
        history.push((alias.clone(), store.alias_changes(name, alias).await?));
    }
    if output.is_json() {
        output.json(&Shown { model, history })?;
        return Ok(exit::OK);
    }
    output.line(format!("{} {}", styled(BOLD, &model.name), model.version))?;
    output.line(format!("bundle     {}", model.place))?;
    output.line(format!("registered {}", local_time(model.registered_at)))?;
    if let Some(run) = &model.run {
        output.line(format!("run        {run}"))?;
    }
    for (alias, changes) in &history {
        for change in changes {
            output.line(format!(
                "{alias:<10} version {} since {} ({})",
                change.version,
                local_time(change.at),
                change.why
            ))?;
        }
    }
    for (name, value) in held_out(&model) {
        output.line(format!("{name} {}", figure(value)))?;
    }
    Ok(exit::OK)
}

async fn diff(
    store: &RunStore,
    name: &str,
    first: &str,
    second: &str,
    output: &mut Output,
) -> anyhow::Result<u8> {
    let (first, second) = (
        store.model(name, first).await?,
        store.model(name, second).await?,
    );
    let pairs = paired(&held_out(&first), &held_out(&second));
    if output.is_json() {
        let metrics: Vec<_> = pairs
            .iter()
            .map(|(name, first, second)| serde_json::json!({"metric": name, "first": first, "second": second}))
            .collect();
        output.json(&serde_json::json!({"first": first, "second": second, "metrics": metrics}))?;
        return Ok(exit::OK);
    }
    output.line(format!(
        "{name}: version {} → {}",
        first.version, second.version
    ))?;
    let mut table = Table::new([
        ("metric", Align::Left),
        ("first", Align::Right),
        ("second", Align::Right),
        ("difference", Align::Right),
    ]);
    for (name, a, b) in pairs {
        let difference = a.zip(b).map(|(a, b)| format!("{:+.4}", b - a));
        table.row([
            name,
            a.map(figure).unwrap_or_default(),
            b.map(figure).unwrap_or_default(),
            difference.unwrap_or_default(),
        ]);
    }
    output.table(&table)?;
    Ok(exit::OK)
}
