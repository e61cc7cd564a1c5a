//! One commit's files: are they the bytes that were committed, and what records are in them?

use super::bounds::Bounds;
use super::report::{Class, Finding};
use super::rollups::Again;
use super::scope::Scope;
use super::seen::{Rare, Seen};
use crate::lake::DataFile;
use crate::layout::{FALSE_BLOCKS, blocks_of, read_blocks, schema_of};
use crate::merkle::blocks::Blocks;
use crate::merkle::proof::Placed;
use crate::merkle::records::record_leaf;
use crate::merkle::tree::root;
use crate::offsets::Source;
use crate::replayed;
use crate::rows::Encoder;
use arrow::array::{Array, AsArray as _, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::HashSet;
use std::sync::Arc;
use wk_schemas::{Body, Digest, Kind, Record, RecordId, Schema, Timestamp, Topic, codec};

/// How many rows are read at once.
const BATCH_ROWS: usize = 8192;

/// An offset of a partition.
pub(crate) type Offset = (Source, i64);

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// The records in the scope, in the order of the file's rows.
    pub(super) seen: Vec<Seen>,
    /// How many records there are in all.
    pub(super) rows: u64,
    /// The leaf of every record, for a file that rearranges.
    pub(super) leaves: Vec<Digest>,
    /// What they were written with, if that could be read.
    pub(super) schema: Option<Arc<Schema>>,
    pub(super) findings: Vec<Finding>,
}

/// Checks one file against what its commit says of it.
pub(super) fn check(file: &DataFile, bytes: &Bytes, scope: &Scope) -> Content {
    check_for(file, bytes, Some(scope))
}

/// Checks one file that rearranges against what its commit says of it: its records are seen where they were first committed.
pub(super) fn check_rearranged(file: &DataFile, bytes: &Bytes) -> Content {
    check_for(file, bytes, None)
}

fn check_for(file: &DataFile, bytes: &Bytes, scope: Option<&Scope>) -> Content {
    let mut content = Content::default();
    content.findings.extend(other_bytes(file, bytes));
    let mut invalid =
        |what: String| content.findings.push(Finding::new(Class::Invalid, what).commit(file.version).file(&file.path));
    let mut again = Again::begin(file, bytes);
    let read = match read(bytes, scope, &mut again) {
        Ok(read) => read,
        Err(reason) => {
            invalid(format!("not readable: {reason}"));
            return content;
        }
    };
    if read.root != file.merkle_root {
        invalid(format!("its records have the root {}, the commit says {}", read.root, file.merkle_root));
    }
    if read.blocks_kept == Some(false) {
        invalid(format!("{FALSE_BLOCKS}: a record could not be proven out of it"));
    }
    if read.rows != file.rows {
        invalid(format!("it has {} records, the commit says {}", read.rows, file.rows));
    }
    for lie in read.bounds.lies(file, &read.schema) {
        invalid(format!("{lie}, the commit says otherwise: a question would pass it by"));
    }
    let first = Schema::first().fingerprint();
    if read.schema.fingerprint() != file.schema.unwrap_or(first) {
        let (found, said) = (read.schema.fingerprint(), file.schema.unwrap_or(first));
        invalid(format!("its records were written with the schema {found}, the commit says {said}"));
    }
    content.findings.extend(again.finish(file, bytes));
    content.schema = Some(read.schema);
    content.rows = read.rows;
    content.seen = read.seen;
    content.leaves = read.leaves;
    content
}

/// What to say if these are not the bytes that were committed.
pub(super) fn other_bytes(file: &DataFile, bytes: &Bytes) -> Option<Finding> {
    let (found, size) = (Digest::of(bytes), bytes.len() as u64);
    ((found, size) != (file.sha256, file.size)).then(|| {
        let what = format!("{size} bytes with SHA-256 {found}, the commit says {} with {}", file.size, file.sha256);
        Finding::new(Class::Invalid, what).commit(file.version).file(&file.path)
    })
}

/// A file's records, each read back to its bytes.
struct Read {
    seen: Vec<Seen>,
    leaves: Vec<Digest>,
    rows: u64,
    root: Digest,
    /// Whether the file keeps the roots over its blocks as they are; `None` when it keeps none.
    blocks_kept: Option<bool>,
    bounds: Bounds,
    schema: Arc<Schema>,
}

fn read(bytes: &Bytes, scope: Option<&Scope>, again: &mut Again) -> Result<Read, String> {
    let mut blocks = Blocks::default();
    let mut bounds = Bounds::default();
    let (mut sessions, mut writers) = (Texts::default(), Texts::default());
    let (mut seen, mut leaves) = (Vec::new(), Vec::new());
    let carried = each(bytes, |schema, source, offset, recorded_at, datum| {
        let leaf = record_leaf(source.topic, source.partition, offset, recorded_at, datum);
        blocks.push(leaf);
        let (header, kind) = schema.walk(datum).map_err(|e| format!("{source}@{offset}: {e}"))?;
        bounds.take(source, offset, recorded_at, &header, kind);
        again.take(schema, datum)?;
        let Some(scope) = scope else {
            leaves.push(leaf);
            return Ok(());
        };
        let wanted = match scope {
            Scope::Lake | Scope::Day(_) => true,
            Scope::Session(session) => header.session_id == session,
            Scope::Record { source: wanted, offset: at } => (source, offset) == (*wanted, *at),
        };
        if wanted {
            let (letter, replayed) = if header.kind == Kind::DeadLetter { letter(schema, datum) } else { (None, None) };
            let names = if matches!(scope, Scope::Session(_)) { names(schema, datum) } else { None };
            let rare = letter.is_some() || replayed.is_some() || names.is_some();
            seen.push(Seen {
                source,
                offset,
                recorded_at,
                occurred_at: header.occurred_at,
                kind: header.kind,
                session: sessions.shared(header.session_id),
                writer: writers.shared(header.writer),
                seq: header.seq,
                prev_digest: header.prev_digest,
                digest: Digest::of(datum),
                rare: rare.then(|| Box::new(Rare { letter, replayed, names })),
            });
        }
        Ok(())
    })?;
    let rows = blocks.size();
    let roots = blocks.into_roots();
    let blocks_kept = carried.blocks.map(|kept| kept == roots);
    Ok(Read { seen, leaves, rows, root: root(&roots), blocks_kept, bounds, schema: carried.schema })
}

/// Texts that come again and again, the same ones in a row; each is kept once.
#[derive(Default)]
struct Texts {
    all: HashSet<Arc<str>>,
    last: Option<Arc<str>>,
}

impl Texts {
    fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(last) = self.last.as_ref().filter(|last| ***last == *text) {
            return Arc::clone(last);
        }
        let shared = self.all.get(text).cloned().unwrap_or_else(|| {
            let shared: Arc<str> = text.into();
            self.all.insert(Arc::clone(&shared));
            shared
        });
        self.last = Some(Arc::clone(&shared));
        shared
    }
}

/// A record as far as this program knows it.
fn known(schema: &Schema, datum: &[u8]) -> Option<Record> {
    codec::decode(&schema.to_ours(datum).ok()??).ok()
}

/// The record's own id and those of its evidence.
fn names(schema: &Schema, datum: &[u8]) -> Option<(RecordId, Vec<RecordId>)> {
    let record = known(schema, datum)?;
    let evidence = match record.body {
        Body::Finding(finding) => finding.evidence,
        _ => Vec::new(),
    };
    Some((record.header.record_id, evidence))
}

/// The leaf of every record of a file, in the order of its rows, and the record of one place with its row, if it is there.
type Leaves = (Vec<Digest>, Option<(u64, Placed)>);

/// Reads the leaves of a file, and the record that stands at a place, if one is wanted.
pub(crate) fn leaves(bytes: &Bytes, wanted: Option<Offset>) -> Result<Leaves, String> {
    let mut leaves = Vec::new();
    let mut found = None;
    each(bytes, |_, source, offset, recorded_at, datum| {
        let Source { topic, partition } = source;
        if Some((source, offset)) == wanted {
            let datum = Bytes::copy_from_slice(datum);
            found = Some((leaves.len() as u64, Placed { topic, partition, offset, recorded_at, datum }));
        }
        leaves.push(record_leaf(topic, partition, offset, recorded_at, datum));
        Ok(())
    })?;
    Ok((leaves, found))
}

/// What a file has beside its records.
pub(crate) struct Carried {
    /// The schema that they were written with.
    schema: Arc<Schema>,
    /// The root over each block of them, if it keeps those; see [`crate::merkle::blocks`].
    blocks: Option<Vec<Digest>>,
}

/// Hands every record of a file to `take`: the schema that it was written with, its place, when the log took it, and its bytes, encoded again
/// from the columns. Returns what the file carries beside them.
pub(crate) fn each(
    bytes: &Bytes,
    mut take: impl FnMut(&Arc<Schema>, Source, i64, Timestamp, &[u8]) -> Result<(), String>,
) -> Result<Carried, String> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).map_err(|e| e.to_string())?;
    let metadata = builder.metadata().file_metadata();
    let schema = schema_of(metadata)?;
    let blocks = blocks_of(metadata, bytes.len() as u64)?;
    let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(|e| e.to_string())?;
    let mut datum = Vec::with_capacity(4096);
    for batch in reader {
        let batch = batch.map_err(|e| e.to_string())?;
        let encoder = Encoder::new(&schema, &batch).map_err(|e| e.to_string())?;
        let place = PlaceColumns::of(&batch)?;
        for row in 0..batch.num_rows() {
            datum.clear();
            encoder.write(row, &mut datum);
            let (source, offset, recorded_at) = place.at(row)?;
            take(&schema, source, offset, recorded_at, &datum)?;
        }
    }
    let at = |n: u64| usize::try_from(n).expect("a file that is in memory");
    let blocks = blocks.map(|range| read_blocks(&bytes[at(range.start)..at(range.end)]));
    Ok(Carried { schema, blocks })
}

/// What a dead letter is about, or where a note says that one is now.
fn letter(schema: &Schema, datum: &[u8]) -> (Option<Offset>, Option<Offset>) {
    match known(schema, datum).map(|record| record.body) {
        Some(Body::DeadLetter(letter)) if letter.parts == 0 => (None, replayed::place(&letter.reason)),
        Some(Body::DeadLetter(letter)) => {
            let source = Topic::from_name(&letter.topic).map(|topic| Source { topic, partition: letter.partition });
            (source.map(|source| (source, letter.offset)), None)
        }
        _ => (None, None),
    }
}

/// The columns that say where a record was in the log.
pub(crate) struct PlaceColumns<'a> {
    topic: &'a arrow::array::StringArray,
    partition: &'a [i32],
    offset: &'a [i64],
    recorded_at: &'a [i64],
}

impl<'a> PlaceColumns<'a> {
    pub(crate) fn of(batch: &'a RecordBatch) -> Result<Self, String> {
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .filter(|c| c.null_count() == 0)
                .ok_or_else(|| format!("no column `{name}` without nulls"))
        };
        let typed = |name: &str| format!("column `{name}` is of another type");
        Ok(Self {
            topic: column("topic")?.as_string_opt().ok_or_else(|| typed("topic"))?,
            partition: column("partition")?.as_primitive_opt::<Int32Type>().ok_or_else(|| typed("partition"))?.values(),
            offset: column("offset")?.as_primitive_opt::<Int64Type>().ok_or_else(|| typed("offset"))?.values(),
            recorded_at: column("recorded_at")?
                .as_primitive_opt::<TimestampMicrosecondType>()
                .ok_or_else(|| typed("recorded_at"))?
                .values(),
        })
    }

    pub(crate) fn at(&self, row: usize) -> Result<(Source, i64, Timestamp), String> {
        let name = self.topic.value(row);
        let topic = Topic::from_name(name).ok_or_else(|| format!("`{name}` is no topic"))?;
        let source = Source { topic, partition: self.partition[row] };
        Ok((source, self.offset[row], Timestamp(self.recorded_at[row])))
    }
}
