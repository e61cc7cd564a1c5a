//! Records of another version of the schema are taken whole; those of a schema that contradicts ours are set aside, and the difference is said.

use crate::stage::{Stage, config, identity, samples};
use serde_json::{Value, json};
use std::collections::HashMap;
use wk_ingest::replay::Replay;
use wk_ingest::synthetic::Sample;
use wk_schemas::avro::{Input, write_blob};
use wk_schemas::{Digest, SCHEMA, Schema, Timestamp, Topic};
use wk_store::Lake;
use wk_store::rows::Columns;
use wk_wire::frame;

fn with(change: impl FnOnce(&mut Vec<Value>)) -> String {
    let mut schema: Value = serde_json::from_str(SCHEMA).unwrap();
    change(schema["fields"].as_array_mut().unwrap());
    schema.to_string()
}

/// The next version: a field more in the header, and one more kind.
fn newer() -> String {
    with(|fields| {
        let kind = fields.iter().position(|field| field["name"] == "kind").unwrap();
        fields[kind]["type"]["symbols"].as_array_mut().unwrap().push("model_switched".into());
        fields.insert(kind, json!({"name": "region", "type": ["null", "string"], "default": null}));
        let switched =
            json!({"type": "record", "name": "ModelSwitched", "fields": [{"name": "model", "type": "string"}]});
        fields.push(json!({"name": "model_switched", "type": ["null", switched], "default": null}));
    })
}

/// Records as a program of the next version writes them: every chain is over its own bytes.
fn as_newer(samples: &mut [Sample]) {
    let mut last = HashMap::new();
    for sample in samples {
        let mut input = Input::new(&sample.datum);
        Schema::ours().skip_fields(4, &mut input).unwrap();
        let digest = input.blob().unwrap().len();
        let end = input.position();
        let writer = writer(&sample.datum);
        if let Some(Digest(before)) = last.get(&writer) {
            sample.datum[end - digest..end].copy_from_slice(before);
        }
        sample.datum = with_region(&sample.datum);
        last.insert(writer, Digest::of(&sample.datum));
    }
}

/// Session and writer of a record.
fn writer(datum: &[u8]) -> (String, String) {
    let mut input = Input::new(datum);
    input.text().unwrap();
    (input.text().unwrap().to_owned(), input.text().unwrap().to_owned())
}

fn with_region(datum: &[u8]) -> Vec<u8> {
    let ours = Schema::ours();
    let mut input = Input::new(datum);
    let kind = ours.fields().iter().position(|(name, ..)| name == "kind").unwrap();
    ours.skip_fields(kind, &mut input).unwrap();
    let (before, after) = datum.split_at(input.position());
    let mut out = before.to_vec();
    out.push(2);
    write_blob(b"eu-1", &mut out);
    [&out[..], after, &[0]].concat()
}

/// Appends records under a schema that is registered; gives its id.
async fn append_as(stage: &Stage, schema: &str, samples: &[Sample], write: impl Fn(&[u8]) -> Vec<u8>) -> i32 {
    let id = stage.registry().register(Topic::Events.name(), schema).await.unwrap();
    for sample in samples {
        let key = sample.session_id.as_str().as_bytes();
        stage.append_raw(sample.topic, key, &frame(id, &write(&sample.datum))).await;
    }
    id
}

fn events(seed: u64, count: usize) -> Vec<Sample> {
    samples(seed, count).filter(|sample| sample.topic == Topic::Events).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_is_taken_whole_beside_ours_and_a_contradiction_is_set_aside_by_name() {
    let stage = Stage::start().await;
    // Ours, before and after the first of the next version; and one commit that holds both.
    let (old, mut new, late) = (events(1, 200), events(2, 200), events(3, 100));
    as_newer(&mut new);
    stage.append(old.clone()).await;
    stage.catch_up(config(1000)).await.unwrap();
    append_as(&stage, &newer(), &new[..100], <[u8]>::to_vec).await;
    stage.append(late.clone()).await;
    let summary = stage.catch_up(config(1000)).await.unwrap();
    assert_eq!((summary.rows, summary.dead_letters), (i64::try_from(100 + late.len()).unwrap(), 0));
    // Another process goes on.
    append_as(&stage, &newer(), &new[100..], <[u8]>::to_vec).await;
    stage.catch_up(config(1000)).await.unwrap();

    // Our own with a field renamed; and one that has the new field as another type, which is compatible with ours and not with the lake.
    let renamed = with(|fields| fields.iter_mut().find(|f| f["name"] == "host").unwrap()["name"] = json!("machine"));
    let clash = with(|fields| {
        fields.push(json!({"name": "region", "type": ["null", "long"], "default": null}));
    });
    let strays = events(4, 30);
    append_as(&stage, &renamed, &strays[..1], <[u8]>::to_vec).await;
    append_as(&stage, &clash, &strays[1..2], |datum| [datum, &[0]].concat()).await;
    assert_eq!(stage.catch_up(config(1000)).await.unwrap().dead_letters, 2);
    let reasons: Vec<String> =
        crate::bad_input::letters(&stage).await.into_iter().map(|letter| letter.reason).collect();
    assert!(reasons[0].ends_with("of this lake: `machine` is new and not nullable; `host` is missing"), "{reasons:?}");
    assert!(reasons[1].ends_with(r#"of this lake: `region` is "long", and "string" in the table"#), "{reasons:?}");

    // The second could be replayed into another lake; this one would set it aside again.
    let lake = Lake::open(&stage.lake()).await.unwrap();
    let columns = Columns::clone(&lake.snapshot().columns);
    let replay = |columns| Replay::new(&stage.brokers(), stage.registry(), columns, identity(), true).run(Timestamp(0));
    let refused = replay(columns).await.unwrap().refused;
    assert!(refused.len() == 2 && reasons.iter().all(|reason| refused.contains_key(reason)), "{refused:?}");
    assert_eq!(replay(Columns::ours()).await.unwrap().replayed.len(), 1);

    // Everything is there, each in a file of its version; the two letters come in as records of ours.
    stage.catch_up(config(1000)).await.unwrap();
    let report = stage.verified().await;
    assert_eq!(report.records, u64::try_from(old.len() + new.len() + late.len() + 2).unwrap());
    let lake = Lake::open(&stage.lake()).await.unwrap();
    let of_newer = Some(Schema::parse(&newer()).unwrap().fingerprint());
    let rows = lake.snapshot().files.iter().filter(|file| file.schema == of_newer).map(|file| file.rows).sum::<u64>();
    assert_eq!(rows, u64::try_from(new.len()).unwrap());
    assert!(lake.snapshot().columns.schema().column_with_name("model_switched").is_some());
}
