//! A commit before it is made: files written in memory, proven to hold what they were made from.
//!
//! [`Commit::prepare`] is pure work for a processor: no I/O, no clock. It may run for several batches at once, while
//! [`crate::Writer::commit`] takes them in order.

use crate::delta::{self, Action, Add, tag};
use crate::layout::{self, FileWriter, Order};
use crate::merkle::blocks::Blocks;
use crate::merkle::records::record_leaf;
use crate::merkle::tree;
use crate::offsets::{Range, Source};
use crate::rollup::{Bounds, Rollups};
use crate::rows::{self, Decoder, Encoder, Row, RowsError};
use crate::stats::{self, Stats};
use arrow::array::RecordBatch;
use bytes::Bytes;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;
use wk_schemas::{Digest, Schema, Timestamp};

/// A commit, ready to be made.
#[derive(Debug, Clone)]
pub struct Commit {
    pub(crate) id: Uuid,
    pub(crate) at: Timestamp,
    pub(crate) ranges: Vec<Range>,
    pub(crate) files: Vec<NewFile>,
    /// Every schema that records of it were written with.
    pub(crate) schemas: Vec<Arc<Schema>>,
}

/// A data file that is not yet on disk.
#[derive(Debug, Clone)]
pub(crate) struct NewFile {
    pub(crate) path: String,
    pub(crate) bytes: Bytes,
    add: Add,
}

impl NewFile {
    /// The file as one that holds records of the table in another arrangement: the table's contents are the same with it.
    pub(crate) fn rearranged(&self) -> Add {
        let mut add = self.add.clone();
        add.data_change = false;
        add.tags.insert(tag::ORDER.to_owned(), tag::SESSION.to_owned());
        add
    }
}

/// Why rows and ranges do not make a commit.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Rows, dead letters and absent offsets do not add up to the range.
    #[error(
        "the range {first} to {next} of {source_partition} does not add up: {rows} rows, {dead_letters} dead letters, {absent} absent"
    )]
    Incomplete {
        /// The partition.
        source_partition: Source,
        /// The first offset.
        first: i64,
        /// One past the last.
        next: i64,
        /// Rows said.
        rows: i64,
        /// Dead letters said.
        dead_letters: i64,
        /// Absent offsets said.
        absent: i64,
    },
    /// Two ranges of one partition.
    #[error("{source_partition} has two ranges in one commit")]
    TwoRanges {
        /// The partition.
        source_partition: Source,
    },
    /// A row in no range, out of order, or twice.
    #[error("the row at offset {offset} of {source_partition} is in no range, out of order, or there twice")]
    Misplaced {
        /// The partition.
        source_partition: Source,
        /// The offset.
        offset: i64,
    },
    /// The rows do not become columns.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// The columns do not become a file.
    #[error("failed to encode a data file")]
    Parquet(#[from] parquet::errors::ParquetError),
}

impl Commit {
    /// Sorts rows into files, encodes them, and reads every record back out of its columns before it goes on.
    ///
    /// Rows of one partition come in the order of their offsets; partitions may be mixed. The order does not depend on anything
    /// but the arguments, so preparing again gives the same bytes.
    ///
    /// # Errors
    /// [`PrepareError`]: the arguments contradict each other, or a record does not survive the way into columns.
    pub fn prepare(id: Uuid, at: Timestamp, rows: Vec<Row>, mut ranges: Vec<Range>) -> Result<Self, PrepareError> {
        ranges.sort_by_key(Range::source);
        check(&rows, &ranges)?;
        let piles = piles(rows, ranges.len());
        let mut schemas: Vec<Arc<Schema>> = Vec::new();
        for schema in piles.iter().filter_map(|rows| Some(rows.first()?.schema())) {
            if !schemas.iter().any(|known| known == schema) {
                schemas.push(Arc::clone(schema));
            }
        }
        let files = piles.into_iter().map(|rows| seal(rows, at, id, Order::Time, None)).collect::<Result<_, _>>()?;
        Ok(Self { id, at, ranges, files, schemas })
    }

    /// The id that tells this commit from another writer's.
    #[must_use]
    pub const fn id(&self) -> Uuid {
        self.id
    }

    /// The ranges it accounts for.
    #[must_use]
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// Bytes of its data files.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.files.iter().map(|f| f.bytes.len()).sum()
    }

    /// The lines of the Delta commit.
    pub(crate) fn actions(&self) -> Vec<Action> {
        let at_ms = self.at.0.div_euclid(1000);
        let mut actions =
            vec![Action::CommitInfo(delta::info("WRITE", &self.id.to_string(), at_ms, self.ranges.clone()))];
        actions.extend(self.ranges.iter().map(|range| Action::Txn(delta::txn(range, at_ms))));
        actions.extend(self.files.iter().map(|file| Action::Add(file.add.clone())));
        actions
    }
}

/// A commit's text is an entry of the Merkle log, which takes 64 KiB.
pub const TEXT_BYTES_MAX: usize = 60_000;

/// A generous bound of a commit's text: of so many files and partitions, where so many pairs of the two are named.
#[must_use]
pub const fn text_bytes(files: usize, partitions: usize, pairs: usize) -> usize {
    1000 + files * 2500 + partitions * 400 + pairs * 80
}

/// Rows by the file that they go into: those of one day and one schema, and of one kind where a commit has many of it.
///
/// A file has the columns of every kind that is in it, for every row of it: among others of its kind alone a row is written, read and proven sooner.
fn piles(rows: Vec<Row>, partitions: usize) -> Vec<Vec<Row>> {
    // There are many rows and few sorts of them: a row's is looked for among all, and nothing of it is hashed.
    let mut sorts: Vec<Sort> = Vec::new();
    let mut counts: Vec<usize> = Vec::new();
    let mut of = Vec::with_capacity(rows.len());
    for row in &rows {
        let sort = Sort::of(row);
        let at = sorts.iter().position(|known| *known == sort).unwrap_or_else(|| {
            sorts.push(sort);
            counts.push(0);
            sorts.len() - 1
        });
        counts[at] += 1;
        of.push(at);
    }
    // The largest first, as many as the commit's text has room for.
    let together = sorts.iter().map(Sort::together).collect::<BTreeSet<_>>().len();
    let fits = |files: usize| text_bytes(files, partitions, files * partitions) <= TEXT_BYTES_MAX;
    let mut many: Vec<usize> = (0..sorts.len()).filter(|at| counts[*at] >= layout::ONE_KIND_ROWS).collect();
    many.sort_unstable_by_key(|at| Reverse((counts[*at], sorts[*at])));
    let room = (0..many.len()).take_while(|more| fits(together + more + 1)).count();
    let apart = &many[..room];
    let file = |at: usize| (sorts[at].together(), apart.contains(&at).then_some(sorts[at].kind));

    let files: Vec<_> = (0..sorts.len()).map(file).collect::<BTreeSet<_>>().into_iter().collect();
    let place = |at| files.binary_search(&file(at)).expect("it is one of them");
    let places: Vec<usize> = (0..sorts.len()).map(place).collect();
    let mut piles: Vec<Vec<Row>> = files.iter().map(|_| Vec::new()).collect();
    for (row, at) in rows.into_iter().zip(of) {
        piles[places[at]].push(row);
    }
    piles
}

/// What of a row says which file it goes into.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Sort {
    day: i64,
    kind: usize,
    schema: Digest,
}

impl Sort {
    fn of(row: &Row) -> Self {
        let day = layout::day_number(row.recorded_at);
        Self { day, kind: row.kind_index(), schema: row.schema.fingerprint() }
    }

    /// What rows of one file have in common, whatever their kinds.
    const fn together(&self) -> (i64, Digest) {
        (self.day, self.schema)
    }
}

fn check(rows: &[Row], ranges: &[Range]) -> Result<(), PrepareError> {
    let mut open: BTreeMap<Source, (i64, i64, i64)> = BTreeMap::new();
    for range in ranges {
        let source = range.source();
        if !range.is_complete() {
            return Err(incomplete(range));
        }
        if open.insert(source, (range.first, range.next, 0)).is_some() {
            return Err(PrepareError::TwoRanges { source_partition: source });
        }
    }
    for row in rows {
        let source = Source { topic: row.topic, partition: row.partition };
        let misplaced = PrepareError::Misplaced { source_partition: source, offset: row.offset };
        let Some((from, next, count)) = open.get_mut(&source) else { return Err(misplaced) };
        if row.offset < *from || row.offset >= *next {
            return Err(misplaced);
        }
        *from = row.offset + 1;
        *count += 1;
    }
    match ranges.iter().find(|range| open[&range.source()].2 != range.rows) {
        Some(range) => Err(incomplete(range)),
        None => Ok(()),
    }
}

fn incomplete(range: &Range) -> PrepareError {
    PrepareError::Incomplete {
        source_partition: range.source(),
        first: range.first,
        next: range.next,
        rows: range.rows,
        dead_letters: range.dead_letters,
        absent: range.absent,
    }
}

/// The most rows, and the most bytes of records, that are columns in memory at once.
const PIECE: (usize, usize) = (8192, 32 << 20);

/// Makes one data file out of the rows of one day and one schema, piece after piece: what a file takes in memory beside its rows does not grow with them.
///
/// With `rollups` the file keeps roll-ups of them that are within those bounds.
pub(crate) fn seal(
    mut rows: Vec<Row>,
    at: Timestamp,
    id: Uuid,
    order: Order,
    rollups: Option<&Bounds>,
) -> Result<NewFile, PrepareError> {
    layout::sort(&mut rows, order);
    let (stats, sessions) = stats::gather(&rows);
    let of = Arc::clone(&rows[0].schema);
    let decoder = Decoder::new(&of, stats.kinds.keys().cloned());
    let mut file = FileWriter::new(&of, &decoder.schema(), &stats, sessions, order)?;
    let mut blocks = Blocks::default();
    let mut rest = &rows[..];
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(piece(rest));
        let batch = decoder.decode(piece)?;
        prove(&of, piece, &batch, &mut blocks)?;
        file.write(&batch)?;
        rest = after;
    }
    let day = layout::day(rows[0].recorded_at);
    let rolled_up = match rollups {
        Some(bounds) => Rollups::of(&rows, bounds)?,
        None => None,
    };
    drop(rows);
    let rollups = rolled_up.map(|parts| file.keep(&parts)).transpose()?;
    let roots = blocks.into_roots();
    let bytes = Bytes::from(file.finish(&roots)?);
    let path = layout::file_path(&day, &stats.held, id, order);
    let mut add = add(&path, &day, &bytes, &stats, tree::root(&roots), at);
    if of != Schema::first() {
        add.tags.insert(tag::SCHEMA.to_owned(), of.fingerprint().to_hex());
    }
    if let Some(places) = rollups {
        add.tags.insert(tag::ROLLUPS.to_owned(), places.to_string());
    }
    Ok(NewFile { path, bytes, add })
}

/// How many of the rows go into columns next; at least one.
fn piece(rows: &[Row]) -> usize {
    let (most, mut bytes) = PIECE;
    let fits = rows.iter().take(most).take_while(|row| {
        let fits = bytes > 0;
        bytes = bytes.saturating_sub(row.datum.len());
        fits
    });
    fits.count()
}

/// Reads every record back out of the columns, compares it with what came in, and adds its leaf to the file's tree.
fn prove(of: &Schema, rows: &[Row], batch: &RecordBatch, blocks: &mut Blocks) -> Result<(), RowsError> {
    let encoder = Encoder::new(of, batch)?;
    let mut datum = Vec::with_capacity(4096);
    for (index, row) in rows.iter().enumerate() {
        datum.clear();
        encoder.write(index, &mut datum);
        if datum != row.datum {
            return Err(RowsError::NotFaithful { topic: row.topic, partition: row.partition, offset: row.offset });
        }
        blocks.push(record_leaf(row.topic, row.partition, row.offset, row.recorded_at, &datum));
    }
    Ok(())
}

fn add(path: &str, day: &str, bytes: &Bytes, stats: &Stats, root: Digest, at: Timestamp) -> Add {
    Add {
        path: path.to_owned(),
        partition_values: BTreeMap::from([(rows::DAY.to_owned(), day.to_owned())]),
        size: bytes.len() as u64,
        modification_time: at.0.div_euclid(1000),
        data_change: true,
        stats: Some(stats.to_delta()),
        tags: BTreeMap::from([
            (tag::SHA256.to_owned(), Digest::of(bytes).to_hex()),
            (tag::MERKLE_ROOT.to_owned(), root.to_hex()),
            (tag::RANGES.to_owned(), stats.held_tag()),
            (tag::KINDS.to_owned(), stats.kinds_tag()),
        ]),
    }
}
