//! How good a score is: true positives at a given rate of false ones, the area under the curve, and how sure that is.

use serde::Serialize;

/// A value and the interval in which nine of ten bootstrap samples lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// On all sessions.
    pub value: f64,
    /// The fifth of a hundred.
    pub low: f64,
    /// The ninety-fifth of a hundred.
    pub high: f64,
}

/// What is measured on one set of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rates {
    /// Share of malicious sessions above the threshold that lets 0.1, 1 and 5 % of benign ones through.
    pub tpr: [f64; 3],
    /// Area under the ROC curve.
    pub auroc: f64,
}

/// The rates of benign sessions at which true positives are reported.
pub(super) const FALSE_RATES: [f64; 3] = [0.001, 0.01, 0.05];

/// Measures scores of malicious against scores of benign sessions.
#[must_use]
pub(super) fn rates(malicious: &[u8], benign: &[u8]) -> Rates {
    Rates { tpr: FALSE_RATES.map(|rate| tpr(malicious, benign, rate)), auroc: auroc(malicious, benign) }
}

/// Share of `malicious` above the lowest threshold that at most `rate` of `benign` are above.
fn tpr(malicious: &[u8], benign: &[u8], rate: f64) -> f64 {
    above(malicious, threshold(benign, rate))
}

/// The lowest threshold that at most `rate` of `benign` are above.
pub(super) fn threshold(benign: &[u8], rate: f64) -> i32 {
    (-1..=100).find(|t| above(benign, *t) <= rate).unwrap_or(100)
}

/// Share of `scores` above the threshold.
#[expect(clippy::cast_precision_loss, reason = "counts of sessions")]
pub(super) fn above(scores: &[u8], threshold: i32) -> f64 {
    scores.iter().filter(|s| i32::from(**s) > threshold).count() as f64 / scores.len().max(1) as f64
}

/// Probability that a malicious session scores above a benign one; ties count half.
#[expect(clippy::cast_precision_loss, reason = "counts of sessions")]
fn auroc(malicious: &[u8], benign: &[u8]) -> f64 {
    let mut counts = [0_u64; 101];
    for score in benign {
        counts[usize::from((*score).min(100))] += 1;
    }
    let mut below = [0_u64; 102];
    for (i, count) in counts.iter().enumerate() {
        below[i + 1] = below[i] + count;
    }
    let won: f64 = malicious
        .iter()
        .map(|s| {
            let i = usize::from((*s).min(100));
            below[i] as f64 + counts[i] as f64 / 2.0
        })
        .sum();
    won / (malicious.len().max(1) as f64 * benign.len().max(1) as f64)
}

/// A small generator with a fixed seed: the same sessions always give the same intervals.
#[derive(Debug)]
pub(super) struct Lcg(pub(super) u64);

impl Lcg {
    /// A number below `n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % n.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_score_and_a_useless_one() {
        let perfect = rates(&[90, 80], &[0, 10, 20]);
        assert_eq!((perfect.tpr, perfect.auroc), ([1.0; 3], 1.0));
        let useless = rates(&[50, 50], &[50, 50]);
        assert_eq!((useless.tpr, useless.auroc), ([0.0; 3], 0.5));
    }
}
