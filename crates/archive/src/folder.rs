//! A folder as its archive would be, without packing it: what its files contain, as hashes. For whoever looks again and again, a
//! file of the same size and time as before is not read again.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::PathBuf,
    time::SystemTime,
};

use crate::{
    ContentHashes, Pack, PackError,
    pack::{Source, collect, read_error},
    path,
};

/// What is known of a folder's files from earlier looks.
#[derive(Debug, Default)]
pub struct Folder {
    known: HashMap<PathBuf, Known>,
}

#[derive(Debug)]
struct Known {
    size: u64,
    modified: SystemTime,
    hash: String,
}

/// A folder in one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// What its files contain; the same as [`crate::content_hashes`] says of its archive.
    pub hashes: ContentHashes,
    places: BTreeMap<String, Place>,
}

#[derive(Debug)]
enum Place {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl Folder {
    /// Looks at what [`crate::pack`] would pack.
    pub fn look(&mut self, what: &Pack<'_>) -> Result<Snapshot, PackError> {
        let mut snapshot = Snapshot { hashes: ContentHashes::new(), places: BTreeMap::new() };
        for (path, source) in collect(what)? {
            let (hash, place) = match source {
                Source::Bytes(bytes) => (hash(bytes), Place::Bytes(bytes.to_vec())),
                Source::File { at, .. } => (self.hash(&at)?, Place::File(at)),
            };
            for folder in path::ancestors(&path) {
                snapshot.hashes.insert(folder.to_owned(), None);
            }
            snapshot.hashes.insert(path.clone(), Some(hash));
            snapshot.places.insert(path, place);
        }
        Ok(snapshot)
    }

    fn hash(&mut self, at: &PathBuf) -> Result<String, PackError> {
        let read = |source| read_error(at, source);
        let metadata = fs::metadata(at).map_err(read)?;
        let (size, modified) = (metadata.len(), metadata.modified().map_err(read)?);
        if let Some(known) = self.known.get(at).filter(|known| (known.size, known.modified) == (size, modified)) {
            return Ok(known.hash.clone());
        }
        let mut hasher = blake3::Hasher::new();
        std::io::copy(&mut fs::File::open(at).map_err(read)?, &mut hasher).map_err(read)?;
        let hash = hasher.finalize().to_hex().to_string();
        self.known.insert(at.clone(), Known { size, modified, hash: hash.clone() });
        Ok(hash)
    }
}

impl Snapshot {
    /// What a file contains now; none where there is no such file.
    pub fn content(&self, path: &str) -> Result<Option<Vec<u8>>, PackError> {
        match self.places.get(path) {
            None => Ok(None),
            Some(Place::Bytes(bytes)) => Ok(Some(bytes.clone())),
            Some(Place::File(at)) => fs::read(at).map(Some).map_err(|source| read_error(at, source)),
        }
    }
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use std::{fs::File, path::Path, time::Duration};

    use super::*;

    fn what(folder: &Path) -> Pack<'_> {
        Pack { folder, config: Some(b"replaced"), external_package_dirs: &[], packages_dir: "packages" }
    }

    fn model() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("model")).unwrap();
        fs::write(folder.path().join("config.yaml"), "original").unwrap();
        fs::write(folder.path().join("model/model.py"), "x = 1").unwrap();
        folder
    }

    #[test]
    fn a_look_says_what_the_archive_would() {
        let folder = model();
        let snapshot = Folder::default().look(&what(folder.path())).unwrap();
        let mut archive = Vec::new();
        crate::pack(&what(folder.path()), &mut archive, |_| ()).unwrap();
        assert_eq!(snapshot.hashes, crate::content_hashes(&archive[..], &crate::Limits::default()).unwrap());
        assert_eq!(snapshot.content("config.yaml").unwrap().as_deref(), Some(&b"replaced"[..]));
        assert_eq!(snapshot.content("model/model.py").unwrap().as_deref(), Some(&b"x = 1"[..]));
        assert_eq!(snapshot.content("model").unwrap(), None);
    }

    #[test]
    fn what_has_not_changed_is_not_read_again_and_a_change_is_seen() {
        let folder = model();
        let at = folder.path().join("model/model.py");
        let mut looker = Folder::default();
        let mut look = || looker.look(&what(folder.path())).unwrap().hashes["model/model.py"].clone().unwrap();
        assert_eq!(look(), hash(b"x = 1"));
        let modified = fs::metadata(&at).unwrap().modified().unwrap();
        let change = |text: &str, modified: SystemTime| {
            fs::write(&at, text).unwrap();
            File::options().append(true).open(&at).unwrap().set_modified(modified).unwrap();
        };
        change("x = 2", modified);
        assert_eq!(look(), hash(b"x = 1"), "the same size and time: it is not read");
        change("x = 2", modified + Duration::from_millis(1));
        assert_eq!(look(), hash(b"x = 2"));
        change("x = 33", modified + Duration::from_millis(1));
        assert_eq!(look(), hash(b"x = 33"));
    }
}
