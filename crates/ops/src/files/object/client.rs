//! Talking to stores: every wait has an end.

use std::{
    future::Future,
    io,
    sync::{
        Arc, LazyLock,
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread,
    time::Duration,
};

use polars::prelude::{PolarsError, PolarsResult};
use tokio::runtime::{Builder, Handle};

use super::failure::Failure;

/// An answer of the store may take so long, its retries included.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// A piece of an object may take so long, over a slow line.
pub(super) const PATIENCE_WITH_PIECES: Duration = Duration::from_secs(180);
pub(super) fn store_error(error: impl std::error::Error + Send + Sync + 'static) -> PolarsError {
    PolarsError::IO {
        error: Arc::new(io::Error::other(error)),
        msg: None,
    }
}

/// What talks to stores, on a thread of its own: connections live on between questions.
static CLIENT: LazyLock<io::Result<Handle>> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name("object store".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
});

pub(super) fn start<T: Send + 'static>(
    question: impl Future<Output = PolarsResult<T>> + Send + 'static,
) -> Receiver<PolarsResult<T>> {
    let (sender, receiver) = sync_channel(1);
    match &*CLIENT {
        Ok(client) => {
            client.spawn(async move {
                // Nobody waits any more: the answer is not needed.
                let _ = sender.send(question.await);
            });
        }
        Err(error) => {
            let error = io::Error::new(error.kind(), error.to_string());
            let _ = sender.send(Err(error.into()));
        }
    }
    receiver
}

pub(super) const SLOW: &str = "no answer within";

pub(super) fn slow(patience: Duration) -> io::Error {
    io::Error::other(format!("{SLOW} {} seconds", patience.as_secs()))
}

pub(super) fn receive<T>(
    answer: &Receiver<PolarsResult<T>>,
    patience: Duration,
) -> Result<T, Failure> {
    match answer.recv_timeout(patience) {
        Ok(found) => found.map_err(Failure),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            Err(Failure(store_error(slow(patience))))
        }
    }
}

pub(super) fn wait<T: Send + 'static>(
    question: impl Future<Output = PolarsResult<T>> + Send + 'static,
) -> Result<T, Failure> {
    receive(&start(question), PATIENCE)
}

/// [`wait`], for a question with a piece of an object.
pub(super) fn wait_for_piece<T: Send + 'static>(
    question: impl Future<Output = PolarsResult<T>> + Send + 'static,
) -> Result<T, Failure> {
    receive(&start(question), PATIENCE_WITH_PIECES)
}
