//! The signed part: checkpoint, tiles, and that each commit is the leaf it should be.

use super::Options;
use super::outside::Outside;
use super::report::{Class, Finding, Report};
use crate::files::{Files, FilesError};
use crate::lake::commit_path;
use crate::merkle::tiles::read_checkpoint;
use crate::merkle::tree::{Edge, leaf_hash};
use crate::merkle::{Checkpoint, LogError, tiles::Tiles};
use crate::retention::SignedAct;
use bytes::Bytes;
use ed25519_dalek::VerifyingKey;
use object_store::path::Path as ObjectPath;
use std::collections::BTreeSet;
use std::time::Duration;
use wk_schemas::Digest;

/// Leaves in a tile and entries in a bundle.
const WIDTH: u64 = 256;

/// A commit is durable a moment before the checkpoint that covers it; so often and so long is the checkpoint read again.
const PATIENCE: (u32, Duration) = (20, Duration::from_millis(100));

/// What the log holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The numbers of the commits that are there.
    pub(super) commits: BTreeSet<u64>,
    /// The acts in those of them that are signed.
    pub(super) acts: Vec<(u64, SignedAct)>,
    /// The checkpoint over it, a signed note.
    pub(super) checkpoint: Option<String>,
}

/// Checks the log.
pub(super) async fn check(
    files: &Files,
    key: &VerifyingKey,
    options: &Options,
    noted: Option<&str>,
    report: &mut Report,
) -> Result<Held, FilesError> {
    let mut held = Held { commits: versions(files).await?, ..Held::default() };
    let Some((note, signed)) = checkpoint(files, key, held.commits.last().copied(), report).await? else {
        return Ok(held);
    };
    held.checkpoint = Some(note);
    report.origin.clone_from(&signed.origin);
    report.signed_commits = signed.size;
    report.root = signed.root.to_hex();
    let outside = Outside::read(files, key, options, noted, &signed, report).await?;
    let tiles = Tiles::new(files.clone(), signed.size);
    let tiles_hold = root_of_tiles(&tiles, &signed, report).await?;
    let mut edge = Edge::default();
    let mut whole = true;
    for tile in 0..signed.size.div_ceil(WIDTH) {
        let leaves = leaves(&tiles, tile, tiles_hold).await?;
        let entries = entries(&tiles, tile, report).await?;
        for version in tile * WIDTH..((tile + 1) * WIDTH).min(signed.size) {
            let at = usize::try_from(version % WIDTH).expect("below 256");
            let Some(bytes) = files.get(&commit_path(version)).await? else {
                whole = false;
                report.findings.push(Finding::new(Class::Missing, "the commit is not there").commit(version));
                continue;
            };
            let leaf = leaf_hash(&bytes);
            edge.push(leaf, |_, _| {});
            let holds = leaves.as_ref().is_none_or(|l| l[at] == leaf);
            if holds {
                held.acts.extend(SignedAct::of_commit(&bytes).map(|act| (version, act)));
                report.valid_commits += u64::from(leaves.is_some());
            } else {
                report.findings.push(
                    Finding::new(Class::Invalid, format!("its bytes are not the ones that were signed (leaf {leaf})"))
                        .commit(version),
                );
            }
            if entries.as_ref().is_some_and(|e| e[at] != bytes) && holds {
                report.findings.push(
                    Finding::new(Class::Invalid, "the log's entry bundle has other bytes for it").commit(version),
                );
            }
            if whole {
                outside.compare(version + 1, edge.root(), report);
            }
        }
    }
    if !tiles_hold && whole {
        by_commits(edge.root(), &signed, report);
    }
    for version in held.commits.range(signed.size..) {
        report.findings.push(Finding::new(Class::Invalid, "no signed checkpoint covers it").commit(*version));
    }
    Ok(held)
}

/// The numbers of the commits that are there.
async fn versions(files: &Files) -> Result<BTreeSet<u64>, FilesError> {
    let listed = files.list(&ObjectPath::from("records/_delta_log")).await?;
    Ok(listed.iter().filter_map(|m| m.location.filename()?.strip_suffix(".json")?.parse().ok()).collect())
}

/// The newest checkpoint, as its note and read, once it covers the newest commit or the patience is at its end.
async fn checkpoint(
    files: &Files,
    key: &VerifyingKey,
    last: Option<u64>,
    report: &mut Report,
) -> Result<Option<(String, Checkpoint)>, FilesError> {
    let mut tries = 0;
    loop {
        let opened = match read_checkpoint(files).await {
            Ok(None) => Err(Finding::new(Class::Missing, "there is no checkpoint")),
            Ok(Some(note)) => match Checkpoint::open(&note, key) {
                Ok(signed) => Ok((note, signed)),
                Err(e) => Err(Finding::new(Class::Invalid, e.to_string())),
            },
            Err(LogError::Files(e)) => return Err(e),
            Err(e) => Err(Finding::new(Class::Invalid, e.to_string())),
        };
        tries += 1;
        match opened {
            Ok(opened) if last.is_none_or(|l| l < opened.1.size) || tries > PATIENCE.0 => return Ok(Some(opened)),
            Ok(_) => tokio::time::sleep(PATIENCE.1).await,
            Err(finding) => {
                report.findings.push(finding);
                return Ok(None);
            }
        }
    }
}

/// Whether the tiles have the signed root.
async fn root_of_tiles(tiles: &Tiles, signed: &Checkpoint, report: &mut Report) -> Result<bool, FilesError> {
    let finding = match tiles.root().await {
        Ok(root) if root == signed.root => return Ok(true),
        Ok(root) => Finding::new(Class::Invalid, format!("the tiles have the root {root}, {} was signed", signed.root)),
        Err(LogError::Files(e)) => return Err(e),
        Err(e) => Finding::new(Class::Missing, e.to_string()),
    };
    report.findings.push(finding);
    Ok(false)
}

/// The leaves of a tile, when the tiles are to be believed.
async fn leaves(tiles: &Tiles, tile: u64, believed: bool) -> Result<Option<Vec<Digest>>, FilesError> {
    if !believed {
        return Ok(None);
    }
    match tiles.tile(0, tile).await {
        Ok(leaves) => Ok(Some(leaves)),
        Err(LogError::Files(e)) => Err(e),
        Err(_) => Ok(None),
    }
}

async fn entries(tiles: &Tiles, tile: u64, report: &mut Report) -> Result<Option<Vec<Bytes>>, FilesError> {
    match tiles.entries(tile).await {
        Ok(entries) => Ok(Some(entries)),
        Err(LogError::Files(e)) => Err(e),
        Err(e) => {
            report.findings.push(Finding::new(Class::Missing, e.to_string()));
            Ok(None)
        }
    }
}

/// With tiles that are not to be believed, the commits themselves are held against the signed root.
fn by_commits(root: Digest, signed: &Checkpoint, report: &mut Report) {
    if root == signed.root {
        report.valid_commits = signed.size;
    } else {
        report.findings.push(Finding::new(
            Class::Invalid,
            format!("the commits have the root {root}, {} was signed", signed.root),
        ));
    }
}
