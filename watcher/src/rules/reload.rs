//! Looking whether the rules on disk have changed: a pack is taken as a whole, or not at all.

use super::{Rules, Sources};
use std::path::{Path, PathBuf};
use tracing::warn;
use wk_schemas::Digest;

/// Watches the folders of the configuration. The rules that the program carries do not change while it runs.
#[derive(Debug)]
pub struct Reload {
    paths: Vec<PathBuf>,
    /// The texts that were looked at last, whether they were taken or not.
    seen: Option<Digest>,
    /// The pack that was offered last: until it is in force it is offered again.
    offered: Option<Digest>,
}

/// What a look at the rules on disk gave.
#[derive(Debug)]
pub enum Look {
    /// Nothing is new.
    Same,
    /// They are new and load without a problem.
    New(Box<Rules>),
    /// They are new and cannot be taken: what is in force stays. Each line says why.
    Refused(Vec<String>),
}

impl Reload {
    /// Looks at these files and folders, of which `loaded` has been read.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>, loaded: &Sources) -> Self {
        Self { paths, seen: Some(digest(loaded)), offered: None }
    }

    /// Whether there is anything to look at.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.paths.is_empty()
    }

    /// Looks. Reads files and compiles rules, so it blocks for a while.
    ///
    /// A pack with any problem is refused: half of a change may be worse than none. It is looked at again when it changes.
    pub fn look(&mut self, in_force: Digest) -> Look {
        let sources = match read(&self.paths) {
            Ok(sources) => sources,
            Err((path, error)) => {
                let why = format!("`{}` cannot be read: {error}", path.display());
                // The same fault is told once.
                let told = Some(Digest::of(why.as_bytes()));
                return if std::mem::replace(&mut self.seen, told) == told {
                    Look::Same
                } else {
                    Look::Refused(vec![why])
                };
            }
        };
        let found = Some(digest(&sources));
        let is_taken = self.offered.is_none_or(|o| o == in_force);
        if std::mem::replace(&mut self.seen, found) == found && is_taken {
            return Look::Same;
        }
        self.offered = None;
        let rules = Rules::compile(&sources);
        if !rules.problems.is_empty() {
            return Look::Refused(rules.problems.iter().map(ToString::to_string).collect());
        }
        if rules.pack_digest == in_force {
            return Look::Same;
        }
        self.offered = Some(rules.pack_digest);
        Look::New(Box::new(rules))
    }

    /// As [`Reload::look`]. A refusal is traced: which pack stays in force, and why another is not.
    pub fn look_and_tell(&mut self, in_force: Digest) -> Option<Rules> {
        match self.look(in_force) {
            Look::Same => None,
            Look::New(rules) => Some(*rules),
            Look::Refused(reasons) => {
                for reason in reasons {
                    warn!(%reason, pack_digest = %in_force, "changed rules refused; the pack in force stays");
                }
                None
            }
        }
    }
}

fn read(paths: &[PathBuf]) -> Result<Sources, (&Path, std::io::Error)> {
    let mut sources = Sources::embedded();
    for path in paths {
        sources.add_path(path).map_err(|error| (path.as_path(), error))?;
    }
    Ok(sources)
}

fn digest(sources: &Sources) -> Digest {
    let mut bytes = Vec::new();
    for source in &sources.0 {
        bytes.extend_from_slice(Digest::of(source.file.as_bytes()).0.as_slice());
        bytes.extend_from_slice(Digest::of(source.text.as_bytes()).0.as_slice());
    }
    Digest::of(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "title: Good\nlogsource:\n    category: file_event\n    product: linux\ndetection:\n    s:\n        TargetFilename: /x\n    condition: s\n";

    #[test]
    fn a_whole_pack_is_taken_or_the_last_good_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("r.yml");
        let paths = vec![folder.path().to_owned()];
        std::fs::write(&file, GOOD).unwrap();
        let loaded = read(&paths).unwrap();
        let before = Rules::compile(&loaded);
        let mut reload = Reload::new(paths, &loaded);
        assert!(matches!(reload.look(before.pack_digest), Look::Same));

        std::fs::write(
            &file,
            format!("{}---\n{}", GOOD.replace("/x", "/y"), GOOD.replace("condition: s", "condition: s and (")),
        )
        .unwrap();
        let Look::Refused(reasons) = reload.look(before.pack_digest) else { panic!("a pack with a fault was taken") };
        assert!(reasons[0].contains("r.yml") && reasons[0].contains("ondition"), "{reasons:?}");
        assert!(matches!(reload.look(before.pack_digest), Look::Same), "the same fault is told once");

        std::fs::write(&file, GOOD.replace("/x", "/y")).unwrap();
        let Look::New(after) = reload.look(before.pack_digest) else { panic!("a good pack was not taken") };
        assert_ne!(after.pack_digest, before.pack_digest);
        assert!(matches!(reload.look(after.pack_digest), Look::Same));

        std::fs::remove_file(&file).unwrap();
        assert!(
            matches!(reload.look(after.pack_digest), Look::New(_)),
            "rules that were taken away are no longer in force"
        );
    }
}
