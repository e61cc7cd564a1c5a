//! Tells others outside of the lake what it holds, so that nobody, its operator included, can change it unseen.
//!
//! ```text
//! log/published/<size>/checkpoint          the signed checkpoint, with the cosignatures of the witnesses
//! log/published/<size>/<n>.tsr             time stamps of exactly these bytes (RFC 3161), in the order in which the authorities were named
//! ```
//! What was published is kept, beside the lake for convenience and with those who got it for proof. The checkpoint is taken as it is and never
//! signed here: publishing needs no secret.

use crate::files::{Files, FilesError, PutNew};
use crate::merkle::note::{Checkpoint, NoteError};
use crate::merkle::tiles::{LogError, Tiles, read_checkpoint};
use crate::merkle::timestamp::{self, Request, StampError};
use crate::merkle::witness::{self, WitnessKey};
use bytes::Bytes;
use ed25519_dalek::VerifyingKey;
use object_store::path::Path as ObjectPath;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, StatusCode};
use std::time::Duration;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The most bytes that an answer may have.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Who is told.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    /// Witnesses: the URL before `/add-checkpoint`, and the key.
    pub witnesses: Vec<(String, WitnessKey)>,
    /// Time stamp authorities (RFC 3161).
    pub authorities: Vec<String>,
    /// Anything that takes a POST of JSON: `origin`, `size`, `root` (hex), `checkpoint` (the signed note).
    pub webhooks: Vec<String>,
}

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its signed note with the cosignatures.
    pub note: String,
    /// Where it lies in the lake.
    pub folder: String,
    /// Who did not take it, and why.
    pub failed: Vec<(String, String)>,
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The log or the disk.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Nothing has been committed yet.
    #[error("there is no signed checkpoint to publish yet")]
    Nothing,
    /// The HTTP client cannot be made.
    #[error("failed to make an HTTP client")]
    Client(#[source] reqwest::Error),
}

/// Why one of the targets did not take the checkpoint.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("failed to ask: {0}")]
    Http(#[from] reqwest::Error),
    #[error("answered {status}: {said}")]
    Status { status: StatusCode, said: String },
    #[error("answered with more than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    #[error(
        "the witness has seen {seen} commits of this log, the lake has {size}: commits were cut off, or it is another lake's witness"
    )]
    Ahead { seen: u64, size: u64 },
    #[error("the proof that the log only grew has {0} hashes, a witness takes {max}", max = witness::PROOF_MAX)]
    Proof(usize),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Note(#[from] NoteError),
    #[error(transparent)]
    Stamp(#[from] StampError),
}

/// Publishes the newest checkpoint to all targets. One that does not take it is named in [`Published::failed`] and does not keep it from the
/// others. `nonce` is new for every call.
///
/// # Errors
/// [`PublishError`]; nobody was told anything.
pub async fn publish(
    files: &Files,
    key: &VerifyingKey,
    targets: &Targets,
    nonce: u64,
) -> Result<Published, PublishError> {
    let http = Client::builder().timeout(PATIENCE).build().map_err(PublishError::Client)?;
    let mut note = read_checkpoint(files).await?.ok_or(PublishError::Nothing)?;
    let checkpoint = Checkpoint::open(&note, key).map_err(LogError::from)?;
    let tiles = Tiles::new(files.clone(), checkpoint.size);
    let mut failed = Vec::new();
    // Witnesses first: what is stamped and told is the note with their cosignatures.
    for (url, witness) in &targets.witnesses {
        match cosign(&http, url, witness, &tiles, &checkpoint, &note).await {
            Ok(line) => {
                note.push_str(&line);
                note.push('\n');
            }
            Err(refused) => failed.push((url.clone(), refused.to_string())),
        }
    }
    let (folder, note) = keep(files, &checkpoint, note).await.map_err(LogError::from)?;
    for (n, url) in (1..).zip(&targets.authorities) {
        let stamped = match stamp(&http, url, &Request::new(note.as_bytes(), nonce.wrapping_add(n))).await {
            Ok(answer) => {
                let path = ObjectPath::from(format!("{folder}/{n}.tsr"));
                files.put(&path, answer).await.map_err(|e| e.to_string())
            }
            Err(refused) => Err(refused.to_string()),
        };
        if let Err(why) = stamped {
            failed.push((url.clone(), why));
        }
    }
    for url in &targets.webhooks {
        if let Err(refused) = tell(&http, url, &checkpoint, &note).await {
            failed.push((url.clone(), refused.to_string()));
        }
    }
    Ok(Published { checkpoint, note, folder, failed })
}

/// Keeps the note. One that has more signatures than the one that is there takes its place; time stamps of the old go with it.
async fn keep(files: &Files, checkpoint: &Checkpoint, note: String) -> Result<(String, String), FilesError> {
    for turn in 0u32.. {
        let again = if turn == 0 { String::new() } else { format!("-{turn}") };
        let folder = format!("log/published/{:020}{again}", checkpoint.size);
        let path = ObjectPath::from(format!("{folder}/checkpoint"));
        match files.put_new(&path, Bytes::from(note.clone())).await? {
            PutNew::Created => return Ok((folder, note)),
            PutNew::Taken if files.get(&path).await?.as_deref() == Some(note.as_bytes()) => return Ok((folder, note)),
            // Each publication is kept: cosignatures carry the time, so the next one differs.
            PutNew::Taken => {}
        }
    }
    unreachable!("a folder is free after four thousand million publications")
}

/// Asks a witness, from what it says that it has seen.
async fn cosign(
    http: &Client,
    url: &str,
    witness: &WitnessKey,
    tiles: &Tiles,
    checkpoint: &Checkpoint,
    note: &str,
) -> Result<String, Refused> {
    let url = format!("{}/add-checkpoint", url.trim_end_matches('/'));
    let mut old = 0;
    let mut asked_again = false;
    loop {
        if old > checkpoint.size {
            return Err(Refused::Ahead { seen: old, size: checkpoint.size });
        }
        let proof = tiles.consistency(old).await?;
        if proof.len() > witness::PROOF_MAX {
            return Err(Refused::Proof(proof.len()));
        }
        let answer = http.post(&url).body(witness::request(old, &proof, note)).send().await?;
        let status = answer.status();
        let said = text(answer).await?;
        match status {
            StatusCode::OK => return Ok(witness.find(&said, checkpoint)?.line),
            StatusCode::CONFLICT if !asked_again => match said.trim_end().parse() {
                Ok(seen) => {
                    old = seen;
                    asked_again = true;
                }
                Err(_) => return Err(Refused::Status { status, said: first_line(&said) }),
            },
            _ => return Err(Refused::Status { status, said: first_line(&said) }),
        }
    }
}

async fn stamp(http: &Client, url: &str, request: &Request) -> Result<Bytes, Refused> {
    let answer = http.post(url).header(CONTENT_TYPE, timestamp::QUERY).body(request.to_der()).send().await?;
    let status = answer.status();
    let bytes = whole(answer).await?;
    if status != StatusCode::OK {
        return Err(Refused::Status { status, said: first_line(&String::from_utf8_lossy(&bytes)) });
    }
    request.check(&bytes)?;
    Ok(bytes)
}

async fn tell(http: &Client, url: &str, checkpoint: &Checkpoint, note: &str) -> Result<(), Refused> {
    let Checkpoint { origin, size, root } = checkpoint;
    let body = serde_json::json!({"origin": origin, "size": size, "root": root.to_hex(), "checkpoint": note});
    let answer = http.post(url).json(&body).send().await?;
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(Refused::Status { status, said: first_line(&text(answer).await?) }) }
}

/// An answer's bytes, as long as there are not too many.
async fn whole(mut answer: Response) -> Result<Bytes, Refused> {
    let mut bytes = Vec::new();
    while let Some(part) = answer.chunk().await? {
        bytes.extend_from_slice(&part);
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(Refused::TooLong);
        }
    }
    Ok(bytes.into())
}

async fn text(answer: Response) -> Result<String, Refused> {
    Ok(String::from_utf8_lossy(&whole(answer).await?).into_owned())
}

/// What a server said, as far as it fits an error.
fn first_line(said: &str) -> String {
    said.lines().next().unwrap_or_default().chars().take(200).collect()
}
