//! How fast a lake is verified, and one record proven: `bench_verify [records] [records per commit]`.
//!
//! Run it with `--release`. It commits typical records to a lake in a temporary folder, verifies all of it, noting what is whole and again with what was
//! noted, and prints records per second of wall time and of processor time (all threads together, so that is the speed of one core), then the parts of the
//! way on one thread.

#[path = "../../ingest/src"]
#[expect(unreachable_pub, dead_code, reason = "the generator belongs to another crate")]
mod ingest {
    pub(crate) mod synthetic;
}

use arrow::array::RecordBatch;
use ed25519_dalek::SigningKey;
use ingest::synthetic::{Sample, Synthetic};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::time::{Duration, Instant};
use uuid::Uuid;
use wk_schemas::{Digest, Schema, Timestamp, Topic, codec};
use wk_store::compact::Limits;
use wk_store::merkle::blocks::path;
use wk_store::merkle::proof::{Placed, RecordProof, prove};
use wk_store::merkle::records::record_leaf;
use wk_store::rows::Encoder;
use wk_store::verify::{Notebook, Options, Scope, verify, verify_with};
use wk_store::{Commit, Lake, Range, Row, Source, Writer};

/// As `wk` does.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The kernel counts processor time in hundredths of a second.
const TICKS: f64 = 100.0;

/// How many records are proven for one number.
const PROOFS: i64 = 21;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>().expect("a number"));
    let records = arguments.next().unwrap_or(1_000_000);
    let per_commit = arguments.next().unwrap_or(100_000);
    let key = SigningKey::from_bytes(&[1; 32]);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let lake = Lake::create(dir.path(), Uuid::from_u128(1), Timestamp(0)).await.expect("a new lake");
    let mut writer = Writer::open(lake, key.clone()).await.expect("the lake opens");
    fill(&mut writer, records, per_commit).await;
    let lake = writer.lake();
    let bytes: u64 = lake.snapshot().files.iter().map(|file| file.size).sum();
    println!("{records} records, {} files, {} MiB, {per_commit} per commit", lake.snapshot().files.len(), bytes >> 20);

    let mut notebook = Notebook::default();
    for name in ["verify", "with a notebook", "again"] {
        let (files, key, options) = (lake.files(), key.verifying_key(), Options::default());
        let (begun, spent) = (now(), processor());
        let report = if name == "verify" {
            verify(files, &key, &options, |_| {}).await
        } else {
            verify_with(&mut notebook, files, &key, &options, |_| {}).await
        };
        let (wall, cpu, report) = (begun.elapsed(), processor() - spent, report.expect("it can be read"));
        assert!(report.is_valid(), "{report}");
        println!(
            "{name:<15} {:9.0} k records/s wall, {:9.0} k records/s of one core",
            rate(records, wall),
            rate(records, cpu)
        );
    }
    println!("the notebook has {} KiB", notebook.to_json().len() >> 10);
    stages(lake);

    whole_file(lake);
    let (proof, record) = prove_some(lake, "as committed").await;
    let begun = now();
    proof.check(&record, &key.verifying_key()).expect("it holds");
    println!("check its proof {:9.3} ms", millis(begun.elapsed()));
    let scope = Scope::Session(session(&record.datum));
    let begun = now();
    let options = Options { scope, ..Options::default() };
    let report = verify(lake.files(), &key.verifying_key(), &options, |_| {}).await.expect("it can be read");
    println!("verify a session{:9.0} ms ({} records read)", millis(begun.elapsed()), report.records);

    let before = bytes;
    for number in 1.. {
        let (id, day) = (Uuid::from_u128((7 << 112) + number), "9999-12-31");
        let done = writer.compact(&BTreeSet::new(), day, &Limits::default(), id, Timestamp(0)).await;
        if done.expect("it compacts").is_none() {
            break;
        }
    }
    let lake = writer.lake();
    let bytes: u64 = lake.snapshot().files.iter().map(|file| file.size).sum();
    println!("compacted: {} files, {} KiB, {} KiB before", lake.snapshot().files.len(), bytes >> 10, before >> 10);
    whole_file(lake);
    prove_some(lake, "compacted").await;
}

/// Proves records from all over the lake, and says how long one takes; gives the last proof.
async fn prove_some(lake: &Lake, arrangement: &str) -> (RecordProof, Placed) {
    let last = lake.committed().next(events());
    let mut spent = Vec::new();
    let mut proof = None;
    for offset in (0..PROOFS).map(|n| last * n / PROOFS) {
        let begun = now();
        proof = Some(prove(lake, events(), offset).await.expect("it is there"));
        spent.push(millis(begun.elapsed()));
    }
    spent.sort_by(f64::total_cmp);
    let (median, most) = (spent[spent.len() / 2], spent[spent.len() - 1]);
    println!(
        "prove a record  {median:9.2} ms, {most:.2} ms at most ({arrangement}, {PROOFS} records all over the lake)"
    );
    proof.expect("there was one")
}

/// What one proof takes when every record of the file is read and hashed.
fn whole_file(lake: &Lake) {
    let root = lake.files().root().expect("it is on this machine").to_owned();
    let snapshot = lake.snapshot();
    let file = snapshot.files.iter().max_by_key(|file| file.rows).expect("there is a file");
    let begun = now();
    let bytes = bytes::Bytes::from(std::fs::read(root.join(&file.path)).expect("a file"));
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("Parquet").with_batch_size(8192).build();
    let mut leaves = Vec::new();
    for batch in reader.expect("Parquet") {
        let batch = batch.expect("rows");
        let encoder = Encoder::new(&Schema::ours(), &batch).expect("it encodes");
        let mut datum = Vec::new();
        for row in 0..batch.num_rows() {
            datum.clear();
            encoder.write(row, &mut datum);
            leaves.push(record_leaf(Topic::Events, 0, 0, Timestamp(0), &datum));
        }
    }
    black_box(path(0, &leaves));
    println!("by a whole file {:9.2} ms ({} records are read and hashed)", millis(begun.elapsed()), leaves.len());
}

fn events() -> Source {
    Source { topic: Topic::Events, partition: 0 }
}

fn session(datum: &[u8]) -> String {
    codec::walk(datum).expect("a record").session_id.to_owned()
}

async fn fill(writer: &mut Writer, records: usize, per_commit: usize) {
    let samples: Vec<Sample> = Synthetic::new(1).take(records).collect();
    let bytes: usize = samples.iter().map(|s| s.datum.len()).sum();
    println!("{} bytes a record on average", bytes / records);
    let mut next = BTreeMap::<Topic, i64>::new();
    for (number, part) in (1u128..).zip(samples.chunks(per_commit)) {
        let mut ranges = BTreeMap::<Topic, Range>::new();
        let mut rows = Vec::with_capacity(part.len());
        for s in part {
            let offset = next.entry(s.topic).or_default();
            let range = ranges.entry(s.topic).or_insert(Range {
                topic: s.topic,
                partition: 0,
                first: *offset,
                next: *offset,
                rows: 0,
                dead_letters: 0,
                absent: 0,
            });
            rows.push(Row::read(s.topic, 0, *offset, s.recorded_at, s.datum.clone().into()).expect("a record"));
            *offset += 1;
            range.next += 1;
            range.rows += 1;
        }
        let id = Uuid::from_u128(number << 96);
        let commit = Commit::prepare(id, Timestamp(0), rows, ranges.into_values().collect()).expect("it adds up");
        writer.commit(&commit).await.expect("it commits");
    }
}

/// The parts of the way, each over all files, on this thread.
fn stages(lake: &Lake) {
    let root = lake.files().root().expect("it is on this machine").to_owned();
    let [mut sha, mut decode, mut encode, mut leaf, mut digest, mut walk] = [Duration::ZERO; 6];
    let mut records = 0;
    for file in &lake.snapshot().files {
        let bytes = bytes::Bytes::from(std::fs::read(root.join(&file.path)).expect("a file"));
        timed(&mut sha, || black_box(Digest::of(&bytes)));
        let batches: Vec<RecordBatch> = timed(&mut decode, || {
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).expect("Parquet");
            reader.with_batch_size(8192).build().expect("Parquet").map(|b| b.expect("rows")).collect()
        });
        for batch in &batches {
            let datums: Vec<Vec<u8>> = timed(&mut encode, || {
                let encoder = Encoder::new(&Schema::ours(), batch).expect("it encodes");
                (0..batch.num_rows())
                    .map(|row| {
                        let mut datum = Vec::with_capacity(512);
                        encoder.write(row, &mut datum);
                        datum
                    })
                    .collect()
            });
            records += datums.len();
            timed(&mut leaf, || hash(&datums, |d| record_leaf(Topic::Events, 0, 0, Timestamp(0), d)));
            timed(&mut digest, || hash(&datums, Digest::of));
            timed(&mut walk, || datums.iter().for_each(|d| drop(black_box(codec::walk(d)))));
        }
    }
    for (name, spent) in [
        ("SHA-256 of files", sha),
        ("Parquet to columns", decode),
        ("columns to records", encode),
        ("leaves", leaf),
        ("digests", digest),
        ("walk", walk),
    ] {
        println!("  {name:<20} {:9.0} k records/s", rate(records, spent));
    }
}

fn hash(datums: &[Vec<u8>], one: impl Fn(&[u8]) -> Digest) {
    for datum in datums {
        black_box(one(datum));
    }
}

fn timed<T>(spent: &mut Duration, work: impl FnOnce() -> T) -> T {
    let begun = now();
    let done = work();
    *spent += begun.elapsed();
    done
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn rate(records: usize, spent: Duration) -> f64 {
    records as f64 / spent.as_secs_f64() / 1000.0
}

fn millis(spent: Duration) -> f64 {
    spent.as_secs_f64() * 1000.0
}

/// Processor time of this process so far, user and system.
fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name in parentheses").split_whitespace().collect();
    // utime and stime are the 14th and 15th field of the line; the 3rd is the first after the name.
    let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().expect("a number")).sum();
    Duration::from_secs_f64(ticks / TICKS)
}

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn now() -> Instant {
    Instant::now()
}
