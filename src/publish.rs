//! `wk publish`: the newest signed checkpoint goes to those who are to keep it. To be run by a timer, every few minutes.

use crate::config::{Settings, WhichLake};
use crate::home::Key;
use crate::{clock, services};
use anyhow::bail;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use wk_store::merkle::witness::WitnessKey;
use wk_store::publish::{Targets, publish};

/// The arguments of `wk publish`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A witness (C2SP tlog-witness): its URL and its key, name+id+base64. As often as needed.
    #[arg(long, value_name = "URL=KEY", value_parser = witness)]
    witness: Vec<(String, WitnessKey)>,
    /// A time stamp authority (RFC 3161). As often as needed.
    #[arg(long, value_name = "URL")]
    tsa: Vec<String>,
    /// Whatever takes a POST of JSON with the signed checkpoint in it. As often as needed.
    #[arg(long, value_name = "URL")]
    webhook: Vec<String>,
    #[command(flatten)]
    place: WhichLake,
    /// The lake's public key, PEM. Default: the one of the data folder.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

fn witness(text: &str) -> Result<(String, WitnessKey), String> {
    let (url, key) = text.split_once('=').ok_or("it is no URL=KEY")?;
    let key = key.parse::<WitnessKey>().map_err(|e| e.to_string())?;
    Ok((url.to_owned(), key))
}

/// Publishes. Exit code 0: everybody took it; 1: somebody did not; 2: there is nothing to publish, or it cannot be read.
pub(crate) fn main(settings: Settings, options: Options) -> anyhow::Result<ExitCode> {
    let targets = Targets { witnesses: options.witness, authorities: options.tsa, webhooks: options.webhook };
    if targets.witnesses.is_empty() && targets.authorities.is_empty() && targets.webhooks.is_empty() {
        bail!("nobody to publish to: name a --witness, a --tsa or a --webhook");
    }
    let key = match &options.key {
        Some(path) => crate::home::read_public(path)?,
        None => settings.home.verifying_key(Key::Lake)?,
    };
    let files = options.place.files(&settings)?;
    // Any number that has not been used before will do.
    let nonce = clock::new_id().0.as_u64_pair().1;
    let published = services::block_on(async { Ok(publish(&files, &key, &targets, nonce).await?) })?;
    println!("{} commits, root {}", published.checkpoint.size, published.checkpoint.root.to_hex());
    println!("kept in {}", published.folder);
    for (target, why) in &published.failed {
        eprintln!("wk: {target}: {why}");
    }
    Ok(ExitCode::from(u8::from(!published.failed.is_empty())))
}
