//! `takt gc`

use std::{collections::BTreeSet, path::PathBuf};

use serde::Serialize;
use taktline_engine::{CollectOptions, Collected, Collection, Store, collect};
use taktline_store::{Model, now};

use crate::{
    args::GcArguments,
    exit,
    output::{FAINT, Output, bytes, counted, styled},
    project, run_store,
};

#[derive(Serialize)]
struct Report {
    status: &'static str,
    #[serde(flatten)]
    collection: Collection,
    /// Runs that the run store forgets.
    forgotten_runs: u64,
}

pub(crate) fn gc(arguments: &GcArguments, output: &mut Output) -> anyhow::Result<u8> {
    let store = Store::new(&project::directory());
    let options = CollectOptions {
        named: match arguments.keep_bundles {
            Some(_) => named_bundles()?,
            None => BTreeSet::new(),
        },
        max_size: arguments.max_size,
        max_age: Some(arguments.max_age),
        keep_runs: arguments.keep_runs,
        keep_bundles: arguments.keep_bundles,
        dry_run: arguments.dry_run,
    };
    let collection = collect(&store, &options)?;
    let forgotten_runs = forget(arguments)?;
    if output.is_json() {
        output.json(&Report {
            status: "finished",
            collection,
            forgotten_runs,
        })?;
    } else {
        text(&collection, output)?;
        if forgotten_runs > 0 {
            let verb = if arguments.dry_run {
                "would forget"
            } else {
                "forgets"
            };
            let runs = counted(forgotten_runs as usize, "run");
            output.line(format!("the run store {verb} {runs}"))?;
        }
    }
    Ok(exit::OK)
}

/// The bundles of versions that an alias names, and of the one before it, for a rollback.
fn named_bundles() -> anyhow::Result<BTreeSet<PathBuf>> {
    let runtime = run_store::runtime()?;
    runtime.block_on(async {
        let Some(store) = run_store::existing().await? else {
            return Ok(BTreeSet::new());
        };
        let models = store.models(None).await?;
        let mut named = BTreeSet::new();
        for model in &models {
            for alias in &model.aliases {
                let changes = store.alias_changes(&model.name, alias).await?;
                let versions: BTreeSet<i64> = changes
                    .iter()
                    .rev()
                    .take(2)
                    .map(|change| change.version)
                    .collect();
                let of_alias =
                    |one: &&Model| one.name == model.name && versions.contains(&one.version);
                for kept in models.iter().filter(of_alias) {
                    // Gone already, if it cannot be found.
                    named.extend(PathBuf::from(&kept.place).canonicalize());
                }
            }
        }
        store.close().await;
        Ok(named)
    })
}

/// Lets the run store forget runs that are older than what is kept on disk; one that does not exist is not made.
fn forget(arguments: &GcArguments) -> anyhow::Result<u64> {
    let runtime = run_store::runtime()?;
    runtime.block_on(async {
        let Some(store) = run_store::existing().await? else {
            return Ok(0);
        };
        let before = now() - arguments.max_age.as_millis() as i64;
        let forgotten = store.forget_runs(before, arguments.dry_run).await?;
        store.close().await;
        Ok(forgotten)
    })
}

fn text(collection: &Collection, output: &mut Output) -> anyhow::Result<()> {
    for removed in &collection.removed {
        output.line(format!(
            "{} {}",
            removed.path.display(),
            styled(
                FAINT,
                format!("({}; {})", bytes(removed.bytes), removed.why)
            )
        ))?;
    }
    let kinds = [
        (Collected::CacheEntry, "cache entry", "cache entries"),
        (Collected::FetchedRows, "fetched part", "fetched parts"),
        (Collected::Checkpoint, "checkpoint", "checkpoints"),
        (Collected::Run, "run", "runs"),
        (Collected::Bundle, "bundle", "bundles"),
        (Collected::Leftover, "leftover", "leftovers"),
    ];
    let parts: Vec<String> = kinds
        .into_iter()
        .filter_map(|(what, one, several)| {
            let of_kind = || collection.removed.iter().filter(|one| one.what == what);
            let number = of_kind().count();
            let size: u64 = of_kind().map(|one| one.bytes).sum();
            let noun = if number == 1 { one } else { several };
            (number > 0).then(|| format!("{number} {noun} ({})", bytes(size)))
        })
        .collect();
    let verb = if collection.dry_run {
        "would remove"
    } else {
        "removed"
    };
    let what = if parts.is_empty() {
        "nothing".to_owned()
    } else {
        parts.join(", ")
    };
    output.line(format!("{verb} {what}"))?;
    let kept = if collection.dry_run {
        "would keep"
    } else {
        "kept"
    };
    output.line(format!("{kept} {}", bytes(collection.kept_bytes)))?;
    if !collection.running.is_empty() {
        output.note(format!(
            "{} at work: what it uses, fetched rows and bundles stay",
            counted(collection.running.len(), "run")
        ));
    }
    Ok(())
}
