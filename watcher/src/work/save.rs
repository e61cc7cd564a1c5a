//! Saving how far the work has come: what is saved is always acknowledged on the log.

use super::Work;
use crate::rules::Rules;
use crate::session::ChainEnd;
use crate::setup::WatchError;
use crate::state::Checkpoint;
use tracing::{debug, info};
use wk_schemas::Topic;
use wk_wire::kafka::Lag;

/// Checkpoints between two reports of lag.
const REPORT_EVERY: u64 = 10;

impl Work<'_> {
    /// Waits until every output is acknowledged.
    pub(super) async fn settle(&mut self) -> Result<(), WatchError> {
        for (topic, delivery) in std::mem::take(&mut self.unacknowledged) {
            let at = delivery.await?;
            // Where the log does not say, reading begins a little earlier after a crash, which is harmless.
            if let Some(offset) = at.offset {
                let end = self.written.entry((topic, at.partition)).or_default();
                *end = (*end).max(offset + 1);
            }
        }
        Ok(())
    }

    /// Saves sessions, chains and offsets, once everything that follows from them is on the log.
    pub(crate) async fn checkpoint(&mut self) -> Result<(), WatchError> {
        self.checkpoints += 1;
        if self.checkpoints.is_multiple_of(REPORT_EVERY) {
            self.report();
        }
        self.answer_orphans().await?;
        if self.records == self.records_saved {
            return Ok(());
        }
        self.settle().await?;
        self.pass(4);
        if let Some(flushing) = self.flushing.take() {
            flushing.await??;
        }
        let chains = self.moved_chains.iter().filter_map(|place| {
            let chain = self.chains.get(place)?;
            Some((place.0, &place.1, ChainEnd::from(*chain)))
        });
        let checkpoint = Checkpoint {
            read: self.read.clone(),
            written: self.written.clone(),
            sessions: self.sessions.iter().filter(|(_, l)| l.has_changed).map(|(id, l)| (id, &l.session)).collect(),
            chains: chains.collect(),
        };
        let sizes = self.watcher.state.save(&checkpoint)?;
        self.pass(5);
        let state = self.watcher.state.clone();
        self.flushing = Some(tokio::task::spawn_blocking(move || state.flush()));
        self.pass(6);
        self.moved_chains.clear();
        self.records_saved = self.records;
        for (live, bytes) in self.sessions.values_mut().filter(|l| l.has_changed).zip(sizes) {
            (live.has_changed, live.bytes_saved) = (false, bytes);
        }
        self.forget();
        Ok(())
    }

    /// Puts a new pack in force between two records: what came before is decided and saved by the old one, what comes next is
    /// decided by the new one as a whole.
    pub(crate) async fn replace_rules(&mut self, rules: Rules) -> Result<(), WatchError> {
        self.settle().await?;
        self.checkpoint().await?;
        let replaced = self.judge.rules.pack_digest;
        self.judge = self.watcher.put_in_force(rules);
        let rules = &self.judge.rules;
        info!(rules = rules.all().count(), pack_digest = %rules.pack_digest, %replaced, "rules replaced");
        Ok(())
    }

    /// Lets go of the sessions that were touched longest ago, when there are more than may be in memory, or they weigh more. They
    /// are on disk.
    fn forget(&mut self) {
        let config = &self.watcher.config;
        let lives = self.sessions.values().map(|l| (l.touched, l.bytes_saved));
        let oldest_kept = oldest_kept(lives, config.sessions_in_memory.max(1), config.session_memory_mib << 20);
        if oldest_kept == 0 {
            return;
        }
        self.sessions.retain(|_, l| l.touched >= oldest_kept);
        let sessions = &self.sessions;
        self.chains.retain(|(_, id), _| sessions.contains_key(id));
    }

    /// Publishes how far reading has come, for displays; deciding does not wait for it.
    fn report(&self) {
        debug!(records = self.records, sessions = self.sessions.len(), "watched so far");
        let (brokers, group) = (self.watcher.setup.brokers.clone(), self.watcher.config.group.clone());
        let offsets: Vec<(Topic, i32, i64)> = self.read.iter().map(|((t, p), o)| (*t, *p, *o)).collect();
        let cluster = self.cluster.clone();
        tokio::spawn(async move {
            let named: Vec<(&str, i32, i64)> = offsets.iter().map(|(t, p, o)| (t.name(), *p, *o)).collect();
            if let Err(error) = Lag::publish(&brokers, &group, &named).await {
                debug!(%error, "the lag could not be published");
            }
            for (topic, partition, next) in offsets {
                if let Ok(holds) = cluster.watermarks(topic.name(), partition).await {
                    debug!(%topic, partition, lag = holds.high - next, "lag");
                }
            }
        });
    }
}

/// Of sessions, each with when it was touched and what it weighs: those touched from then on may stay, so that there are at most
/// `most` and they weigh at most `bytes_max`. The one touched last always may.
fn oldest_kept(sessions: impl Iterator<Item = (u64, usize)>, most: usize, bytes_max: usize) -> u64 {
    let mut sessions: Vec<(u64, usize)> = sessions.collect();
    sessions.sort_unstable_by(|a, b| b.cmp(a));
    let (mut weigh, mut kept) = (0_usize, u64::MAX);
    for (number, (touched, bytes)) in sessions.into_iter().enumerate() {
        weigh = weigh.saturating_add(bytes);
        if number > 0 && (number >= most || weigh > bytes_max) {
            return kept;
        }
        kept = touched;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::oldest_kept;

    #[test]
    fn what_was_touched_last_stays_in_memory_within_both_bounds() {
        let sessions = || [(3, 10), (9, 100), (5, 20), (7, 30)].into_iter();
        assert_eq!(oldest_kept(sessions(), 4, 160), 0, "all may stay");
        assert_eq!(oldest_kept(sessions(), 3, 160), 5, "too many");
        assert_eq!(oldest_kept(sessions(), 4, 149), 7, "too heavy together");
        assert_eq!(oldest_kept(sessions(), 4, 50), 9, "the last one stays whatever it weighs");
        assert_eq!(oldest_kept([].into_iter(), 1, 0), 0);
    }
}
