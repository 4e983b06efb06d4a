//! Objects in S3 and stores that speak its language, Google Cloud Storage and Azure Blob Storage.
//!
//! Tables in columns (Parquet, Arrow IPC) are scanned where they are, so that a query fetches only what it needs; everything
//! else is read here, in pieces. Every wait has an end, and no message holds a key.

mod client;
mod failure;
mod storage;

use std::{
    io::{self, Read},
    sync::mpsc::Receiver,
};

use futures_util::TryStreamExt;
use polars::{
    io::cloud::{
        CloudOptions, ObjectStorePath, PolarsObjectStore, build_object_store,
        concurrency_config::{ConcurrencyStrategy, FetchConfig},
    },
    prelude::{CloudScheme, PlRefPath, PolarsResult},
};
use tokio::time::timeout;

pub(crate) use storage::Storage;

use self::{
    client::{
        PATIENCE, PATIENCE_WITH_PIECES, receive, slow, start, store_error, wait, wait_for_piece,
    },
    failure::{Failure, Reason, reached, told},
    storage::Service,
};
use super::{
    FileProblem,
    pattern::{Pattern, is_hidden, sort_by_name},
};

/// What is read at once: little at first, for those who only look at the start.
const FIRST_PIECE: u64 = 1 << 18;
const LARGEST_PIECE: u64 = 1 << 24;
/// Objects up to this size are written in one request.
const PART: usize = 1 << 23;

/// The scheme of an address in an object store.
pub(crate) fn scheme(path: &str) -> Option<CloudScheme> {
    if !path.contains("://") {
        return None;
    }
    CloudScheme::from_path(path).filter(|scheme| {
        !matches!(
            scheme,
            CloudScheme::File
                | CloudScheme::FileNoHostname
                | CloudScheme::Http
                | CloudScheme::Https
                | CloudScheme::Hf
                | CloudScheme::Ext(_)
        )
    })
}

/// What is wrong with an address that no store is behind: `https://…`, `ftp://…`.
pub(crate) fn unknown_scheme(path: &str) -> Option<FileProblem> {
    let (name, _) = path.split_once("://")?;
    let is_scheme = !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric());
    (is_scheme && scheme(path).is_none()).then(|| {
        FileProblem::new(
            "unknown-address",
            format!("is an address that takt does not read from or write to (`{name}`)"),
        )
        .label("no object store and no file")
        .help("known: `s3://`, `gs://` and `az://`; fetch it into a file first")
    })
}

/// An object, as it was when it was looked up.
#[derive(Clone)]
pub(crate) struct Object {
    /// Its address: `s3://bucket/folder/name`.
    pub(crate) url: String,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// What changes when its content does.
    pub(crate) tag: String,
    /// How polars reaches it.
    pub(crate) options: CloudOptions,
    path: ObjectStorePath,
    store: PolarsObjectStore,
}

impl std::fmt::Debug for Object {
    /// Options hold keys.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Object")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// A bucket of a store, opened.
struct Bucket {
    /// `s3://bucket`
    address: String,
    service: Service,
    store: PolarsObjectStore,
    options: CloudOptions,
    storage: Storage,
}

/// The objects that an address means: one, those that fit its wildcards, or all below a folder (`s3://bucket/folder/`) whose names
/// end so. In name order; never none.
pub(crate) fn find(
    written: &str,
    endings: &[&str],
    storage: Option<&Storage>,
) -> Result<Vec<Object>, FileProblem> {
    let (bucket, key) = Bucket::open(written, storage)?;
    let object = |(path, meta): (String, Meta)| Object {
        url: format!("{}/{path}", bucket.address),
        size: meta.size,
        tag: meta.tag,
        options: bucket.options.clone(),
        path: meta.path,
        store: bucket.store.clone(),
    };
    let pattern = Pattern::of(&key);
    if pattern.is_none() && !key.is_empty() && !key.ends_with('/') {
        return match bucket.head(&key) {
            Ok(meta) => Ok(vec![object((key, meta))]),
            Err(failure) => Err(bucket.told(failure, &key)),
        };
    }
    let folder = match &pattern {
        Some(pattern) => pattern.fixed(),
        None => key.trim_end_matches('/').to_owned(),
    };
    let listed = bucket
        .list(&folder)
        .map_err(|failure| bucket.told(failure, &key))?;
    let count = listed.len();
    let mut named: Vec<(String, Meta)> = listed
        .into_iter()
        .map(|meta| (meta.path.to_string(), meta))
        .filter(|(path, _)| match &pattern {
            Some(pattern) => pattern.matches(path),
            None => {
                let below = path.strip_prefix(folder.as_str()).unwrap_or(path);
                !is_hidden(below) && endings.iter().any(|ending| below.ends_with(ending))
            }
        })
        .collect();
    if named.is_empty() {
        let below = format!("{}/{folder}", bucket.address);
        return Err(FileProblem::new("missing-file", "means no object")
            .label("nothing there")
            .note(match count {
                0 => format!("no objects below `{below}`"),
                1 => format!("one object below `{below}`, which does not fit"),
                _ => format!("{count} objects below `{below}`, none that fits"),
            }));
    }
    let mut order: Vec<String> = named.iter().map(|(path, _)| path.clone()).collect();
    sort_by_name(&mut order);
    named.sort_by_key(|(path, _)| order.iter().position(|name| name == path));
    Ok(named.into_iter().map(object).collect())
}

/// Writes the file as an object; it appears when all of it is there.
pub(crate) fn upload(
    written: &str,
    storage: Option<&Storage>,
    mut content: impl Read,
) -> Result<(), FileProblem> {
    let (bucket, key) = Bucket::open(written, storage)?;
    let unreadable = |error: io::Error| FileProblem::new("unreadable-file", error.to_string());
    let piece = |content: &mut dyn Read| -> Result<Vec<u8>, FileProblem> {
        let mut bytes = Vec::new();
        content
            .take(PART as u64)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        Ok(bytes)
    };
    let path = ObjectStorePath::from(key.as_str());
    let first = piece(&mut content)?;
    let store = bucket.store.clone();
    if first.len() < PART {
        let sent = wait_for_piece(async move {
            let store = store.to_dyn_object_store().await.into_owned();
            store
                .put_opts(&path, first.into(), Default::default())
                .await
                .map(|_| ())
                .map_err(store_error)
        });
        return sent.map_err(|failure| bucket.told(failure, &key));
    }
    let begun = wait(async move {
        let store = store.to_dyn_object_store().await.into_owned();
        store
            .put_multipart_opts(&path, Default::default())
            .await
            .map_err(store_error)
    });
    let mut upload = begun.map_err(|failure| bucket.told(failure, &key))?;
    let mut next = first;
    while !next.is_empty() {
        let part = upload.put_part(next.into());
        if let Err(failure) = wait_for_piece(async move { part.await.map_err(store_error) }) {
            let _ = wait(async move { upload.abort().await.map_err(store_error) });
            return Err(bucket.told(failure, &key));
        }
        next = piece(&mut content)?;
    }
    let done =
        wait_for_piece(async move { upload.complete().await.map(|_| ()).map_err(store_error) });
    done.map_err(|failure| bucket.told(failure, &key))
}

/// Why no object can have this address, as far as that can be told without asking the store.
pub(crate) fn unwritable_address(written: &str) -> Option<FileProblem> {
    let (_, rest) = written.split_once("://")?;
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() || key.is_empty() || key.ends_with('/') {
        return Some(FileProblem::new("bad-path", "is a folder").label("needs an object's name"));
    }
    None
}

/// An object's key in its bucket, size and tag.
struct Meta {
    path: ObjectStorePath,
    size: u64,
    tag: String,
}

impl Bucket {
    /// The bucket of an address, and the key in it.
    fn open(written: &str, storage: Option<&Storage>) -> Result<(Self, String), FileProblem> {
        let Some(scheme) = scheme(written) else {
            return Err(FileProblem::new(
                "unknown-address",
                "is no object's address",
            ));
        };
        let storage = storage.cloned().unwrap_or_default();
        let service = Service::of(scheme);
        let (_, rest) = written.split_once("://").unwrap_or_default();
        let (name, key) = rest.split_once('/').unwrap_or((rest, ""));
        let address = format!("{}://{name}", scheme.as_str());
        let opened = storage
            .options(scheme)
            .map_err(Failure::from)
            .and_then(|options| {
                let url = PlRefPath::new(format!("{address}/{key}"));
                let own = options.clone();
                let store = wait(async move {
                    build_object_store(url, Some(&own), false)
                        .await
                        .map(|(_, store)| store)
                })?;
                Ok((options, store))
            });
        match opened {
            Ok((options, store)) => {
                let bucket = Self {
                    address,
                    service,
                    store,
                    options,
                    storage,
                };
                Ok((bucket, key.to_owned()))
            }
            Err(failure) => Err(told(&failure, service, &storage)),
        }
    }

    fn head(&self, key: &str) -> Result<Meta, Failure> {
        let (store, path) = (self.store.clone(), ObjectStorePath::from(key));
        wait(async move {
            let found = store.head(&path, ConcurrencyStrategy::Legacy).await?;
            Ok(Meta {
                tag: found
                    .e_tag
                    .unwrap_or_else(|| found.last_modified.to_rfc3339()),
                size: found.size,
                path: found.location,
            })
        })
    }

    fn list(&self, folder: &str) -> Result<Vec<Meta>, Failure> {
        let (store, folder) = (self.store.clone(), ObjectStorePath::from(folder));
        let listing = start(async move {
            let store = store.to_dyn_object_store().await.into_owned();
            let mut pages = store.list(Some(&folder));
            let mut listed = Vec::new();
            // Many pages may take long; each may not.
            while let Some(found) = timeout(PATIENCE, pages.try_next())
                .await
                .map_err(|_| store_error(slow(PATIENCE)))?
                .map_err(store_error)?
            {
                listed.push(Meta {
                    tag: found
                        .e_tag
                        .unwrap_or_else(|| found.last_modified.to_rfc3339()),
                    size: found.size,
                    path: found.location,
                });
            }
            Ok(listed)
        });
        listing
            .recv()
            .unwrap_or_else(|_| Err(store_error(slow(PATIENCE))))
            .map_err(Failure)
    }

    /// What went wrong, in words. An object that is not there may lack its bucket too, which only a second question tells.
    fn told(&self, failure: Failure, key: &str) -> FileProblem {
        if !matches!(failure.reason(), Reason::Missing) || key.is_empty() {
            return told(&failure, self.service, &self.storage);
        }
        let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
        match self.list(folder) {
            Ok(listed) => {
                let names: Vec<String> = listed.iter().map(|meta| meta.path.to_string()).collect();
                FileProblem::new("missing-file", "does not exist")
                    .label("no such object")
                    .help_if(
                        taktline_core::closest(key, names.iter().map(String::as_str))
                            .map(|name| format!("did you mean `{}/{name}`?", self.address)),
                    )
            }
            Err(other) if matches!(other.reason(), Reason::Missing) => FileProblem::new(
                "missing-file",
                format!(
                    "does not exist: there is no {} `{}`",
                    self.service.bucket(),
                    self.address
                ),
            )
            .label(format!("no such {}", self.service.bucket())),
            // Who may not list can still be told that it is not there.
            Err(_) => FileProblem::new("missing-file", "does not exist").label("no such object"),
        }
    }
}

/// The object's bytes, fetched in pieces; the next one while the last is worked on.
pub(crate) struct ObjectReader {
    object: Object,
    at: u64,
    size_of_next: u64,
    coming: Option<Receiver<PolarsResult<Vec<u8>>>>,
    piece: io::Cursor<Vec<u8>>,
}

impl Object {
    /// The bytes.
    pub(crate) fn reader(&self) -> ObjectReader {
        ObjectReader {
            object: self.clone(),
            at: 0,
            size_of_next: FIRST_PIECE,
            coming: None,
            piece: io::Cursor::default(),
        }
    }

    /// As polars names it.
    pub(crate) fn polars_path(&self) -> PlRefPath {
        PlRefPath::new(self.url.as_str())
    }
}

impl ObjectReader {
    fn ask(&mut self) -> Option<Receiver<PolarsResult<Vec<u8>>>> {
        let end = self.object.size.min(self.at + self.size_of_next);
        if end <= self.at {
            return None;
        }
        let range = usize::try_from(self.at).ok()?..usize::try_from(end).ok()?;
        self.at = end;
        self.size_of_next = (self.size_of_next * 2).min(LARGEST_PIECE);
        let (store, path) = (self.object.store.clone(), self.object.path.clone());
        Some(start(async move {
            let fetch = FetchConfig {
                chunk_size: 2 * LARGEST_PIECE as usize,
                strategy: ConcurrencyStrategy::Legacy,
            };
            let bytes = store.get_range(&path, range, fetch).await?;
            Ok(bytes.to_vec())
        }))
    }
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.piece.read(buffer)?;
        if count > 0 || buffer.is_empty() {
            return Ok(count);
        }
        let Some(coming) = self.coming.take().or_else(|| self.ask()) else {
            return Ok(0);
        };
        self.coming = self.ask();
        let piece = receive(&coming, PATIENCE_WITH_PIECES).map_err(|failure| {
            let reason = reached(&failure.text());
            io::Error::other(reason)
        })?;
        self.piece = io::Cursor::new(piece);
        self.piece.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage(params: &str) -> Storage {
        taktline_core::serde_yaml::from_str(params).expect("params that fit")
    }

    #[test]
    fn addresses_of_stores_are_known() {
        for known in [
            "s3://b/k",
            "s3a://b/k",
            "gs://b/k",
            "gcs://b/k",
            "az://c/k",
            "abfss://c@a.dfs.core.windows.net/k",
        ] {
            assert!(scheme(known).is_some(), "{known}");
            assert_eq!(unknown_scheme(known), None);
        }
        for file in ["data/a.csv", "/data/a.csv", "C:/a.csv", "a:b.csv"] {
            assert!(
                scheme(file).is_none() && unknown_scheme(file).is_none(),
                "{file}"
            );
        }
        assert!(unknown_scheme("https://example.org/a.csv").is_some());
        assert!(unknown_scheme("ftp://example.org/a.csv").is_some());
    }

    #[test]
    fn a_store_that_nobody_serves_is_told_at_once() {
        let storage = storage(
            "{endpoint: 'http://127.0.0.1:9', region: us-east-1, access_key_id: someone, secret_access_key: top-secret}",
        );
        let began = std::time::Instant::now();
        let problem = find("s3://bucket/key.csv", &[], Some(&storage)).expect_err("nobody there");
        let problem = problem.into_problem("path", "s3://bucket/key.csv");
        assert_eq!(problem.code, "store-unreached", "{problem:?}");
        assert!(!format!("{problem:?}").contains("top-secret"));
        assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    }

    #[test]
    fn other_clouds_without_credentials_say_what_is_missing() {
        let storage = storage("{service_account: /no/such/key.json}");
        let problem = find("gs://bucket/key.csv", &[], Some(&storage)).expect_err("no key");
        let problem = problem.into_problem("path", "gs://bucket/key.csv");
        assert_eq!(problem.code, "store-refused", "{problem:?}");
        assert!(problem.help[0].contains("GOOGLE_APPLICATION_CREDENTIALS"));
        let problem = find("az://container/key.csv", &[], None).expect_err("no account");
        let problem = problem.into_problem("path", "az://container/key.csv");
        assert_eq!(problem.code, "store-refused", "{problem:?}");
        assert!(problem.help[0].contains("AZURE_STORAGE_ACCOUNT_NAME"));
    }
}
