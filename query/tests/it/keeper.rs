//! Commits records as ingest would.

use crate::agents::{self, Said};
use ed25519_dalek::SigningKey;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;
use wk_schemas::{Schema, Timestamp, Topic};
use wk_store::{Commit, Lake, Range, Row, Writer};

/// Takes records as ingest would, and commits them.
pub(crate) struct Keeper {
    pub(crate) writer: Writer,
    next: BTreeMap<Topic, i64>,
    commits: u128,
    pub(crate) records: u64,
}

impl Keeper {
    pub(crate) async fn create(folder: &Path) -> Self {
        let lake = Lake::create(folder, Uuid::from_u128(0xabc << 64), Timestamp(agents::START)).await.unwrap();
        let writer = Writer::open(lake, SigningKey::from_bytes(&[7; 32])).await.unwrap();
        Self { writer, next: BTreeMap::new(), commits: 0, records: 0 }
    }

    pub(crate) async fn commit(&mut self, said: Vec<Said>) {
        self.commit_as(&Schema::ours(), said).await;
    }

    /// Commits records that were written with another version of the schema.
    pub(crate) async fn commit_as(&mut self, schema: &Arc<Schema>, said: Vec<Said>) {
        let mut ranges: BTreeMap<Topic, Range> = BTreeMap::new();
        let mut rows = Vec::new();
        let mut last = Timestamp(agents::START);
        self.records += said.len() as u64;
        for said in said {
            let next = self.next.entry(said.topic).or_default();
            let range = ranges.entry(said.topic).or_insert(Range {
                topic: said.topic,
                partition: 0,
                first: *next,
                next: *next,
                rows: 0,
                dead_letters: 0,
                absent: 0,
            });
            let recorded_at = said.at.plus_micros(2500);
            rows.push(Row::read_as(schema, said.topic, 0, *next, recorded_at, said.datum.into()).unwrap());
            *next += 1;
            range.next += 1;
            range.rows += 1;
            last = last.max(recorded_at);
        }
        self.commits += 1;
        let commit =
            Commit::prepare(Uuid::from_u128(self.commits), last, rows, ranges.into_values().collect()).unwrap();
        self.writer.commit(&commit).await.unwrap();
    }
}
