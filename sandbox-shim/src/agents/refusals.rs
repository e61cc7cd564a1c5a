//! What the shim refused during a tool call, kept until the call returns, so that its result can say why.

use crate::lock::lock;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

/// Lines that a call's result says; further ones are counted.
const LINES_MAX: usize = 5;

/// Calls that are remembered. One that never returns must not be kept for ever.
const CALLS_MAX: usize = 1000;

/// Refusals, by the agent's id of the call.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    lines: BTreeMap<String, (Vec<String>, usize)>,
    order: VecDeque<String>,
}

impl Refusals {
    /// Something was refused during this call.
    pub fn note(&self, call: &str, line: &str) {
        let mut kept = lock(&self.0);
        if !kept.lines.contains_key(call) {
            kept.order.push_back(call.to_owned());
            if kept.order.len() > CALLS_MAX
                && let Some(oldest) = kept.order.pop_front()
            {
                kept.lines.remove(&oldest);
            }
        }
        let (lines, more) = kept.lines.entry(call.to_owned()).or_default();
        if lines.len() < LINES_MAX {
            lines.push(line.to_owned());
        } else {
            *more += 1;
        }
    }

    /// What is to be said in the result of this call; `None` when nothing was refused.
    #[must_use]
    pub fn take(&self, call: &str) -> Option<String> {
        let mut kept = lock(&self.0);
        let (mut lines, more) = kept.lines.remove(call)?;
        kept.order.retain(|known| known != call);
        if more > 0 {
            lines.push(format!("watchkeeper: and {more} more"));
        }
        Some(lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_told_its_own_refusals_once() {
        let refusals = Refusals::default();
        for n in 0..7 {
            refusals.note("a", &format!("{n}"));
        }
        refusals.note("b", "other");
        assert_eq!(refusals.take("a").unwrap(), "0\n1\n2\n3\n4\nwatchkeeper: and 2 more");
        assert_eq!((refusals.take("a"), refusals.take("c")), (None, None));
        assert_eq!(refusals.take("b").unwrap(), "other");
    }

    #[test]
    fn calls_that_never_return_are_forgotten() {
        let refusals = Refusals::default();
        for n in 0..=CALLS_MAX {
            refusals.note(&n.to_string(), "x");
        }
        assert_eq!(refusals.take("0"), None);
        assert!(refusals.take("1").is_some() && refusals.take(&CALLS_MAX.to_string()).is_some());
    }
}
