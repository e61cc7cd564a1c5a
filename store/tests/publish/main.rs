//! Checkpoints told to others: a witness that is not ours, `openssl` as a time stamp authority, a webhook.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

#[expect(dead_code, reason = "shared with the tests in `lake`, which use more of it")]
#[path = "../lake/common.rs"]
mod common;
mod server;
mod stamp;
mod webhook;
mod witness;

use ed25519_dalek::VerifyingKey;
use std::path::{Path, PathBuf};
use wk_store::files::Files;
use wk_store::publish::{Published, Targets, publish};

async fn published(lake: &Path, targets: &Targets) -> Published {
    let key: VerifyingKey = common::key().verifying_key();
    publish(&Files::existing(lake).unwrap(), &key, targets, 7).await.unwrap()
}

/// The interpreter that `tests/harness/tools-install` sets up.
#[expect(clippy::disallowed_methods, reason = "tests find their tools by the environment")]
fn python() -> PathBuf {
    let cache = std::env::var("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .unwrap_or_else(|_| PathBuf::from(std::env::var("HOME").unwrap_or_default()).join(".cache"));
    cache.join("watchkeeper/tools/python/bin/python")
}

/// Says loudly what is missing; that is a failure when `WK_TEST_REQUIRE` is 1.
#[expect(clippy::disallowed_methods, reason = "tests find their tools by the environment")]
fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
    assert!(!std::env::var("WK_TEST_REQUIRE").is_ok_and(|v| v == "1"), "{why}");
}
