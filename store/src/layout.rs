//! How records lie in a data file: order, row groups, encodings, bloom filters, names.
//!
//! ```text
//! records/day=2026-11-21/events-0-1200-1399-and-3-5f3a9c01….parquet
//!                        topic-partition-first-last of the first source, how many more sources, the commit's id
//! ```
//! One commit writes one file for each day it touches, over all topics and partitions: what a query pays for is the number of
//! files. Only of a kind that it has many records of ([`ONE_KIND_ROWS`]) it writes a file apart, which has no columns of other kinds. Rows are
//! sorted by `occurred_at`, then by place. A row group has at most 128 Ki rows; measured against 1 Mi it made a needle 23 times faster together
//! with bloom filters on the two ids that people look for.
//!
//! ```text
//! records/day=2026-11-21/sessions-5f3a9c01….parquet     what a compaction wrote: sorted by session, then seq
//! ```
//! Such a file is large and is kept, so it has bloom filters on the texts that people look for, too ([`NEEDLES`]), and roll-ups of its records behind the
//! last column ([`crate::rollup`]).
//!
//! A file of either kind keeps the roots over blocks of its records ([`crate::merkle::blocks`]), and its pages are small: one record is read, and
//! proven, without the rest.

use crate::merkle::blocks::BLOCK_ROWS;
use crate::rollup::{Encoded, Places};
use crate::rows::{KindName, Row};
use crate::stats::{Held, Stats};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;
use uuid::Uuid;
use wk_schemas::{Digest, Kind, Schema, Timestamp, Topic};

/// Columns of ids, each with a bloom filter in every file.
pub const IDS: [&str; 2] = ["record_id", "session_id"];

/// Columns in which people look for one value among very many: paths, host names, addresses, programs.
///
/// In a file that a compaction wrote each has a bloom filter. A filter is made for as many values as there are records of the kind, and the
/// encoder folds it down to what there were.
pub const NEEDLES: [(Kind, &[&str]); 7] = [
    (Kind::FileAccessed, &["file_accessed", "path"]),
    (Kind::ConnectionAttempted, &["connection_attempted", "host_name"]),
    (Kind::ConnectionAttempted, &["connection_attempted", "address"]),
    (Kind::ApprovalRequested, &["approval_requested", "host_name"]),
    (Kind::ApprovalRequested, &["approval_requested", "address"]),
    (Kind::NameResolved, &["name_resolved", "name"]),
    (Kind::ProcessStarted, &["process_started", "actor", "image"]),
];

/// From so many records of one kind on, a commit writes them into a file of their own.
pub const ONE_KIND_ROWS: usize = 4096;

/// The most rows in a row group.
pub const ROW_GROUP_ROWS: usize = 128 * 1024;

/// The most rows in a page. Whoever wants one record reads a page of each column.
const PAGE_ROWS: usize = 4096;

/// The most bytes in a dictionary of values. Whoever wants one record reads the whole dictionary of each column; where values are many, ids and
/// digests, a page compresses without one as well.
const DICTIONARY_BYTES: usize = 64 * 1024;

/// One in so many lookups of an id that is not there reads a row group for nothing.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// In which order the rows of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Order {
    /// As committed: time, then place, so that equal times keep the log's order.
    Time,
    /// As compacted: session, seq, then writer and place. A session is one run of rows.
    Session,
}

/// Puts rows in order.
pub(crate) fn sort(rows: &mut [Row], order: Order) {
    if order == Order::Session {
        // Sessions and writers are few: their texts are compared with each other once, not for each pair of rows.
        let (sessions, writers): (BTreeSet<&str>, BTreeSet<&str>) =
            rows.iter().map(Row::chain).map(|(session, writer, _)| (session, writer)).unzip();
        let (sessions, writers) = (ranks(sessions), ranks(writers));
        rows.sort_by_cached_key(|row| {
            let (session, writer, seq) = row.chain();
            (sessions[session], seq, writers[writer], row.topic, row.partition, row.offset)
        });
        return;
    }
    // The stable sort finds the runs that are in order already, and rows come in long ones: a run for each partition of a fetch.
    rows.sort_by_key(|r| (r.occurred_at, r.topic, r.partition, r.offset));
}

/// The place of each text among the others.
fn ranks(texts: BTreeSet<&str>) -> HashMap<String, usize> {
    texts.into_iter().map(str::to_owned).zip(0..).collect()
}

/// The UTC day of a time, as days since 1970.
pub(crate) fn day_number(time: Timestamp) -> i64 {
    time.0.div_euclid(MICROS_PER_DAY)
}

/// The UTC day as `YYYY-MM-DD`.
#[must_use]
pub fn day(time: Timestamp) -> String {
    let (year, month, day) = civil(day_number(time));
    format!("{year:04}-{month:02}-{day:02}")
}

/// Year, month and day of a number of days since 1970-01-01 (Howard Hinnant's algorithm).
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The last part of a topic's name, without its version: `events`, `dead-letters`.
fn short(topic: Topic) -> &'static str {
    match topic {
        Topic::Events => "events",
        Topic::Findings => "findings",
        Topic::Commands => "commands",
        Topic::Approvals => "approvals",
        Topic::DeadLetters => "dead-letters",
    }
}

/// The path of a data file under the table's folder. The commit's whole id is in it: a file that a crash left without a commit is never in
/// the way of the next try, and a part of a time-ordered id would be the same for a minute.
pub(crate) fn file_path(day: &str, held: &[Held], id: Uuid, order: Order) -> String {
    if order == Order::Session {
        return format!("day={day}/sessions-{}.parquet", id.simple());
    }
    let Held { source, first, last, .. } = held.first().expect("a file holds at least one row");
    let more = match held.len() {
        1 => String::new(),
        n => format!("-and-{}", n - 1),
    };
    let (topic, partition) = (short(source.topic), source.partition);
    format!("day={day}/{topic}-{partition}-{first}-{last}{more}-{}.parquet", id.simple())
}

/// A file while it is written, in memory, piece after piece.
pub(crate) struct FileWriter(ArrowWriter<Vec<u8>>);

impl FileWriter {
    /// Begins a file for the rows that `stats` sums up, written with the schema `of`, of so many sessions.
    pub(crate) fn new(
        of: &Schema,
        schema: &SchemaRef,
        stats: &Stats,
        sessions: usize,
        order: Order,
    ) -> Result<Self, ParquetError> {
        let options = ArrowWriterOptions::new()
            .with_properties(properties(of, schema, stats, sessions, order))
            .with_skip_arrow_metadata(true);
        let out = Vec::with_capacity(row_count(stats) * 64 + 16 * 1024);
        Ok(Self(ArrowWriter::try_new_with_options(out, Arc::clone(schema), options)?))
    }

    /// Takes the next rows.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        self.0.write(batch)
    }

    /// Puts roll-ups behind the last column. No rows come after them.
    pub(crate) fn keep(&mut self, rollups: &Encoded) -> Result<Places, ParquetError> {
        self.0.flush()?;
        let places = rollups.places(self.0.bytes_written() as u64);
        for part in rollups.bytes() {
            self.0.write_all(part)?;
        }
        self.0.append_key_value_metadata(KeyValue::new(ROLLUPS_KEY.to_owned(), places.to_string()));
        Ok(places)
    }

    /// The whole file, with the root over each block of its records if they are several.
    pub(crate) fn finish(mut self, blocks: &[Digest]) -> Result<Vec<u8>, ParquetError> {
        if blocks.len() > 1 {
            self.0.flush()?;
            let at = self.0.bytes_written();
            for block in blocks {
                self.0.write_all(&block.0)?;
            }
            self.0.append_key_value_metadata(KeyValue::new(BLOCKS_KEY.to_owned(), at.to_string()));
        }
        self.0.into_inner()
    }
}

fn row_count(stats: &Stats) -> usize {
    usize::try_from(stats.rows()).expect("the rows of a file were in memory")
}

fn properties(of: &Schema, schema: &SchemaRef, stats: &Stats, sessions: usize, order: Order) -> WriterProperties {
    let rows = row_count(stats);
    let sorted: &[&str] = match order {
        Order::Time => &["occurred_at"],
        Order::Session => &["session_id", "seq"],
    };
    // Where every column is one page, an index of pages says what the row group says already, and over many columns it is a fifth of a small
    // file.
    let small = rows <= PAGE_ROWS;
    let sorting = sorted.iter().map(|name| {
        let column_idx = leaf_index(schema, schema.index_of(name).expect("the file has the table's columns"));
        SortingColumn { column_idx, descending: false, nulls_first: false }
    });
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("watchkeeper ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("zstd has a level 1")))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(small)
        .set_sorting_columns(Some(sorting.collect()))
        .set_key_value_metadata(Some(schema_metadata(of)));
    for (id, distinct) in IDS.into_iter().zip([rows, sessions]) {
        builder = bloom(builder, ColumnPath::from(id), distinct);
    }
    let needles = NEEDLES.iter().filter(|_| order == Order::Session);
    for ((kind, path), rows) in
        needles.filter_map(|needle| Some((needle, stats.kinds.get(&KindName::Known(needle.0))?)))
    {
        debug_assert!(schema.index_of(kind.as_str()).is_ok(), "a file has columns for the kinds of its records");
        let path = path.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
        builder = bloom(builder, ColumnPath::from(path), usize::try_from(*rows).unwrap_or(usize::MAX));
    }
    // No reader passes a page by for what is within a sub-record or a list.
    for field in schema.fields().iter().filter(|field| !small && !field.data_type().is_nested()) {
        builder =
            builder.set_column_statistics_enabled(ColumnPath::from(field.name().as_str()), EnabledStatistics::Page);
    }
    for name in ["record_id", "prev_digest"] {
        // Every value is another one: a dictionary would be written for nothing.
        builder = builder.set_column_dictionary_enabled(ColumnPath::from(name), false);
    }
    // Digests do not compress, and to say where they lie between helps nobody.
    builder = builder
        .set_column_compression(ColumnPath::from("prev_digest"), Compression::UNCOMPRESSED)
        .set_column_statistics_enabled(ColumnPath::from("prev_digest"), EnabledStatistics::None);
    for name in ["offset", "seq", "occurred_at", "recorded_at"] {
        let path = ColumnPath::from(name);
        builder = builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    builder.build()
}

/// Where a file says which schema its records were written with: `v1`, or the fingerprint of another.
const SCHEMA_KEY: &str = "watchkeeper.schema";

/// Where a file carries that schema, if it is not the first that was released.
const SCHEMA_TEXT_KEY: &str = "watchkeeper.schema.avsc";

/// The value of [`SCHEMA_KEY`] for the first schema that was released: every version of this program has it built in.
const FIRST: &str = "v1";

/// Where a file says where its roll-ups are; see [`crate::rollup`].
const ROLLUPS_KEY: &str = "watchkeeper.rollups";

/// What a file says of where its roll-ups are.
pub(crate) fn rollups_of(file: &FileMetaData) -> Option<&str> {
    value(file, ROLLUPS_KEY)
}

/// What a file says under a key of its own.
fn value<'a>(file: &'a FileMetaData, key: &str) -> Option<&'a str> {
    let pair = file.key_value_metadata()?.iter().find(|pair| pair.key == key)?;
    pair.value.as_deref()
}

fn schema_metadata(of: &Schema) -> Vec<KeyValue> {
    if *of == *Schema::first() {
        return vec![KeyValue::new(SCHEMA_KEY.to_owned(), FIRST.to_owned())];
    }
    vec![
        KeyValue::new(SCHEMA_KEY.to_owned(), of.fingerprint().to_hex()),
        KeyValue::new(SCHEMA_TEXT_KEY.to_owned(), of.text().to_owned()),
    ]
}

/// The schema that a file's records were written with, from the file's metadata.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn schema_of(file: &FileMetaData) -> Result<Arc<Schema>, String> {
    match (value(file, SCHEMA_KEY), value(file, SCHEMA_TEXT_KEY)) {
        (None | Some(FIRST), None) => Ok(Schema::first()),
        (Some(said), Some(text)) => {
            let schema = Schema::parse(text).map_err(|e| format!("the schema that it carries is none: {e}"))?;
            if schema.fingerprint().to_hex() == said {
                Ok(Arc::new(schema))
            } else {
                Err(format!("it carries another schema than {said}, which it says"))
            }
        }
        (said, _) => Err(format!("it says that its schema is {}, and does not carry it", said.unwrap_or("none"))),
    }
}

/// Where a file says at which byte the roots over its blocks begin: between the last column and the footer, where other readers do not look.
const BLOCKS_KEY: &str = "watchkeeper.blocks";

/// What a file is told that keeps other roots over its blocks than its records have.
pub(crate) const FALSE_BLOCKS: &str = "the roots over its blocks, which it keeps, are not those of its records";

/// Where in a file of so many bytes the roots over its blocks are; `None` when it does not keep them. See [`crate::merkle::blocks`].
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn blocks_of(file: &FileMetaData, size: u64) -> Result<Option<Range<u64>>, String> {
    let Some(pair) = file.key_value_metadata().and_then(|pairs| pairs.iter().find(|pair| pair.key == BLOCKS_KEY))
    else {
        return Ok(None);
    };
    let said = pair.value.as_deref().unwrap_or_default();
    let blocks = u64::try_from(file.num_rows()).unwrap_or_default().div_ceil(BLOCK_ROWS);
    let range = said.parse::<u64>().ok().and_then(|at| Some(at..at.checked_add(blocks.checked_mul(32)?)?));
    let range = range.filter(|range| range.end <= size);
    range
        .map(Some)
        .ok_or_else(|| format!("it says that the roots over its blocks are at `{said}`, where they cannot be"))
}

/// The roots over blocks, from the bytes that [`blocks_of`] names.
pub(crate) fn read_blocks(bytes: &[u8]) -> Vec<Digest> {
    bytes.as_chunks().0.iter().map(|root| Digest(*root)).collect()
}

fn bloom(builder: WriterPropertiesBuilder, path: ColumnPath, distinct: usize) -> WriterPropertiesBuilder {
    builder
        .set_column_bloom_filter_enabled(path.clone(), true)
        .set_column_bloom_filter_fpp(path.clone(), BLOOM_FALSE_POSITIVES)
        .set_column_bloom_filter_max_ndv(path, distinct.clamp(1, ROW_GROUP_ROWS) as u64)
}

/// The index of a top-level column among the file's leaf columns.
fn leaf_index(schema: &SchemaRef, field: usize) -> i32 {
    use arrow::datatypes::DataType;
    fn leaves(data_type: &DataType) -> usize {
        match data_type {
            DataType::Struct(fields) => fields.iter().map(|f| leaves(f.data_type())).sum(),
            DataType::List(item) => leaves(item.data_type()),
            _ => 1,
        }
    }
    let before: usize = schema.fields()[..field].iter().map(|f| leaves(f.data_type())).sum();
    i32::try_from(before).expect("a table has few columns")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (micros, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400_000_000, "2000-02-29"),
            (1_793_000_000_000_000, "2026-10-26"),
            (4_107_542_399_999_999, "2100-02-28"),
            (4_107_542_400_000_000, "2100-03-01"),
        ] {
            assert_eq!(day(Timestamp(micros)), expected);
        }
    }
}
