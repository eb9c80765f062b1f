//! Walks the entries of a tar stream: headers, their PAX and GNU extensions, data, end. Everything that is kept in memory is
//! bounded before it is read, every path and link is checked, and nothing is written here.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use tar::{EntryType, Header, PaxExtensions};

use crate::{
    Entry, Kind, Limits, Listing, compression,
    error::{Error, Limit, Place, Refusal},
    path,
};

/// Unit of everything in a tar.
const BLOCK_BYTES: u64 = 512;
/// The most that padding may follow the end of an archive.
const TRAILER_BYTES: u64 = 1 << 20;
/// PAX and GNU headers that may stand before one entry.
const EXTENSIONS_PER_ENTRY: u32 = 8;
/// Room in an extension header for keys other than the path.
const EXTENSION_EXTRA_BYTES: u64 = 16 << 10;

/// Reads a whole archive, hands each entry and its data to `visit`, and lists them. Data that `visit` leaves is skipped.
pub(crate) fn walk<R: Read>(
    source: R,
    limits: &Limits,
    mut visit: impl FnMut(&Entry, &mut dyn Read) -> Result<(), Error>,
) -> Result<Listing, Error> {
    let (compression, source) = compression::open(source, limits)?;
    let mut walk = Walk { source, limits, place: Place::AtStart, seen: BTreeMap::new() };
    let mut listing = Listing { compression, entries: Vec::new(), total_bytes: 0 };
    while let Some(raw) = walk.next_entry()? {
        let size = raw.size;
        if let Some(entry) = walk.admit(raw)? {
            walk.check_limits(&entry, &listing)?;
            listing.total_bytes += entry.size;
            walk.place = Place::Inside(entry.path.clone());
            let mut data = Data { inner: (&mut walk.source).take(size), failure: None };
            let visited = visit(&entry, &mut data);
            let rest = io::copy(&mut data, &mut io::sink());
            let (missing, failure) = (data.inner.limit(), data.failure.take());
            // A failure to read the archive is told as that, wherever it surfaced first.
            if let Some(failure) = failure.or_else(|| rest.err()) {
                return Err(walk.read_error(failure));
            }
            visited?;
            if missing > 0 {
                return Err(Error::Truncated(walk.place));
            }
            walk.skip(size.next_multiple_of(BLOCK_BYTES) - size)?;
            walk.place = Place::After(entry.path.clone());
            listing.entries.push(entry);
        }
    }
    walk.finish()?;
    Ok(listing)
}

/// An entry's data; remembers why it could not be read.
struct Data<'a, R> {
    inner: io::Take<&'a mut R>,
    failure: Option<io::Error>,
}

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).or_else(|error| {
            if error.kind() == io::ErrorKind::Interrupted {
                return Err(error);
            }
            self.failure.get_or_insert(error);
            Ok(0)
        })
    }
}

/// A header with its extensions applied, nothing checked.
struct Raw {
    path: Vec<u8>,
    link: Vec<u8>,
    kind: EntryType,
    size: u64,
    executable: bool,
}

struct Walk<'a, R> {
    source: R,
    limits: &'a Limits,
    place: Place,
    /// Every path so far, implied folders included, and what is there.
    seen: BTreeMap<String, Seen>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    File,
    Folder,
    Link,
}

impl<R: Read> Walk<'_, R> {
    /// The next entry, or none at the end mark.
    fn next_entry(&mut self) -> Result<Option<Raw>, Error> {
        let (mut path, mut link, mut size) = (None, None, None);
        for _ in 0..=EXTENSIONS_PER_ENTRY {
            let Some(header) = self.next_header()? else {
                return Ok(None);
            };
            let declared = header.entry_size().map_err(|_| self.damaged("a size that is no number"))?;
            match header.entry_type() {
                EntryType::GNULongName => path = Some(self.long_text(declared)?),
                EntryType::GNULongLink => link = Some(self.long_text(declared)?),
                EntryType::XGlobalHeader => drop(self.extension(declared)?),
                EntryType::XHeader => {
                    let data = self.extension(declared)?;
                    for pair in PaxExtensions::new(&data) {
                        let pair = pair.map_err(|_| self.damaged("an extension header that cannot be parsed"))?;
                        match pair.key_bytes() {
                            b"path" => path = Some(pair.value_bytes().to_vec()),
                            b"linkpath" => link = Some(pair.value_bytes().to_vec()),
                            b"size" => {
                                let text = pair.value().ok().and_then(|text| text.parse().ok());
                                size = Some(text.ok_or_else(|| self.damaged("a size that is no number"))?);
                            }
                            key if key.starts_with(b"GNU.sparse") => {
                                let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
                                return Err(refused(&path, Refusal::Special("sparse file")));
                            }
                            _ => {}
                        }
                    }
                }
                kind => {
                    let executable = header.mode().is_ok_and(|mode| mode & 0o111 != 0);
                    let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
                    let link =
                        link.or_else(|| header.link_name_bytes().map(|name| name.into_owned())).unwrap_or_default();
                    return Ok(Some(Raw { path, link, kind, size: size.unwrap_or(declared), executable }));
                }
            }
        }
        Err(self.damaged("too many extension headers in a row"))
    }

    fn next_header(&mut self) -> Result<Option<Header>, Error> {
        let mut block = [0; BLOCK_BYTES as usize];
        self.fill(&mut block).map_err(|error| match error {
            // Less than one header: nothing says that this was ever meant to be an archive.
            Error::Truncated(Place::AtStart) => Error::NotAnArchive,
            other => other,
        })?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(&block);
        let mut expected = header.clone();
        expected.set_cksum();
        let fits = header.cksum().is_ok_and(|stored| expected.cksum().is_ok_and(|computed| stored == computed));
        match (fits, &self.place) {
            (true, _) => Ok(Some(header)),
            (false, Place::AtStart) => Err(Error::NotAnArchive),
            (false, _) => Err(self.damaged("a header whose checksum is wrong")),
        }
    }

    /// A GNU long name: text with a NUL at its end.
    fn long_text(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        let mut text = self.extension(size)?;
        if text.last() == Some(&0) {
            text.pop();
        }
        Ok(text)
    }

    /// The data of an extension header.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        let allowed = self.limits.path_bytes.saturating_mul(2).saturating_add(EXTENSION_EXTRA_BYTES);
        if size > allowed {
            let path = match &self.place {
                Place::AtStart => "the first entry".to_owned(),
                Place::Inside(path) | Place::After(path) => format!("the entry after {path}"),
            };
            return Err(Error::TooLarge { path, limit: Limit::PathBytes, allowed: self.limits.path_bytes });
        }
        let mut data = vec![0; size as usize];
        self.fill(&mut data)?;
        self.skip(size.next_multiple_of(BLOCK_BYTES) - size)?;
        Ok(data)
    }

    /// Checks an entry by itself and against those before it. None for the archive's own root folder.
    fn admit(&mut self, raw: Raw) -> Result<Option<Entry>, Error> {
        let refuse = |problem| refused(&raw.path, problem);
        let path = path::clean(&raw.path).map_err(refuse)?;
        let kind = match raw.kind {
            // Old archives mark a folder only by the slash at the end of its name.
            EntryType::Regular if raw.path.ends_with(b"/") => Kind::Folder,
            EntryType::Regular | EntryType::Continuous => Kind::File { executable: raw.executable },
            EntryType::Directory => Kind::Folder,
            EntryType::Symlink => Kind::Symlink { target: path::check_link(&path, &raw.link).map_err(refuse)? },
            EntryType::Link => Kind::Hardlink { target: self.earlier_file(&raw.link).map_err(refuse)? },
            EntryType::Char => return Err(refuse(Refusal::Special("character device"))),
            EntryType::Block => return Err(refuse(Refusal::Special("block device"))),
            EntryType::Fifo => return Err(refuse(Refusal::Special("pipe"))),
            EntryType::GNUSparse => return Err(refuse(Refusal::Special("sparse file"))),
            _ => return Err(refuse(Refusal::Special("thing of unknown kind"))),
        };
        let is_file = matches!(kind, Kind::File { .. });
        if !is_file && raw.size > 0 {
            return Err(refuse(Refusal::UnexpectedData));
        }
        if path.is_empty() {
            return if kind == Kind::Folder { Ok(None) } else { Err(refuse(Refusal::Duplicate)) };
        }
        self.place_in_tree(&path, &kind).map_err(refuse)?;
        Ok(Some(Entry { path, kind, size: if is_file { raw.size } else { 0 } }))
    }

    fn earlier_file(&self, link: &[u8]) -> Result<String, Refusal> {
        let nothing = || Refusal::LinkToNothing(String::from_utf8_lossy(link).into_owned());
        let target = path::clean(link).map_err(|_| nothing())?;
        if self.seen.get(&target) == Some(&Seen::File) { Ok(target) } else { Err(nothing()) }
    }

    /// No path twice, and nothing below a file or a link: so no write can ever follow a link.
    fn place_in_tree(&mut self, path: &str, kind: &Kind) -> Result<(), Refusal> {
        for ancestor in path::ancestors(path) {
            match self.seen.get(ancestor) {
                Some(Seen::Folder) => {}
                Some(Seen::File | Seen::Link) => return Err(Refusal::BelowFile(ancestor.to_owned())),
                None => drop(self.seen.insert(ancestor.to_owned(), Seen::Folder)),
            }
        }
        let new = match kind {
            Kind::File { .. } | Kind::Hardlink { .. } => Seen::File,
            Kind::Folder => Seen::Folder,
            Kind::Symlink { .. } => Seen::Link,
        };
        match self.seen.insert(path.to_owned(), new) {
            None => Ok(()),
            Some(Seen::Folder) if new == Seen::Folder => Ok(()),
            Some(_) => Err(Refusal::Duplicate),
        }
    }

    fn check_limits(&self, entry: &Entry, so_far: &Listing) -> Result<(), Error> {
        let limits = self.limits;
        let checks = [
            (so_far.entries.len() as u64 + 1, limits.entries, Limit::Entries),
            (self.seen.len() as u64, limits.entries.saturating_mul(2), Limit::Entries),
            (entry.path.len() as u64, limits.path_bytes, Limit::PathBytes),
            (entry.size, limits.file_bytes, Limit::FileBytes),
            (so_far.total_bytes.saturating_add(entry.size), limits.total_bytes, Limit::TotalBytes),
        ];
        match checks.into_iter().find(|(value, allowed, _)| value > allowed) {
            None => Ok(()),
            Some((_, allowed, limit)) => Err(Error::TooLarge { path: entry.path.clone(), limit, allowed }),
        }
    }

    /// Reads what is left, so that a checksum at the end of the compressed data is verified.
    fn finish(&mut self) -> Result<(), Error> {
        let rest = io::copy(&mut (&mut self.source).take(TRAILER_BYTES + 1), &mut io::sink());
        if rest.map_err(|error| self.read_error(error))? > TRAILER_BYTES {
            return Err(self.damaged("more data than padding behind its end"));
        }
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        self.source.read_exact(buffer).map_err(|error| self.read_error(error))
    }

    fn skip(&mut self, bytes: u64) -> Result<(), Error> {
        let mut buffer = [0; BLOCK_BYTES as usize];
        self.fill(&mut buffer[..bytes as usize])
    }

    fn read_error(&self, error: io::Error) -> Error {
        if error.get_ref().is_some_and(|inner| inner.is::<compression::RatioExceeded>()) {
            let path = match &self.place {
                Place::AtStart => String::new(),
                Place::Inside(path) | Place::After(path) => path.clone(),
            };
            return Error::TooLarge { path, limit: Limit::Ratio, allowed: self.limits.ratio };
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::Truncated(self.place.clone()),
            // What the decoders answer for data they cannot make sense of.
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
                self.damaged(&error.to_string())
            }
            _ => Error::Read(error),
        }
    }

    fn damaged(&self, problem: &str) -> Error {
        Error::Damaged { place: self.place.clone(), problem: problem.to_owned() }
    }
}

fn refused(path: &[u8], problem: Refusal) -> Error {
    Error::Refused { path: String::from_utf8_lossy(path).into_owned(), problem }
}
