//! What a store's failures are in words, without keys and signatures.

use polars::prelude::PolarsError;

use super::{
    client::SLOW,
    storage::{Service, Storage},
};
use crate::files::FileProblem;

/// Why the store gave no answer that helps.
pub(super) struct Failure(pub(super) PolarsError);

impl From<PolarsError> for Failure {
    fn from(error: PolarsError) -> Self {
        Self(error)
    }
}

/// What kind of failure it is, for words and help.
pub(super) enum Reason {
    Missing,
    Refused,
    NoCredentials,
    Unreached,
    Other,
}

impl Failure {
    pub(super) fn text(&self) -> String {
        self.0.to_string()
    }

    /// From what the store and the client said: their types are not ours to look at.
    pub(super) fn reason(&self) -> Reason {
        let text = self.text();
        let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
        if has(&[SLOW]) {
            Reason::Unreached
        } else if has(&[
            "169.254.",
            "metadata.google.internal",
            "Account must be specified",
            "NoCredential",
            "service account",
            "ServiceAccount",
            "pem file",
        ]) {
            Reason::NoCredentials
        } else if has(&["not found", "404 Not Found", "NoSuchKey", "NoSuchBucket"]) {
            Reason::Missing
        } else if has(&[
            // Not the bare numbers: an error tells how many microseconds it took, too.
            "Unauthorized",
            "credentials",
            "privileges",
            "Forbidden",
            "AccessDenied",
            "InvalidAccessKeyId",
            "Access Key",
            "SignatureDoesNotMatch",
        ]) {
            Reason::Refused
        } else if has(&[
            "error sending request",
            "Connect",
            "connect",
            "dns error",
            "timed out",
            "builder error",
        ]) {
            Reason::Unreached
        } else {
            Reason::Other
        }
    }
}

pub(super) fn told(failure: &Failure, service: Service, storage: &Storage) -> FileProblem {
    let text = storage.hide(&reached(&failure.text()));
    match failure.reason() {
        Reason::Missing => {
            FileProblem::new("missing-file", "does not exist").label("no such object")
        }
        Reason::Refused => FileProblem::new(
            "store-refused",
            "cannot be reached: the store refuses these credentials",
        )
        .label("not allowed")
        .help(service.credentials())
        .note(text),
        Reason::NoCredentials => {
            FileProblem::new("store-refused", "cannot be reached: no credentials were found that can be read")
                .label("who asks is not known")
                .help(service.credentials())
                .note(text)
        }
        Reason::Unreached => {
            FileProblem::new("store-unreached", "cannot be reached: the store does not answer")
                .label("no answer")
                .help("look at the network, and at `storage: {endpoint: …}` if the store is not the cloud's own")
                .note(text)
        }
        Reason::Other => FileProblem::new("store-failed", format!("cannot be reached: {text}"))
            .label("the store says no"),
    }
}

/// The end of what the client says: its first lines are about itself, and addresses may hold signatures.
pub(super) fn reached(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut clean = String::new();
    for word in line.split(' ') {
        let word = match word.split_once('?') {
            Some((address, _)) if address.contains("://") => address,
            _ => word,
        };
        if !clean.is_empty() {
            clean.push(' ');
        }
        clean.push_str(word);
    }
    const LONGEST: usize = 300;
    match clean.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &clean[..end]),
        None => clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_signatures() {
        let text =
            reached("Generic  error:\n performing GET https://a.blob/c/k?sig=abc&se=1 in 3s");
        assert_eq!(
            text,
            "Generic error: performing GET https://a.blob/c/k in 3s"
        );
    }
}
