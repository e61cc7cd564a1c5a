//! Sessions do not influence one another: whatever order they come in, however often a record is repeated, whenever the same rules are
//! loaded anew, and whenever a session's state goes to disk and comes back.

#![cfg(test)]

mod common;

use common::{Script, command_key, honest, judge, secret_then_egress, unmediated_script};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use wk_schemas::{Chain, Digest, Record, Topic, codec};
use wk_watcher::decide::{Incoming, step};
use wk_watcher::replay::replay;
use wk_watcher::{Judge, Session, output};

static JUDGE: LazyLock<Judge> = LazyLock::new(judge);
/// The same rules, loaded another time.
static AGAIN: LazyLock<Judge> = LazyLock::new(judge);

fn scripts() -> Vec<Script> {
    vec![honest("a"), secret_then_egress("b"), unmediated_script("c"), secret_then_egress("d")]
}

type Datums = BTreeMap<String, Vec<(Topic, Vec<u8>)>>;

fn alone() -> Datums {
    let one = |s: Script| {
        let out = replay(&JUDGE, &command_key(), s.records).into_iter().map(|(t, _, d)| (t, d)).collect();
        (s.session.to_string(), out)
    };
    scripts().into_iter().map(one).collect()
}

/// One session on its way through a watcher.
#[derive(Default)]
struct Lane {
    left: std::collections::VecDeque<Record>,
    session: Session,
    chains: BTreeMap<Topic, Chain>,
    out: Vec<(Topic, Vec<u8>)>,
}

impl Lane {
    fn step(&mut self, judge: &Judge, record: &Record) {
        let digest = Digest::of(&codec::encode(record));
        let decision =
            step(&mut self.session, judge, &Incoming { topic: Topic::Events, record: record.clone(), digest });
        for outgoing in decision.findings.into_iter().chain(decision.commands) {
            let topic = outgoing.topic;
            let (_, datum) =
                output::seal(outgoing, &record.header, self.chains.entry(topic).or_default(), &command_key());
            self.out.push((topic, datum));
        }
    }

    /// As [`wk_watcher::state`] saves a session and reads it.
    fn through_disk(&mut self) {
        let saved = serde_json::to_vec(&self.session).unwrap();
        self.session = serde_json::from_slice(&saved).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_interleaving_gives_the_same_bytes(
        picks in prop::collection::vec((0_usize..4, any::<bool>(), any::<bool>(), prop::bool::weighted(0.1)), 400),
    ) {
        let lane = |s: Script| (s.session.to_string(), Lane { left: s.records.into(), ..Lane::default() });
        let mut lanes: Vec<(String, Lane)> = scripts().into_iter().map(lane).collect();
        // What the picks leave over comes at the end, session by session.
        let rest = (0..4).flat_map(|i| std::iter::repeat_n((i, false, false, false), 200));
        for (pick, is_repeated, is_reloaded, is_saved) in picks.into_iter().chain(rest) {
            let lane = &mut lanes[pick].1;
            let Some(record) = lane.left.pop_front() else { continue };
            for _ in 0..=usize::from(is_repeated) {
                lane.step(if is_reloaded { &AGAIN } else { &JUDGE }, &record);
            }
            if is_saved {
                lane.through_disk();
            }
        }
        let out: Datums = lanes.into_iter().map(|(name, lane)| (name, lane.out)).collect();
        prop_assert_eq!(out, alone());
    }
}
