//! Schemas of other versions: which are taken, what is said of those that are not, and that their records are read as they were written.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod common;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use serde_json::{Value as Json, json};
use wk_schemas::schema::SchemaError;
use wk_schemas::{CodecError, Kind, SCHEMA, Schema, codec};

fn stock(schema: &str) -> apache_avro::Schema {
    apache_avro::Schema::parse_str(schema).unwrap()
}

fn write(schema: &apache_avro::Schema, value: Value) -> Vec<u8> {
    GenericDatumWriter::builder(schema).build().unwrap().write_value_to_vec(value).unwrap()
}

fn read(writer: &apache_avro::Schema, reader: Option<&apache_avro::Schema>, datum: &[u8]) -> Value {
    let builder = GenericDatumReader::builder(writer);
    let reader = match reader {
        Some(reader) => builder.reader_schema(reader).build(),
        None => builder.build(),
    };
    reader.unwrap().read_value(&mut &datum[..]).unwrap()
}

fn with(change: impl FnOnce(&mut Json)) -> String {
    let mut schema: Json = serde_json::from_str(SCHEMA).unwrap();
    change(&mut schema);
    schema.to_string()
}

fn fields(schema: &mut Json) -> &mut Vec<Json> {
    schema["fields"].as_array_mut().unwrap()
}

fn field<'a>(schema: &'a mut Json, name: &str) -> &'a mut Json {
    fields(schema).iter_mut().find(|field| field["name"] == name).unwrap()
}

/// The next version: a field more in the header, one in a sub-record, a symbol, and a kind.
fn newer() -> String {
    with(|schema| {
        field(schema, "kind")["type"]["symbols"].as_array_mut().unwrap().push(json!("model_switched"));
        field(schema, "origin")["type"]["symbols"].as_array_mut().unwrap().push(json!("SATELLITE"));
        let at = fields(schema).iter().position(|field| field["name"] == "kind").unwrap();
        fields(schema).insert(at, json!({"name": "region", "type": ["null", "string"], "default": null}));
        let started = &mut field(schema, "session_started")["type"][1]["fields"];
        started.as_array_mut().unwrap().push(json!({"name": "nice", "type": ["null", "int"], "default": null}));
        let switched =
            json!({"type": "record", "name": "ModelSwitched", "fields": [{"name": "model", "type": "string"}]});
        fields(schema).push(json!({"name": "model_switched", "type": ["null", switched], "default": null}));
    })
}

#[test]
fn a_schema_is_known_when_this_program_knows_all_that_it_can_say() {
    let known = |text: &str| Schema::parse(text).unwrap().is_known();
    assert!(Schema::ours().is_known() && Schema::first().is_known());
    assert!(!known(&newer()));
    // One thing more is enough, wherever it is; one thing less is an older version.
    assert!(!known(&with(|schema| {
        let more = json!({"name": "nice", "type": ["null", "int"], "default": null});
        field(schema, "session_started")["type"][1]["fields"].as_array_mut().unwrap().push(more);
    })));
    assert!(!known(&with(|schema| {
        field(schema, "origin")["type"]["symbols"].as_array_mut().unwrap().push(json!("SATELLITE"));
    })));
    assert!(known(&with(|schema| {
        let last = fields(schema).pop().unwrap();
        let symbols = field(schema, "kind")["type"]["symbols"].as_array_mut().unwrap();
        symbols.retain(|symbol| *symbol != last["name"]);
    })));
}

/// A record of ours as the next version says it, with the new fields set.
fn as_newer(datum: &[u8], origin: &str) -> Vec<u8> {
    let (ours, newer) = (stock(SCHEMA), stock(&newer()));
    let value = read(&ours, Some(&newer), datum);
    let Value::Record(mut fields) = value else { panic!("a record is a record") };
    for (name, value) in &mut fields {
        let text = |text: &str| Value::Union(1, Box::new(Value::String(text.to_owned())));
        match name.as_str() {
            "region" => *value = text("eu-1"),
            "origin" if origin == "SATELLITE" => *value = Value::Enum(9, origin.to_owned()),
            _ => {}
        }
    }
    write(&newer, Value::Record(fields))
}

#[test]
fn ours_is_the_schema_that_is_built_in_and_reads_what_it_writes() {
    let ours = Schema::ours();
    assert_eq!(Schema::parse(ours.text()).unwrap().fingerprint(), ours.fingerprint());
    assert_eq!(ours.differences(&Schema::first()), Vec::<String>::new());
    assert!(ours.kinds().iter().eq(Kind::ALL.iter().map(|kind| kind.as_str())));
    assert!(ours.is_body("finding") && !ours.is_body("tenant") && !ours.is_body("UNSPECIFIED"));
    // Without docs it is still a schema that a stock library decodes records with.
    let stock = stock(ours.text());
    let datum = codec::encode(&common::all()[0]);
    read(&stock, None, &datum);
    assert!(!ours.text().contains("\"doc\""));
}

#[test]
fn every_record_of_the_next_version_is_proven_and_read_as_ours_says_it() {
    let newer = Schema::parse(&newer()).unwrap();
    assert_eq!(newer.differences(&Schema::ours()), Vec::<String>::new());
    assert_eq!(Schema::ours().differences(&newer), Vec::<String>::new(), "an older program's records are taken, too");
    for record in common::all() {
        let datum = codec::encode(&record);
        let longer = as_newer(&datum, "");
        assert!(codec::walk(&longer).is_err(), "it is no record of ours");
        let (view, kind) = newer.walk(&longer).unwrap();
        assert_eq!((view.record_id, view.kind), (record.header.record_id.to_string().as_str(), record.kind()));
        assert_eq!(newer.kinds()[kind], record.kind().as_str());
        assert_eq!(newer.to_ours(&longer).unwrap().unwrap(), datum, "{}", record.kind());
        for end in 0..longer.len() {
            assert!(newer.walk(&longer[..end]).is_err(), "{} cut at {end}", record.kind());
        }
        let two = [&longer[..], &longer].concat();
        assert!(matches!(newer.walk(&two), Err(CodecError::Trailing { .. })));
        // And the other way round: a record of ours is an older one to whoever knows the next version.
        assert_eq!(Schema::ours().walk(&datum).unwrap().0.kind, record.kind());
    }
}

#[test]
fn a_symbol_that_is_not_known_is_read_as_unspecified_and_a_kind_not_at_all() {
    let newer = Schema::parse(&newer()).unwrap();
    let record = common::all().swap_remove(0);
    let longer = as_newer(&codec::encode(&record), "SATELLITE");
    let known = codec::decode(&newer.to_ours(&longer).unwrap().unwrap()).unwrap();
    assert_eq!(known.header.origin, wk_schemas::Origin::Unspecified);
    assert_eq!(known.body, record.body);

    let stock = stock(newer.text());
    let Value::Record(mut fields) = read(&stock, None, &longer) else { panic!() };
    let switched = Value::Record(vec![("model".into(), Value::String("m-2".into()))]);
    for (name, value) in &mut fields {
        match name.as_str() {
            "kind" => *value = Value::Enum(u32::try_from(newer.kinds().len() - 1).unwrap(), "model_switched".into()),
            "session_started" | "session_ended" => *value = Value::Union(0, Box::new(Value::Null)),
            "model_switched" => *value = Value::Union(1, Box::new(switched.clone())),
            _ => {}
        }
    }
    let own = write(&stock, Value::Record(fields.clone()));
    let (view, kind) = newer.walk(&own).unwrap();
    assert_eq!((view.kind, newer.kinds()[kind].as_str()), (Kind::Unspecified, "model_switched"));
    assert_eq!(newer.to_ours(&own).unwrap(), None);
    // The sub-record of one kind under the name of another, and two of them.
    let bend = |name: &str, value: Value| {
        let mut fields = fields.clone();
        fields.iter_mut().find(|(found, _)| found == name).unwrap().1 = value;
        newer.walk(&write(&stock, Value::Record(fields))).unwrap_err()
    };
    assert!(matches!(bend("kind", Value::Enum(1, "session_started".into())), CodecError::NotCanonical { .. }));
    assert_eq!(bend("model_switched", Value::Union(0, Box::new(Value::Null))), CodecError::NoBody);
}

#[test]
fn what_keeps_a_schema_from_being_taken_is_said_by_the_name_of_the_field() {
    let difference = |change: fn(&mut Json)| Schema::parse(&with(change)).unwrap().differences(&Schema::ours());
    assert_eq!(difference(|s| field(s, "tenant")["type"] = json!("long")), ["`tenant` is a long and was a string"]);
    assert_eq!(difference(|s| fields(s).retain(|f| f["name"] != "host")), ["`host` is missing"]);
    assert_eq!(
        difference(|s| fields(s).push(json!({"name": "region", "type": "string"}))),
        ["`region` is new and not nullable"]
    );
    assert_eq!(
        difference(|s| field(s, "session_started")["type"][1]["fields"][0]["name"] = json!("folder")),
        [
            "`session_started.folder` is new and not nullable".to_owned(),
            format!("`session_started.{}` is missing", {
                let ours: Json = serde_json::from_str(SCHEMA).unwrap();
                let started =
                    ours["fields"].as_array().unwrap().iter().find(|f| f["name"] == "session_started").unwrap();
                started["type"][1]["fields"][0]["name"].as_str().unwrap().to_owned()
            }),
        ]
    );
    assert_eq!(
        difference(|s| field(s, "origin")["type"]["symbols"][1] = json!("ORBIT")),
        ["`origin` has the symbol ORBIT where KERNEL was"]
    );
    assert_eq!(
        difference(|s| field(s, "agent_name")["type"] = json!(["null", "bytes"])),
        ["`agent_name` is a bytes and was a string"]
    );
}

#[test]
fn what_is_no_schema_of_a_record_is_refused() {
    let refused = |text: &str| Schema::parse(text).unwrap_err();
    assert!(matches!(refused("not json"), SchemaError::Json { .. }));
    assert!(matches!(refused(r#""string""#), SchemaError::NotARecord { .. }));
    assert!(matches!(refused(r#"{"type": "map", "values": "string"}"#), SchemaError::NotARecord { .. }));
    assert_eq!(refused(&with(|s| drop(fields(s).remove(0)))), SchemaError::Head { expected: "record_id" });
    assert_eq!(refused(&with(|s| fields(s).retain(|f| f["name"] != "kind"))), SchemaError::Head { expected: "kind" });
    let odd = |shape: Json| refused(&with(move |s| fields(s).push(json!({"name": "odd", "type": shape})))).to_string();
    for shape in [
        json!({"type": "map", "values": "string"}),
        json!({"type": "fixed", "name": "F", "size": 4}),
        json!(["null", "string", "long"]),
        json!({"type": "long", "logicalType": "time-micros"}),
        json!({"type": "record", "name": "Empty", "fields": []}),
        json!({"type": "record", "name": "Within", "fields": [{"name": "self", "type": "Within"}]}),
        json!({"type": "enum", "name": "Odd", "symbols": ["A"]}),
        json!("Nowhere"),
    ] {
        assert!(odd(shape.clone()).starts_with("`odd"), "{shape}: {}", odd(shape.clone()));
    }
    // A few types within each other that would be millions of fields.
    let mut bomb: Json = json!("string");
    for level in 0..40 {
        let inner = json!([{"name": "a", "type": bomb}, {"name": "b", "type": if level == 0 { "string".to_owned() } else { format!("L{}", level - 1) }}]);
        bomb = json!({"type": "record", "name": format!("L{level}"), "fields": inner});
    }
    assert_eq!(refused(&with(|s| fields(s).push(json!({"name": "bomb", "type": bomb})))), SchemaError::TooBig);
}
