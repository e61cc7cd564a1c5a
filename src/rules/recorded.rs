//! Recorded sessions for `wk rules`: out of the lake, whole, in the order in which the watcher read them.

use super::report;
use crate::config::Settings;
use anyhow::{Context as _, bail};
use std::collections::{BTreeMap, BTreeSet};
use wk_schemas::{Record, Timestamp, Topic, codec};
use wk_store::Lake;
use wk_store::read::{Place, each};

/// A session's inputs, in order.
pub(super) type Inputs = Vec<(Topic, Record)>;

/// Which sessions are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// Those that something happened in at or after this time.
    Since(Timestamp),
    /// Those whose id begins so, or which hold the record of that id.
    Named(&'a str),
}

/// Reads the wanted sessions out of the lake. They are held in memory, all of them.
///
/// # Errors
/// When there is no lake, or a file of it cannot be read.
pub(super) async fn sessions(settings: &Settings, wanted: Wanted<'_>) -> anyhow::Result<BTreeMap<String, Inputs>> {
    let dir = settings.home.lake();
    if !dir.exists() {
        bail!("there is no lake in `{}` yet: run something under `wk run` first", settings.home.dir().display());
    }
    let lake = Lake::open(&dir).await.with_context(|| format!("failed to open the lake `{}`", dir.display()))?;
    read(&lake, wanted).await
}

async fn read(lake: &Lake, wanted: Wanted<'_>) -> anyhow::Result<BTreeMap<String, Inputs>> {
    let snapshot = lake.snapshot();
    let bar = report::bar("files of the lake");
    let of = snapshot.files.len() * 2;
    // Once for the names, once for the records: a session is read whole even if only its end is wanted.
    let mut names = BTreeSet::new();
    for (done, file) in snapshot.files.iter().enumerate() {
        each(lake.files(), file, |place, datum| {
            if is_input(place)
                && let Ok(view) = codec::walk(datum)
                && match wanted {
                    Wanted::Since(since) => view.occurred_at >= since,
                    Wanted::Named(name) => view.session_id.starts_with(name) || view.record_id == name,
                }
            {
                names.insert(view.session_id.to_owned());
            }
        })
        .await?;
        report::advance(&bar, done + 1, of);
    }
    let mut found: BTreeMap<String, Vec<(Place, Record)>> = BTreeMap::new();
    let mut damaged = None;
    for (done, file) in snapshot.files.iter().enumerate() {
        each(lake.files(), file, |place, datum| {
            if !is_input(place) {
                return;
            }
            match codec::decode(datum) {
                Ok(record) if names.contains(record.header.session_id.as_str()) => {
                    found.entry(record.header.session_id.to_string()).or_default().push((place, record));
                }
                Ok(_) => {}
                Err(error) => damaged = Some(error),
            }
        })
        .await?;
        report::advance(&bar, snapshot.files.len() + done + 1, of);
    }
    bar.finish_and_clear();
    if let Some(error) = damaged {
        return Err(error).context("the lake holds a row that is no record; `wk verify` says which");
    }
    Ok(found.into_iter().map(|(name, records)| (name, ordered(records))).collect())
}

fn is_input(place: Place) -> bool {
    matches!(place.topic, Topic::Events | Topic::Approvals)
}

/// Events in the order of the log. An approval comes before the first event that happened after it: the two topics have no
/// common order, and the watcher reads them side by side.
fn ordered(mut records: Vec<(Place, Record)>) -> Inputs {
    records.sort_by_key(|(place, _)| *place);
    let (approvals, events): (Vec<_>, Vec<_>) = records.into_iter().partition(|(p, _)| p.topic == Topic::Approvals);
    let mut approvals = approvals.into_iter().peekable();
    let mut out = Inputs::new();
    for (place, event) in events {
        while let Some((p, approval)) = approvals.next_if(|(_, a)| a.header.occurred_at < event.header.occurred_at) {
            out.push((p.topic, approval));
        }
        out.push((place.topic, event));
    }
    out.extend(approvals.map(|(p, a)| (p.topic, a)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use uuid::Uuid;
    use wk_store::{Commit, Range, Row, Writer};
    use wk_watcher::backtest::Tally;
    use wk_watcher::decide::{Judge, Settings};
    use wk_watcher::replay::replay;
    use wk_watcher::rules::Rules;

    const AT: Timestamp = Timestamp(1_795_230_000_000_000);

    /// The datums of a recorded session: each stands behind its length.
    fn golden(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        while let Some((length, after)) = bytes.split_first_chunk::<4>() {
            let (datum, after) = after.split_at(usize::try_from(u32::from_be_bytes(*length)).unwrap());
            out.push(datum.to_vec());
            bytes = after;
        }
        out
    }

    #[tokio::test]
    async fn a_backtest_over_the_lake_gives_the_findings_of_the_live_watcher_byte_for_byte() {
        let sessions = [
            golden(include_bytes!("../../watcher/tests/golden/secret-then-egress.records")),
            golden(include_bytes!("../../watcher/tests/golden/unmediated-script.records")),
            golden(include_bytes!("../../watcher/tests/golden/honest.records")),
        ];
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::open_or_create(folder.path(), Uuid::from_u128(7), AT).await.unwrap();
        let mut writer = Writer::open(lake, SigningKey::from_bytes(&[42; 32])).await.unwrap();
        // Interleaved as on the log, in commits that cut through the sessions.
        let longest = sessions.iter().map(Vec::len).max().unwrap();
        let on_log: Vec<&Vec<u8>> = (0..longest).flat_map(|i| sessions.iter().filter_map(move |s| s.get(i))).collect();
        let mut next = 0;
        for (number, part) in (1_u128..).zip(on_log.chunks(37)) {
            let first = next;
            let rows: Vec<Row> = part
                .iter()
                .map(|datum| {
                    next += 1;
                    let at = Timestamp(AT.0 + next);
                    Row::read(Topic::Events, 0, next - 1, at, (*datum).clone().into()).unwrap()
                })
                .collect();
            let rows_count = next - first;
            let range =
                Range { topic: Topic::Events, partition: 0, first, next, rows: rows_count, dead_letters: 0, absent: 0 };
            let commit = Commit::prepare(Uuid::from_u128(number << 96), AT, rows, vec![range]).unwrap();
            writer.commit(&commit).await.unwrap();
        }

        let judge = Judge { rules: Rules::default(), approvers: Vec::new(), settings: Settings::default() };
        let key = SigningKey::from_bytes(&[0; 32]);
        let lake = Lake::open(folder.path()).await.unwrap();
        let found = read(&lake, Wanted::Since(Timestamp(i64::MIN))).await.unwrap();
        assert_eq!(found.len(), 3);
        let mut tally = Tally::default();
        let mut outputs = 0;
        for datums in &sessions {
            let records: Vec<Record> = datums.iter().map(|d| codec::decode(d).unwrap()).collect();
            let name = records[0].header.session_id.to_string();
            let live = replay(&judge, &key, records);
            let again = tally.session(&judge, &key, found[&name].clone(), Timestamp(i64::MIN));
            assert_eq!(live, again, "{name}");
            outputs += live.len();
        }
        assert!(outputs > 5 && tally.freezes >= 1, "{outputs} outputs");

        let one = codec::decode(&sessions[1][3]).unwrap();
        let named = one.header.record_id.to_string();
        let found = read(&lake, Wanted::Named(&named)).await.unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), [one.header.session_id.as_str()]);
        let late = read(&lake, Wanted::Since(Timestamp(i64::MAX))).await.unwrap();
        assert!(late.is_empty());
    }
}
