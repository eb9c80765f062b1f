//! A model's folder, as its author has it: read, found to be a model, and packed.

use std::path::{Path, PathBuf};

use api::truss_config::{self, TrussConfig};
use serde_json::{Map, Value};

use crate::failure::{Failure, Kind, Result, while_doing};

/// Which folder, and of which model it is.
#[derive(Debug, clap::Args)]
pub struct FolderArgs {
    /// Folder of the model
    #[arg(default_value = ".")]
    pub dir: PathBuf,
    /// Name of the model [default: model_name in config.yaml]
    #[arg(long, visible_alias = "name", value_name = "NAME")]
    model_name: Option<String>,
}

impl FolderArgs {
    /// The folder, read, and the name of its model.
    pub fn read(&self) -> Result<(Source, String)> {
        let source = Source::read(&self.dir)?;
        let name = self.model_name.clone().map_or_else(|| source.model_name(), Ok)?;
        Ok((source, name))
    }
}

/// A model's folder, read and found to be one.
pub struct Source {
    dir: PathBuf,
    config_path: PathBuf,
    /// The config, read.
    pub config: TrussConfig,
    /// The same as it travels.
    pub document: Map<String, Value>,
    /// Its text as it travels.
    pub text: String,
    /// Whether that is not the file's.
    replaced_config: bool,
    external: Vec<PathBuf>,
}

impl Source {
    /// The name that the config gives it.
    pub fn model_name(&self) -> Result<String> {
        self.config.model_name.clone().ok_or_else(|| {
            Failure::new(Kind::Usage, format!("{} has no model_name", self.config_path.display()))
                .hint("add `model_name: my-model` to it, or name the model on the command line")
        })
    }

    /// Reads it. Fails where it could not become a deployment.
    pub fn read(dir: &Path) -> Result<Self> {
        let config_path = dir.join("config.yaml");
        let text = std::fs::read_to_string(&config_path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Failure::new(Kind::Usage, format!("{} is not a model: it has no config.yaml", dir.display()))
                    .hint("a model is a folder with config.yaml and model/model.py; see examples/hello")
            }
            _ => while_doing(format!("cannot read {}", config_path.display()))(error),
        })?;
        let invalid = |problem: &dyn std::fmt::Display| {
            Failure::new(Kind::Invalid, format!("{}: {problem}", config_path.display()))
        };
        let config = truss_config::parse_yaml(&text).map_err(|error| invalid(&error))?;
        if let Some(problem) = config.validate().first() {
            return Err(invalid(problem));
        }
        let document: Option<Map<String, Value>> = serde_saphyr::from_str(&text).map_err(|error| invalid(&error))?;
        let mut source = Self {
            dir: dir.to_owned(),
            config_path,
            config,
            document: document.unwrap_or_default(),
            text,
            replaced_config: false,
            external: Vec::new(),
        };
        source.check_class()?;
        source.inline_external_packages();
        Ok(source)
    }

    /// A folder without the class's file would only fail later, in the build.
    fn check_class(&self) -> Result {
        if self.config.docker_server.is_some() {
            return Ok(());
        }
        let class = self.dir.join(&self.config.model_module_dir).join(&self.config.model_class_filename);
        if class.is_file() {
            return Ok(());
        }
        Err(Failure::new(Kind::Invalid, format!("{} is missing", class.display()))
            .hint(format!("it is where class {} is expected; see examples/hello", self.config.model_class_name)))
    }

    /// What lies outside the folder travels inside the archive, so the config that travels must not name it any more.
    fn inline_external_packages(&mut self) {
        if self.config.external_package_dirs.is_empty() {
            return;
        }
        self.external = self.config.external_package_dirs.iter().map(PathBuf::from).collect();
        self.document.insert("external_package_dirs".to_owned(), Value::Array(Vec::new()));
        self.text = serde_json::to_string_pretty(&self.document).expect("JSON, which is YAML too");
        self.replaced_config = true;
    }

    /// Packs it.
    pub fn pack(&self, archive: &tempfile::NamedTempFile) -> Result {
        archive::pack(&self.what(), std::io::BufWriter::new(archive.as_file()), |_| ())
            .map_err(|error| Failure::new(Kind::Failed, format!("cannot pack {}: {error}", self.dir.display())))?;
        Ok(())
    }

    /// Looks at what would be packed.
    pub fn look(&self, folder: &mut archive::Folder) -> Result<archive::Snapshot> {
        folder
            .look(&self.what())
            .map_err(|error| Failure::new(Kind::Failed, format!("cannot read {}: {error}", self.dir.display())))
    }

    /// The folders that it is made of.
    pub fn folders(&self) -> impl Iterator<Item = PathBuf> {
        std::iter::once(self.dir.clone()).chain(self.external.iter().map(|folder| self.dir.join(folder)))
    }

    fn what(&self) -> archive::Pack<'_> {
        archive::Pack {
            folder: &self.dir,
            config: self.replaced_config.then_some(self.text.as_bytes()),
            external_package_dirs: &self.external,
            packages_dir: &self.config.bundled_packages_dir,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_no_model_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let failure = Source::read(folder.path()).err().expect("refused");
        assert!(failure.message.ends_with("is not a model: it has no config.yaml"), "{}", failure.message);
        std::fs::write(folder.path().join("config.yaml"), "model_name: x").expect("written");
        let failure = Source::read(folder.path()).err().expect("refused");
        assert!(failure.message.ends_with("model/model.py is missing"), "{}", failure.message);
    }
}
