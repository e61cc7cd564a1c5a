//! From records to roll-ups. Pure: what the same records give is the same, in whatever order they come.

use super::blob;
use super::first_seen::{FirstSeen, Sight};
use super::place::{Part, Places};
use super::sessions::{Sessions, greatest};
use crate::rows::Row;
use arrow::array::RecordBatch;
use parquet::errors::ParquetError;
use wk_schemas::body::{ConnectionAttempted, FileAccessed, Outcome};
use wk_schemas::{Body, CodecError, Header, Record, Schema, codec};

/// How large a part may be. One that is larger is not kept, and questions read the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The most rows.
    pub rows: usize,
    /// The most bytes in memory, texts included: tasks and command lines may be long.
    pub bytes: usize,
}

impl Default for Bounds {
    /// A quarter of the rows of a compaction: with more values than that there is little that is seen again.
    fn default() -> Self {
        Self { rows: 64 * 1024, bytes: 32 << 20 }
    }
}

/// Roll-ups in the making.
#[derive(Debug, Default)]
pub struct Rollups {
    sessions: Sessions,
    hosts: FirstSeen,
    paths: FirstSeen,
    images: FirstSeen,
}

/// The parts as they go into a file; `None` for one that is too large.
#[derive(Debug)]
pub(crate) struct Encoded([Option<Vec<u8>>; 4]);

impl Encoded {
    /// The parts' bytes, one behind the other.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().flatten().map(Vec::as_slice)
    }

    /// Where they are when the first begins there.
    pub(crate) fn places(&self, mut at: u64) -> Places {
        Places::new(self.0.each_ref().map(|part| {
            let length = part.as_ref()?.len() as u64;
            at += length;
            Some(at - length..at)
        }))
    }
}

impl Rollups {
    /// Rolls up the rows of a file, which are of one schema; `None` for rows of a schema that knows more than this program, because of those it would say too little.
    ///
    /// # Errors
    /// When a part cannot be encoded.
    ///
    /// # Panics
    /// Never: the datum of a row was walked when the row was made.
    pub(crate) fn of(rows: &[Row], bounds: &Bounds) -> Result<Option<Encoded>, ParquetError> {
        if !rows.first().is_some_and(|row| row.schema.is_known()) {
            return Ok(None);
        }
        let mut rollups = Self::default();
        for row in rows {
            rollups.take(&row.schema, &row.datum).expect("the datum of a row is a record");
        }
        rollups.encode(bounds).map(Some)
    }

    /// Takes a record of a schema that this program knows all of.
    ///
    /// # Errors
    /// When it is no record of that schema.
    pub fn take(&mut self, schema: &Schema, datum: &[u8]) -> Result<(), CodecError> {
        let record = if *schema == *Schema::ours() {
            codec::decode(datum)?
        } else {
            codec::decode(&schema.to_ours(datum)?.ok_or(CodecError::NoBody)?)?
        };
        self.add(&record);
        Ok(())
    }

    fn add(&mut self, Record { header, body }: &Record) {
        let session = self.sessions.take(header);
        let at = header.occurred_at;
        let refused = |outcome: Outcome, times: i64| if outcome == Outcome::Denied { times } else { 0 };
        match body {
            Body::SessionStarted(started) => {
                greatest(&mut session.user, &started.user);
                greatest(&mut session.workspace, &started.workspace);
                session.stands(at, body.kind());
            }
            Body::SessionEnded(_) | Body::SessionResumed(_) => session.stands(at, body.kind()),
            Body::SessionFrozen(_) => {
                session.freezes += 1;
                session.stands(at, body.kind());
            }
            Body::SessionKilled(_) => {
                session.kills += 1;
                session.stands(at, body.kind());
            }
            Body::PromptSubmitted(prompt) => session.task(at, &prompt.text),
            Body::ToolCalled(_) => session.tool_calls += 1,
            Body::ProcessStarted(started) => {
                session.processes += 1;
                session.denied += refused(started.outcome, 1);
                let sight = Sight {
                    value: &started.actor.image,
                    image: &started.parent_image,
                    outcome: started.outcome.as_str(),
                    detail: &started.command_line,
                    times: 1,
                    last_at: None,
                };
                self.images.take(header, &sight);
            }
            Body::FileAccessed(accessed) => {
                session.files = session.files.wrapping_add(accessed.count);
                session.denied = session.denied.wrapping_add(refused(accessed.outcome, accessed.count));
                self.touched(header, accessed);
            }
            Body::ConnectionAttempted(attempted) => {
                session.connections = session.connections.wrapping_add(attempted.count);
                session.denied = session.denied.wrapping_add(refused(attempted.outcome, attempted.count));
                self.reached(header, attempted);
            }
            Body::Finding(finding) => session.found(finding.level),
            Body::ApprovalRequested(_) => session.approvals_asked += 1,
            // A gap of unknown size counts as one.
            Body::RecordsLost(lost) => {
                let lost = if lost.count < 0 { 1 } else { lost.count };
                session.records_lost = session.records_lost.wrapping_add(lost);
            }
            Body::PlanDeclared(_)
            | Body::Thought(_)
            | Body::ToolReturned(_)
            | Body::ProcessExited(_)
            | Body::NameResolved(_)
            | Body::PolicyApplied(_)
            | Body::ApprovalResolved(_)
            | Body::Command(_)
            | Body::Approval(_)
            | Body::QueryRun(_)
            | Body::EvidenceExported(_)
            | Body::DeadLetter(_)
            | Body::CallAttempted(_) => {}
        }
    }

    /// A file's path, and the second one of a rename or a link.
    fn touched(&mut self, header: &Header, accessed: &FileAccessed) {
        for value in [Some(&accessed.path), accessed.target_path.as_ref()].into_iter().flatten() {
            let sight = Sight {
                value,
                image: &accessed.actor.image,
                outcome: accessed.outcome.as_str(),
                detail: accessed.operation.as_str(),
                times: accessed.count,
                last_at: accessed.last_at,
            };
            self.paths.take(header, &sight);
        }
    }

    /// A remote host, by its name or else by its address. Local sockets are not remote.
    fn reached(&mut self, header: &Header, attempted: &ConnectionAttempted) {
        if matches!(attempted.protocol.as_str(), "unix" | "netlink") {
            return;
        }
        let sight = Sight {
            value: attempted.host_name.as_ref().unwrap_or(&attempted.address),
            image: &attempted.actor.image,
            outcome: attempted.outcome.as_str(),
            detail: &attempted.address,
            times: attempted.count,
            last_at: attempted.last_at,
        };
        self.hosts.take(header, &sight);
    }

    /// The rows of every part, in the order of [`Part::ALL`].
    #[must_use]
    pub fn into_batches(self) -> [RecordBatch; 4] {
        let Self { sessions, hosts, paths, images } = self;
        [sessions.into_batch(), hosts.into_batch(), paths.into_batch(), images.into_batch()]
    }

    fn encode(self, bounds: &Bounds) -> Result<Encoded, ParquetError> {
        let mut parts = [const { None }; 4];
        for ((part, batch), encoded) in Part::ALL.iter().zip(self.into_batches()).zip(&mut parts) {
            if batch.num_rows() <= bounds.rows && batch.get_array_memory_size() <= bounds.bytes {
                *encoded = Some(blob::write(&batch)?);
            } else {
                let (part, rows, bytes) = (part.name(), batch.num_rows(), batch.get_array_memory_size());
                tracing::info!(part, rows, bytes, "a roll-up is too large to be kept");
            }
        }
        Ok(Encoded(parts))
    }
}
