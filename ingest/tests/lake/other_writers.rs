//! Two ingest processes on one lake.

use crate::stage::{Stage, config, samples, to_the_end, writer};
use wk_ingest::IngestError;
use wk_schemas::Topic;

#[tokio::test(flavor = "multi_thread")]
async fn the_second_ingest_on_a_lake_stops_and_doubles_nothing() {
    let stage = Stage::start().await;
    stage.append(samples(1, 1000)).await;
    stage.append_raw(Topic::Events, b"s1", b"rubbish").await;
    // Both look at the empty lake before either writes.
    let (one, two) = (writer(&stage.lake()).await, writer(&stage.lake()).await);
    assert_eq!(stage.ingest(config(300), one).run(to_the_end()).await.unwrap().rows, 1000);
    let error = stage.ingest(config(300), two).run(to_the_end()).await.unwrap_err();
    assert!(matches!(error, IngestError::Shared(_)), "{error:?}");
    assert!(error.to_string().starts_with("another ingest process writes to this lake"), "{error}");
    assert_eq!(stage.catch_up(config(300)).await.unwrap().rows, 1, "the one dead letter");
    let report = stage.verified().await;
    assert_eq!((report.records, report.duplicates, report.dead_letters), (1001, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_ingests_that_race_one_stops_and_one_commits_all() {
    let stage = Stage::start().await;
    stage.append(samples(2, 2000)).await;
    let (one, two) = (writer(&stage.lake()).await, writer(&stage.lake()).await);
    let one = tokio::spawn(stage.ingest(config(100), one).run(to_the_end()));
    let two = tokio::spawn(stage.ingest(config(100), two).run(to_the_end()));
    let (one, two) = (one.await.unwrap(), two.await.unwrap());
    let ((Err(error), Ok(_)) | (Ok(_), Err(error))) = (&one, &two) else { panic!("{one:?} {two:?}") };
    assert!(matches!(error, IngestError::Shared(_)), "{error:?}");
    let report = stage.verified().await;
    assert_eq!((report.records, report.duplicates), (2000, 0));
}
