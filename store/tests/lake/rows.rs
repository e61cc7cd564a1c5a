//! Every kind of record goes into columns and comes back as the same bytes.

use crate::common::records;

use bytes::Bytes;
use wk_schemas::{Timestamp, Topic, codec};
use wk_store::rows::{self, Encoder, Row};

fn rows() -> Vec<Row> {
    (0i64..)
        .zip(records::all())
        .map(|(offset, record)| {
            Row::read(
                Topic::Events,
                3,
                offset,
                Timestamp(1_793_000_000_000_000 + offset),
                codec::encode(&record).into(),
            )
            .unwrap()
        })
        .collect()
}

#[test]
fn every_kind_survives_the_way_into_columns_and_back() {
    let rows = rows();
    let batch = rows::decode(&rows).unwrap();
    assert_eq!(batch.num_rows(), rows.len());
    let encoder = Encoder::new(&batch).unwrap();
    for (index, row) in rows.iter().enumerate() {
        let mut datum = Vec::new();
        encoder.write(index, &mut datum);
        assert_eq!(Bytes::from(datum), *row.datum(), "{}", row.kind());
    }
}
