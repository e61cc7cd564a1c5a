//! One commit's files: are they the bytes that were committed, and what records are in them?

use super::report::{Class, Finding};
use crate::lake::DataFile;
use crate::merkle::records::record_leaf;
use crate::merkle::tree::Edge;
use crate::offsets::Source;
use crate::rows::Encoder;
use arrow::array::{Array, AsArray as _, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use wk_schemas::{Body, Digest, Kind, Timestamp, Topic, codec};

/// How many rows are read at once.
const BATCH_ROWS: usize = 8192;

/// What is needed of a record once its file is closed.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) source: Source,
    pub(super) offset: i64,
    pub(super) session: String,
    pub(super) writer: String,
    pub(super) seq: i64,
    pub(super) prev_digest: Digest,
    pub(super) digest: Digest,
    /// For a dead letter: where the bytes were found.
    pub(super) letter: Option<(Source, i64)>,
}

/// Checks one file against what its commit says of it.
pub(super) fn check(file: &DataFile, bytes: &Bytes) -> (Vec<Seen>, Vec<Finding>) {
    let at = |class, what: String| Finding::new(class, what).commit(file.version).file(&file.path);
    let mut findings = Vec::new();
    let found = Digest::of(bytes);
    if found != file.sha256 || bytes.len() as u64 != file.size {
        let size = file.size;
        findings.push(at(
            Class::Invalid,
            format!("{} bytes with SHA-256 {found}, the commit says {size} with {}", bytes.len(), file.sha256),
        ));
    }
    let (seen, root) = match read(bytes) {
        Ok(read) => read,
        Err(reason) => {
            findings.push(at(Class::Invalid, format!("not readable: {reason}")));
            return (Vec::new(), findings);
        }
    };
    if root != file.merkle_root {
        findings.push(at(
            Class::Invalid,
            format!("its records have the root {root}, the commit says {}", file.merkle_root),
        ));
    }
    if seen.len() as u64 != file.rows {
        findings.push(at(Class::Invalid, format!("it has {} records, the commit says {}", seen.len(), file.rows)));
    }
    (seen, findings)
}

/// Reads every record back to its bytes.
fn read(bytes: &Bytes) -> Result<(Vec<Seen>, Digest), String> {
    let mut edge = Edge::default();
    let mut seen = Vec::new();
    each(bytes, |source, offset, recorded_at, datum| {
        edge.push(record_leaf(source.topic, source.partition, offset, recorded_at, datum), |_, _| {});
        let header = codec::walk(datum).map_err(|e| format!("{source}@{offset}: {e}"))?;
        let letter = if header.kind == Kind::DeadLetter { letter(datum) } else { None };
        seen.push(Seen {
            source,
            offset,
            session: header.session_id.to_owned(),
            writer: header.writer.to_owned(),
            seq: header.seq,
            prev_digest: header.prev_digest,
            digest: Digest::of(datum),
            letter,
        });
        Ok(())
    })?;
    Ok((seen, edge.root()))
}

/// Topic, partition and offset of a record, and its leaf in the file's tree.
type Leaf = ((Topic, i32, i64), Digest);

/// The leaf of every record of a file, in the order of its rows.
pub(crate) fn leaves(bytes: &Bytes) -> Result<Vec<Leaf>, String> {
    let mut leaves = Vec::new();
    each(bytes, |Source { topic, partition }, offset, recorded_at, datum| {
        leaves.push(((topic, partition, offset), record_leaf(topic, partition, offset, recorded_at, datum)));
        Ok(())
    })?;
    Ok(leaves)
}

/// Hands every record of a file to `take`: its place, when the log took it, and its bytes, encoded again from the columns.
fn each(
    bytes: &Bytes,
    mut take: impl FnMut(Source, i64, Timestamp, &[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone())
        .and_then(|b| b.with_batch_size(BATCH_ROWS).build())
        .map_err(|e| e.to_string())?;
    let mut datum = Vec::with_capacity(4096);
    for batch in reader {
        let batch = batch.map_err(|e| e.to_string())?;
        let encoder = Encoder::new(&batch).map_err(|e| e.to_string())?;
        let place = Place::of(&batch)?;
        for row in 0..batch.num_rows() {
            datum.clear();
            encoder.write(row, &mut datum);
            let (source, offset, recorded_at) = place.at(row)?;
            take(source, offset, recorded_at, &datum)?;
        }
    }
    Ok(())
}

fn letter(datum: &[u8]) -> Option<(Source, i64)> {
    match codec::decode(datum).ok()?.body {
        Body::DeadLetter(letter) => {
            Some((Source { topic: Topic::from_name(&letter.topic)?, partition: letter.partition }, letter.offset))
        }
        _ => None,
    }
}

/// The columns that say where a record was in the log.
struct Place<'a> {
    topic: &'a arrow::array::StringArray,
    partition: &'a [i32],
    offset: &'a [i64],
    recorded_at: &'a [i64],
}

impl<'a> Place<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, String> {
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

    fn at(&self, row: usize) -> Result<(Source, i64, Timestamp), String> {
        let name = self.topic.value(row);
        let topic = Topic::from_name(name).ok_or_else(|| format!("`{name}` is no topic"))?;
        let source = Source { topic, partition: self.partition[row] };
        Ok((source, self.offset[row], Timestamp(self.recorded_at[row])))
    }
}
