//! Keeps the lake tidy while it is written to: compacts days that are over, and what piles up today.
//!
//! It has a writer of its own, so ingest never waits for it; the two commit against each other. Nothing depends on it: what fails here is
//! said and tried again, and the table is as good as before, only slower to ask.

use crate::clock;
use crate::config::Config;
use crate::error::chain;
use std::collections::BTreeSet;
use tokio_util::sync::CancellationToken;
use wk_store::compact::{CompactError, Limits};
use wk_store::{CommitError, Writer, layout};

/// Compacts until `cancel`, as `config` says when; one that has begun is finished. Does nothing where it says that nothing is to be compacted.
pub async fn run(config: Config, mut writer: Writer, cancel: CancellationToken) {
    if !config.compact {
        return;
    }
    let limits = Limits { files_min: config.compact_files.get(), ..Limits::default() };
    let mut damaged = BTreeSet::new();
    // The first look is not at once: a process that ends soon has better things to do.
    while cancel.run_until_cancelled(tokio::time::sleep(config.compact_interval)).await.is_some() {
        while !cancel.is_cancelled() && step(&mut writer, &mut damaged, &limits).await {}
    }
}

/// Makes one compaction; whether there may be another one to make.
async fn step(writer: &mut Writer, damaged: &mut BTreeSet<String>, limits: &Limits) -> bool {
    let now = clock::now();
    let today = layout::day(now);
    match writer.compact(damaged, &today, limits, clock::commit_id(), now).await {
        Ok(None) => false,
        Ok(Some((version, rewrite))) => {
            let (files, records, bytes) = (rewrite.inputs().len(), rewrite.records(), rewrite.bytes());
            tracing::info!(version, files, records, bytes, "compaction");
            true
        }
        Err(CompactError::Damaged { path, reason }) => {
            tracing::error!(path, reason, "a file of the lake is not what was committed: run `wk verify`");
            damaged.insert(path)
        }
        // Another process has compacted them meanwhile.
        Err(CompactError::Commit(CommitError::Rearranged { .. })) => true,
        Err(error) => {
            tracing::warn!(error = chain(&error), "a compaction failed; trying again later");
            false
        }
    }
}
