//! Documents from files, folders and standard input: YAML, or JSON, which is YAML too. What they say is read elsewhere.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::failure::{Failure, Kind, Result};

/// The longest file, in bytes, and the most documents at once: this is settings, not data.
const LONGEST_FILE: u64 = 4 * 1024 * 1024;
const MOST_DOCUMENTS: usize = 10_000;

/// Where documents are.
#[derive(Debug, clap::Args)]
pub struct Files {
    /// File with documents, or folder with such files; `-` is standard input; can be repeated
    #[arg(long = "file", short = 'f', required = true, value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
    /// Look into folders of folders too
    #[arg(long, short = 'R')]
    recursive: bool,
}

/// One document.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Where it stands: the file, and which of the documents in it.
    pub place: String,
    /// The folder that paths in it are relative to.
    pub folder: PathBuf,
    /// What it says.
    pub value: Value,
}

impl Files {
    /// All documents, in the order in which they are named; files of a folder by name.
    pub fn read(&self) -> Result<Vec<Document>> {
        let mut documents = Vec::new();
        for path in &self.files {
            if path.as_os_str() == "-" {
                documents.extend(parse(
                    "standard input",
                    Path::new("."),
                    &text_of(std::io::stdin(), "standard input")?,
                )?);
                continue;
            }
            for file in self.files_at(path)? {
                let name = file.display().to_string();
                let opened = fs::File::open(&file).map_err(|error| unreadable(&name, error))?;
                let folder = file.parent().unwrap_or(Path::new("."));
                documents.extend(parse(&name, folder, &text_of(opened, &name)?)?);
            }
        }
        match documents.len() {
            0 => Err(Failure::new(Kind::Usage, "there is no document in what was named")
                .hint("`greenroom get all -o yaml` shows what documents look like")),
            many if many > MOST_DOCUMENTS => {
                Err(Failure::new(Kind::Usage, format!("{many} documents are too many: at most {MOST_DOCUMENTS}")))
            }
            _ => Ok(documents),
        }
    }

    /// A file, or the files of a folder that are documents by their names.
    fn files_at(&self, path: &Path) -> Result<Vec<PathBuf>> {
        if !path.is_dir() {
            return Ok(vec![path.to_owned()]);
        }
        let name = path.display().to_string();
        let mut found = Vec::new();
        for entry in fs::read_dir(path).map_err(|error| unreadable(&name, error))? {
            let path = entry.map_err(|error| unreadable(&name, error))?.path();
            let is_document = path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|one| end == *one));
            // A link to a folder may lead back here.
            match path.is_dir() {
                true if self.recursive && !path.is_symlink() => found.extend(self.files_at(&path)?),
                false if is_document => found.push(path),
                _ => {}
            }
        }
        found.sort();
        Ok(found)
    }
}

fn text_of(source: impl std::io::Read, name: &str) -> Result<String> {
    let mut text = String::new();
    source.take(LONGEST_FILE + 1).read_to_string(&mut text).map_err(|error| unreadable(name, error))?;
    if text.len() as u64 > LONGEST_FILE {
        return Err(Failure::new(Kind::Usage, format!("{name} is longer than {LONGEST_FILE} bytes: divide it")));
    }
    Ok(text)
}

fn parse(name: &str, folder: &Path, text: &str) -> Result<Vec<Document>> {
    let values: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| Failure::new(Kind::Usage, format!("{name}: {error}")))?;
    let document = |(index, value)| Document {
        place: format!("{name}, document {}", index + 1),
        folder: folder.to_owned(),
        value,
    };
    Ok(values.into_iter().enumerate().map(document).collect())
}

fn unreadable(name: &str, error: std::io::Error) -> Failure {
    Failure::new(Kind::Usage, format!("cannot read {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_has_several_documents_and_each_knows_its_place() {
        let found = parse("a.yaml", Path::new("x"), "a: 1\n---\nb: [no, 2]\n").expect("YAML");
        assert_eq!((found[0].place.as_str(), &found[0].value), ("a.yaml, document 1", &json!({"a": 1})));
        assert_eq!(found[1].place, "a.yaml, document 2");
        assert_eq!(parse("b.json", Path::new("x"), r#"{"a": 1}"#).expect("JSON is YAML")[0].value, json!({"a": 1}));
        let broken = parse("a.yaml", Path::new("x"), "a: [").expect_err("it is no YAML");
        assert!(broken.kind == Kind::Usage && broken.message.starts_with("a.yaml: "), "{}", broken.message);
    }

    #[test]
    fn folders_give_their_documents_by_name_and_their_folders_only_when_asked() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("deeper")).expect("a folder in it");
        for (name, text) in
            [("b.yaml", "n: 2"), ("a.yml", "n: 1"), ("readme.md", "- x"), ("deeper/c.json", "{\"n\": 3}")]
        {
            fs::write(folder.path().join(name), text).expect("a file");
        }
        let numbers = |recursive| {
            let files = Files { files: vec![folder.path().to_owned()], recursive };
            let documents = files.read().expect("documents");
            documents.iter().map(|one| one.value["n"].as_u64().expect("a number")).collect::<Vec<_>>()
        };
        assert_eq!((numbers(false), numbers(true)), (vec![1, 2], vec![1, 2, 3]));
    }
}
