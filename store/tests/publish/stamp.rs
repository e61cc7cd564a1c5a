//! Time stamps by `openssl ts -reply`, checked by `openssl ts -verify`.

use crate::common::filled;
use crate::server::Server;
use crate::{published, skip};
use std::fs;
use std::path::Path;
use std::process::Command;
use wk_store::publish::Targets;

const CONFIG: &str = "\
[tsa]
default_tsa = tsa_1
[tsa_1]
serial = ./serial
crypto_device = builtin
signer_cert = ./tsa.pem
certs = ./ca.pem
signer_key = ./tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
[ext]
extendedKeyUsage = critical,timeStamping
";

/// Runs openssl in a folder; `None` when there is no openssl.
fn openssl(folder: &Path, arguments: &str) -> Option<bool> {
    let done = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().ok()?;
    if !done.status.success() {
        eprintln!(
            "openssl {arguments}: {}{}",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
    }
    Some(done.status.success())
}

/// An authority with a certificate of its own; `None` without openssl.
fn authority(folder: &Path) -> Option<Server> {
    fs::write(folder.join("ts.cnf"), CONFIG).unwrap();
    fs::write(folder.join("serial"), "01\n").unwrap();
    for arguments in [
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca",
        "req -newkey rsa:2048 -nodes -keyout tsa.key -out tsa.csr -subj /CN=test-tsa",
        "x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out tsa.pem -days 2 -extfile ts.cnf -extensions ext",
    ] {
        assert!(openssl(folder, arguments)?, "openssl {arguments}");
    }
    let folder = folder.to_owned();
    Some(Server::start(move |(_, media, body)| {
        if media != "application/timestamp-query" {
            return (415, Vec::new());
        }
        fs::write(folder.join("query.tsq"), body).unwrap();
        let replied = openssl(&folder, "ts -reply -config ts.cnf -queryfile query.tsq -out reply.tsr");
        assert_eq!(replied, Some(true));
        (200, fs::read(folder.join("reply.tsr")).unwrap())
    }))
}

#[tokio::test]
async fn a_checkpoint_is_stamped_and_openssl_verifies_it() {
    let (dir, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(filled(dir.path()).await);
    let Some(authority) = authority(keys.path()) else { return skip("openssl is not on the path") };
    let targets = Targets { authorities: vec![authority.url.clone()], ..Targets::default() };
    let published = published(dir.path(), &targets).await;
    assert_eq!(published.failed, []);
    let folder = dir.path().join(&published.folder);
    fs::copy(folder.join("1.tsr"), keys.path().join("kept.tsr")).unwrap();
    fs::copy(folder.join("checkpoint"), keys.path().join("kept.note")).unwrap();
    let verify = "ts -verify -data kept.note -in kept.tsr -CAfile ca.pem";
    assert_eq!(openssl(keys.path(), verify), Some(true));
    fs::write(keys.path().join("kept.note"), published.note.replacen('\n', "\r\n", 1)).unwrap();
    assert_eq!(openssl(keys.path(), verify), Some(false), "a changed checkpoint has no time");
}

#[tokio::test]
async fn a_stamp_of_something_else_is_not_kept() {
    let (dir, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(filled(dir.path()).await);
    let Some(authority) = authority(keys.path()) else { return skip("openssl is not on the path") };
    let first =
        published(dir.path(), &Targets { authorities: vec![authority.url.clone()], ..Targets::default() }).await;
    let old = fs::read(dir.path().join(first.folder).join("1.tsr")).unwrap();
    // The answer to an earlier request, given again.
    let replay = Server::start(move |_| (200, old.clone()));
    let garbage = Server::start(|_| (200, b"<html>".to_vec()));
    let authorities = vec![replay.url.clone(), garbage.url.clone()];
    let again = wk_store::publish::publish(
        &wk_store::files::Files::existing(dir.path()).unwrap(),
        &crate::common::key().verifying_key(),
        &Targets { authorities, ..Targets::default() },
        99,
    )
    .await
    .unwrap();
    let why: Vec<&str> = again.failed.iter().map(|(_, why)| why.as_str()).collect();
    assert_eq!(why, ["the time stamp is not of this checkpoint", "the answer is no time stamp response"]);
}
