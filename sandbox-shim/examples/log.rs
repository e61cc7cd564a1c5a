//! Serves a log for measurements of the shim alone: nothing reads it but the broker's disk, as on a machine whose watcher and lake are
//! elsewhere.
//!
//! ```text
//! cargo build --workspace --ignore-rust-version --example log
//! target/debug/examples/log <data folder> [<bootstrap of a Kafka>]
//! ```
//! The embedded log, or the topics and a registry beside that Kafka. Makes the key that commands would be signed with, prints one line of JSON once it is ready, and ends with its input.
#![expect(clippy::print_stdout, reason = "what it prints is its answer")]

use anyhow::Context as _;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use std::path::PathBuf;
use wk_wire::Brokers;
use wk_wire::embedded::Broker;
use wk_wire::registry_server::RegistryServer;
use wk_wire::topics::{self, TopicSpec};

/// A key that nobody signs with: no command is ever given here.
const KEY: [u8; 32] = [7; 32];

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let data = PathBuf::from(arguments.next().context("usage: log <data folder> [<bootstrap>]")?);
    let kafka = arguments.next().map(|given| given.to_string_lossy().into_owned());
    std::fs::create_dir_all(data.join("keys"))?;
    let key = SigningKey::from_bytes(&KEY).verifying_key().to_public_key_pem(LineEnding::LF)?;
    std::fs::write(data.join("keys/command.pub"), key)?;
    let runtime = tokio::runtime::Runtime::new()?;
    match kafka {
        Some(bootstrap) => {
            let registry = runtime.block_on(async {
                topics::create(&Brokers::plain(bootstrap.clone()), &TopicSpec::SINGLE).await?;
                Ok::<_, anyhow::Error>(RegistryServer::start(&data.join("schemas.json"), 0).await?)
            })?;
            until_the_input_ends(&bootstrap, registry.url())?;
            runtime.block_on(registry.shutdown());
        }
        None => {
            let broker = runtime.block_on(Broker::start(&data.join("log"), 0))?;
            until_the_input_ends(broker.bootstrap(), broker.registry_url())?;
            runtime.block_on(broker.shutdown());
        }
    }
    Ok(())
}

fn until_the_input_ends(brokers: &str, registry: &str) -> anyhow::Result<()> {
    println!("{}", serde_json::json!({ "brokers": brokers, "registry": registry }));
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}
