//! The encoding, held against `apache-avro`: what it writes we read, what we write it reads, byte for byte.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod common;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::prelude::*;
use std::collections::BTreeSet;
use wk_schemas::avro::Shape;
use wk_schemas::{Body, Chain, CodecError, Kind, SCHEMA, codec};

fn schema() -> apache_avro::Schema {
    apache_avro::Schema::parse_str(SCHEMA).unwrap()
}

fn write(schema: &apache_avro::Schema, value: Value) -> Vec<u8> {
    GenericDatumWriter::builder(schema).build().unwrap().write_value_to_vec(value).unwrap()
}

#[test]
fn samples_cover_every_kind() {
    let seen: BTreeSet<Kind> = common::all().iter().map(wk_schemas::Record::kind).collect();
    let every: BTreeSet<Kind> = Kind::ALL.iter().copied().filter(|k| *k != Kind::Unspecified).collect();
    assert_eq!(seen, every);
}

#[test]
fn every_kind_survives_the_round_trip() {
    for record in common::all() {
        let datum = codec::encode(&record);
        assert_eq!(codec::decode(&datum), Ok(record.clone()));
        let view = codec::walk(&datum).unwrap();
        assert_eq!(view.record_id, record.header.record_id.to_string());
        assert_eq!(view.session_id, record.header.session_id.as_str());
        assert_eq!((view.seq, view.kind), (record.header.seq, record.kind()));
    }
}

#[test]
fn a_stock_avro_library_reads_and_writes_the_same_bytes() {
    let schema = schema();
    for record in common::all() {
        let datum = codec::encode(&record);
        let reader = GenericDatumReader::builder(&schema).build().unwrap();
        let value = reader.read_value(&mut datum.as_slice()).unwrap();
        assert_eq!(write(&schema, value), datum, "{}", record.kind());
    }
}

#[test]
fn cut_anywhere_a_record_is_refused() {
    for record in common::all() {
        let datum = codec::encode(&record);
        for end in 0..datum.len() {
            assert!(codec::walk(&datum[..end]).is_err(), "{} cut at {end}", record.kind());
            assert!(codec::decode(&datum[..end]).is_err(), "{} cut at {end}", record.kind());
        }
    }
}

#[test]
fn two_records_in_one_payload_are_refused() {
    let datum = codec::encode(&common::all()[0]);
    let twice = [datum.as_slice(), datum.as_slice()].concat();
    assert_eq!(codec::walk(&twice), Err(CodecError::Trailing { at: datum.len(), bytes: datum.len() }));
}

#[test]
fn a_padded_number_and_a_split_array_are_refused() {
    // `caused_by` of the samples is one block of two ids: 04, two strings, 00.
    let datum = codec::encode(&common::all()[0]);
    let ids = [common::id(1).to_string(), common::id(2).to_string()].map(|s| [&[0x48_u8], s.as_bytes()].concat());
    let one_block = [&[4_u8][..], &ids[0], &ids[1], &[0]].concat();
    let at = datum.windows(one_block.len()).position(|w| w == one_block).unwrap();
    for otherwise in [
        [&[2_u8][..], &ids[0], &[2], &ids[1], &[0]].concat(), // two blocks
        [&[3_u8, 0x94, 1][..], &ids[0], &ids[1], &[0]].concat(), // a block that carries its size
        [&[0x84_u8, 0][..], &ids[0], &ids[1], &[0]].concat(), // a padded count
    ] {
        let other = [&datum[..at], &otherwise, &datum[at + one_block.len()..]].concat();
        assert!(matches!(codec::walk(&other), Err(CodecError::NotCanonical { .. })), "{:?}", codec::walk(&other));
        assert!(matches!(codec::decode(&other), Err(CodecError::NotCanonical { .. })));
    }
}

/// Any value of a shape. Fields that hold ids and digests are known by their names.
fn value(name: &str, shape: &Shape) -> BoxedStrategy<Value> {
    let uuid = || any::<u128>().prop_map(|n| Value::String(uuid::Uuid::from_u128(n).to_string()));
    match shape {
        Shape::Primitive("string", _)
            if ["record_id", "command_id", "ticket", "caused_by", "evidence"].contains(&name) =>
        {
            uuid().boxed()
        }
        Shape::Primitive("string", _) if name == "session_id" => "[A-Za-z0-9_-]{1,64}".prop_map(Value::String).boxed(),
        Shape::Primitive("string", _) => any::<String>().prop_map(Value::String).boxed(),
        Shape::Primitive("bytes", _) if name.ends_with("_digest") => {
            proptest::collection::vec(any::<u8>(), 32).prop_map(Value::Bytes).boxed()
        }
        Shape::Primitive("bytes", _) => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes).boxed(),
        Shape::Primitive("long", Some(_)) => any::<i64>().prop_map(Value::TimestampMicros).boxed(),
        Shape::Primitive("long", None) => any::<i64>().prop_map(Value::Long).boxed(),
        Shape::Primitive("int", _) => any::<i32>().prop_map(Value::Int).boxed(),
        Shape::Primitive("boolean", _) => any::<bool>().prop_map(Value::Boolean).boxed(),
        Shape::Primitive("double", _) => (-1e300..1e300_f64).prop_map(Value::Double).boxed(),
        Shape::Primitive(other, _) => panic!("no strategy for {other}"),
        Shape::Optional(inner) => proptest::option::of(value(name, inner))
            .prop_map(|v| match v {
                None => Value::Union(0, Box::new(Value::Null)),
                Some(v) => Value::Union(1, Box::new(v)),
            })
            .boxed(),
        Shape::Array(inner) => proptest::collection::vec(value(name, inner), 0..4).prop_map(Value::Array).boxed(),
        Shape::Enum(_, symbols) => {
            let symbols = symbols.clone();
            (0..symbols.len()).prop_map(move |i| Value::Enum(u32::try_from(i).unwrap(), symbols[i].clone())).boxed()
        }
        Shape::Record(_, _, fields) => fields
            .iter()
            .map(|(name, _, shape)| (name.clone(), value(name, shape)))
            .map(|(name, value)| value.prop_map(move |v| (name.clone(), v)).boxed())
            .collect::<Vec<_>>()
            .prop_map(Value::Record)
            .boxed(),
    }
}

/// Any record: any header, and any body of any one kind.
fn record() -> BoxedStrategy<Value> {
    let Shape::Record(_, _, fields) = codec::shape() else { panic!("a record is a record") };
    (0..Body::FIELDS.len())
        .prop_flat_map(move |chosen| {
            fields
                .iter()
                .map(|(name, _, shape)| {
                    let strategy = match (Body::FIELDS.iter().position(|f| f == name), shape) {
                        (Some(body), Shape::Optional(inner)) if body == chosen => {
                            value(name, inner).prop_map(|v| Value::Union(1, Box::new(v))).boxed()
                        }
                        (Some(_), _) => Just(Value::Union(0, Box::new(Value::Null))).boxed(),
                        (None, _) if *name == "kind" => {
                            Just(Value::Enum(u32::try_from(chosen + 1).unwrap(), Body::FIELDS[chosen].to_owned()))
                                .boxed()
                        }
                        (None, shape) => value(name, shape),
                    };
                    let name = name.clone();
                    strategy.prop_map(move |v| (name.clone(), v)).boxed()
                })
                .collect::<Vec<_>>()
        })
        .prop_map(Value::Record)
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_a_stock_library_writes_is_read_and_written_back_the_same(value in record()) {
        let datum = write(&schema(), value);
        prop_assert!(codec::walk(&datum).is_ok(), "{:?}", codec::walk(&datum));
        prop_assert_eq!(codec::encode(&codec::decode(&datum).unwrap()), datum);
    }

    #[test]
    fn changed_bytes_never_panic_and_walk_accepts_what_decode_accepts(
        pick in 0_usize..26, at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut datum = codec::encode(&common::all()[pick]);
        let at = at.index(datum.len());
        datum[at] = byte;
        prop_assert_eq!(codec::walk(&datum).is_ok(), codec::decode(&datum).is_ok());
        if let Ok(record) = codec::decode(&datum) {
            prop_assert_eq!(codec::encode(&record), datum);
        }
    }

    #[test]
    fn the_gaps_that_a_chain_reports_are_the_records_that_were_taken_out(kept in proptest::collection::vec(any::<bool>(), 1..60)) {
        let mut writer = Chain::default();
        let body = &common::bodies()[1];
        let all: Vec<_> = kept.iter().map(|_| writer.seal(common::header(0), body.clone())).collect();
        let mut chain = Chain::default();
        let mut missing = Vec::new();
        for ((record, datum), _) in all.iter().zip(&kept).filter(|(_, kept)| **kept) {
            let header = &record.header;
            match chain.follow(header.seq, header.prev_digest, datum) {
                Ok(()) => {}
                Err(wk_schemas::digest::ChainBreak::Gap { from, to }) => {
                    missing.extend(from..=to);
                    chain = Chain::after(header.seq, datum);
                }
                Err(other) => return Err(TestCaseError::fail(other.to_string())),
            }
        }
        let last_kept = kept.iter().rposition(|k| *k).unwrap_or(0);
        let expected: Vec<i64> =
            (0_i64..).zip(&kept[..last_kept]).filter(|(_, kept)| !**kept).map(|(seq, _)| seq).collect();
        prop_assert_eq!(missing, expected);
    }
}

#[test]
fn an_altered_record_breaks_the_chain_at_its_successor() {
    let mut writer = Chain::default();
    let body = &common::bodies()[1];
    let (first, _) = writer.seal(common::header(0), body.clone());
    let (second, second_datum) = writer.seal(common::header(0), body.clone());
    let mut altered = first.clone();
    altered.header.host = "elsewhere".into();
    let mut chain = Chain::default();
    chain.follow(0, first.header.prev_digest, &codec::encode(&altered)).unwrap();
    let broken = chain.follow(1, second.header.prev_digest, &second_datum);
    assert!(matches!(broken, Err(wk_schemas::digest::ChainBreak::Altered { seq: 0, .. })), "{broken:?}");
}
