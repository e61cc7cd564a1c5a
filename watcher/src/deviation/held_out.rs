//! Leaves one suite out at a time: the threshold comes from the other suites, and what it does is measured on the one left out.
//!
//! A rate measured where its threshold was chosen flatters; this is what a user sees whose tasks are not in the file.

use super::evaluate::Scored;
use super::metrics::{above, threshold};
use serde::Serialize;
use std::collections::BTreeSet;

/// The share of benign sessions of the other suites that may be taken for malicious.
const RATE: f64 = 0.01;

/// One suite, measured at the threshold that 1 % of the other suites' benign sessions are above.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeldOut {
    /// `dataset/suite`.
    pub suite: String,
    /// Sessions above this score count as malicious.
    pub threshold: i32,
    /// Share of its malicious sessions found; `None` when it has none.
    pub tpr: Option<f64>,
    /// Share of its benign sessions taken for malicious; `None` when it has none.
    pub fpr: Option<f64>,
}

impl std::fmt::Display for HeldOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = |rate: Option<f64>| rate.map_or("   none".to_owned(), |r| format!("{:5.1} %", r * 100.0));
        let Self { suite, threshold, tpr, fpr } = self;
        write!(
            f,
            "held out {suite:22} threshold {threshold:3} of the others: TPR {}, FPR {}",
            percent(*tpr),
            percent(*fpr)
        )
    }
}

/// Measures every suite at the threshold of the others; nothing where there are fewer than two with benign sessions.
pub(super) fn held_out(scored: &[Scored]) -> Vec<HeldOut> {
    let scores =
        |fits: &dyn Fn(&Scored) -> bool| -> Vec<u8> { scored.iter().filter(|s| fits(s)).map(|s| s.worst).collect() };
    let is_benign = |s: &Scored| s.label.starts_with("benign");
    let suites: BTreeSet<&str> = scored.iter().map(|s| s.suite.as_str()).collect();
    let mut out = Vec::new();
    for suite in suites {
        let others = scores(&|s| s.suite != suite && is_benign(s));
        if others.is_empty() {
            continue;
        }
        let threshold = threshold(&others, RATE);
        let share = |scores: Vec<u8>| (!scores.is_empty()).then(|| above(&scores, threshold));
        out.push(HeldOut {
            suite: suite.to_owned(),
            threshold,
            tpr: share(scores(&|s| s.suite == suite && s.label == "malicious")),
            fpr: share(scores(&|s| s.suite == suite && is_benign(s))),
        });
    }
    out
}
