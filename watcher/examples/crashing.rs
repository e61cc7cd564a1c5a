//! A watcher that aborts when it passes a numbered point for the nth time: `crashing <brokers> <registry> <state> <point> <nth>`.
//!
//! With nth 0 it never aborts. It ends in order when its standard input is closed. For `tests/crash.rs`.
#![forbid(unsafe_code)]

use ed25519_dalek::SigningKey;
use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio_util::sync::CancellationToken;
use wk_watcher::run::{Points, Setup};
use wk_watcher::{Config, Watcher};
use wk_wire::{Brokers, registry};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, registry, state, point, nth] = &arguments[..] else {
        return Err("five arguments are expected".into());
    };
    let (point, nth): (u32, u32) = (point.parse()?, nth.parse()?);
    let passed = AtomicU32::new(0);
    let points = Points::telling(move |p| {
        if p == point && passed.fetch_add(1, Ordering::Relaxed) + 1 == nth {
            std::process::abort();
        }
    });
    let setup = Setup {
        brokers: Brokers::plain(brokers),
        registry: registry::Client::new(registry)?,
        state: state.into(),
        command_key: SigningKey::from_bytes(&[7; 32]),
        approvers: vec![SigningKey::from_bytes(&[8; 32]).verifying_key()],
        tenant: "default".into(),
        host: "build-7".into(),
        points,
    };
    let config = Config { checkpoint_interval: Duration::from_millis(50), sessions_in_memory: 3, ..Config::default() };
    let cancel = CancellationToken::new();
    let running = tokio::spawn(Watcher::open(config, setup)?.run(cancel.clone()));
    let mut input = Vec::new();
    tokio::io::stdin().read_to_end(&mut input).await?;
    cancel.cancel();
    running.await??;
    Ok(())
}
