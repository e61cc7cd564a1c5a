//! A notebook saves reading, and nothing else: what was noted fits or everything is read, and what is amiss stays amiss.

use crate::common::{START, Session, key, records};
use crate::compacted::compacted;
use crate::stage::{Put, Stage, bodies};
use serde_json::Value;
use std::fs;
use wk_schemas::Topic;
use wk_store::files::Files;
use wk_store::verify::{Class, Notebook, Options, Report, verify_with};

/// Verifies with what was noted; how often a commit was looked at, beside the report.
async fn again(stage: &Stage, notebook: &mut Notebook) -> (Report, u64) {
    let files = Files::local(stage.dir.path()).unwrap();
    let mut looked = 0;
    let count = |_| looked += 1;
    let report = verify_with(notebook, &files, &key().verifying_key(), &Options::default(), count).await.unwrap();
    (report, looked)
}

/// The notebook with its JSON put through `change`.
fn changed(notebook: &Notebook, change: impl FnOnce(&mut Value)) -> Notebook {
    let mut json = serde_json::from_str(&notebook.to_json()).unwrap();
    change(&mut json);
    Notebook::read(&json.to_string()).unwrap()
}

fn put(partition: i32, n: i64, datum: Vec<u8>) -> Put {
    Put { topic: Topic::Events, partition, recorded_at: START + n, datum }
}

#[tokio::test]
async fn of_what_is_noted_only_the_bytes_are_looked_at() {
    let stage = Stage::new().await;
    let mut notebook = stage.noted.clone();
    assert_eq!((notebook.commits(), notebook.checkpoint()), (5, Some(stage.kept.as_str())));
    let report = stage.report().await;
    let (noted, looked) = again(&stage, &mut notebook).await;
    assert_eq!((noted.noted, looked), (35, 5));
    assert_eq!(noted.to_string().lines().filter(|line| line.starts_with("notebook    35 of these")).count(), 1);
    assert_eq!(Report { noted: 0, ..noted }, report);
    assert_eq!(notebook, stage.noted);
    assert_eq!(Notebook::read(&notebook.to_json()).unwrap(), notebook);
}

#[tokio::test]
async fn what_compactions_wrote_is_noted_too() {
    let stage = compacted().await;
    let (report, looked) = again(&stage, &mut stage.noted.clone()).await;
    assert_eq!((report.noted, report.rearranged, looked), (35, 35, 7), "{report}");
    assert_eq!(Report { noted: 0, ..report }, stage.report().await);
}

#[tokio::test]
async fn what_is_new_is_read_and_goes_on_from_what_is_noted() {
    let mut one = Session::new(1);
    let datums: Vec<Vec<u8>> = bodies().into_iter().map(|body| one.datum(body)).collect();
    let part = |from: usize, to: usize| -> Vec<Put> {
        datums[from..to].iter().map(|datum| put(0, 0, datum.clone())).collect()
    };
    let short = Stage::of(vec![part(0, 9)]).await;
    let long = Stage::of(vec![part(0, 9), part(9, 20), part(20, datums.len())]).await;
    let mut notebook = short.noted.clone();
    let (report, looked) = again(&long, &mut notebook).await;
    assert_eq!((report.noted, report.chained_records, looked), (9, datums.len() as u64, 4), "{report}");
    assert!(report.is_valid(), "{report}");
    assert_eq!(notebook, long.noted);
}

#[tokio::test]
async fn a_commit_whose_records_came_again_is_read_each_time_and_the_rest_is_not() {
    let mut one = Session::new(1);
    let datums: Vec<Vec<u8>> = bodies().into_iter().map(|body| one.datum(body)).collect();
    let part = |from: usize, to: usize| -> Vec<Put> {
        datums[from..to].iter().map(|datum| put(0, 0, datum.clone())).collect()
    };
    // The records 7 to 9 come again, one commit later than they did first, and after that again nothing.
    let commits = vec![part(0, 5), part(5, 10), part(7, 15), part(15, datums.len())];
    let stage = Stage::of(commits).await;
    assert_eq!(stage.noted.commits(), 3, "the table, the first commit, and the last");
    let (report, looked) = again(&stage, &mut stage.noted.clone()).await;
    let rest = (datums.len() - 10) as u64;
    assert_eq!((report.duplicates, report.noted, looked), (3, rest, 5), "{report}");
    assert!(report.is_valid(), "{report}");
    assert_eq!(stage.report().await.duplicates, 3);
}

#[tokio::test]
async fn notes_that_were_changed_are_no_verdict() {
    let stage = Stage::new().await;
    let report = stage.report().await;
    let run = "/commits/2/runs/0";
    for (field, value) in [
        ("/span/first", Value::from(11)),
        ("/span/next", Value::from(19)),
        ("/span/last", "00".repeat(32).into()),
        ("/span/before", "no digest".into()),
        ("/span/session", "another".into()),
    ] {
        let mut bent =
            changed(&stage.noted, |json| *json.pointer_mut(&format!("{run}{field}")).unwrap() = value.clone());
        let (found, looked) = again(&stage, &mut bent).await;
        assert_eq!((&found, looked), (&report, 10), "{field}: everything is read, and is valid");
        assert_eq!(bent, stage.noted, "{field}");
    }
    for (field, value) in [("/commits/2/rows/0/1", Value::from(9)), ("/commits/2/leaf", "00".repeat(32).into())] {
        let mut bent = changed(&stage.noted, |json| *json.pointer_mut(field).unwrap() = value.clone());
        let (found, _) = again(&stage, &mut bent).await;
        assert_eq!(Report { noted: 0, ..found }, report, "{field}");
        assert_eq!(bent, stage.noted, "{field}");
    }
}

#[tokio::test]
async fn notes_of_a_program_that_checks_otherwise_are_not_gone_by() {
    let stage = Stage::new().await;
    let mut other = changed(&stage.noted, |json| json["checks"] = 0.into());
    let (report, looked) = again(&stage, &mut other).await;
    assert_eq!((report.noted, looked), (0, 5));
    assert_eq!(other, stage.noted);
}

#[tokio::test]
async fn a_notebook_of_another_lake_or_of_a_longer_one_is_said() {
    let stage = Stage::new().await;
    let other = Stage::of(vec![vec![put(0, 0, Session::new(9).datum(records::bodies().remove(0)))]]).await;
    let (report, _) = again(&other, &mut stage.noted.clone()).await;
    Stage::finds(
        &report,
        Class::Missing,
        "the notebook's checkpoint covers 5 commits, this one 2: commits were cut off",
    );
    let (report, _) = again(&stage, &mut other.noted.clone()).await;
    Stage::finds(&report, Class::Invalid, "the first 2 commits are not those of the notebook's checkpoint");
}

#[tokio::test]
async fn a_file_that_was_noted_and_is_gone_or_changed_is_found_and_the_notebook_stays_as_it_was() {
    let stage = Stage::new().await;
    let mut notebook = stage.noted.clone();
    let file = stage.file(2);
    let bytes = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let (report, looked) = again(&stage, &mut notebook).await;
    assert_eq!((report.noted, looked), (0, 10), "read again, without the notebook");
    Stage::finds(&report, Class::Missing, "the file is not there: ");
    let mut bent = bytes.clone();
    bent[20] ^= 1;
    fs::write(&file, bent).unwrap();
    let (report, _) = again(&stage, &mut notebook).await;
    Stage::finds(&report, Class::Invalid, "the commit says");
    assert_eq!(notebook, stage.noted);
    fs::write(&file, bytes).unwrap();
    let (report, looked) = again(&stage, &mut notebook).await;
    assert_eq!((report.noted, looked, report.is_valid()), (35, 5, true));
}
