//! Bytes of a file or an object, decompressed where its first bytes say gzip or zstd.

use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read, Seek},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use polars::io::utils::compression::{ByteSourceReader, SupportedCompression};

use super::object::Object;

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BUFFER: usize = 1 << 16;

/// Where a file of rows is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// On this machine.
    File(PathBuf),
    /// In an object store.
    Object(Box<Object>),
}

impl Place {
    /// The content as a stream, decompressed.
    pub(crate) fn open(&self) -> io::Result<Box<dyn Read>> {
        match self {
            Self::File(path) => open_decompressed(path),
            Self::Object(object) => {
                let mut reader = object.reader();
                let magic = first_bytes(&mut reader)?;
                decompressed(&magic.clone(), Cursor::new(magic).chain(reader))
            }
        }
    }

    /// The whole content, decompressed.
    pub(crate) fn read(&self) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        self.open()?.read_to_end(&mut content)?;
        Ok(content)
    }
}

/// The file's content as a stream.
///
/// # Errors
/// The file cannot be opened or read.
pub(crate) fn open_decompressed(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut file = File::open(path)?;
    let magic = first_bytes(&mut file)?;
    file.rewind()?;
    decompressed(&magic, file)
}

/// The file's whole content.
///
/// # Errors
/// The file cannot be opened or read, or its compressed content is damaged.
pub(crate) fn read_decompressed(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open_decompressed(path)?.read_to_end(&mut content)?;
    Ok(content)
}

fn first_bytes(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut magic = Vec::with_capacity(ZSTD_MAGIC.len());
    reader
        .take(ZSTD_MAGIC.len() as u64)
        .read_to_end(&mut magic)?;
    Ok(magic)
}

fn decompressed(magic: &[u8], reader: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    if magic.starts_with(GZIP_MAGIC) {
        let buffered = BufReader::with_capacity(BUFFER, reader);
        return Ok(Box::new(MultiGzDecoder::new(buffered)));
    }
    if magic == ZSTD_MAGIC {
        let buffered = BufReader::with_capacity(BUFFER, reader);
        let opened = ByteSourceReader::try_new(buffered, Some(SupportedCompression::ZSTD))
            .map_err(io::Error::other)?;
        return match opened {
            ByteSourceReader::Zstd(decoder) => Ok(Box::new(decoder)),
            _ => Err(io::Error::other("zstd is not supported")),
        };
    }
    // Not buffered unless decompressed: those who read in large pieces would only copy once more.
    Ok(Box::new(reader))
}
