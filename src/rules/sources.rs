//! Where rules come from: the program, folders, a folder as it was in git.

use crate::config::Settings;
use anyhow::{Context as _, bail};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::Command;
use wk_watcher::rules::{Source, Sources};

/// Which rules are meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct Where {
    /// Files and folders of rules. Default: those that the program carries and those of the configuration.
    #[arg(long = "rules", value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
}

impl Where {
    /// Reads them.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn read(&self, settings: &Settings) -> anyhow::Result<Sources> {
        let (mut sources, paths) = if self.paths.is_empty() {
            (Sources::embedded(), &settings.watcher.rules)
        } else {
            (Sources::default(), &self.paths)
        };
        for path in paths {
            sources.add_path(path).with_context(|| format!("failed to read the rules in `{}`", path.display()))?;
        }
        Ok(sources)
    }

    /// Reads them as they were in `reference` of the git repository that they lie in.
    ///
    /// # Errors
    /// When no path was named, when one is in no repository, or when git does not know the reference.
    pub(crate) fn read_at(&self, reference: &str) -> anyhow::Result<Sources> {
        if self.paths.is_empty() {
            bail!("--diff compares rules in a git repository: name their folder with --rules");
        }
        let mut sources = Sources::default();
        for path in &self.paths {
            let folder = if path.is_dir() { path.as_path() } else { path.parent().unwrap_or(Path::new(".")) };
            let what = if path.is_dir() { ".".to_owned() } else { file_name(path) };
            let listed = git(folder, &["ls-tree", "-r", "--name-only", "--full-name", reference, "--", &what])?;
            let mut files: Vec<&str> = listed.lines().filter(|f| f.ends_with(".yml") || f.ends_with(".yaml")).collect();
            files.sort_unstable();
            for file in files {
                let text = git(folder, &["show", &format!("{reference}:{file}")])?;
                sources.0.push(Source { file: format!("{reference}:{file}"), text, is_ours: false });
            }
        }
        Ok(sources)
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

fn git(folder: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().context("failed to start git")?;
    if !output.status.success() {
        bail!(
            "git {} in `{}`: {}",
            arguments.join(" "),
            folder.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).context("git printed what is no text")
}
