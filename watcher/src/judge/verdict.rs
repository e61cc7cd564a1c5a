//! A verdict, and its form on the log: a finding of source `judge`, signed by the watcher that asked.
//!
//! What a finding has no field of its own for stands in `matches` as `judge.*`: `docs/judge.md` lists them. The signature is
//! over everything that is acted upon, so nobody who can merely write to the topic can pass for the judge.

use super::answer::{Answer, Authorization, Departure, Risk};
use super::question::Question;
use crate::text::cut;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use wk_schemas::body::{Finding, Level, Match, Step};
use wk_schemas::{Digest, RecordId, SessionId};

/// Name that stands first in the signed bytes.
const CONTEXT: &str = "watchkeeper.v1.Verdict";
/// The rule ids of a verdict and of its absence.
pub(super) const ANSWERED: &str = "judge.verdict";
pub(super) const UNAVAILABLE: &str = "judge.unavailable";
/// `source` of the finding.
pub(super) const SOURCE: &str = "judge";

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The model's answer.
    Answered(Answer),
    /// No answer; the failure's name, and a sentence.
    Unavailable {
        /// A word: rate_limited, timed_out, …
        failure: String,
        /// A sentence.
        reason: String,
    },
}

/// What an answer cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Microseconds from the question to the answer.
    pub latency_us: i64,
    /// Tokens read and written, over all looks.
    pub tokens: (u64, u64),
    /// How many looks were taken: 0 when the answer came from the cache.
    pub looks: u8,
}

/// The answer to one question, and everything that is needed to ask it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The question.
    pub question: RecordId,
    /// The record that it is about.
    pub about: RecordId,
    /// The hold's ticket.
    pub ticket: Option<RecordId>,
    /// What came of it.
    pub outcome: Outcome,
    /// Mean over the distribution of a digit, 0 to 100.
    pub digit: Option<u8>,
    /// The model, as the endpoint names it; empty when none answered.
    pub model: String,
    /// SHA-256 of policy, tenant's part and schemas.
    pub policy: Digest,
    /// SHA-256 of the messages of the last look; zero when none was sent.
    pub prompt: Digest,
    /// The rules in force.
    pub pack: Digest,
    /// How many records could be named as evidence, and the first of them.
    pub window: (usize, RecordId),
    /// held, rule, score, sample.
    pub gate: String,
    /// Probability with which it was asked, in millionths.
    pub probability_ppm: u32,
    /// How many secrets were taken out of the prompt.
    pub secrets: usize,
    /// What it cost.
    pub cost: Cost,
}

impl Verdict {
    /// The score that the ladder goes by: the distribution's where there is one. `None` when there is no answer.
    #[must_use]
    pub fn score(&self) -> Option<u8> {
        match &self.outcome {
            Outcome::Answered(answer) => Some(self.digit.unwrap_or(answer.score)),
            Outcome::Unavailable { .. } => None,
        }
    }

    /// No verdict, for a question that was not answered.
    #[must_use]
    pub fn unavailable(question: &Question, failure: &super::Failure) -> Self {
        let window = question.window();
        Self {
            question: question.id,
            about: question.about,
            ticket: question.ticket,
            outcome: Outcome::Unavailable { failure: failure.name().to_owned(), reason: failure.to_string() },
            digit: None,
            model: String::new(),
            policy: Digest::ZERO,
            prompt: Digest::ZERO,
            pack: question.pack_digest,
            window: (window.len(), window.first().copied().unwrap_or(question.about)),
            gate: question.gate.to_owned(),
            probability_ppm: ppm(question.probability),
            secrets: 0,
            cost: Cost::default(),
        }
    }

    /// As a finding, signed. `step` is what the ladder says.
    #[must_use]
    pub fn finding(&self, step: Step, session: &SessionId, key: &SigningKey) -> Finding {
        let (rule_id, title, level, description, mut evidence) = match &self.outcome {
            Outcome::Answered(answer) => {
                let level = match answer.risk {
                    Risk::Low => Level::Low,
                    Risk::Medium => Level::Medium,
                    Risk::High => Level::High,
                    Risk::Critical => Level::Critical,
                };
                let why = if answer.rationale.is_empty() { "plain at first look" } else { answer.rationale.as_str() };
                let said = format!(
                    "risk {}, authorization {}, deviation {}: {why}",
                    word(answer.risk),
                    word(answer.authorization),
                    word(answer.deviation)
                );
                (ANSWERED, "JudgeVerdict", level, said, answer.evidence.clone())
            }
            Outcome::Unavailable { reason, .. } => {
                let said = format!("no verdict, so what the rules say stands: {reason}");
                (UNAVAILABLE, "JudgeUnavailable", Level::Informational, said, Vec::new())
            }
        };
        evidence.retain(|id| *id != self.about);
        evidence.sort_unstable();
        evidence.push(self.about);
        let mut finding = Finding {
            source: SOURCE.to_owned(),
            rule_id: rule_id.to_owned(),
            title: title.to_owned(),
            rule_version: if self.model.is_empty() { "none".to_owned() } else { self.model.clone() },
            rule_digest: self.policy,
            pack_digest: self.pack,
            level,
            tags: Vec::new(),
            description,
            evidence,
            matches: self.fields(),
            task_plan_score: None,
            plan_action_score: self.score().map(i32::from),
            action_effect_score: None,
            step,
        };
        let signature = key.sign(&signed_bytes(&finding, session)).to_bytes();
        finding.matches.push(field("signature", signature.iter().map(|b| format!("{b:02x}")).collect::<String>()));
        finding
    }

    fn fields(&self) -> Vec<Match> {
        let mut out = vec![field("question", self.question), field("about", self.about)];
        out.extend(self.ticket.map(|t| field("ticket", t)));
        match &self.outcome {
            Outcome::Answered(a) => out.extend([
                field("outcome", "answered"),
                field("risk", word(a.risk)),
                field("authorization", word(a.authorization)),
                field("deviation", word(a.deviation)),
                field("score", a.score),
                field("rationale", &a.rationale),
            ]),
            Outcome::Unavailable { failure, reason } => {
                out.extend([
                    field("outcome", "unavailable"),
                    field("failure", failure),
                    field("reason", cut(reason, 400)),
                ]);
            }
        }
        out.extend(self.digit.map(|d| field("digit", d)));
        let (count, first) = self.window;
        let (read, written) = self.cost.tokens;
        out.extend([
            field("model", &self.model),
            field("prompt_digest", self.prompt),
            field("window", format!("{count} records from {first}")),
            field("gate", &self.gate),
            field("probability_ppm", self.probability_ppm),
            field("secrets_taken_out", self.secrets),
            field("latency_us", self.cost.latency_us),
            field("tokens_read", read),
            field("tokens_written", written),
            field("looks", self.cost.looks),
        ]);
        out
    }

    /// Reads a verdict back from its finding; `None` for a finding that is none.
    #[must_use]
    pub fn of(finding: &Finding) -> Option<Self> {
        if finding.source != SOURCE {
            return None;
        }
        let get = |name: &str| {
            finding.matches.iter().find(|m| m.field.strip_prefix("judge.") == Some(name)).map(|m| m.value.as_str())
        };
        let about = RecordId::parse(get("about")?).ok()?;
        let outcome = match get("outcome")? {
            "answered" => Outcome::Answered(Answer {
                risk: parsed::<Risk>(get("risk")?)?,
                authorization: parsed::<Authorization>(get("authorization")?)?,
                deviation: parsed::<Departure>(get("deviation")?)?,
                score: get("score")?.parse().ok()?,
                evidence: finding.evidence.iter().copied().filter(|id| *id != about).collect(),
                rationale: get("rationale")?.to_owned(),
            }),
            "unavailable" => {
                Outcome::Unavailable { failure: get("failure")?.to_owned(), reason: get("reason")?.to_owned() }
            }
            _ => return None,
        };
        let (count, first) = get("window")?.split_once(" records from ")?;
        Some(Self {
            question: RecordId::parse(get("question")?).ok()?,
            about,
            ticket: get("ticket").and_then(|t| RecordId::parse(t).ok()),
            outcome,
            digit: get("digit").and_then(|d| d.parse().ok()),
            model: get("model")?.to_owned(),
            policy: finding.rule_digest,
            prompt: Digest::from_hex(get("prompt_digest")?)?,
            pack: finding.pack_digest,
            window: (count.parse().ok()?, RecordId::parse(first).ok()?),
            gate: get("gate")?.to_owned(),
            probability_ppm: get("probability_ppm")?.parse().ok()?,
            secrets: get("secrets_taken_out")?.parse().ok()?,
            cost: Cost {
                latency_us: get("latency_us")?.parse().ok()?,
                tokens: (get("tokens_read")?.parse().ok()?, get("tokens_written")?.parse().ok()?),
                looks: get("looks")?.parse().ok()?,
            },
        })
    }
}

/// Whether a finding of the judge was signed by this key for this session.
#[must_use]
pub(super) fn is_signed(finding: &Finding, session: &SessionId, key: &VerifyingKey) -> bool {
    let mut unsigned = finding.clone();
    let Some(signature) = unsigned.matches.pop().filter(|m| m.field == "judge.signature") else { return false };
    let bytes: Option<Vec<u8>> = signature
        .value
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    let Some(signature) = bytes.and_then(|b| Signature::from_slice(&b).ok()) else { return false };
    key.verify_strict(&signed_bytes(&unsigned, session), &signature).is_ok()
}

/// Everything that is acted upon or shown, each part with its length before it.
fn signed_bytes(finding: &Finding, session: &SessionId) -> Vec<u8> {
    let mut out = format!("{CONTEXT}\n").into_bytes();
    let mut put = |part: &str| {
        out.extend_from_slice(part.len().to_string().as_bytes());
        out.push(b':');
        out.extend_from_slice(part.as_bytes());
    };
    put(session.as_str());
    for part in [&finding.rule_id, &finding.rule_version, &finding.description] {
        put(part);
    }
    put(finding.step.as_str());
    put(finding.level.as_str());
    put(&finding.rule_digest.to_hex());
    put(&finding.pack_digest.to_hex());
    put(&format!("{:?}", finding.plan_action_score));
    for id in &finding.evidence {
        put(&id.to_string());
    }
    for m in &finding.matches {
        put(&m.field);
        put(&m.value);
    }
    out
}

fn field(name: &str, value: impl ToString) -> Match {
    Match { field: format!("judge.{name}"), value: value.to_string(), selection: SOURCE.to_owned() }
}

/// The word that stands for a value, as in the schema of answers.
fn word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn parsed<T: serde::de::DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::from(word)).ok()
}

/// A probability in millionths.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a million")]
pub(super) fn ppm(probability: f64) -> u32 {
    (probability.clamp(0.0, 1.0) * 1_000_000.0).round() as u32
}
