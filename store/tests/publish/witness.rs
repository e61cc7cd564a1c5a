//! A witness that is not ours (`aics-witness`, Python) sees the log grow, cosigns it, and refuses a fork.

use crate::common::{Session, commit, filled, key, records};
use crate::server::Server;
use crate::{published, python, skip};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use wk_store::files::Files;
use wk_store::merkle::witness::WitnessKey;
use wk_store::merkle::{NoteError, verifier_key};
use wk_store::publish::Targets;
use wk_store::verify::{Class, Options, verify};

/// The witness, running.
struct Witness {
    process: Child,
    url: String,
    key: WitnessKey,
}

impl Drop for Witness {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn witness_command(folder: &Path) -> Command {
    let mut command = Command::new(python());
    command.args(["-m", "aics_witness"]).env("AICS_WITNESS_CONFIG", folder.join("witness.json"));
    command
}

/// Starts a witness that trusts one log; `None` when it is not installed.
fn witness(folder: &Path, origin: &str) -> Option<Witness> {
    let init = witness_command(folder)
        .args(["init", "--name", "witness.example/w1", "--listen", "127.0.0.1:0"])
        .output()
        .ok()
        .filter(|done| done.status.success())?;
    let vkey = String::from_utf8(init.stdout).unwrap();
    let key = vkey.trim().parse().unwrap();
    let trusted = verifier_key(origin, &key_of_lake());
    let added = witness_command(folder).args(["add-log", "--origin", origin, "--vkey", &trusted]).output().unwrap();
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    let mut process = witness_command(folder).arg("serve").stderr(Stdio::piped()).spawn().unwrap();
    // It says where it listens, and goes on writing: what it says later is read so that it never waits for us.
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let url = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let (_, rest) = line.split_once("listening on ")?;
        Some(rest.split(' ').next()?.to_owned())
    });
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    Some(Witness { process, url: url.expect("the witness says where it listens"), key })
}

fn key_of_lake() -> ed25519_dalek::VerifyingKey {
    key().verifying_key()
}

#[tokio::test]
async fn a_witness_cosigns_as_the_log_grows_and_refuses_a_fork() {
    let (dir, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut writer = filled(dir.path()).await;
    let origin = writer.lake().origin();
    let Some(witness) = witness(home.path(), &origin) else { return skip("aics-witness is not installed") };
    let targets = Targets { witnesses: vec![(witness.url.clone(), witness.key.clone())], ..Targets::default() };

    let first = published(dir.path(), &targets).await;
    assert_eq!((first.checkpoint.size, &first.failed[..]), (4, &[][..]));
    witness.key.find(&first.note, &first.checkpoint).unwrap();

    let mut session = Session::new(2);
    let body = records::bodies().remove(0);
    writer.commit(&commit(9, 25, vec![session.datum(body.clone())])).await.unwrap();
    let second = published(dir.path(), &targets).await;
    assert_eq!((second.checkpoint.size, &second.failed[..]), (5, &[][..]));
    witness.key.find(&second.note, &second.checkpoint).unwrap();
    assert!(matches!(witness.key.find(&first.note, &second.checkpoint), Err(NoteError::BadSignature)));

    // An auditor who knows the witness's key sees what it has seen.
    let options = Options { witnesses: vec![witness.key.clone()], ..Options::default() };
    let report = verify(&Files::existing(dir.path()).unwrap(), &key_of_lake(), &options, |_| {}).await.unwrap();
    assert!(report.is_valid(), "{report}");
    assert_eq!(report.witnessed.iter().map(|w| w.commits).collect::<Vec<_>>(), [5]);

    // Another history of the same length, signed with the same key: the witness has seen the first.
    let fork = tempfile::tempdir().unwrap();
    let mut other = filled(fork.path()).await;
    let mut forged = Session::new(3);
    other.commit(&commit(9, 25, vec![forged.datum(body.clone())])).await.unwrap();
    other.commit(&commit(10, 26, vec![forged.datum(body)])).await.unwrap();
    let refused = published(fork.path(), &targets).await;
    let [(url, why)] = &refused.failed[..] else { panic!("{refused:?}") };
    assert_eq!(url, &witness.url);
    assert!(why.starts_with("answered 422"), "{why}");
    assert!(witness.key.find(&refused.note, &refused.checkpoint).is_err());
}

#[tokio::test]
async fn a_witness_that_has_seen_more_is_taken_at_its_word() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()).await);
    let ahead = Server::start(|_| (409, b"9\n".to_vec()));
    let key = "witness.example/w1+2345eba1+BBhE22dVyp9EJpPIxiCrFuVPpNRbf6uzuAtZKveAEZHr".parse().unwrap();
    let published =
        published(dir.path(), &Targets { witnesses: vec![(ahead.url.clone(), key)], ..Targets::default() }).await;
    let said = "the witness has seen 9 commits of this log, the lake has 4: commits were cut off, or it is another lake's witness";
    assert_eq!(published.failed, [(ahead.url.clone(), said.to_owned())]);
}

#[tokio::test]
async fn an_answer_without_the_witnesss_signature_is_no_cosignature() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()).await);
    let liar = Server::start(|_| (200, "\u{2014} witness.example/w1 AAAA\n".into()));
    let key: WitnessKey = "witness.example/w1+2345eba1+BBhE22dVyp9EJpPIxiCrFuVPpNRbf6uzuAtZKveAEZHr".parse().unwrap();
    let targets = Targets { witnesses: vec![(liar.url.clone(), key.clone())], ..Targets::default() };
    let published = published(dir.path(), &targets).await;
    let [(_, why)] = &published.failed[..] else { panic!("{published:?}") };
    assert!(why.contains("is not signed by the key witness.example/w1"), "{why}");
    let options = Options { witnesses: vec![key], ..Options::default() };
    let report = verify(&Files::existing(dir.path()).unwrap(), &key_of_lake(), &options, |_| {}).await.unwrap();
    let found: Vec<_> = report.findings.iter().map(|f| (f.class, f.what.as_str())).collect();
    assert_eq!(found, [(Class::Missing, "no checkpoint at hand is cosigned by the witness witness.example/w1")]);
}

#[tokio::test]
async fn a_published_checkpoint_shows_what_was_cut_off_or_changed_later() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()).await);
    let hook = Server::start(|_| (204, Vec::new()));
    published(dir.path(), &Targets { webhooks: vec![hook.url.clone()], ..Targets::default() }).await;
    std::fs::remove_file(dir.path().join("records/_delta_log/00000000000000000003.json")).unwrap();
    let files = Files::existing(dir.path()).unwrap();
    for tile in ["log/checkpoint", "log/tile/0/000.p/4", "log/tile/entries/000.p/4"] {
        std::fs::remove_file(dir.path().join(tile)).unwrap();
    }
    let entries: Vec<_> = (0..3)
        .map(|n| std::fs::read(dir.path().join(format!("records/_delta_log/{n:020}.json"))).unwrap().into())
        .collect();
    let origin = format!("watchkeeper/{}", crate::common::lake_id());
    wk_store::merkle::Log::empty(files.clone()).append(&entries, &origin, &key()).await.unwrap();
    let report = verify(&files, &key_of_lake(), &Options::default(), |_| {}).await.unwrap();
    let text = "the published checkpoint `log/published/00000000000000000004/checkpoint` covers 4 commits, this one 3: commits were cut off";
    assert!(report.findings.iter().any(|f| f.class == Class::Missing && f.what == text), "{report}");
}
