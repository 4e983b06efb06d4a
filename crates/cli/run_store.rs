//! The run store, from commands.

use taktline_store::{Address, RunStore};

use crate::project;

/// A runtime for what talks with the store: one thread, so that an idle scheduler costs next to nothing.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

/// Opens the project's store.
pub(crate) async fn open() -> anyhow::Result<RunStore> {
    let address = Address::of_project(&project::directory())?;
    Ok(RunStore::open(&address).await?)
}

/// The project's store, if there is one: it is not made.
pub(crate) async fn existing() -> anyhow::Result<Option<RunStore>> {
    let address = Address::of_project(&project::directory())?;
    match &address {
        Address::File(path) if !path.exists() => Ok(None),
        _ => Ok(Some(RunStore::open(&address).await?)),
    }
}

/// The project's store, to look at it.
pub(crate) async fn open_existing() -> anyhow::Result<RunStore> {
    match existing().await? {
        Some(store) => Ok(store),
        None => {
            let place = Address::of_project(&project::directory())?.place();
            match std::env::var_os("TAKT_STORE") {
                Some(named) if !named.is_empty() => {
                    anyhow::bail!("there is no run store {place}, which `TAKT_STORE` names")
                }
                _ => anyhow::bail!(
                    "there is no run store {place}: nothing has run in this directory yet"
                ),
            }
        }
    }
}

/// A moment as a person reads it: in this machine's zone, to the second.
pub(crate) fn local_time(milliseconds: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(milliseconds).unwrap_or_default();
    time.with_timezone(&chrono::Local)
        .format("%Y-%m-%d %H:%M:%S")
        .to_string()
}
