//! Makes sure that the log is the one that the lake was read from.
//!
//! A topic that was made anew and has grown past the old end looks, by its offsets, as if it went on: the records below that end would
//! never be read. So before the first new record, the last one that the lake has of each partition is read again from the log, and
//! must be the same record.

use crate::error::IngestError;
use crate::plan::PlanError;
use arrow::array::AsArray as _;
use arrow::datatypes::{Int32Type, Int64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeMap;
use std::time::Duration;
use wk_schemas::Topic;
use wk_schemas::avro::Input;
use wk_store::{CommitError, DataFile, Lake, OpenError, Snapshot, Source};
use wk_wire::kafka::{Reader, Watermarks};
use wk_wire::{Brokers, Message, Read as _, unframe};

/// Silence of this length means that the brokers are away.
const SILENCE: Duration = Duration::from_secs(10);

/// A record that both lake and log must have.
struct Known {
    offset: i64,
    record_id: String,
}

/// Compares the last record of each partition; `false` when the log fell silent and nothing was proven.
///
/// # Errors
/// [`PlanError::OtherLog`] when one of them is another record.
pub(crate) async fn check(
    brokers: &Brokers,
    lake: &Lake,
    held: &BTreeMap<Source, Watermarks>,
) -> Result<bool, IngestError> {
    let mut known = known(lake, held).await?;
    if known.is_empty() {
        return Ok(true);
    }
    let starts: Vec<(&str, i32, i64)> =
        known.iter().map(|(source, known)| (source.topic.name(), source.partition, known.offset)).collect();
    let mut reader = Reader::assign(brokers, &starts).await?;
    while !known.is_empty() {
        let messages = reader.next_batch(1, SILENCE).await?;
        if messages.is_empty() {
            return Ok(false);
        }
        for message in messages {
            let Some(topic) = Topic::from_name(&message.topic) else { continue };
            let source_partition = Source { topic, partition: message.partition };
            if let Some(Known { offset, record_id }) = known.remove(&source_partition)
                && (message.offset != offset || id(&message) != Some(&record_id))
            {
                return Err(PlanError::OtherLog { source_partition, offset, record_id }.into());
            }
        }
    }
    Ok(true)
}

fn id(message: &Message) -> Option<&str> {
    let (_, datum) = unframe(&message.value).ok()?;
    // Every version of a record begins with its id, and this one was proven when the lake took it.
    Input::new(datum).text().ok()
}

/// The last record that the lake has of each partition, unless retention has removed it from the log.
async fn known(lake: &Lake, held: &BTreeMap<Source, Watermarks>) -> Result<BTreeMap<Source, Known>, IngestError> {
    let snapshot = lake.snapshot();
    let mut known = BTreeMap::new();
    for (file, sources) in last(&snapshot) {
        let there = |(source, offset): &(Source, i64)| held.get(source).is_some_and(|holds| holds.low <= *offset);
        let sources: Vec<(Source, i64)> = sources.into_iter().filter(there).collect();
        if sources.is_empty() {
            continue;
        }
        let bytes = lake.files().get(&file.path.as_str().into()).await.map_err(OpenError::from);
        let missing = || IngestError::Lake { path: file.path.clone(), reason: "it is not there".into() };
        let bytes = bytes.map_err(CommitError::from)?.ok_or_else(missing)?;
        let look = || record_ids(bytes, &sources);
        let ids = look().map_err(|error| IngestError::Lake { path: file.path.clone(), reason: error.to_string() })?;
        known.extend(sources.into_iter().zip(ids).filter_map(|((source, offset), id)| {
            let record_id = id?;
            Some((source, Known { offset, record_id }))
        }));
    }
    Ok(known)
}

/// The files that hold the last record of a partition, each with those partitions and offsets.
fn last(snapshot: &Snapshot) -> Vec<(&DataFile, Vec<(Source, i64)>)> {
    let mut last: BTreeMap<Source, (i64, usize)> = BTreeMap::new();
    for (index, file) in snapshot.files.iter().enumerate() {
        for held in &file.stats.held {
            let entry = last.entry(held.source).or_insert((held.last, index));
            *entry = (*entry).max((held.last, index));
        }
    }
    let mut files: BTreeMap<usize, Vec<(Source, i64)>> = BTreeMap::new();
    for (source, (offset, index)) in last {
        files.entry(index).or_default().push((source, offset));
    }
    files.into_iter().map(|(index, sources)| (&*snapshot.files[index], sources)).collect()
}

/// Looks the ids of some records up by their places.
fn record_ids(
    bytes: bytes::Bytes,
    places: &[(Source, i64)],
) -> Result<Vec<Option<String>>, parquet::errors::ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let columns = ["record_id", "topic", "partition", "offset"];
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns);
    let mut ids = vec![None; places.len()];
    for batch in builder.with_projection(mask).build()? {
        let batch = batch?;
        let column = |name| batch.column_by_name(name).expect("every file has the table's columns");
        let (record_id, topic) = (column("record_id").as_string::<i32>(), column("topic").as_string::<i32>());
        let partition = column("partition").as_primitive::<Int32Type>();
        let offset = column("offset").as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            for (place, id) in places.iter().zip(&mut ids) {
                let (source, wanted) = place;
                if offset.value(row) == *wanted
                    && partition.value(row) == source.partition
                    && topic.value(row) == source.topic.name()
                {
                    *id = Some(record_id.value(row).to_owned());
                }
            }
        }
    }
    Ok(ids)
}
