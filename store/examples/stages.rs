//! What each stage of a commit costs, in records a second of one thread: `stages [records] [records per commit]`.
//!
//! Run it with `--release`; it commits typical records to a lake in a temporary folder.

#[path = "../../ingest/src"]
#[expect(unreachable_pub, dead_code, reason = "the generator belongs to another crate")]
mod ingest {
    pub(crate) mod synthetic;
}

use ed25519_dalek::SigningKey;
use ingest::synthetic::{Sample, Synthetic};
use std::time::{Duration, Instant};
use uuid::Uuid;
use wk_schemas::{Schema, Timestamp};
use wk_store::rows::{self, Encoder};
use wk_store::{Commit, Lake, Range, Row, Writer};

#[tokio::main]
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>().expect("a number"));
    let records = arguments.next().unwrap_or(200_000);
    let per_commit = arguments.next().unwrap_or(100_000);
    let samples: Vec<Sample> = Synthetic::new(1).take(records).collect();
    let bytes: usize = samples.iter().map(|s| s.datum.len()).sum();
    println!("{records} records of {} bytes on average, {per_commit} per commit", bytes / records);

    let dir = tempfile::tempdir().expect("a temporary folder");
    let lake = Lake::create(dir.path(), Uuid::from_u128(1), Timestamp(0)).await.expect("a new lake");
    let mut writer = Writer::open(lake, SigningKey::from_bytes(&[1; 32])).await.expect("the lake opens");

    let [mut walk, mut decode, mut encode, mut prepare, mut commit] = [Duration::ZERO; 5];
    let mut next = std::collections::BTreeMap::<_, i64>::new();
    let mut stored = 0;
    for (number, part) in (1u128..).zip(samples.chunks(per_commit)) {
        let mut ranges = std::collections::BTreeMap::<_, Range>::new();
        let begun = Instant::now();
        let rows: Vec<Row> = part
            .iter()
            .map(|s| {
                let offset = next.entry(s.topic).or_default();
                let row = Row::read(s.topic, 0, *offset, s.recorded_at, s.datum.clone().into()).expect("a record");
                let range = ranges.entry(s.topic).or_insert(Range {
                    topic: s.topic,
                    partition: 0,
                    first: *offset,
                    next: *offset,
                    rows: 0,
                    dead_letters: 0,
                    absent: 0,
                });
                *offset += 1;
                range.next += 1;
                range.rows += 1;
                row
            })
            .collect();
        walk += begun.elapsed();

        let begun = Instant::now();
        let batch = rows::decode(&rows).expect("it decodes");
        decode += begun.elapsed();

        let begun = Instant::now();
        let encoder = Encoder::new(&Schema::ours(), &batch).expect("it encodes");
        let mut datum = Vec::new();
        for row in 0..batch.num_rows() {
            datum.clear();
            encoder.write(row, &mut datum);
        }
        encode += begun.elapsed();
        drop(batch);

        let begun = Instant::now();
        let ready = Commit::prepare(Uuid::from_u128(number << 96), Timestamp(0), rows, ranges.into_values().collect())
            .expect("it adds up");
        prepare += begun.elapsed();
        stored += ready.bytes();

        let begun = Instant::now();
        writer.commit(&ready).await.expect("it commits");
        commit += begun.elapsed();
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = |spent: Duration| records as f64 / spent.as_secs_f64() / 1000.0;
    println!("walk            {:9.0} k/s", rate(walk));
    println!("decode          {:9.0} k/s", rate(decode));
    println!("encode back     {:9.0} k/s", rate(encode));
    println!("prepare (all)   {:9.0} k/s", rate(prepare));
    println!(
        "  sort, leaves, Parquet, SHA-256 {:9.0} k/s",
        rate(prepare.saturating_sub(decode).saturating_sub(encode))
    );
    println!("commit (fsync)  {:9.0} k/s", rate(commit));
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    let mean = stored as f64 / records as f64;
    println!("stored          {:9.1} bytes a record", mean);
}
