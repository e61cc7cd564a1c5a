//! Sessions do not influence one another: whatever order they come in, and however often a record is repeated.

#![cfg(test)]

mod common;

use common::{Script, command_key, honest, judge, secret_then_egress, unmediated_script};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use wk_schemas::{Record, Topic};
use wk_watcher::Judge;
use wk_watcher::replay::{Replay, replay};

static JUDGE: LazyLock<Judge> = LazyLock::new(judge);

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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_interleaving_gives_the_same_bytes(picks in prop::collection::vec((0_usize..4, any::<bool>()), 400)) {
        let mut left: Vec<std::collections::VecDeque<Record>> = scripts().into_iter().map(|s| s.records.into()).collect();
        let mut replay = Replay::default();
        let mut out: Datums = left.iter().map(|s| (s[0].header.session_id.to_string(), Vec::new())).collect();
        let key = command_key();
        // What the picks leave over comes at the end, session by session.
        let rest = (0..4).flat_map(|i| std::iter::repeat_n((i, false), 200));
        for (pick, is_repeated) in picks.into_iter().chain(rest) {
            let Some(record) = left[pick].pop_front() else { continue };
            let session = record.header.session_id.to_string();
            for _ in 0..=usize::from(is_repeated) {
                let sealed = replay.sealed(&JUDGE, &key, Topic::Events, record.clone());
                out.get_mut(&session).unwrap().extend(sealed.into_iter().map(|(t, _, d)| (t, d)));
            }
        }
        prop_assert_eq!(out, alone());
    }
}
