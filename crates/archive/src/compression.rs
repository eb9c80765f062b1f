//! How an archive is compressed, told by its first bytes, and a reader that notices when far too much comes out of it.

use std::{
    cell::Cell,
    io::{self, BufRead, BufReader, Read},
    rc::Rc,
};

use crate::{Limits, error::Error};

/// Size of the buffer in front of the decoder.
const BUFFER_BYTES: usize = 128 << 10;
/// The largest zstd window that is accepted, as a power of two: 128 MiB of memory.
const ZSTD_WINDOW_LOG: u32 = 27;

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Plain tar.
    None,
    /// tar in gzip.
    Gzip,
    /// tar in zstd.
    Zstd,
}

/// Marks, inside an [`io::Error`], that the compression ratio went over its limit.
#[derive(Debug, thiserror::Error)]
#[error("compression ratio over its limit")]
pub(crate) struct RatioExceeded;

/// The bytes of the tar inside `source`.
pub(crate) fn open<'r, R: Read + 'r>(source: R, limits: &Limits) -> Result<(Compression, Box<dyn Read + 'r>), Error> {
    let consumed = Rc::new(Cell::new(0));
    let mut source = BufReader::with_capacity(BUFFER_BYTES, Counted { source, count: Rc::clone(&consumed) });
    let start = source.fill_buf().map_err(Error::Read)?;
    let compression = match start {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', ..] => return Err(Error::UnknownCompression("xz")),
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => return Err(Error::UnknownCompression("bzip2")),
        [b'P', b'K', 3, 4, ..] => return Err(Error::UnknownCompression("zip")),
        _ => Compression::None,
    };
    let guard = |inner: Box<dyn Read + 'r>| {
        let guarded = Guarded { inner, consumed, produced: 0, ratio: limits.ratio };
        Box::new(BufReader::with_capacity(BUFFER_BYTES, guarded))
    };
    Ok(match compression {
        Compression::None => (compression, Box::new(source)),
        Compression::Gzip => (compression, guard(Box::new(flate2::bufread::MultiGzDecoder::new(source)))),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(source).map_err(Error::Read)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(Error::Read)?;
            (compression, guard(Box::new(decoder)))
        }
    })
}

/// Counts what is read from it.
struct Counted<R> {
    source: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.count.set(self.count.get() + read as u64);
        Ok(read)
    }
}

/// Fails as soon as far more has come out than went in.
struct Guarded<'r> {
    inner: Box<dyn Read + 'r>,
    consumed: Rc<Cell<u64>>,
    produced: u64,
    ratio: u64,
}

impl Read for Guarded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.produced += read as u64;
        let allowed = self.consumed.get().saturating_mul(self.ratio).max(Limits::RATIO_FREE_BYTES);
        if self.produced > allowed { Err(io::Error::other(RatioExceeded)) } else { Ok(read) }
    }
}
