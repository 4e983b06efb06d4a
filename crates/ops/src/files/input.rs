//! Bytes of a file, decompressed where its first bytes say gzip.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The file's content as a stream.
///
/// # Errors
/// The file cannot be opened or read.
pub(crate) fn open_decompressed(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path)?);
    if is_gzip(&mut reader)? {
        Ok(Box::new(MultiGzDecoder::new(reader)))
    } else {
        Ok(Box::new(reader))
    }
}

/// The file's whole content, and whether it was compressed.
///
/// # Errors
/// The file cannot be opened or read, or its compressed content is damaged.
pub(crate) fn read_decompressed(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open_decompressed(path)?.read_to_end(&mut content)?;
    Ok(content)
}

fn is_gzip(reader: &mut impl BufRead) -> io::Result<bool> {
    Ok(reader.fill_buf()?.starts_with(&GZIP_MAGIC))
}
