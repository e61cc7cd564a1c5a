//! Why there is no answer, and whether asking again may bring one.

use std::time::Duration;

/// A question that was not answered. It becomes `unavailable`, never a score.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Too many questions for the endpoint (429).
    #[error("the endpoint asks for patience (429)")]
    RateLimited {
        /// Not before this has passed.
        retry_after: Option<Duration>,
    },
    /// The account's money or quota is used up; asking again is no use.
    #[error("the account's quota is used up: {0}")]
    Quota(String),
    /// The endpoint is overloaded or broken: 408, 409, 5xx.
    #[error("the endpoint answered with status {status}")]
    Status {
        /// The status.
        status: u16,
        /// Not before this has passed.
        retry_after: Option<Duration>,
    },
    /// The endpoint does not take the question: 400, 401, 403, 404, 413, 422. Configuration or key are wrong.
    #[error("the endpoint refused the question with status {status}: {said}")]
    Rejected {
        /// The status.
        status: u16,
        /// The beginning of what it said.
        said: String,
    },
    /// No connection came about.
    #[error("the endpoint cannot be reached: {0}")]
    Connect(String),
    /// The deadline passed.
    #[error("no answer came within its time")]
    TimedOut,
    /// The connection broke off in the middle of the answer.
    #[error("the connection broke off in the middle of the answer")]
    Cut,
    /// The answer is longer than any honest one.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// The model declined to answer.
    #[error("the model refused: {0}")]
    Refused(String),
    /// The answer ends before it is complete: the model ran out of tokens.
    #[error("the answer was cut off by the limit on tokens")]
    Truncated,
    /// The answer is not what was asked for.
    #[error("the answer is not the object that was asked for: {0}")]
    Malformed(String),
    /// The answer names a record that was not shown.
    #[error("the answer names `{0}` as evidence, which it was not shown")]
    UnknownEvidence(String),
    /// Our own limit on questions or tokens.
    #[error("the budget for questions is spent")]
    Budget,
    /// The endpoint failed so often that it is left alone for a while.
    #[error("the endpoint is left alone after repeated failures")]
    BreakerOpen,
    /// Too many questions of this session, or of all, wait already.
    #[error("too many questions wait already")]
    QueueFull,
    /// The hold was over before the question's turn came.
    #[error("the hold was over before its turn came")]
    Late,
    /// The watcher was stopped while the question was open.
    #[error("the watcher was stopped while the question was open")]
    Restarted,
}

impl Failure {
    /// A word for it, for records and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RateLimited { .. } => "rate_limited",
            Self::Quota(_) => "quota",
            Self::Status { .. } => "server_error",
            Self::Rejected { .. } => "rejected",
            Self::Connect(_) => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Cut => "cut",
            Self::TooLong(_) => "too_long",
            Self::Refused(_) => "refused",
            Self::Truncated => "truncated",
            Self::Malformed(_) => "malformed",
            Self::UnknownEvidence(_) => "unknown_evidence",
            Self::Budget => "budget",
            Self::BreakerOpen => "breaker_open",
            Self::QueueFull => "queue_full",
            Self::Late => "late",
            Self::Restarted => "restarted",
        }
    }

    /// Whether the same question may be sent again, and how long the endpoint wants to be left alone first.
    #[must_use]
    pub const fn retry(&self) -> Option<Option<Duration>> {
        match self {
            Self::RateLimited { retry_after } | Self::Status { retry_after, .. } => Some(*retry_after),
            Self::Connect(_) | Self::Cut | Self::TimedOut => Some(None),
            Self::Quota(_)
            | Self::Rejected { .. }
            | Self::TooLong(_)
            | Self::Refused(_)
            | Self::Truncated
            | Self::Malformed(_)
            | Self::UnknownEvidence(_)
            | Self::Budget
            | Self::BreakerOpen
            | Self::QueueFull
            | Self::Late
            | Self::Restarted => None,
        }
    }

    /// Whether it says that the endpoint as such is not well. An answer that is no good says nothing about the endpoint.
    #[must_use]
    pub const fn is_endpoints(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::Quota(_)
                | Self::Status { .. }
                | Self::Rejected { .. }
                | Self::Connect(_)
                | Self::TimedOut
                | Self::Cut
        )
    }

    /// Sorts an answer whose status is no success.
    #[must_use]
    pub fn of_status(status: u16, retry_after: Option<Duration>, body: &str) -> Self {
        const SPENT: [&str; 6] = [
            "insufficient_quota",
            "credit_balance_exhausted",
            "credit balance is too low",
            "enforced_spend_limit_reached",
            "billing_hard_limit_reached",
            "billing_not_active",
        ];
        let said = || super::clean::clean(body, 200);
        let is_spent = status == 402 || SPENT.iter().any(|mark| body.contains(mark));
        match status {
            400..=499 if is_spent => Self::Quota(said()),
            429 => Self::RateLimited { retry_after },
            408 | 409 | 500..=599 => Self::Status { status, retry_after },
            _ => Self::Rejected { status, said: said() },
        }
    }
}

/// How long to wait before attempt `next` (1 is the first repetition): doubling from half a second, at most 8 s, spread by
/// `seed`, and never less than the endpoint asked for.
#[must_use]
pub(super) fn backoff(next: u32, asked_for: Option<Duration>, seed: u64) -> Duration {
    let base = 500_u64.saturating_mul(1 << next.saturating_sub(1).min(4));
    let spread = base / 2 + seed % base;
    Duration::from_millis(spread).max(asked_for.unwrap_or_default())
}

/// Reads `Retry-After`: seconds. A date is not used by model endpoints and is not read.
#[must_use]
pub(super) fn retry_after(header: Option<&str>) -> Option<Duration> {
    let seconds: f64 = header?.trim().parse().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(3600.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_quota_is_not_patience() {
        let quota = r#"{"error":{"type":"insufficient_quota","message":"You exceeded your current quota"}}"#;
        assert!(matches!(Failure::of_status(429, None, quota), Failure::Quota(_)));
        assert!(Failure::of_status(429, None, quota).retry().is_none());
        assert!(Failure::of_status(402, None, "").retry().is_none());
        let after = Some(Duration::from_secs(7));
        assert_eq!(Failure::of_status(429, after, "{}").retry(), Some(after));
        for status in [408, 409, 500, 502, 503, 529] {
            assert_eq!(Failure::of_status(status, None, "").retry(), Some(None), "{status}");
        }
        for status in [400, 401, 403, 404, 413, 422, 301] {
            assert!(Failure::of_status(status, None, "").retry().is_none(), "{status}");
        }
    }

    #[test]
    fn what_the_endpoint_asks_for_is_the_least() {
        for next in 1..8 {
            let wait = backoff(next, Some(Duration::from_secs(5)), 12345);
            assert!(wait >= Duration::from_secs(5) && wait <= Duration::from_secs(13), "{wait:?}");
        }
        assert!(backoff(1, None, 0) >= Duration::from_millis(250));
        assert_eq!(retry_after(Some(" 3 ")), Some(Duration::from_secs(3)));
        assert_eq!(retry_after(Some("soon")), None);
        assert_eq!(retry_after(Some("-1")), None);
    }
}
