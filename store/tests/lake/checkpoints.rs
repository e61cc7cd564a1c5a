//! Delta checkpoints: opening is quick, and what is opened is what the commits say.

use crate::common::{START, Session, commit, key, records, writer};
use std::collections::BTreeSet;
use std::path::Path;
use uuid::Uuid;
use wk_schemas::Timestamp;
use wk_store::compact::Limits;
use wk_store::files::Files;
use wk_store::verify::{Options, verify};
use wk_store::{Commit, Lake, OpenError, Version};

const COMMITS: u32 = 250;

/// One commit after another, of one record each; the last one is given back.
async fn fill(folder: &Path) -> Commit {
    let mut writer = writer(folder).await;
    let mut session = Session::new(1);
    let mut last = None;
    for number in 0..COMMITS {
        let datum = session.datum(records::bodies().remove(usize::try_from(number).unwrap() % 24));
        let next = commit(u128::from(number) + 1, i64::from(number), vec![datum]);
        writer.commit(&next).await.unwrap();
        last = Some(next);
    }
    last.unwrap()
}

fn checkpoints(folder: &Path) -> Vec<Version> {
    let version = |name: String| name.strip_suffix(".checkpoint.parquet").map(|version| version.parse().unwrap());
    let names = std::fs::read_dir(folder.join("records/_delta_log")).unwrap();
    let mut found: Vec<Version> =
        names.filter_map(|entry| version(entry.unwrap().file_name().into_string().unwrap())).collect();
    found.sort_unstable();
    found
}

/// All that a reader knows of a lake.
fn known(lake: &Lake) -> impl PartialEq + std::fmt::Debug + use<> {
    let snapshot = lake.snapshot();
    (snapshot.version, snapshot.lake_id.clone(), snapshot.files.clone(), snapshot.offsets.clone())
}

#[tokio::test]
async fn a_lake_opened_from_its_checkpoint_is_the_one_that_its_commits_make() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("lake");
    let last = fill(&folder).await;
    assert_eq!(checkpoints(&folder), [111, 234], "a hundred commits between them, and one more for every ten files");
    let files = Files::existing(&folder).unwrap();
    let replayed = known(&Lake::replay(files.clone()).await.unwrap());
    assert_eq!(known(&Lake::open(&folder).await.unwrap()), replayed);

    // A writer goes on behind it, and knows the newest commit for its own.
    let mut writer = writer(&folder).await;
    assert_eq!(writer.commit(&last).await.unwrap(), Version::from(COMMITS));
    let mut session = Session::new(2);
    let next = commit(9999, i64::from(COMMITS), vec![session.datum(records::bodies().remove(0))]);
    assert_eq!(writer.commit(&next).await.unwrap(), Version::from(COMMITS) + 1);

    // It is read and not only there: a commit below it is not looked for, while a replay misses it.
    let gone = folder.join("records/_delta_log/00000000000000000005.json");
    let kept = std::fs::read(&gone).unwrap();
    std::fs::remove_file(&gone).unwrap();
    assert_eq!(known(&Lake::open(&folder).await.unwrap()), known(writer.lake()));
    let hole = Lake::replay(files.clone()).await.unwrap_err();
    assert!(matches!(hole, OpenError::Hole { version: 5 }), "{hole}");
    std::fs::write(&gone, kept).unwrap();

    // Without it, or with rubbish in its place, the commits are read.
    let path = folder.join("records/_delta_log/00000000000000000234.checkpoint.parquet");
    std::fs::write(&path, b"PAR1 rubbish PAR1").unwrap();
    assert_eq!(known(&Lake::open(&folder).await.unwrap()), known(writer.lake()));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(known(&Lake::open(&folder).await.unwrap()), known(writer.lake()));
}

#[tokio::test]
async fn deltalake_and_polars_open_the_table_from_the_checkpoint_alone() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("lake");
    fill(&folder).await;
    // What the checkpoint covers is taken away: whoever reads the table all the same has read the checkpoint.
    for version in 0..234 {
        std::fs::remove_file(folder.join(format!("records/_delta_log/{version:020}.json"))).unwrap();
    }
    let table = folder.join("records").to_str().unwrap().to_owned();
    crate::others::run("read_checkpoint.py", &[table, COMMITS.to_string()]);
}

#[tokio::test]
async fn a_compaction_of_files_that_a_checkpoint_has_is_seen_through_it_and_stands_in_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("lake");
    fill(&folder).await;
    assert_eq!(checkpoints(&folder), [111, 234]);
    let mut writer = writer(&folder).await;
    let mut made = 0;
    while let Some((version, rewrite)) = {
        let id = Uuid::from_u128((700 + made) << 64);
        writer.compact(&BTreeSet::new(), "2026-10-27", &Limits::default(), id, Timestamp(START)).await.unwrap()
    } {
        made += 1;
        assert!(made < 9, "it comes to an end: {version} {:?}", rewrite.inputs());
    }
    // What opens by the checkpoint knows the files that it has, and that others have taken their place since.
    let files = Files::existing(&folder).unwrap();
    let opened = Lake::open(&folder).await.unwrap();
    assert_eq!(known(&opened), known(&Lake::replay(files.clone()).await.unwrap()));
    assert_eq!((opened.snapshot().files.len(), opened.snapshot().records()), (1, u64::from(COMMITS)));

    // The next checkpoint has the file that the compaction wrote, and says of those it replaced that they are gone.
    let mut session = Session::new(2);
    let mut next = COMMITS;
    while checkpoints(&folder).len() < 3 {
        let datum = session.datum(records::bodies().remove(0));
        writer.commit(&commit(u128::from(next) + 1, next.into(), vec![datum])).await.unwrap();
        next += 1;
        assert!(next < COMMITS + 200, "a checkpoint is written in the end");
    }
    let opened = Lake::open(&folder).await.unwrap();
    assert_eq!(known(&opened), known(&Lake::replay(files.clone()).await.unwrap()));
    assert_eq!(opened.snapshot().records(), u64::from(next));
    let report = verify(&files, &key().verifying_key(), &Options::default(), |_| {}).await.unwrap();
    assert!(report.is_valid(), "{report}");
    assert_eq!(report.records, u64::from(next));
    let last = checkpoints(&folder).pop().unwrap();
    for version in 0..last {
        std::fs::remove_file(folder.join(format!("records/_delta_log/{version:020}.json"))).unwrap();
    }
    let table = folder.join("records").to_str().unwrap().to_owned();
    let there = opened.snapshot();
    let said = [next.to_string(), there.version.to_string(), there.files.len().to_string()];
    crate::others::run("read_checkpoint.py", &[vec![table], said.to_vec()].concat());
}
