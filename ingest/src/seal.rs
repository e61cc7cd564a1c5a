//! Turns a batch of messages into a commit: pure work for a processor, several batches at once.

use crate::dead_letter::Letter;
use crate::plan::Account;
use crate::walk::{Refusal, SchemaIds, Taken, walk};
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;
use wk_schemas::Timestamp;
use wk_store::rows::{self, RowsError};
use wk_store::{Commit, PrepareError, Row, Source};

/// Messages that will be one commit.
#[derive(Debug, Default)]
pub struct Batch {
    messages: Vec<Taken>,
    account: Account,
    bytes: usize,
}

/// A batch as it is committed.
#[derive(Debug)]
pub struct Sealed {
    /// The commit, not yet made.
    pub commit: Commit,
    /// What goes to the dead-letter topic before it.
    pub letters: Vec<Letter>,
}

impl Batch {
    /// Takes a message behind `absent` offsets that the log does not have.
    pub fn take(&mut self, taken: Taken, absent: i64) {
        self.account.take(taken.source, taken.offset, absent, taken.timestamp_ms);
        self.bytes += taken.value.len() + taken.key.len();
        self.messages.push(taken);
    }

    /// How many messages.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes of their keys and values.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// See [`Account::is_full_for`].
    #[must_use]
    pub fn is_full_for(&self, taken: &Taken) -> bool {
        self.account.is_full_for(taken.source, taken.timestamp_ms)
    }

    /// Walks every message, sets aside what is no record, and turns the rest into a commit.
    ///
    /// A record that the walk takes and the table does not give back is set aside as well: it would stop everything behind it.
    ///
    /// # Errors
    /// [`PrepareError`] when something else is wrong than a record.
    pub fn seal(self, ids: &Arc<SchemaIds>, id: Uuid, at: Timestamp) -> Result<Sealed, PrepareError> {
        let mut unfaithful = BTreeSet::new();
        loop {
            let (rows, letters, account) = self.sort_out(ids, &unfaithful);
            match Commit::prepare(id, at, rows, account.ranges()) {
                Ok(commit) => return Ok(Sealed { commit, letters }),
                Err(PrepareError::Rows(error)) => {
                    let known = unfaithful.len();
                    match &error {
                        RowsError::NotFaithful { topic, partition, offset } => {
                            unfaithful.insert((Source { topic: *topic, partition: *partition }, *offset));
                        }
                        RowsError::Decode { .. } | RowsError::Column { .. } | RowsError::Symbol { .. } => {
                            let (rows, ..) = self.sort_out(ids, &unfaithful);
                            for rows in rows.chunk_by(|a, b| a.schema() == b.schema()) {
                                offenders(rows, &|rows| rows::decode(rows).is_ok(), &mut unfaithful);
                            }
                        }
                    }
                    if unfaithful.len() == known {
                        return Err(error.into());
                    }
                    tracing::error!(%error, records = unfaithful.len() - known, "records set aside that the table cannot hold");
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn sort_out(&self, ids: &SchemaIds, unfaithful: &BTreeSet<(Source, i64)>) -> (Vec<Row>, Vec<Letter>, Account) {
        let (mut rows, mut letters) = (Vec::with_capacity(self.messages.len()), Vec::new());
        let mut account = self.account.clone();
        for taken in &self.messages {
            let walked = match walk(taken, ids) {
                Ok(_) if unfaithful.contains(&(taken.source, taken.offset)) => Err(Refusal::Columns),
                walked => walked,
            };
            match walked {
                Ok(row) => rows.push(row),
                Err(refusal) => {
                    account.set_aside(taken.source);
                    letters.push(Letter::new(taken.clone(), &refusal));
                }
            }
        }
        (rows, letters, account)
    }
}

/// Finds, by halving, the rows that do not pass by themselves.
fn offenders(rows: &[Row], passes: &impl Fn(&[Row]) -> bool, found: &mut BTreeSet<(Source, i64)>) {
    if rows.is_empty() || passes(rows) {
        return;
    }
    if let [row] = rows {
        found.insert((Source { topic: row.topic(), partition: row.partition() }, row.offset()));
        return;
    }
    let (first, second) = rows.split_at(rows.len() / 2);
    offenders(first, passes, found);
    offenders(second, passes, found);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Synthetic;
    use crate::walk::Standing;
    use wk_schemas::{Schema, Topic};
    use wk_wire::frame;

    const SOURCE: Source = Source { topic: Topic::Events, partition: 0 };

    fn messages(count: usize) -> Vec<Taken> {
        let events = Synthetic::new(1).filter(|s| s.topic == Topic::Events).take(count);
        let taken = |(offset, sample): (i64, crate::synthetic::Sample)| Taken {
            source: SOURCE,
            offset,
            timestamp_ms: Some(sample.recorded_at.0 / 1000),
            key: sample.session_id.as_str().to_owned().into(),
            value: frame(1, &sample.datum).into(),
        };
        (0..).zip(events).map(taken).collect()
    }

    fn batch(messages: Vec<Taken>) -> Batch {
        let mut batch = Batch::default();
        messages.into_iter().for_each(|taken| batch.take(taken, 0));
        batch
    }

    fn ids() -> Arc<SchemaIds> {
        Arc::new(SchemaIds::from([(1, Standing::Record(Schema::ours()))]))
    }

    #[test]
    fn one_poisoned_message_costs_its_neighbours_nothing() {
        let mut messages = messages(500);
        let good = messages[7].value.clone();
        messages[7].value = good.slice(..good.len() - 3);
        messages[400].value = [&good[..], &good[5..]].concat().into();
        let sealed = batch(messages).seal(&ids(), Uuid::nil(), Timestamp(0)).unwrap();
        let [range] = sealed.commit.ranges() else { panic!("{:?}", sealed.commit.ranges()) };
        assert_eq!((range.first, range.next, range.rows, range.dead_letters), (0, 500, 498, 2));
        assert_eq!(sealed.letters.len(), 2);
    }

    #[test]
    fn a_batch_of_nothing_but_dead_letters_is_a_commit() {
        let mut messages = messages(3);
        messages.iter_mut().for_each(|taken| taken.key = bytes::Bytes::from_static(b"other"));
        let sealed = batch(messages).seal(&ids(), Uuid::nil(), Timestamp(0)).unwrap();
        assert_eq!((sealed.commit.bytes(), sealed.letters.len()), (0, 3));
    }

    #[test]
    fn rows_that_do_not_pass_are_found_and_no_others() {
        let messages = messages(100);
        let rows: Vec<Row> = messages.iter().map(|taken| walk(taken, &ids()).unwrap()).collect();
        let bad = [3, 50, 51, 99];
        let mut found = BTreeSet::new();
        offenders(&rows, &|rows| rows.iter().all(|row| !bad.contains(&row.offset())), &mut found);
        assert_eq!(found, bad.map(|offset| (SOURCE, offset)).into());
    }
}
