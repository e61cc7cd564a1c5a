//! Days that left the lake: by a signed act, which is reported as such, and in every other way, which is found.

use crate::common::{START, key};
use crate::stage::Stage;
use ed25519_dalek::SigningKey;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use uuid::Uuid;
use wk_schemas::{Digest, Timestamp};
use wk_store::compact::Limits;
use wk_store::files::Files;
use wk_store::retention::{Act, Acts, Deed, Hold, Ledger, Prepared, RetentionError, SignedAct, Span};
use wk_store::verify::{Class, Options, Report, Scope};
use wk_store::{Lake, Writer};

/// The first day of the untouched lake: commits 1 to 3, session-1 whole and the beginning of session-2. Commit 4 is of the day after.
const DAY: &str = "2026-10-26";
const NEXT_DAY: &str = "2026-10-27";

/// The key of the person who may decide.
fn person() -> SigningKey {
    SigningKey::from_bytes(&[77; 32])
}

fn trusted() -> [ed25519_dalek::VerifyingKey; 1] {
    [person().verifying_key()]
}

async fn writer(stage: &Stage) -> Writer {
    Writer::open(Lake::open(stage.dir.path()).await.unwrap(), key()).await.unwrap()
}

fn act(number: u128, lake: &Lake, deed: Deed) -> Act {
    let (id, by, why) = (Uuid::from_u128(number).to_string(), "alice".to_owned(), "two years are over".to_owned());
    Act { lake: lake.id(), id, at_us: START, by, why, deed }
}

fn removal(number: u128, lake: &Lake, prepared: &Prepared) -> SignedAct {
    act(number, lake, Deed::Remove(prepared.removal.clone())).sign(&person())
}

/// Removes a day as the product does. Gives the version.
async fn remove(stage: &Stage, day: &str, number: u128) -> Result<u64, RetentionError> {
    let mut writer = writer(stage).await;
    let prepared = writer.prepare_removal(day, &trusted()).await?;
    let signed = removal(number, writer.lake(), &prepared);
    writer.remove_day(&prepared, &signed, &trusted()).await
}

async fn hold(stage: &Stage, number: u128, deed: Deed) -> Result<u64, RetentionError> {
    let mut writer = writer(stage).await;
    let signed = act(number, writer.lake(), deed).sign(&person());
    writer.hold(&signed, &trusted()).await
}

fn days(from: &str, to: &str) -> Deed {
    Deed::Hold(Hold::Days { from: from.into(), to: Some(to.into()) })
}

async fn report_of(stage: &Stage, scope: Scope) -> Report {
    stage.verify(Options { scope, approvers: trusted().to_vec(), ..Options::default() }).await
}

async fn report(stage: &Stage) -> Report {
    report_of(stage, Scope::Lake).await
}

/// The lake with its first day removed by commit 5.
async fn removed() -> Stage {
    let stage = Stage::new().await;
    assert_eq!(remove(&stage, DAY, 9).await.unwrap(), 5);
    stage
}

const SAID: &str =
    "day 2026-10-26 was removed by alice on 2026-10-26: 32 records in 3 files, commit 5: two years are over";

#[tokio::test]
async fn a_day_removed_by_a_signed_act_is_reported_as_removed_in_every_scope() {
    let stage = Stage::new().await;
    let gone: Vec<PathBuf> = (1..4).map(|version| stage.file(version)).collect();
    assert_eq!(remove(&stage, DAY, 9).await.unwrap(), 5);
    assert!(gone.iter().all(|path| !path.exists()), "the files are gone");
    let found = report(&stage).await;
    assert_eq!(found.findings, [], "{found}");
    assert!(found.to_string().contains(SAID), "{found}");
    assert_eq!((found.records, found.valid_files, found.offsets, found.valid_commits), (3, 1, 35, 6));
    // session-2 began on the removed day and ended on the next: its chain is followed across.
    for (scope, removed, records) in [
        (Scope::Day(DAY.into()), 1, 0),
        (Scope::Day(NEXT_DAY.into()), 0, 3),
        (Scope::Session("session-1".into()), 1, 0),
        (Scope::Session("session-2".into()), 1, 3),
        (Scope::record("agent.session.events.v1/0@3").unwrap(), 1, 0),
        (Scope::record("agent.session.events.v1/1@6").unwrap(), 0, 3),
    ] {
        let found = report_of(&stage, scope.clone()).await;
        assert_eq!(found.findings, [], "{scope}: {found}");
        assert_eq!((found.removed.len(), found.records), (removed, records), "{scope}: {found}");
    }
    // The lake goes on: whoever opens it sees what is left, and the other day can go too.
    assert_eq!(Lake::open(stage.dir.path()).await.unwrap().snapshot().records(), 3);
    assert_eq!(remove(&stage, NEXT_DAY, 10).await.unwrap(), 6);
    let found = report(&stage).await;
    assert_eq!((found.findings.len(), found.records, found.removed.len()), (0, 0, 2), "{found}");
    let again = remove(&stage, DAY, 11).await.unwrap_err();
    assert!(matches!(again, RetentionError::Nothing { .. }), "{again}");
}

#[tokio::test]
async fn a_compacted_day_is_removed_with_the_files_that_the_compaction_had_replaced() {
    let stage = Stage::new().await;
    let mut one = writer(&stage).await;
    for number in 71.. {
        let id = Uuid::from_u128(number << 96);
        let next = one.compact(&BTreeSet::new(), "2026-10-28", &Limits::default(), id, Timestamp(START)).await;
        if next.unwrap().is_none() {
            break;
        }
    }
    let gone: Vec<PathBuf> = [1, 2, 3, 5].map(|version| stage.file(version)).to_vec();
    assert_eq!(remove(&stage, DAY, 9).await.unwrap(), 7);
    assert!(gone.iter().all(|path| !path.exists()));
    let found = report(&stage).await;
    assert_eq!(found.findings, [], "{found}");
    assert_eq!((found.records, found.rearranged, found.removed[0].files, found.removed[0].records), (3, 3, 4, 32));
}

#[tokio::test]
async fn a_day_removed_by_somebody_who_may_not() {
    let stage = removed().await;
    // An auditor who trusts nobody, or another person.
    for approvers in [vec![], vec![SigningKey::from_bytes(&[78; 32]).verifying_key()]] {
        let found = stage.verify(Options { approvers, ..Options::default() }).await;
        Stage::finds(
            &found,
            Class::Invalid,
            "commit 5: it carries an act that does not count: it is signed with the key",
        );
        Stage::finds(&found, Class::Missing, "events-0-0-9-");
        Stage::finds(&found, Class::Invalid, "out of an append-only table");
        assert!(found.removed.is_empty(), "{found}");
    }
    // The writer refuses to make one.
    let stage = Stage::new().await;
    let mut writer = writer(&stage).await;
    let prepared = writer.prepare_removal(DAY, &trusted()).await.unwrap();
    let other = act(9, writer.lake(), Deed::Remove(prepared.removal.clone())).sign(&SigningKey::from_bytes(&[78; 32]));
    let refused = writer.remove_day(&prepared, &other, &trusted()).await.unwrap_err();
    assert!(matches!(refused, RetentionError::Act(_)), "{refused}");
    assert!(report(&stage).await.removed.is_empty());
}

#[tokio::test]
async fn files_taken_away_with_a_commit_that_nobody_signed() {
    let stage = removed().await;
    stage.edit(5, |lines| drop(lines[0]["commitInfo"]["watchkeeper"].as_object_mut().unwrap().remove("act")));
    stage.sign_again().await;
    let found = report(&stage).await;
    Stage::finds(&found, Class::Invalid, "out of an append-only table");
    Stage::finds(&found, Class::Missing, "events-0-0-9-");
}

/// Changes the act of a commit, and signs the log again.
async fn bend_act(stage: &Stage, change: impl FnOnce(&mut Value)) {
    stage.edit(5, |lines| change(&mut lines[0]["commitInfo"]["watchkeeper"]["act"]));
    stage.sign_again().await;
}

#[tokio::test]
async fn an_act_that_was_changed_after_it_was_signed() {
    let forged = "commit 5: it carries an act that does not count: its signature does not fit";
    for (place, value) in [
        ("/act/by", "mallory".into()),
        ("/act/why", "no reason".into()),
        ("/act/deed/remove/day", NEXT_DAY.into()),
        ("/act/deed/remove/records", 31.into()),
        ("/signature", "AAAA".into()),
    ] {
        let stage = removed().await;
        bend_act(&stage, |act| *act.pointer_mut(place).unwrap() = value).await;
        let found = report(&stage).await;
        Stage::finds(&found, Class::Invalid, forged);
        Stage::finds(&found, Class::Missing, "events-0-0-9-");
    }
}

#[tokio::test]
async fn an_act_that_was_signed_for_another_lake() {
    let stage = removed().await;
    let signed = act(9, &Lake::open(stage.dir.path()).await.unwrap(), days(DAY, DAY));
    let other = Act { lake: Uuid::from_u128(5).to_string(), ..signed }.sign(&person());
    bend_act(&stage, |act| *act = serde_json::to_value(other).unwrap()).await;
    Stage::finds(&report(&stage).await, Class::Invalid, "act that does not count: it is about the lake");
}

#[tokio::test]
async fn an_act_that_is_made_again() {
    let stage = removed().await;
    let text = fs::read(stage.commit(5)).unwrap();
    fs::write(stage.commit(6), text).unwrap();
    stage.sign_again().await;
    Stage::finds(
        &report(&stage).await,
        Class::Invalid,
        "commit 6: it carries an act that does not count: it has been made before",
    );
}

#[tokio::test]
async fn a_file_of_another_day_taken_away_under_cover_of_a_removal() {
    let stage = removed().await;
    fs::remove_file(stage.file(4)).unwrap();
    let found = report(&stage).await;
    Stage::finds(&found, Class::Missing, "commit 4: records/day=2026-10-27/");
    assert_eq!(found.removed.len(), 1, "{found}");
}

fn ledger(stage: &Stage) -> PathBuf {
    stage.path(&format!("retention/{}.json", Uuid::from_u128(9)))
}

#[tokio::test]
async fn the_ledger_of_a_removal_changed_or_taken_away() {
    let stage = removed().await;
    Stage::bend(&ledger(&stage), |bytes| bytes.push(b'\n'));
    let found = report(&stage).await;
    Stage::finds(&found, Class::Invalid, "its ledger `retention/");
    Stage::finds(&found, Class::Missing, "events-0-0-9-");
    fs::remove_file(ledger(&stage)).unwrap();
    Stage::finds(&report(&stage).await, Class::Invalid, "json` is not there");
}

/// What a ledger says of session-2.
fn of_two(ledger: &mut Ledger) -> &mut Span {
    ledger.chains.iter_mut().find(|span| span.session == "session-2").unwrap()
}

/// A ledger that its signer has written otherwise, with everything signed again: by the person, and by whoever holds the lake's key.
async fn bent_ledger(change: impl FnOnce(&mut Ledger)) -> Stage {
    let stage = removed().await;
    let mut said: Ledger = serde_json::from_slice(&fs::read(ledger(&stage)).unwrap()).unwrap();
    change(&mut said);
    let bytes = serde_json::to_vec(&said).unwrap();
    fs::write(ledger(&stage), &bytes).unwrap();
    bend_act(&stage, |act| {
        let mut signed: SignedAct = serde_json::from_value(act.take()).unwrap();
        let Deed::Remove(removal) = &mut signed.act.deed else { panic!("it removes") };
        removal.ledger = Digest::of(&bytes).to_hex();
        *act = serde_json::to_value(signed.act.sign(&person())).unwrap();
    })
    .await;
    stage
}

#[tokio::test]
async fn a_signed_ledger_that_lies_about_files_or_chains() {
    let stage = bent_ledger(|_| {}).await;
    assert!(report(&stage).await.is_valid());
    let stage = bent_ledger(|ledger| drop(ledger.files.pop())).await;
    Stage::finds_only(&report(&stage).await, Class::Invalid, "commit 5: it removes 3 files, its ledger has 2");
    // What follows names another record than the ledger does.
    let stage = bent_ledger(|ledger| of_two(ledger).last = Digest::of(b"another").to_hex()).await;
    Stage::finds_only(&report(&stage).await, Class::Invalid, "commit 5: session session-2 writer");
    // A record fewer than there were leaves a gap.
    let stage = bent_ledger(|ledger| of_two(ledger).next -= 1).await;
    Stage::finds_only(&report(&stage).await, Class::Gap, "the record with seq 4 is missing");
}

#[tokio::test]
async fn a_hold_keeps_a_day_until_it_is_released() {
    let stage = Stage::new().await;
    assert_eq!(hold(&stage, 20, days(NEXT_DAY, "2026-12-31")).await.unwrap(), 5);
    assert_eq!(hold(&stage, 21, Deed::Hold(Hold::Session("session-1".into()))).await.unwrap(), 6);
    let refused = remove(&stage, NEXT_DAY, 9).await.unwrap_err().to_string();
    assert!(
        refused.contains("day 2026-10-27 is under a legal hold and stays") && refused.contains("placed by alice"),
        "{refused}"
    );
    let refused = remove(&stage, DAY, 9).await.unwrap_err().to_string();
    assert!(refused.contains("on session session-1"), "{refused}");
    let unknown = hold(&stage, 22, Deed::Release { hold: "nothing".into() }).await.unwrap_err();
    assert!(matches!(unknown, RetentionError::NoHold { .. }), "{unknown}");
    let lake = Lake::open(stage.dir.path()).await.unwrap();
    assert_eq!(Acts::of_lake(&lake, &trusted()).await.unwrap().holds().len(), 2);
    assert_eq!(hold(&stage, 23, Deed::Release { hold: Uuid::from_u128(21).to_string() }).await.unwrap(), 7);
    assert_eq!(remove(&stage, DAY, 9).await.unwrap(), 8);
    assert!(matches!(remove(&stage, NEXT_DAY, 10).await.unwrap_err(), RetentionError::Held { .. }));
    let found = report(&stage).await;
    assert_eq!((found.findings.len(), found.removed.len()), (0, 1), "{found}");
}

#[tokio::test]
async fn a_day_removed_under_a_hold_by_somebody_who_holds_all_keys() {
    let stage = Stage::new().await;
    let elsewhere = stage.copy();
    remove(&elsewhere, DAY, 9).await.unwrap();
    assert_eq!(hold(&stage, 20, days("2026-01-01", NEXT_DAY)).await.unwrap(), 5);
    // The removal was signed before the hold; it is put in behind it.
    fs::create_dir(stage.path("retention")).unwrap();
    fs::copy(ledger(&elsewhere), ledger(&stage)).unwrap();
    fs::copy(elsewhere.commit(5), stage.commit(6)).unwrap();
    for version in 1..4 {
        fs::remove_file(stage.file(version)).unwrap();
    }
    stage.sign_again().await;
    let found = report(&stage).await;
    Stage::finds(
        &found,
        Class::Invalid,
        "commit 6: it carries an act that does not count: it removes day 2026-10-26, which is under the hold",
    );
    Stage::finds(&found, Class::Missing, "events-0-0-9-");
    // A release that nobody signed changes nothing.
    let release = Deed::Release { hold: Uuid::from_u128(20).to_string() };
    let lake = Lake::replay(Files::existing(stage.dir.path()).unwrap()).await.unwrap();
    let forged = act(24, &lake, release).sign(&SigningKey::from_bytes(&[78; 32]));
    let removal = fs::read(stage.commit(6)).unwrap();
    stage.edit(6, |lines| {
        lines.truncate(1);
        lines[0]["commitInfo"]["watchkeeper"]["act"] = serde_json::to_value(forged).unwrap();
    });
    fs::write(stage.commit(7), removal).unwrap();
    stage.sign_again().await;
    let found = report(&stage).await;
    Stage::finds(&found, Class::Invalid, "commit 6: it carries an act that does not count: it is signed with the key");
    Stage::finds(
        &found,
        Class::Invalid,
        "commit 7: it carries an act that does not count: it removes day 2026-10-26, which is under",
    );
}

#[tokio::test]
async fn a_day_that_is_not_what_was_committed_is_not_removed() {
    let stage = Stage::new().await;
    Stage::bend(&stage.file(2), |bytes| bytes[300] ^= 1);
    let refused = remove(&stage, DAY, 9).await.unwrap_err().to_string();
    assert!(refused.contains("events-0-10-19-and-1") && refused.contains("wk verify"), "{refused}");
    fs::remove_file(stage.file(2)).unwrap();
    assert!(matches!(remove(&stage, DAY, 9).await.unwrap_err(), RetentionError::Damaged { .. }));
}

#[tokio::test]
async fn what_comes_while_a_removal_is_prepared_has_it_prepared_again() {
    let stage = Stage::new().await;
    let mut one = writer(&stage).await;
    let prepared = one.prepare_removal(DAY, &trusted()).await.unwrap();
    let signed = removal(9, one.lake(), &prepared);
    hold(&stage, 20, days(DAY, DAY)).await.unwrap();
    let late = one.remove_day(&prepared, &signed, &trusted()).await.unwrap_err();
    assert!(matches!(late, RetentionError::Changed), "a hold was placed meanwhile: {late}");
    hold(&stage, 21, Deed::Release { hold: Uuid::from_u128(20).to_string() }).await.unwrap();
    let prepared = one.prepare_removal(DAY, &trusted()).await.unwrap();
    let id = Uuid::from_u128(71 << 96);
    let mut two = writer(&stage).await;
    two.compact(&BTreeSet::new(), "2026-10-28", &Limits::default(), id, Timestamp(START)).await.unwrap().unwrap();
    let signed = removal(10, one.lake(), &prepared);
    let late = one.remove_day(&prepared, &signed, &trusted()).await.unwrap_err();
    assert!(matches!(late, RetentionError::Changed), "its files were compacted meanwhile: {late}");
    assert_eq!(report(&stage).await.findings, []);
}

#[tokio::test]
async fn a_removal_that_dies_at_any_step_is_made_good() {
    let untouched = Stage::new().await;
    let done = untouched.copy();
    remove(&done, DAY, 9).await.unwrap();
    // After 1: a ledger of an act that was not made.
    let stage = untouched.copy();
    fs::create_dir(stage.path("retention")).unwrap();
    fs::copy(ledger(&done), ledger(&stage)).unwrap();
    assert_eq!(report(&stage).await.findings, []);
    assert_eq!(remove(&stage, DAY, 9).await.unwrap(), 5, "the same act again");
    assert_eq!(report(&stage).await.findings, []);
    // After 2: the act is in, the Merkle log is behind, and the files are there.
    let stage = untouched.copy();
    fs::create_dir(stage.path("retention")).unwrap();
    fs::copy(ledger(&done), ledger(&stage)).unwrap();
    fs::copy(done.commit(5), stage.commit(5)).unwrap();
    Stage::finds(&report(&stage).await, Class::Invalid, "commit 5: no signed checkpoint covers it");
    let one = writer(&stage).await;
    let found = report(&stage).await;
    assert_eq!((found.findings.len(), found.count(Class::Notice)), (3, 3), "{found}");
    Stage::finds(&found, Class::Notice, "is still on the disk: `wk retention finish` takes it away");
    // In the middle of 4: one file is left.
    fs::remove_file(stage.file(1)).unwrap();
    assert_eq!(report(&stage).await.count(Class::Notice), 2);
    assert_eq!(one.finish_removals(&[]).await.unwrap(), [""; 0], "nobody is trusted to have removed anything");
    assert_eq!(one.finish_removals(&trusted()).await.unwrap().len(), 2);
    assert_eq!(one.finish_removals(&trusted()).await.unwrap(), [""; 0]);
    assert_eq!(report(&stage).await.findings, []);
}
