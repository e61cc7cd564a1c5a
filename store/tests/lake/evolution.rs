//! Records of another version of the schema lie beside ours: whole, provable, and readable by everybody.

use crate::common::{START, Session, commit, filled, key, lake_id, range, records};
use crate::others::{path, run};
use ed25519_dalek::SigningKey;
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;
use wk_schemas::{Body, SCHEMA, Schema, Timestamp, Topic};
use wk_store::retention::{Act, Deed};
use wk_store::rows::{Columns, KindName};
use wk_store::verify::{Options, verify};
use wk_store::{Commit, CommitError, Lake, OpenError, Row, Writer, WriterError, compact, read};

/// The next version of the schema: a field more in every header, and one more kind.
fn newer() -> Arc<Schema> {
    let mut schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    let kind = fields.iter().position(|field| field["name"] == "kind").unwrap();
    fields[kind]["type"]["symbols"].as_array_mut().unwrap().push("model_switched".into());
    fields.insert(kind, serde_json::json!({"name": "region", "type": ["null", "string"], "default": null}));
    let inner = serde_json::json!([{"name": "model", "type": "string"}, {"name": "tokens", "type": ["null", "long"], "default": null}]);
    let switched = serde_json::json!({"type": "record", "name": "ModelSwitched", "fields": inner});
    fields.push(serde_json::json!({"name": "model_switched", "type": ["null", switched], "default": null}));
    Arc::new(Schema::parse(&schema.to_string()).unwrap())
}

/// A record of ours as the next version writes it: `region` is set, and the new kind's sub-record takes the place of the old one if asked.
fn as_newer(datum: &[u8], region: &str, switched: Option<&str>) -> Vec<u8> {
    use wk_schemas::avro::{Input, write_blob, write_long};
    let (ours, newer) = (Schema::ours(), newer());
    let header = ours.fields().iter().position(|(name, ..)| name == "kind").unwrap();
    let mut input = Input::new(datum);
    ours.skip_fields(header, &mut input).unwrap();
    let mut out = datum[..input.position()].to_vec();
    out.push(2);
    write_blob(region.as_bytes(), &mut out);
    match switched {
        None => {
            out.extend_from_slice(&datum[input.position()..]);
            out.push(0);
        }
        Some(model) => {
            write_long(i64::try_from(newer.kinds().len() - 1).unwrap(), &mut out);
            out.resize(out.len() + Body::FIELDS.len(), 0);
            out.push(2);
            write_blob(model.as_bytes(), &mut out);
            out.extend_from_slice(&[2, 84]);
        }
    }
    out
}

fn row(schema: &Arc<Schema>, offset: i64, datum: Vec<u8>) -> Row {
    Row::read_as(schema, Topic::Events, 0, offset, Timestamp(START + offset * 10), datum.into()).unwrap()
}

/// A lake of ours, to which a commit came with records of both versions: ours, the next one's, and the new kind.
async fn grown(folder: &std::path::Path) -> (Writer, i64) {
    let mut writer = filled(folder).await;
    let first = writer.lake().committed().0.values().copied().next().unwrap();
    let newer = newer();
    let mut rows = Vec::new();
    // A session each: a chain is over the bytes that its writer wrote, and these are written again.
    for ((offset, number), body) in (first..).zip(1000..).zip(records::bodies()) {
        let datum = Session::new(number).datum(body);
        rows.push(row(&newer, offset, as_newer(&datum, "eu-1", None)));
    }
    let next = first + i64::try_from(rows.len()).unwrap();
    let last = Session::new(10).datum(records::bodies().remove(0));
    rows.push(row(&newer, next, as_newer(&last, "eu-2", Some("m-2"))));
    rows.push(row(&Schema::ours(), next + 1, Session::new(11).datum(records::bodies().remove(0))));
    let range = range(first, &rows);
    writer
        .commit(&Commit::prepare(Uuid::from_u128(7 << 96), Timestamp(START), rows, vec![range]).unwrap())
        .await
        .unwrap();
    (writer, next + 2)
}

async fn valid(writer: &Writer) -> wk_store::verify::Report {
    let report = verify(writer.lake().files(), &key().verifying_key(), &Options::default(), |_| {}).await.unwrap();
    assert!(report.is_valid(), "{report}");
    report
}

#[tokio::test]
async fn records_of_a_newer_version_are_kept_whole_beside_ours() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, records) = grown(dir.path()).await;
    let snapshot = writer.lake().snapshot();
    let of_newer: Vec<_> = snapshot.files.iter().filter(|file| file.schema.is_some()).collect();
    assert_eq!(of_newer.len(), 1, "one file for each schema");
    assert_eq!(of_newer[0].schema, Some(newer().fingerprint()));
    assert_eq!(of_newer[0].stats.kinds[&KindName::new("model_switched")], 1);
    assert_eq!(*snapshot.columns, Columns::ours().join(&Columns::of(&newer())).unwrap());
    assert_eq!(valid(&writer).await.records, u64::try_from(records).unwrap());
    // Who reads records back gets them as this program knows them; the kind that it does not know is passed by.
    let mut found = 0;
    for file in &snapshot.files {
        read::each(writer.lake().files(), file, |_, datum| {
            wk_schemas::codec::decode(datum).unwrap();
            found += 1;
        })
        .await
        .unwrap();
    }
    assert_eq!(found, records - 1);
    // From the commits alone, from a checkpoint, and by another process: the same columns.
    let again = Lake::open(dir.path()).await.unwrap();
    assert_eq!(again.snapshot().columns, snapshot.columns);
    // The columns come once: a second commit of such records brings none.
    let before = snapshot.version;
    let datum = as_newer(&Session::new(12).datum(records::bodies().remove(0)), "eu-1", None);
    let rows = vec![row(&newer(), records, datum)];
    let range = range(records, &rows);
    let more = Commit::prepare(Uuid::from_u128(8 << 96), Timestamp(START), rows, vec![range]).unwrap();
    assert_eq!(writer.commit(&more).await.unwrap(), before + 1);
    assert_eq!(writer.commit(&more).await.unwrap(), before + 1, "making it again is harmless");
    // A compaction does not mix versions, and loses nothing of either.
    let limits = compact::Limits::default();
    for number in 0.. {
        let lake = writer.lake().clone();
        let Some(inputs) = compact::plan(&lake.snapshot(), &BTreeSet::new(), "2026-10-27", &limits) else { break };
        let rewrite =
            compact::prepare(lake.files(), inputs, Uuid::from_u128(100 + number), Timestamp(START)).await.unwrap();
        writer.rearrange(&rewrite).await.unwrap();
    }
    let snapshot = writer.lake().snapshot();
    assert_eq!(snapshot.files.len(), 2);
    assert_eq!(snapshot.files.iter().filter(|file| file.schema == Some(newer().fingerprint())).count(), 1);
    assert_eq!(valid(&writer).await.rearranged, u64::try_from(records + 1).unwrap());
}

#[tokio::test]
async fn a_day_of_both_versions_is_removed_as_a_whole_and_both_come_in_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, next) = grown(dir.path()).await;
    let columns = Arc::clone(&writer.lake().snapshot().columns);
    let person = SigningKey::from_bytes(&[77; 32]);
    let trusted = [person.verifying_key()];
    let prepared = writer.prepare_removal("2026-10-26", &trusted).await.unwrap();
    let act = Act {
        lake: writer.lake().id(),
        id: Uuid::from_u128(9).to_string(),
        at_us: START,
        by: "alice".into(),
        why: "two years are over".into(),
        deed: Deed::Remove(prepared.removal.clone()),
    };
    writer.remove_day(&prepared, &act.sign(&person), &trusted).await.unwrap();
    assert_eq!(writer.lake().snapshot().records(), 0);

    let newer_one = as_newer(&Session::new(20).datum(records::bodies().remove(0)), "eu-3", None);
    let our_one = Session::new(21).datum(records::bodies().remove(0));
    let rows = vec![row(&newer(), next, newer_one), row(&Schema::ours(), next + 1, our_one)];
    let range = range(next, &rows);
    let more = Commit::prepare(Uuid::from_u128(10 << 96), Timestamp(START), rows, vec![range]).unwrap();
    writer.commit(&more).await.unwrap();
    let lake = Lake::open(dir.path()).await.unwrap();
    assert_eq!(lake.snapshot().columns, columns, "the columns outlive their records");
    let options = Options { approvers: trusted.to_vec(), ..Options::default() };
    let report = verify(lake.files(), &key().verifying_key(), &options, |_| {}).await.unwrap();
    assert_eq!(report.findings, [], "{report}");
    assert_eq!((report.records, report.removed.len()), (2, 1), "{report}");
}

#[tokio::test]
async fn deltalake_polars_and_duckdb_read_old_and_new_columns() {
    let dir = tempfile::tempdir().unwrap();
    let (_, records) = grown(dir.path()).await;
    run("read_evolved.py", &[path(&dir.path().join("records")), records.to_string()]);
}

#[tokio::test]
async fn an_older_lake_is_read_and_written_by_a_program_that_knows_more() {
    // A lake as a program made it that did not know the kind `call_attempted`, nor the header's `agent_model`.
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("records/_delta_log");
    drop(Lake::create(dir.path(), lake_id(), Timestamp(START)).await.unwrap());
    let first = log.join("00000000000000000000.json");
    let text = std::fs::read_to_string(&first).unwrap();
    let lines = text.lines().map(|line| {
        let mut action: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(meta) = action.get_mut("metaData") {
            let mut schema: serde_json::Value = serde_json::from_str(meta["schemaString"].as_str().unwrap()).unwrap();
            schema["fields"]
                .as_array_mut()
                .unwrap()
                .retain(|f| f["name"] != "call_attempted" && f["name"] != "agent_model");
            meta["schemaString"] = schema.to_string().into();
        }
        format!("{action}\n")
    });
    std::fs::write(&first, lines.collect::<String>()).unwrap();
    let lake = Lake::open(dir.path()).await.unwrap();
    assert!(lake.snapshot().columns.schema().column_with_name("call_attempted").is_none());
    let mut writer = Writer::open(lake, key()).await.unwrap();
    let mut session = Session::new(1);
    let datums: Vec<Vec<u8>> = records::bodies().into_iter().map(|body| session.datum(body)).collect();
    let count = datums.len() as u64;
    assert_eq!(
        writer.commit(&commit(1, 0, datums)).await.unwrap(),
        2,
        "the columns are a commit of their own, before it"
    );
    assert!(writer.lake().snapshot().columns.schema().column_with_name("call_attempted").is_some());
    assert_eq!(valid(&writer).await.records, count);
}

#[tokio::test]
async fn a_lake_that_a_newer_program_made_is_read_and_not_written_to() {
    let change = async |from: &str, to: &str| {
        let dir = tempfile::tempdir().unwrap();
        drop(Lake::create(dir.path(), lake_id(), Timestamp(START)).await.unwrap());
        let first = dir.path().join("records/_delta_log/00000000000000000000.json");
        let text = std::fs::read_to_string(&first).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&first, text.replacen(from, to, 1)).unwrap();
        let lake = Lake::open(dir.path()).await;
        (dir, lake)
    };
    let (_dir, lake) = change(r#""minWriterVersion":2"#, r#""minWriterVersion":7"#).await;
    let refused = Writer::open(lake.unwrap(), key()).await.unwrap_err();
    assert!(matches!(&refused, WriterError::Newer { reason } if reason.contains("version 7")), "{refused}");

    let variant = r#"{\"fields\":[{\"metadata\":{},\"name\":\"extra\",\"nullable\":true,\"type\":\"variant\"},"#;
    let (_dir, lake) = change(r#"{\"fields\":["#, variant).await;
    let lake = lake.unwrap();
    assert_eq!(lake.snapshot().columns.unknown(), ["extra"]);
    let refused = Writer::open(lake, key()).await.unwrap_err();
    assert!(
        refused.to_string().contains("its column `extra` is of a type that this version does not know"),
        "{refused}"
    );

    let (_dir, lake) = change(r#""minReaderVersion":1"#, r#""minReaderVersion":3"#).await;
    assert!(matches!(lake.unwrap_err(), OpenError::Newer { .. }));
}

#[tokio::test]
async fn a_second_version_that_contradicts_the_first_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, next) = grown(dir.path()).await;
    let text = newer()
        .text()
        .replace(r#"{"name":"region","type":["null","string"]"#, r#"{"name":"region","type":["null","bytes"]"#);
    let other = Arc::new(Schema::parse(&text).unwrap());
    let datum = as_newer(&Session::new(13).datum(records::bodies().remove(0)), "eu-1", None);
    let rows = vec![row(&other, next, datum)];
    let range = range(next, &rows);
    let commit = Commit::prepare(Uuid::from_u128(9 << 96), Timestamp(START), rows, vec![range]).unwrap();
    let before = writer.lake().snapshot().version;
    let refused = writer.commit(&commit).await.unwrap_err();
    assert!(
        matches!(&refused, CommitError::Columns { problems } if problems[0].starts_with("`region` is ")),
        "{refused}"
    );
    assert_eq!(writer.lake().refresh().await.unwrap().version, before);
}

#[tokio::test]
async fn a_table_whose_columns_become_fewer_or_a_file_with_more_is_found() {
    let report = async |from: &str, to: &str| {
        let dir = tempfile::tempdir().unwrap();
        drop(grown(dir.path()).await);
        let commits = dir.path().join("records/_delta_log");
        let mut changed = 0;
        for entry in std::fs::read_dir(&commits).unwrap().map(|e| e.unwrap().path()) {
            let text = std::fs::read_to_string(&entry).unwrap();
            if text.contains("ADD COLUMNS") && text.contains(from) {
                std::fs::write(&entry, text.replace(from, to)).unwrap();
                changed += 1;
            }
        }
        assert_eq!(changed, 1);
        // By somebody who has the key, too: the log is signed anew.
        std::fs::remove_dir_all(dir.path().join("log")).unwrap();
        let files = wk_store::files::Files::existing(dir.path()).unwrap();
        let lake = Lake::open(dir.path()).await.unwrap();
        let mut log = wk_store::merkle::Log::empty(files.clone());
        let key: SigningKey = key();
        for version in 0..=lake.snapshot().version {
            let text = std::fs::read(commits.join(format!("{version:020}.json"))).unwrap();
            log.append(&[text.into()], &lake.origin(), &key).await.unwrap();
        }
        let report = verify(&files, &key.verifying_key(), &Options::default(), |_| {}).await.unwrap();
        report.to_string()
    };
    let region = r#"{\"metadata\":{},\"name\":\"region\",\"nullable\":true,\"type\":\"string\"},"#;
    let said = report(region, "").await;
    assert!(said.contains("its records have columns that the table does not"), "{said}");
    let host = r#"{\"metadata\":{},\"name\":\"agent_model\",\"nullable\":true,\"type\":\"string\"},"#;
    let said = report(host, "").await;
    assert!(said.contains("columns that it had are gone"), "{said}");
    let said = report(r#""delta.appendOnly":"true""#, r#""delta.appendOnly":"false""#).await;
    assert!(said.contains("it changes the table's protocol or schema: more of it than its columns"), "{said}");
}
