//! Somebody who can write to the disk changes commits, tiles or the checkpoint.

use crate::stage::Stage;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use serde_json::json;
use std::fs;
use wk_schemas::Digest;
use wk_store::verify::Class;

const NOT_SIGNED: &str = "its bytes are not the ones that were signed";

#[tokio::test]
async fn a_commit_dropped() {
    let stage = Stage::new().await;
    fs::remove_file(stage.commit(2)).unwrap();
    let report = stage.report().await;
    Stage::finds(&report, Class::Missing, "commit 2: the commit is not there");
    Stage::finds(&report, Class::Gap, "offsets 10 to 19 of agent.session.events.v1/0 are in no commit");
}

#[tokio::test]
async fn the_last_commits_cut_off() {
    let stage = Stage::new().await;
    for version in [3, 4] {
        fs::remove_file(stage.commit(version)).unwrap();
    }
    let report = stage.report().await;
    Stage::finds(&report, Class::Missing, "commit 3: the commit is not there");
    Stage::finds(&report, Class::Missing, "commit 4: the commit is not there");
}

#[tokio::test]
async fn a_space_in_a_commit() {
    let stage = Stage::new().await;
    Stage::bend(&stage.commit(2), |bytes| bytes.insert(1, b' '));
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, &format!("commit 2: {NOT_SIGNED}"));
}

#[tokio::test]
async fn a_tag_changed() {
    let stage = Stage::new().await;
    stage.edit_add(2, |add| add["tags"]["watchkeeper.merkleRoot"] = Digest::of(b"other").to_hex().into());
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, &format!("commit 2: {NOT_SIGNED}"));
    Stage::finds(&report, Class::Invalid, "its records have the root");
}

#[tokio::test]
async fn a_tag_taken_away() {
    let stage = Stage::new().await;
    stage.edit_add(2, |add| drop(add["tags"].as_object_mut().unwrap().remove("watchkeeper.sha256")));
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, &format!("commit 2: {NOT_SIGNED}"));
    Stage::finds(&report, Class::Invalid, "does not carry what this table writes");
}

#[tokio::test]
async fn a_foreign_file_put_into_a_commit() {
    let stage = Stage::new().await;
    let add = stage.lines(1).into_iter().find(|line| line.get("add").is_some()).unwrap();
    stage.edit(3, |lines| lines.push(add));
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, &format!("commit 3: {NOT_SIGNED}"));
    Stage::finds(&report, Class::Invalid, "commit 3: agent.session.events.v1/0@0: it is outside the commit's ranges");
}

#[tokio::test]
async fn a_file_taken_out_by_a_commit() {
    let stage = Stage::new().await;
    let add = stage.lines(1).into_iter().find_map(|line| line.get("add").cloned()).unwrap();
    let text = json!({"remove": {"path": add["path"], "dataChange": true, "deletionTimestamp": 0}}).to_string();
    fs::write(stage.commit(5), text + "\n").unwrap();
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, "commit 5: no signed checkpoint covers it");
    Stage::finds(&report, Class::Invalid, "commit 5: it takes `day=2026-10-26/events-0-0-9");
}

#[tokio::test]
async fn two_commits_swapped() {
    let stage = Stage::new().await;
    let (one, two) = (fs::read(stage.commit(1)).unwrap(), fs::read(stage.commit(2)).unwrap());
    fs::write(stage.commit(1), two).unwrap();
    fs::write(stage.commit(2), one).unwrap();
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, &format!("commit 1: {NOT_SIGNED}"));
    Stage::finds(&report, Class::Invalid, &format!("commit 2: {NOT_SIGNED}"));
}

#[tokio::test]
async fn a_commit_that_nobody_signed() {
    let stage = Stage::new().await;
    fs::copy(stage.commit(4), stage.commit(5)).unwrap();
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, "commit 5: no signed checkpoint covers it");
    Stage::finds(&report, Class::Invalid, "commit 5: offsets 5 to 7 of agent.session.events.v1/1 are in two commits");
}

#[tokio::test]
async fn a_foreign_object_in_the_tables_log() {
    let stage = Stage::new().await;
    fs::write(stage.path("records/_delta_log/00000000000000000002.json.bak"), "{}").unwrap();
    let report = stage.report().await;
    Stage::finds_only(&report, Class::Notice, "it is in the table's log and is none of its commits");
}

#[tokio::test]
async fn a_byte_of_a_tile() {
    let stage = Stage::new().await;
    Stage::bend(&stage.path("log/tile/0/000.p/5"), |bytes| bytes[40] ^= 1);
    let report = stage.report().await;
    Stage::finds_only(&report, Class::Invalid, "the tiles have the root");
    assert_eq!(report.valid_commits, 5, "the commits are held against the signed root themselves");
}

#[tokio::test]
async fn a_tile_removed() {
    let stage = Stage::new().await;
    fs::remove_file(stage.path("log/tile/0/000.p/5")).unwrap();
    let report = stage.report().await;
    Stage::finds_only(&report, Class::Missing, "tile `log/tile/0/000.p/5` is missing");
    assert_eq!(report.valid_commits, 5, "{report}");
}

#[tokio::test]
async fn a_tile_cut_short() {
    let stage = Stage::new().await;
    Stage::bend(&stage.path("log/tile/0/000.p/5"), |bytes| bytes.truncate(100));
    Stage::finds_only(&stage.report().await, Class::Missing, "is missing or cut short");
}

#[tokio::test]
async fn a_byte_of_an_entry_bundle() {
    let stage = Stage::new().await;
    Stage::bend(&stage.path("log/tile/entries/000.p/5"), |bytes| bytes[50] ^= 1);
    Stage::finds_only(&stage.report().await, Class::Invalid, "commit 0: the log's entry bundle has other bytes for it");
}

#[tokio::test]
async fn an_entry_bundle_removed() {
    let stage = Stage::new().await;
    fs::remove_file(stage.path("log/tile/entries/000.p/5")).unwrap();
    Stage::finds_only(&stage.report().await, Class::Missing, "tile `log/tile/entries/000.p/5` is missing");
}

#[tokio::test]
async fn the_checkpoint_says_another_size() {
    let stage = Stage::new().await;
    fs::write(stage.path("log/checkpoint"), stage.kept.replacen("\n5\n", "\n4\n", 1)).unwrap();
    Stage::finds(&stage.report().await, Class::Invalid, "the checkpoint's signature does not fit its text");
}

#[tokio::test]
async fn the_checkpoint_says_another_root() {
    let stage = Stage::new().await;
    let root = stage.kept.lines().nth(2).unwrap().to_owned();
    let other = STANDARD.encode(Digest::of(b"other").0);
    fs::write(stage.path("log/checkpoint"), stage.kept.replace(&root, &other)).unwrap();
    Stage::finds(&stage.report().await, Class::Invalid, "the checkpoint's signature does not fit its text");
}

#[tokio::test]
async fn the_checkpoints_signature_bent() {
    let stage = Stage::new().await;
    let last = stage.kept.lines().last().unwrap().to_owned();
    let (name, signature) = last.rsplit_once(' ').unwrap();
    let mut bytes = STANDARD.decode(signature).unwrap();
    bytes[20] ^= 1;
    let bent = format!("{name} {}", STANDARD.encode(bytes));
    fs::write(stage.path("log/checkpoint"), stage.kept.replace(&last, &bent)).unwrap();
    Stage::finds(&stage.report().await, Class::Invalid, "the checkpoint's signature does not fit its text");
}

#[tokio::test]
async fn the_checkpoint_is_no_checkpoint() {
    let stage = Stage::new().await;
    fs::write(stage.path("log/checkpoint"), b"\xff\xfe").unwrap();
    Stage::finds(&stage.report().await, Class::Invalid, "the checkpoint is malformed: it is not text");
}

#[tokio::test]
async fn the_checkpoint_removed() {
    let stage = Stage::new().await;
    fs::remove_file(stage.path("log/checkpoint")).unwrap();
    Stage::finds(&stage.report().await, Class::Missing, "there is no checkpoint");
}

#[tokio::test]
async fn the_whole_merkle_log_removed() {
    let stage = Stage::new().await;
    fs::remove_dir_all(stage.path("log")).unwrap();
    Stage::finds(&stage.report().await, Class::Missing, "there is no checkpoint");
}

#[tokio::test]
async fn the_tree_signed_again_with_another_key() {
    let stage = Stage::new().await;
    stage.sign_with(&SigningKey::from_bytes(&[9; 32])).await;
    Stage::finds(&stage.report().await, Class::Invalid, "the checkpoint is not signed by the key watchkeeper/");
}

#[tokio::test]
async fn the_checkpoint_of_another_lake() {
    let (stage, other) = (Stage::new().await, Stage::new().await);
    other.rewrite(1, crate::bytes::other_host(3));
    other.reseal(1);
    other.sign_again().await;
    fs::copy(other.path("log/checkpoint"), stage.path("log/checkpoint")).unwrap();
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, "the tiles have the root");
    Stage::finds(&report, Class::Invalid, "the commits have the root");
}
