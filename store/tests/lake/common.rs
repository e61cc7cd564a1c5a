//! Lakes to test with.

#[path = "../../../schemas/tests/common/mod.rs"]
pub(crate) mod records;

use ed25519_dalek::SigningKey;
use std::path::Path;
use uuid::Uuid;
use wk_schemas::{Body, Chain, Digest, Header, RecordId, SessionId, Timestamp, Topic};
use wk_store::{Commit, Lake, Range, Row, Writer};

pub(crate) const START: i64 = 1_793_000_000_000_000;

pub(crate) fn key() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

pub(crate) fn lake_id() -> Uuid {
    Uuid::from_u128(0x5b6e_0000_0000_4000_8000_0000_0000_0001)
}

pub(crate) async fn writer(folder: &Path) -> Writer {
    let lake = Lake::open_or_create(folder, lake_id(), Timestamp(START)).await.unwrap();
    Writer::open(lake, key()).await.unwrap()
}

/// A session's records as they would be on the log: chained, one after another.
#[derive(Debug)]
pub(crate) struct Session {
    id: SessionId,
    chain: Chain,
    number: u128,
}

impl Session {
    pub(crate) fn new(number: u128) -> Self {
        let id = SessionId::parse(&format!("session-{number}")).unwrap();
        Self { id, chain: Chain::default(), number }
    }

    /// The next record, with the given body.
    pub(crate) fn datum(&mut self, body: Body) -> Vec<u8> {
        let seq = self.chain.next_seq;
        let header = Header {
            record_id: RecordId(Uuid::from_u128((self.number << 64) + u128::try_from(seq).unwrap())),
            session_id: self.id.clone(),
            prev_digest: Digest::ZERO,
            occurred_at: Timestamp(START + seq * 1000),
            ..records::header(seq)
        };
        self.chain.seal(header, body).1
    }
}

/// Places datums one after another in partition 0 of the events, from `first` on.
pub(crate) fn rows(first: i64, datums: Vec<Vec<u8>>) -> Vec<Row> {
    (first..)
        .zip(datums)
        .map(|(offset, datum)| {
            Row::read(Topic::Events, 0, offset, Timestamp(START + offset * 10), datum.into()).unwrap()
        })
        .collect()
}

pub(crate) fn range(first: i64, rows: &[Row]) -> Range {
    let count = i64::try_from(rows.len()).unwrap();
    Range { topic: Topic::Events, partition: 0, first, next: first + count, rows: count, dead_letters: 0, absent: 0 }
}

pub(crate) fn commit(number: u128, first: i64, datums: Vec<Vec<u8>>) -> Commit {
    let rows = rows(first, datums);
    let range = range(first, &rows);
    Commit::prepare(Uuid::from_u128(number << 96), Timestamp(START), rows, vec![range]).unwrap()
}

/// A lake of three commits: every kind once, in one session.
pub(crate) async fn filled(folder: &Path) -> Writer {
    let mut writer = writer(folder).await;
    let mut session = Session::new(1);
    let datums: Vec<Vec<u8>> = records::bodies().into_iter().map(|body| session.datum(body)).collect();
    let mut first = 0;
    for (number, part) in (1..).zip(datums.chunks(10)) {
        writer.commit(&commit(number, first, part.to_vec())).await.unwrap();
        first += i64::try_from(part.len()).unwrap();
    }
    writer
}
