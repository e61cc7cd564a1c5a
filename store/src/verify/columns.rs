//! The table's columns, followed from commit to commit: they may become more, and nothing else of the table may change.

use super::commit::Checked;
use super::report::{Class, Finding, Report};
use crate::delta::{Action, MetaData};
use crate::rows::Columns;

/// The table as the commits up to here say it is.
#[derive(Debug, Default)]
pub(super) struct History(Option<(MetaData, Columns)>);

impl History {
    /// Takes what a commit says of the table, and holds the columns of its files against it.
    pub(super) fn take(&mut self, commit: &Checked, report: &mut Report) {
        let version = commit.version;
        let mut invalid = |what: String| report.findings.push(Finding::new(Class::Invalid, what).commit(version));
        for action in commit.actions.iter().flatten() {
            match action {
                Action::Protocol(_) if version > 0 => invalid("it changes the table's protocol or schema".into()),
                Action::MetaData(meta) => match self.next(meta) {
                    Ok(columns) => self.0 = Some((meta.clone(), columns)),
                    Err(what) => invalid(format!("it changes the table's protocol or schema: {what}")),
                },
                _ => {}
            }
        }
        let Some((_, columns)) = &self.0 else { return };
        for schema in &commit.schemas {
            // A file that has more than the table holds something that no question would see.
            match columns.join(&Columns::of(schema)) {
                Ok(joined) if joined == *columns => {}
                Ok(_) => invalid(format!(
                    "its records have columns that the table does not: schema {}",
                    schema.fingerprint()
                )),
                Err(problems) => invalid(format!("its records are not of the table: {}", problems.join("; "))),
            }
        }
    }

    /// The columns of the next state of the table.
    fn next(&self, meta: &MetaData) -> Result<Columns, String> {
        let columns = Columns::read(&meta.schema_string)?;
        let Some((before, known)) = &self.0 else { return Ok(columns) };
        if (MetaData { schema_string: before.schema_string.clone(), ..meta.clone() }) != *before {
            return Err("more of it than its columns".into());
        }
        match known.join(&columns) {
            Ok(joined) if joined == columns => Ok(columns),
            Ok(_) => Err("columns that it had are gone, or in another order".into()),
            Err(problems) => Err(problems.join("; ")),
        }
    }
}
