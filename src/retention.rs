//! `wk retention` and `wk hold`: what leaves the lake and what may not, each by an act that a person signs.

use crate::config::{Settings, WhichLake};
use crate::home::Key;
use crate::{clock, parts, services};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use ed25519_dalek::VerifyingKey;
use std::path::PathBuf;
use std::process::ExitCode;
use wk_store::retention::{Act, Acts, Deed, Hold, RetentionError, SignedAct};
use wk_store::verify::Scope;
use wk_store::{Lake, Writer, layout};

/// How often a removal is prepared again because the table has changed meanwhile.
const TRIES: u32 = 10;

/// What retention does.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Removes the records that the log took on one day, for good. What they were is written down and signed; the log's offsets and chains stay provable.
    Remove {
        /// The UTC day: 2026-11-21. It must be over.
        day: String,
        /// Says what would be removed, and whether a hold keeps it, and changes nothing.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        person: Person,
    },
    /// Takes from the disk what an interrupted removal has left there.
    Finish(WhichLake),
    /// Lists what was removed, by whom and why, and acts that do not count.
    List(WhichLake),
}

/// What is done about holds.
#[derive(Debug, Subcommand)]
pub(crate) enum HoldAction {
    /// Places a hold: what it covers cannot be removed until it is released.
    Place {
        /// The first UTC day that it covers.
        #[arg(long, value_name = "DAY", required_unless_present = "session")]
        from: Option<String>,
        /// The last day. Default: it covers all that come.
        #[arg(long, value_name = "DAY", requires = "from")]
        to: Option<String>,
        /// Covers every day with a record of this session instead.
        #[arg(long, value_name = "ID", conflicts_with_all = ["from", "to"])]
        session: Option<String>,
        #[command(flatten)]
        person: Person,
    },
    /// Releases a hold.
    Release {
        /// Its id, or a beginning that fits only one; see `wk hold list`.
        hold: String,
        #[command(flatten)]
        person: Person,
    },
    /// Lists the holds that are in force.
    List(WhichLake),
}

/// Who decides, and why.
#[derive(Debug, Args)]
pub(crate) struct Person {
    /// Why; it stands in the act for ever.
    #[arg(long)]
    reason: String,
    /// Private key (PKCS#8, PEM) of the person who decides. Default: that of the data folder.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    place: WhichLake,
}

/// Exit code 0: done; 2: it could not be done, and why.
pub(crate) fn main(settings: &Settings, action: Action) -> anyhow::Result<ExitCode> {
    services::block_on(async {
        match action {
            Action::Remove { day, dry_run, person } => remove(settings, &day, dry_run, &person).await?,
            Action::Finish(place) => {
                for path in open(settings, &place).await?.finish_removals(&parts::approvers(settings)?).await? {
                    println!("took away {path}");
                }
            }
            Action::List(place) => {
                let acts = acts(settings, &place).await?;
                for one in acts.removals() {
                    let (removal, Act { by, why, .. }) = (&one.removal, &one.act);
                    let on = layout::day(one.act.at());
                    println!(
                        "day {} removed by {by} on {on}: {} records in {} files, commit {}: {why}",
                        removal.day, removal.records, removal.files, one.version
                    );
                }
                for (version, why) in acts.refused() {
                    println!("commit {version} carries an act that does not count: {why}");
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Exit code as [`main`].
pub(crate) fn hold(settings: &Settings, action: HoldAction) -> anyhow::Result<ExitCode> {
    services::block_on(async {
        match action {
            HoldAction::Place { from, to, session, person } => {
                for day in from.iter().chain(&to) {
                    Scope::day(day)?;
                }
                if to.as_ref().is_some_and(|to| from.as_ref().is_some_and(|from| to < from)) {
                    bail!("the hold would end before it begins");
                }
                let hold = match (session, from) {
                    (Some(session), _) => Hold::Session(session),
                    (None, Some(from)) => Hold::Days { from, to },
                    (None, None) => bail!("say what is held: --from DAY or --session ID"),
                };
                let said = hold.to_string();
                let (id, version) = decide(settings, &person, Deed::Hold(hold)).await?;
                println!("hold {id} on {said}, commit {version}");
            }
            HoldAction::Release { hold, person } => {
                let acts = acts(settings, &person.place).await?;
                let mut fitting = acts.holds().keys().filter(|id| id.starts_with(&hold));
                let Some(id) = fitting.next() else { bail!("there is no hold `{hold}` in force; see `wk hold list`") };
                if fitting.next().is_some() {
                    bail!("`{hold}` fits more than one hold; see `wk hold list`");
                }
                let (_, version) = decide(settings, &person, Deed::Release { hold: id.clone() }).await?;
                println!("hold {id} released, commit {version}");
            }
            HoldAction::List(place) => {
                for placed in acts(settings, &place).await?.holds().values() {
                    println!("{placed}");
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn open(settings: &Settings, place: &WhichLake) -> anyhow::Result<Writer> {
    Ok(Writer::open(place.open(settings).await?, settings.home.signing_key(Key::Lake)?).await?)
}

async fn acts(settings: &Settings, place: &WhichLake) -> anyhow::Result<Acts> {
    Ok(Acts::of_lake(&place.open(settings).await?, &parts::approvers(settings)?).await?)
}

/// Signs a deed with the person's key.
fn sign(settings: &Settings, person: &Person, lake: &Lake, deed: Deed) -> anyhow::Result<SignedAct> {
    let act = Act {
        lake: lake.id(),
        id: clock::new_id().0.to_string(),
        at_us: clock::now().0,
        by: settings.principal.clone(),
        why: person.reason.clone(),
        deed,
    };
    Ok(act.sign(&settings.home.approver_key(person.key.as_deref())?))
}

/// Makes an act of a hold. Gives its id and version.
async fn decide(settings: &Settings, person: &Person, deed: Deed) -> anyhow::Result<(String, u64)> {
    let mut writer = open(settings, &person.place).await?;
    let signed = sign(settings, person, writer.lake(), deed)?;
    let version = writer.hold(&signed, &parts::approvers(settings)?).await?;
    Ok((signed.act.id, version))
}

async fn remove(settings: &Settings, day: &str, dry_run: bool, person: &Person) -> anyhow::Result<()> {
    Scope::day(day)?;
    if day >= layout::day(clock::now()).as_str() {
        bail!("day {day} is not over: records of it are still coming");
    }
    let trusted: Vec<VerifyingKey> = parts::approvers(settings)?;
    let mut writer = open(settings, &person.place).await?;
    for _ in 0..TRIES {
        let prepared = writer.prepare_removal(day, &trusted).await?;
        let (records, files) = (prepared.removal.records, prepared.removal.files);
        if dry_run {
            println!("day {day} has {records} records in {files} files; nothing keeps it");
            return Ok(());
        }
        let signed = sign(settings, person, writer.lake(), Deed::Remove(prepared.removal.clone()))?;
        match writer.remove_day(&prepared, &signed, &trusted).await {
            Ok(version) => {
                println!("day {day}: {records} records in {files} files removed, commit {version}");
                return Ok(());
            }
            // Ingest or a compaction has been at the day: what is signed must be what is removed.
            Err(RetentionError::Changed) => {}
            Err(error) => return Err(error).context("the day was not removed, or not all of it"),
        }
    }
    bail!("day {day} changes all the time: try again later")
}
