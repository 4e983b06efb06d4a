//! A file that is named by what is in it.

use std::io::{self, BufWriter, Write};

/// Hashes what goes through it into a file, in large pieces.
pub(crate) struct Hashing<W: Write> {
    file: BufWriter<W>,
    hasher: blake3::Hasher,
}

impl<W: Write> Hashing<W> {
    pub(crate) fn new(file: W) -> Self {
        Self {
            file: BufWriter::with_capacity(1 << 18, file),
            hasher: blake3::Hasher::new(),
        }
    }

    /// The file with everything in it, and the hash of that.
    pub(crate) fn finish(self) -> io::Result<(W, blake3::Hash)> {
        let file = self.file.into_inner().map_err(|error| error.into_error())?;
        Ok((file, self.hasher.finalize()))
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
