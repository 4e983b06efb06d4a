//! Bytes of a file, decompressed where its first bytes say gzip.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The file's content as a stream.
///
/// # Errors
/// The file cannot be opened or read.
pub(crate) fn open_decompressed(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut file = File::open(path)?;
    let mut magic = Vec::with_capacity(GZIP_MAGIC.len());
    (&mut file)
        .take(GZIP_MAGIC.len() as u64)
        .read_to_end(&mut magic)?;
    file.rewind()?;
    // Not buffered unless decompressed: those who read in large pieces would only copy once more.
    if magic == GZIP_MAGIC {
        Ok(Box::new(MultiGzDecoder::new(BufReader::with_capacity(
            1 << 16,
            file,
        ))))
    } else {
        Ok(Box::new(file))
    }
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
