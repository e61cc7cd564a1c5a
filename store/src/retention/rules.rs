//! Which acts count, in the order of their commits. What nobody who is trusted has signed changes nothing.

use super::act::{Act, Deed, Hold, Removal, SignedAct};
use super::ledger::{self, Ledger};
use crate::files::{Files, FilesError};
use crate::lake::{Lake, OpenError, Version};
use crate::layout;
use ed25519_dalek::VerifyingKey;
use std::collections::{BTreeMap, BTreeSet};

/// A hold that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The commit that placed it.
    pub version: Version,
    /// The decision.
    pub act: Act,
    /// What it covers.
    pub hold: Hold,
}

/// A removal that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The commit that made it.
    pub version: Version,
    /// The decision.
    pub act: Act,
    /// What it removed.
    pub removal: Removal,
    /// What was in it.
    pub ledger: Ledger,
}

/// What the acts of a lake come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acts {
    holds: BTreeMap<String, Placed>,
    removals: Vec<Standing>,
    refused: Vec<(Version, String)>,
    seen: BTreeSet<String>,
}

impl Acts {
    /// The acts of a lake, read from all its commits.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub async fn of_lake(lake: &Lake, trusted: &[VerifyingKey]) -> Result<Self, OpenError> {
        let (last, id) = (lake.refresh().await?.version, lake.id());
        let mut acts = Self::default();
        for version in 0..=last {
            let text = lake.commit_bytes(version).await?.ok_or(OpenError::Hole { version })?;
            if let Some(signed) = SignedAct::of_commit(&text) {
                acts.take(lake.files(), &id, trusted, version, signed).await?;
            }
        }
        Ok(acts)
    }

    /// Takes the act of the next commit that has one.
    pub(crate) async fn take(
        &mut self,
        files: &Files,
        lake: &str,
        trusted: &[VerifyingKey],
        version: Version,
        signed: SignedAct,
    ) -> Result<(), FilesError> {
        let refused = match signed.check(lake, trusted) {
            Err(error) => Err(error.to_string()),
            Ok(()) => self.count(files, version, signed.act).await?,
        };
        self.refused.extend(refused.err().map(|why| (version, why)));
        Ok(())
    }

    async fn count(&mut self, files: &Files, version: Version, act: Act) -> Result<Result<(), String>, FilesError> {
        if !self.seen.insert(act.id.clone()) {
            return Ok(Err("it has been made before, and one signature is good for one act".into()));
        }
        match act.deed.clone() {
            Deed::Hold(hold) => drop(self.holds.insert(act.id.clone(), Placed { version, act, hold })),
            Deed::Release { hold } => {
                if self.holds.remove(&hold).is_none() {
                    return Ok(Err(format!("it releases the hold {hold}, which is not in force")));
                }
            }
            Deed::Remove(removal) => {
                if removal.up_to >= version {
                    return Ok(Err(format!("it removes what was committed up to version {}", removal.up_to)));
                }
                let ledger = match ledger::read(files, &act.id, &removal.ledger).await? {
                    Ok(ledger) => ledger,
                    Err(why) => return Ok(Err(why)),
                };
                if let Some(placed) = self.holding(&removal.day, &ledger) {
                    return Ok(Err(format!("it removes day {}, which is under the {placed}", removal.day)));
                }
                self.removals.push(Standing { version, act, removal, ledger });
            }
        }
        Ok(Ok(()))
    }

    /// The hold that keeps a day, if one does.
    pub(crate) fn holding(&self, day: &str, ledger: &Ledger) -> Option<&Placed> {
        self.holds.values().find(|placed| placed.hold.covers(day, ledger.sessions()))
    }

    /// The removal that took what a commit brought for a day, if one did.
    #[must_use]
    pub fn removed(&self, day: &str, version: Version) -> Option<&Standing> {
        self.removals.iter().find(|one| one.removal.day == day && version <= one.removal.up_to)
    }

    /// The removals that count, in the order of their commits.
    #[must_use]
    pub fn removals(&self) -> &[Standing] {
        &self.removals
    }

    /// The holds that are in force, by their ids.
    #[must_use]
    pub const fn holds(&self) -> &BTreeMap<String, Placed> {
        &self.holds
    }

    /// The commits whose acts do not count, and why.
    #[must_use]
    pub fn refused(&self) -> &[(Version, String)] {
        &self.refused
    }
}

impl std::fmt::Display for Placed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Act { id, by, why, .. } = &self.act;
        write!(f, "hold {id} on {}, placed by {by} on {}: {why}", self.hold, layout::day(self.act.at()))
    }
}
