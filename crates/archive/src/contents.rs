//! What the files of an archive contain, as hashes: the signature by which truss finds out what has changed since a push.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
};

use crate::{Error, Kind, Limits, path, stream};

/// The hash of each file by its path, in hexadecimal; none for a folder. BLAKE3, as the truss client has it.
pub type ContentHashes = BTreeMap<String, Option<String>>;

/// Hashes all that is in an archive. Folders that only stand in paths are among it; what is a link is left out, for its content is
/// elsewhere.
pub fn content_hashes(archive: impl Read, limits: &Limits) -> Result<ContentHashes, Error> {
    let mut hashes = ContentHashes::new();
    stream::walk(archive, limits, |entry, data| {
        let hash = match &entry.kind {
            Kind::File { .. } => {
                let mut hasher = blake3::Hasher::new();
                std::io::copy(data, &mut hasher).map_err(Error::Read)?;
                Some(hasher.finalize().to_hex().to_string())
            }
            Kind::Folder => None,
            Kind::Hardlink { .. } | Kind::Symlink { .. } => return Ok(()),
        };
        for folder in path::ancestors(&entry.path) {
            hashes.entry(folder.to_owned()).or_insert(None);
        }
        hashes.insert(entry.path.clone(), hash);
        Ok(())
    })?;
    Ok(hashes)
}

/// The content of one file; none where there is no such file. One of more than `most_bytes` is none either.
pub fn content(archive: impl Read, file: &str, most_bytes: u64, limits: &Limits) -> Result<Option<Vec<u8>>, Error> {
    let mut found = None;
    stream::walk(archive, limits, |entry, data| {
        if entry.path == file && entry.size <= most_bytes && matches!(entry.kind, Kind::File { .. }) {
            let mut content = Vec::new();
            data.read_to_end(&mut content).map_err(Error::Read)?;
            found = Some(content);
        }
        Ok(())
    })?;
    Ok(found)
}

/// One hash for all of it: that of each path and each content, ordered by the parts of the paths.
pub fn hash_of_all(hashes: &ContentHashes) -> String {
    let mut whole = blake3::Hasher::new();
    let by_parts: BTreeSet<Vec<&str>> = hashes.keys().map(|path| path.split('/').collect()).collect();
    for path in by_parts.iter().map(|parts| parts.join("/")) {
        whole.update(blake3::hash(path.as_bytes()).as_bytes());
        let content = hashes.get(&path).and_then(Option::as_ref);
        if let Some(content) = content.and_then(|hex| blake3::Hash::from_hex(hex).ok()) {
            whole.update(content.as_bytes());
        }
    }
    whole.finalize().to_hex().to_string()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn hashes(files: &[(&str, &[u8])]) -> ContentHashes {
        content_hashes(&archive(files)[..], &Limits::default()).unwrap()
    }

    #[test]
    fn files_have_the_hash_of_their_content_and_folders_are_there_without_one() {
        let hashes = hashes(&[("model/sub/a.py", b"a"), ("config.yaml", b"")]);
        let paths: Vec<_> = hashes.iter().map(|(path, hash)| (path.as_str(), hash.is_some())).collect();
        assert_eq!(paths, [("config.yaml", true), ("model", false), ("model/sub", false), ("model/sub/a.py", true)]);
        let expected = blake3::hash(b"a").to_hex().to_string();
        assert_eq!(hashes["model/sub/a.py"].as_ref(), Some(&expected));
    }

    #[test]
    fn the_hash_of_all_depends_on_paths_and_contents_and_not_on_the_order_in_the_archive() {
        let one = hash_of_all(&hashes(&[("a", b"1"), ("b", b"2")]));
        assert_eq!(one, hash_of_all(&hashes(&[("b", b"2"), ("a", b"1")])));
        assert_ne!(one, hash_of_all(&hashes(&[("a", b"2"), ("b", b"1")])));
        assert_ne!(one, hash_of_all(&hashes(&[("a", b"1"), ("c", b"2")])));
    }
}
