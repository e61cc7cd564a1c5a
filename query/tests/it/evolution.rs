//! Questions to a lake that holds records of a newer version of the schema than this program's.

use crate::agents::{self, START, Said};
use crate::lake::Fixture;
use serde_json::{Value, json};
use std::sync::Arc;
use wk_query::Config;
use wk_schemas::avro::{Input, write_blob};
use wk_schemas::{SCHEMA, Schema};

/// The next version: a field more in the header, and one in the sub-record of a process that was started.
pub(crate) fn newer() -> Arc<Schema> {
    let mut schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    let kind = fields.iter().position(|field| field["name"] == "kind").unwrap();
    fields.insert(kind, json!({"name": "region", "type": ["null", "string"], "default": null}));
    let prompted = fields.iter_mut().find(|field| field["name"] == "prompt_submitted").unwrap();
    let inner = prompted["type"][1]["fields"].as_array_mut().unwrap();
    inner.insert(0, json!({"name": "urgency", "type": ["null", "int"], "default": null}));
    Arc::new(Schema::parse(&schema.to_string()).unwrap())
}

pub(crate) fn as_newer(said: Said) -> Said {
    let ours = Schema::ours();
    let place = |name: &str| ours.fields().iter().position(|(field, ..)| field == name).unwrap();
    let mut input = Input::new(&said.datum);
    ours.skip_fields(place("kind"), &mut input).unwrap();
    let (head, rest) = said.datum.split_at(input.position());
    let mut datum = head.to_vec();
    datum.push(2);
    write_blob(b"eu-1", &mut datum);
    let mut input = Input::new(&said.datum);
    ours.skip_fields(place("prompt_submitted"), &mut input).unwrap();
    let (before, body) = rest.split_at(input.position() - head.len());
    datum.extend_from_slice(before);
    match body.split_first() {
        // The union's branch, then the new first field of the sub-record: 7.
        Some((2, body)) => datum.extend_from_slice(&[&[2, 2, 14], body].concat()),
        _ => datum.extend_from_slice(body),
    }
    Said { datum, ..said }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_columns_are_asked_over_old_and_new_files_at_once() {
    let lake = Fixture::new(4, Config::default()).await;
    let count = async |sql: &str| lake.rows(sql).await.unwrap()[0].clone();
    let before: u64 = count("SELECT count(*) FROM records").await[0].parse().unwrap();
    lake.rows("SELECT region FROM records").await.unwrap_err();
    let said: Vec<Said> = agents::session(9, START + 50_000_000, 4).into_iter().map(as_newer).collect();
    let new = said.len() as u64;
    lake.keeper.lock().await.commit_as(&newer(), said).await;
    // The engine was open before the lake had these columns.
    let rows = lake.rows("SELECT region, count(*) FROM records GROUP BY region ORDER BY count(*)").await.unwrap();
    let expected = [("eu-1", new), ("", before)];
    for (region, records) in expected {
        assert!(rows.iter().any(|row| row[0] == region && row[1] == records.to_string()), "{region}: {rows:?}");
    }
    let where_clause = "SELECT count(*) FROM records WHERE region = 'eu-1'";
    assert_eq!(count(where_clause).await[0], new.to_string());
    // A field that is new within a sub-record: null in the files that do not have it.
    let rows = lake
        .rows("SELECT prompt_submitted['urgency'], count(*) FROM records WHERE kind = 'prompt_submitted' GROUP BY 1 ORDER BY 2")
        .await
        .unwrap();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows.iter().any(|row| row[0] == "7") && rows.iter().any(|row| row[0].is_empty()), "{rows:?}");
    // The views go on over both.
    let sessions: u64 = count("SELECT count(*) FROM sessions").await[0].parse().unwrap();
    assert_eq!(sessions, 5);
    assert_eq!(count("SELECT count(*) FROM records").await[0], (before + new).to_string());
}
