//! Checkpoints that others have seen: those that an auditor brings, by itself or in a notebook, and those that were published.

use super::Options;
use super::report::{Class, Finding, Report, Witnessed};
use crate::files::{Files, FilesError};
use crate::merkle::Checkpoint;
use ed25519_dalek::VerifyingKey;
use object_store::path::Path as ObjectPath;
use std::collections::BTreeMap;
use wk_schemas::Digest;

/// Checkpoints over a beginning of the log, by how many commits they cover.
#[derive(Debug, Default)]
pub(super) struct Outside(BTreeMap<u64, Vec<(String, Checkpoint)>>);

impl Outside {
    /// Reads them, and reports those that cannot be of this log as it is now.
    pub(super) async fn read(
        files: &Files,
        key: &VerifyingKey,
        options: &Options,
        noted: Option<&str>,
        signed: &Checkpoint,
        report: &mut Report,
    ) -> Result<Self, FilesError> {
        let mut outside = Self::default();
        if let Some(note) = &options.against {
            outside.take("the earlier checkpoint", note, key, signed, report);
        }
        if let Some(note) = noted {
            outside.take("the notebook's checkpoint", note, key, signed, report);
        }
        let mut notes = Vec::new();
        for meta in files.list(&ObjectPath::from("log/published")).await? {
            if meta.location.filename() == Some("checkpoint")
                && let Some(bytes) = files.get(&meta.location).await?
            {
                let note = String::from_utf8_lossy(&bytes).into_owned();
                outside.take(&format!("the published checkpoint `{}`", meta.location), &note, key, signed, report);
                notes.push(note);
            }
        }
        notes.extend(options.against.clone().into_iter().chain(noted.map(str::to_owned)));
        witnessed(&notes, key, options, report);
        Ok(outside)
    }

    fn take(&mut self, name: &str, note: &str, key: &VerifyingKey, signed: &Checkpoint, report: &mut Report) {
        let mut add = |class, what: String| report.findings.push(Finding::new(class, what));
        match Checkpoint::open(note, key) {
            Err(e) => add(Class::Invalid, format!("{name}: {e}")),
            Ok(earlier) if earlier.origin != signed.origin => {
                add(Class::Invalid, format!("{name} is that of `{}`", earlier.origin));
            }
            Ok(earlier) if earlier.size > signed.size => add(
                Class::Missing,
                format!("{name} covers {} commits, this one {}: commits were cut off", earlier.size, signed.size),
            ),
            Ok(earlier) => self.0.entry(earlier.size).or_default().push((name.to_owned(), earlier)),
        }
    }

    /// Compares those that cover `size` commits with the root over the commits that are there.
    pub(super) fn compare(&self, size: u64, root: Digest, report: &mut Report) {
        for (name, earlier) in self.0.get(&size).into_iter().flatten().filter(|(_, earlier)| earlier.root != root) {
            let what = format!("the first {} commits are not those of {name}", earlier.size);
            report.findings.push(Finding::new(Class::Invalid, what));
        }
    }
}

/// What each witness that is asked for has seen last.
fn witnessed(notes: &[String], key: &VerifyingKey, options: &Options, report: &mut Report) {
    for witness in &options.witnesses {
        let seen = |note: &String| {
            let checkpoint = Checkpoint::open(note, key).ok()?;
            let cosignature = witness.find(note, &checkpoint).ok()?;
            Some(Witnessed { witness: witness.name.clone(), commits: checkpoint.size, time: cosignature.time })
        };
        match notes.iter().filter_map(seen).max_by_key(|seen| (seen.commits, seen.time)) {
            Some(seen) => report.witnessed.push(seen),
            None => {
                let what = format!("no checkpoint at hand is cosigned by the witness {}", witness.name);
                report.findings.push(Finding::new(Class::Missing, what));
            }
        }
    }
}
