//! The texts of rule files: those that the program carries and those in folders.

use std::path::Path;

/// Texts of rule files, by name, in order of name.
#[derive(Debug, Clone, Default)]
pub struct Sources(pub Vec<Source>);

/// One rule file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its path, as messages name it.
    pub file: String,
    /// Its text.
    pub text: String,
    /// Whether the program carries it. Pipelines are for the rules of others and leave these alone.
    pub is_ours: bool,
}

impl Sources {
    /// The rules that the program carries.
    #[must_use]
    pub fn embedded() -> Self {
        Self(
            super::EMBEDDED
                .iter()
                .map(|(f, t)| Source { file: (*f).to_owned(), text: (*t).to_owned(), is_ours: true })
                .collect(),
        )
    }

    /// Adds a file, or all `.yml` and `.yaml` files below a folder, in order of name.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn add_path(&mut self, path: &Path) -> Result<(), std::io::Error> {
        if path.is_dir() {
            let mut entries = std::fs::read_dir(path)?.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>()?;
            entries.sort();
            for entry in entries {
                let is_rule = entry.extension().is_some_and(|e| e == "yml" || e == "yaml");
                if entry.is_dir() || is_rule {
                    self.add_path(&entry)?;
                }
            }
        } else {
            let (file, text) = (path.display().to_string(), std::fs::read_to_string(path)?);
            self.0.push(Source { file, text, is_ours: false });
        }
        Ok(())
    }
}
