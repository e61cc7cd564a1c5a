//! What an alert says, whoever is told. Pure.

use crate::judge::Redactor;
use crate::text::cut;
use serde::Serialize;
use wk_schemas::body::{Finding, Level};
use wk_schemas::{Body, Record};

/// A finding, as the outside is told of it. Secrets are taken out of what it quotes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// The finding's record id: the same when an alert is delivered twice.
    pub id: String,
    /// Microseconds UTC.
    pub occurred_at_us: i64,
    /// The session.
    pub session_id: String,
    /// The tenant.
    pub tenant: String,
    /// The host.
    pub host: String,
    /// Name of the agent.
    pub agent: Option<String>,
    /// On whose behalf.
    pub principal: Option<String>,
    /// rule, deviation, judge, integrity.
    pub source: String,
    /// The rule's id.
    pub rule_id: String,
    /// The rule's title.
    pub title: String,
    /// informational, low, medium, high, critical.
    pub level: String,
    /// note, warn, ask, freeze, kill.
    pub step: String,
    /// One sentence.
    pub description: String,
    /// ATT&CK, ATLAS.
    pub tags: Vec<String>,
    /// Ids of the records that show it.
    pub evidence: Vec<String>,
    /// Deviation of the action from the plan, 0 to 100.
    pub score: Option<i32>,
}

impl Alert {
    /// The alert of a record, if it is a finding.
    #[must_use]
    pub fn of(record: &Record) -> Option<(Self, &Finding)> {
        let Body::Finding(finding) = &record.body else { return None };
        let header = &record.header;
        let scores = [finding.task_plan_score, finding.plan_action_score, finding.action_effect_score];
        let alert = Self {
            id: header.record_id.to_string(),
            occurred_at_us: header.occurred_at.0,
            session_id: header.session_id.to_string(),
            tenant: header.tenant.clone(),
            host: header.host.clone(),
            agent: header.agent_name.clone(),
            principal: header.principal.clone(),
            source: finding.source.clone(),
            rule_id: finding.rule_id.clone(),
            title: finding.title.clone(),
            level: finding.level.as_str().to_lowercase(),
            step: finding.step.as_str().to_lowercase(),
            description: Redactor::default().redact(cut(&finding.description, 2000)),
            tags: finding.tags.clone(),
            evidence: finding.evidence.iter().map(ToString::to_string).collect(),
            score: scores.into_iter().flatten().max(),
        };
        Some((alert, finding))
    }
}

/// Syslog's severity: 0 is the worst.
pub(super) const fn severity(level: Level) -> u8 {
    match level {
        Level::Critical => 2,
        Level::High => 3,
        Level::Medium => 4,
        Level::Low => 5,
        Level::Informational | Level::Unspecified => 6,
    }
}

/// `2026-11-21T14:00:00.000001Z` out of microseconds UTC.
pub(super) fn rfc3339(us: i64) -> String {
    let (seconds, micros) = (us.div_euclid(1_000_000), us.rem_euclid(1_000_000));
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days to a date of the Gregorian calendar, after Howard Hinnant's `civil_from_days`: years begin in March.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_others_read_them() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(1_795_230_000_000_001), "2026-11-21T03:00:00.000001Z");
        assert_eq!(rfc3339(951_782_400_000_000), "2000-02-29T00:00:00.000000Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999999Z");
    }

    /// An alert whose parts hold what every format has to escape.
    pub(in crate::alerts) fn alert() -> Alert {
        Alert {
            id: "0198c0de-0000-7000-8000-000000000001".into(),
            occurred_at_us: 1_795_230_000_000_001,
            session_id: "s1".into(),
            tenant: "acme".into(),
            host: "build 7".into(),
            agent: Some("claude-code".into()),
            principal: None,
            source: "rule".into(),
            rule_id: "r1".into(),
            title: "SecretReadThenEgress".into(),
            level: "high".into(),
            step: "freeze".into(),
            description: "read \"x]\\y\" <b>&\nand sent it".into(),
            tags: vec!["attack.t1048".into()],
            evidence: vec!["0198c0de-0000-7000-8000-000000000000".into()],
            score: Some(95),
        }
    }
}
