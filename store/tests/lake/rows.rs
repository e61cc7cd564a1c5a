//! Every kind of record goes into columns and comes back as the same bytes.

use crate::common::records;

use arrow::array::RecordBatch;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use arrow_avro::reader::ReaderBuilder;
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use bytes::Bytes;
use proptest::prelude::*;
use wk_schemas::{Body, Kind, SCHEMA, Schema, Timestamp, Topic, codec};
use wk_store::rows::{self, Decoder, Encoder, Row, RowsError};

fn rows() -> Vec<Row> {
    placed(records::all().iter().map(codec::encode))
}

fn placed(datums: impl Iterator<Item = Vec<u8>>) -> Vec<Row> {
    (0i64..)
        .zip(datums)
        .map(|(offset, datum)| {
            Row::read(Topic::Events, 3, offset, Timestamp(1_793_000_000_000_000 + offset), datum.into()).unwrap()
        })
        .collect()
}

fn datums(batch: &RecordBatch) -> Vec<Bytes> {
    let encoder = Encoder::new(&Schema::ours(), batch).unwrap();
    let datum = |index| {
        let mut datum = Vec::new();
        encoder.write(index, &mut datum);
        datum.into()
    };
    (0..batch.num_rows()).map(datum).collect()
}

#[test]
fn every_kind_survives_the_way_into_columns_and_back() {
    let rows = rows();
    let batch = rows::decode(&rows).unwrap();
    assert_eq!(batch.num_rows(), rows.len());
    for (datum, row) in datums(&batch).iter().zip(&rows) {
        assert_eq!(datum, row.datum(), "{}", row.kind());
    }
}

/// What another implementation reads out of the same bytes, by name.
#[test]
fn arrow_avro_finds_the_same_values_in_the_same_columns() {
    let rows = rows();
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    store.set(Fingerprint::Id(1), AvroSchema::new(SCHEMA.to_owned())).unwrap();
    let mut other = ReaderBuilder::new()
        .with_batch_size(rows.len())
        .with_tz(arrow_avro::codec::Tz::Utc)
        .with_writer_schema_store(store)
        .with_active_fingerprint(Fingerprint::Id(1))
        .build_decoder()
        .unwrap();
    for row in &rows {
        other.decode(&[&[0, 0, 0, 0, 1], &row.datum()[..]].concat()).unwrap();
    }
    let other = other.flush().unwrap().unwrap();
    let ours = rows::decode(&rows).unwrap();
    let own: Vec<usize> = (0..other.num_columns()).collect();
    let (ours, other) = (lines(&ours.project(&own).unwrap()), lines(&other));
    for ((ours, other), row) in ours.lines().zip(other.lines()).zip(&rows) {
        assert_eq!(ours, other, "{}", row.kind());
    }
    assert_eq!(ours.lines().count(), rows.len());
}

fn lines(batch: &RecordBatch) -> String {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    String::from_utf8(writer.into_inner()).unwrap()
}

#[test]
fn kinds_that_no_row_is_of_have_no_columns_and_nothing_is_lost() {
    let rows: Vec<Row> = rows().into_iter().filter(|r| r.kind() == Kind::Finding).collect();
    let batch = Decoder::new(&Schema::ours(), [Kind::Finding.into()]).decode(&rows).unwrap();
    let bodies: Vec<&str> = Body::FIELDS.iter().copied().filter(|f| batch.column_by_name(f).is_some()).collect();
    assert_eq!(bodies, ["finding"]);
    assert_eq!(datums(&batch), rows.iter().map(|r| r.datum().clone()).collect::<Vec<_>>());
    let refused = Decoder::new(&Schema::ours(), [Kind::Approval.into()]).decode(&rows).unwrap_err();
    assert!(matches!(&refused, RowsError::Column { name, .. } if name == "finding"), "{refused}");
}

proptest! {
    /// Columns that are null here and there, at every depth, in every order.
    #[test]
    fn any_sequence_of_kinds_survives(order in proptest::collection::vec(any::<prop::sample::Index>(), 0..200)) {
        let all = records::all();
        let rows = placed(order.iter().map(|index| codec::encode(index.get(&all))));
        let batch = rows::decode(&rows).unwrap();
        prop_assert_eq!(datums(&batch), rows.iter().map(|r| r.datum().clone()).collect::<Vec<_>>());
    }
}
