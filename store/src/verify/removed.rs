//! Days that left the lake by a signed act: is what their ledgers say what the commits have said, and are they gone?

use super::report::{Class, Finding, Removed, Report};
use super::scope::Scope;
use crate::lake::{DataFile, Version};
use crate::layout;
use crate::offsets::Source;
use crate::retention::{self, Acts, Standing};
use std::collections::{BTreeMap, BTreeSet};

/// The files that removals have taken, by the commits that brought them.
#[derive(Debug, Default)]
pub(super) struct Gone(BTreeMap<Version, Vec<DataFile>>);

impl Gone {
    /// Takes those files of a commit that were removed since.
    pub(super) fn take(&mut self, acts: &Acts, files: &[DataFile]) {
        for file in files {
            if let Some(one) = acts.removed(&file.day, file.version) {
                self.0.entry(one.version).or_default().push(file.clone());
            }
        }
    }

    /// Reports what was removed, and what is wrong with it.
    pub(super) fn finish(self, acts: &Acts, listed: &[String], scope: &Scope, report: &mut Report) {
        for (version, why) in acts.refused() {
            let what = format!("it carries an act that does not count: {why}");
            report.findings.push(Finding::new(Class::Invalid, what).commit(*version));
        }
        let listed: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
        for one in acts.removals() {
            let files = self.0.get(&one.version).map(Vec::as_slice).unwrap_or_default();
            let differs = differs(one, files);
            report.findings.extend(differs.map(|what| Finding::new(Class::Invalid, what).commit(one.version)));
            for file in files.iter().filter(|file| listed.contains(file.path.as_str())) {
                let what =
                    "it was removed by a signed act, and is still on the disk: `wk retention finish` takes it away";
                report.findings.push(Finding::new(Class::Notice, what).commit(one.version).file(&file.path));
            }
            if concerns(scope, one, files) {
                let Standing { version, act, removal, .. } = one;
                report.removed.push(Removed {
                    day: removal.day.clone(),
                    by: act.by.clone(),
                    on: layout::day(act.at()),
                    why: act.why.clone(),
                    files: removal.files,
                    records: removal.records,
                    commit: *version,
                });
            }
        }
    }
}

/// Whether a removal took something of a part of the lake.
fn concerns(scope: &Scope, one: &Standing, files: &[DataFile]) -> bool {
    match scope {
        Scope::Lake => true,
        Scope::Day(day) => one.removal.day == *day,
        Scope::Session(session) => one.ledger.sessions().any(|of| of == session),
        Scope::Record { .. } => files.iter().any(|file| scope.has_file(file)),
    }
}

/// In what a ledger differs from the commits that brought the files.
fn differs(one: &Standing, files: &[DataFile]) -> Option<String> {
    let mut committed: Vec<_> = files.iter().map(retention::Gone::of).collect();
    committed.sort_by(|a, b| a.path.cmp(&b.path));
    if committed != one.ledger.files || committed.len() as u64 != one.removal.files {
        let (said, found) = (one.ledger.files.len(), committed.len());
        return Some(format!(
            "it removes {} files, its ledger has {said}, and the commits have brought {found} for the day: they are not the same",
            one.removal.files
        ));
    }
    let records: u64 = files.iter().filter(|file| file.order == layout::Order::Time).map(|file| file.rows).sum();
    let said = one.removal.records;
    (said != records).then(|| format!("it removes {said} records, and the commits have brought {records} for the day"))
}

/// Reads `topic/partition@offset`.
pub(super) fn place(text: &str) -> Option<(Source, i64)> {
    match Scope::record(text) {
        Ok(Scope::Record { source, offset }) => Some((source, offset)),
        _ => None,
    }
}
