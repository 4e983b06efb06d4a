//! What can go wrong with scheduling.

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with scheduling.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The run store.
    #[error(transparent)]
    Store(#[from] taktline_store::Error),
    /// The address for metrics cannot be listened at.
    #[error("cannot listen at `{address}`: {source}")]
    Listen {
        /// Where.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// What was asked for cannot be done.
    #[error("{0}")]
    Refused(String),
}
