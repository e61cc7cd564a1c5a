//! The same topic, taken into a Delta table by a script of stock Python packages.

use crate::rate;
use anyhow::{Context as _, ensure};
use std::path::Path;
use std::time::Duration;
use wk_schemas::{SCHEMA, Topic};
use wk_wire::Brokers;

/// The script is some ten times slower, so it is given a part.
const RECORDS: usize = 200_000;

/// Runs the script; gives its records a second.
pub(crate) async fn measure(python: &Path, brokers: &Brokers, dir: &Path) -> anyhow::Result<f64> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/bench/ingest_baseline.py");
    let (schema, table) = (dir.join("schema.avsc"), dir.join("baseline"));
    std::fs::write(&schema, SCHEMA)?;
    let done = tokio::process::Command::new(python)
        .arg(script)
        .args([&brokers.bootstrap, Topic::Events.name()])
        .args([&schema, &table])
        .arg(RECORDS.to_string())
        .output()
        .await
        .with_context(|| format!("failed to start `{}`", python.display()))?;
    ensure!(done.status.success(), "the baseline failed: {}", String::from_utf8_lossy(&done.stderr));
    let said = String::from_utf8(done.stdout)?;
    let (records, seconds) = said.trim().split_once(' ').context("the baseline printed no result")?;
    Ok(rate("Python", records.parse()?, Duration::from_secs_f64(seconds.parse()?)))
}
