//! Decides what the watcher does about one session.
//!
//! Pure: no clock, no I/O, no randomness, and so no errors. Time is the record's own; replaying a log always yields the same
//! decisions with the same ids, whatever the batches were and however sessions were interleaved.
//!
//! ```text
//! note, warn   a finding                              freeze   a finding, and a freeze command, once until resumed
//! ask          a finding; a hold of the shim stays    kill     a finding, and a kill command, once
//! ```

use crate::context::{Context, Meaning};
use crate::deviation::{self, Scores};
use crate::event::Row;
use crate::integrity::{self, Fault, Standing};
use crate::ladder::{self, About, By, Ladder};
use crate::rules::{Hit, Rules, Windows};
use crate::session::Session;
use crate::{approvals, judge as model, text};
use ed25519_dalek::VerifyingKey;
use std::collections::BTreeSet;
use wk_schemas::body::{Command, Finding, Instruction, Level, Match, Step};
use wk_schemas::{Body, Bytes, Digest, Header, Record, RecordId, Timestamp, Topic};

/// Findings of one rule in one session; what comes after is counted in the session and not told again.
const FINDINGS_PER_RULE_MAX: u32 = 50;
/// Writer whose records the session is folded from; others on the topic are only checked for gaps.
const SHIM: &str = "shim";

/// What is decided by, beside the session.
#[derive(Debug)]
pub struct Judge {
    /// The rules in force.
    pub rules: Rules,
    /// Whose approvals count.
    pub approvers: Vec<VerifyingKey>,
    /// Thresholds and times.
    pub settings: Settings,
}

/// Thresholds and times.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// A command is void so long after the record that led to it.
    pub command_ttl_us: i64,
    /// Which step follows from which score.
    pub ladder: Ladder,
    /// How far people's answers reach, and what needs two of them.
    pub approvals: approvals::Rules,
    /// Ids and titles of rules that find, but never command.
    pub shadow_rules: BTreeSet<String>,
    /// Finds, but never commands.
    pub is_shadow: bool,
    /// About what the model is asked and what its answer may do; `None` when there is no judge.
    pub judge: Option<model::Verified>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            command_ttl_us: 600_000_000,
            ladder: Ladder::default(),
            approvals: approvals::Rules::default(),
            shadow_rules: BTreeSet::new(),
            is_shadow: false,
            judge: None,
        }
    }
}

/// A record as it came from the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    /// The topic it came on.
    pub topic: Topic,
    /// The record.
    pub record: Record,
    /// SHA-256 of its datum.
    pub digest: Digest,
}

/// A record to be written: everything but its place in the chain and, for a command, its signature.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// The topic it goes to.
    pub topic: Topic,
    /// Derived from its causes: deciding again gives the same.
    pub id: RecordId,
    /// The records it follows from.
    pub caused_by: Vec<RecordId>,
    /// When: the time of the record that led to it.
    pub occurred_at: Timestamp,
    /// What it says.
    pub body: Body,
}

/// What follows from one record.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// In order.
    pub findings: Vec<Outgoing>,
    /// In order.
    pub commands: Vec<Outgoing>,
    /// What the model is to be asked; deciding does not wait for the answers.
    pub questions: Vec<model::Question>,
}

/// Folds one record into the session and returns the findings and commands that follow.
///
/// A `seq` seen before changes nothing: the log delivers at least once. A `seq` that skips ahead yields `SequenceGap` and a
/// freeze: a hole in an audit log is itself a finding.
pub fn step(session: &mut Session, judge: &Judge, incoming: &Incoming) -> Decision {
    let record = &incoming.record;
    match incoming.topic {
        Topic::Approvals => match &record.body {
            Body::Approval(approval) => approvals::answer(session, judge, record, approval),
            _ => Decision::default(),
        },
        Topic::Events => event(session, judge, incoming),
        Topic::Findings => match &record.body {
            Body::Finding(finding) => model::answered(session, judge, record, finding),
            _ => Decision::default(),
        },
        Topic::Commands | Topic::DeadLetters => Decision::default(),
    }
}

fn event(session: &mut Session, judge: &Judge, incoming: &Incoming) -> Decision {
    let record = &incoming.record;
    let fault = match integrity::follow(session, &record.header, incoming.digest) {
        Standing::Repeated => return Decision::default(),
        Standing::Next => None,
        Standing::Broken(fault) => Some(fault),
    };
    let mut raised: Vec<Raised> = Vec::new();
    let mut questions = Vec::new();
    let mut answered = None;
    if let Some(fault) = fault {
        raised.push(broken(judge, record, fault));
    }
    if record.header.writer == SHIM {
        session.tick(record);
        let mut windows = std::mem::take(&mut session.windows);
        let Judged { meaning, scores, hits, question } = look(session, judge, incoming, &mut windows);
        session.windows = windows;
        if hits.is_empty() {
            raised.extend(deviates(session, judge, record, &scores));
        }
        for hit in &hits {
            if is_new(session, hit) {
                raised.push(found(session, judge, record, &meaning, &scores, hit));
            }
        }
        scores.remember(&mut session.deviation);
        session.deviation.hear(record, session.calls_total);
        if judge.settings.judge.is_some() && !session.has_ended {
            questions.extend(question);
            session.judge.note(record, &meaning);
            questions.iter().for_each(|q| session.judge.asked(q.about.0));
        }
        session.fold(record, &meaning);
        if let Body::ApprovalRequested(asked) = &record.body {
            let is_grave = hits.iter().any(|h| ladder::rank(h.rule.step) >= ladder::rank(Step::Ask));
            answered = approvals::again(session, judge, record, asked, is_grave);
        }
    }
    if answered.is_some() {
        // Somebody has answered already: nothing is left open.
        questions.clear();
        session.judge.close(record.header.record_id.0);
    }
    let mut decision = Decision { questions, ..Decision::default() };
    decision.commands.extend(answered);
    for (finding, step, reason) in raised {
        let command = command(session, judge, &record.header, finding.id, step, &reason);
        decision.findings.push(finding);
        decision.commands.extend(command);
    }
    decision
}

/// What a record means in its session, and what score and rules say of it.
struct Judged {
    meaning: Meaning,
    scores: Scores,
    hits: Vec<Hit>,
    /// What the model is to be asked.
    question: Option<model::Question>,
}

/// Looks at a record against its session as it was before.
fn look(session: &Session, judge: &Judge, incoming: &Incoming, windows: &mut Windows) -> Judged {
    let record = &incoming.record;
    let context = Context::of(session, record);
    let scores = deviation::score(session, record, &context.meaning);
    let hits = judge.rules.judge(&Row::new(record, &context), windows, session.clock);
    let gate = judge.settings.judge.as_ref().filter(|_| !session.has_ended).map(|s| &s.gate);
    let question =
        gate.and_then(|gate| model::ask(session, incoming, &context, &scores, &hits, gate, judge.rules.pack_digest));
    Judged { meaning: context.meaning, scores, hits, question }
}

/// A finding, the step that is taken (lower than the finding's in shadow), and the reason that a command gives.
type Raised = (Outgoing, Step, String);

/// Class of the action that a record shows, as the ladder knows it.
fn class(record: &Record) -> &str {
    match &record.body {
        Body::ToolCalled(b) => &b.tool_class,
        Body::ProcessStarted(_) => "process",
        Body::FileAccessed(_) => "file",
        Body::ConnectionAttempted(_) | Body::NameResolved(_) => "connection",
        Body::ApprovalRequested(_) => "held",
        Body::PlanDeclared(_) => "plan",
        _ => "other",
    }
}

fn about(record: &Record, by: By) -> About<'_> {
    About { by, tenant: &record.header.tenant, class: class(record) }
}

/// Whether a rule has not said this of this object before; a freezing rule may say it again after a resume.
fn is_new(session: &mut Session, hit: &Hit) -> bool {
    let subject = text::cut(&hit.subject, 256);
    let class = if matches!(hit.rule.step, Step::Freeze | Step::Kill) { "freeze" } else { "other" };
    let key = format!("{class} {} {subject}", hit.rule.id);
    if let Some(count) = session.raised.get_mut(&key) {
        *count = count.saturating_add(1);
        return false;
    }
    session.raised.insert(&key, 1);
    let total = format!("total {}", hit.rule.id);
    let count = session.raised.get(&total).copied().unwrap_or(0).saturating_add(1);
    session.raised.insert(&total, count);
    count <= FINDINGS_PER_RULE_MAX
}

fn found(session: &Session, judge: &Judge, record: &Record, meaning: &Meaning, scores: &Scores, hit: &Hit) -> Raised {
    let rule = &hit.rule;
    let step = judge.settings.ladder.of_rule(about(record, By::Rule), rule.step);
    let is_shadow = [&rule.id, &rule.title].into_iter().any(|name| judge.settings.shadow_rules.contains(name));
    let mut description = hit.description.clone();
    if step == Step::Ask {
        description.push_str(match &record.body {
            Body::ApprovalRequested(_) => "; it waits for an answer",
            _ => "; nothing is held, it has happened",
        });
    }
    let finding = Finding {
        source: "rule".to_owned(),
        rule_id: rule.id.clone(),
        title: rule.title.clone(),
        rule_version: rule.version.clone(),
        rule_digest: rule.digest,
        pack_digest: judge.rules.pack_digest,
        level: rule.level,
        tags: rule.tags.clone(),
        description,
        evidence: evidence(session, record, meaning, hit),
        matches: hit.matches.clone(),
        task_plan_score: points(scores.task_plan.as_ref()),
        plan_action_score: points(scores.plan_action.as_ref()),
        action_effect_score: points(scores.action_effect.as_ref()),
        step,
    };
    let reason = format!("{}: {}", rule.title, finding.description);
    let taken = if is_shadow { Step::Note } else { step };
    (outgoing(record, finding, &format!("rule {}", rule.id)), taken, reason)
}

fn points(score: Option<&deviation::Score>) -> Option<i32> {
    score.map(|s| i32::from(s.value))
}

/// The records that show it, oldest first as far as they are known; the one that raised it comes last.
fn evidence(session: &Session, record: &Record, meaning: &Meaning, hit: &Hit) -> Vec<RecordId> {
    let mut out: Vec<RecordId> = hit.evidence.clone();
    for field in hit.matches.iter().map(|m| m.field.as_str()) {
        let prefix = field.split('.').next().unwrap_or(field);
        let of_context = meaning.evidence.iter().filter(|(name, _)| *name == prefix).map(|(_, id)| *id);
        for id in session.evidence(field).into_iter().chain(of_context) {
            if id != record.header.record_id && !out.contains(&id) {
                out.push(id);
            }
        }
    }
    // Version 7 ids of one shim are in order of time.
    out.sort_unstable();
    out.dedup();
    out.push(record.header.record_id);
    out
}

/// A deviation that no rule spoke of, once for each edge and reason.
fn deviates(session: &mut Session, judge: &Judge, record: &Record, scores: &Scores) -> Option<Raised> {
    let worst = scores.worst()?;
    let step = judge.settings.ladder.of_score(about(record, By::Deviation), worst.value)?;
    let edges = [
        (&scores.task_plan, "deviation.task_plan", "PlanDepartsFromTask"),
        (&scores.plan_action, "deviation.plan_action", "ActionDepartsFromTask"),
        (&scores.action_effect, "deviation.action_effect", "EffectDepartsFromAction"),
    ];
    let (_, rule, title) = edges.into_iter().find(|(s, ..)| s.as_ref() == Some(worst))?;
    let key = format!("other {rule} {}", text::cut(&worst.reason, 256));
    if session.raised.contains(&key) {
        return None;
    }
    session.raised.insert(&key, 1);
    let mut evidence = worst.evidence.clone();
    evidence.sort_unstable();
    evidence.dedup();
    evidence.retain(|id| *id != record.header.record_id);
    evidence.push(record.header.record_id);
    let finding = Finding {
        source: "deviation".to_owned(),
        rule_id: rule.to_owned(),
        title: title.to_owned(),
        rule_version: env!("CARGO_PKG_VERSION").to_owned(),
        rule_digest: Digest::of(include_bytes!("../data/verbs.txt")),
        pack_digest: judge.rules.pack_digest,
        level: Level::High,
        tags: vec!["atlas.aml.t0051".to_owned()],
        description: worst.reason.clone(),
        evidence,
        matches: basis(session),
        task_plan_score: points(scores.task_plan.as_ref()),
        plan_action_score: points(scores.plan_action.as_ref()),
        action_effect_score: points(scores.action_effect.as_ref()),
        step,
    };
    let reason = format!("{title}: {}", worst.reason);
    Some((outgoing(record, finding, rule), step, reason))
}

/// What a deviation was measured against, and how far that can be relied on.
fn basis(session: &Session) -> Vec<Match> {
    let (basis, confidence) = deviation::basis(session);
    let field = |name: &str, value: String| Match {
        field: format!("deviation.{name}"),
        value,
        selection: "deviation".to_owned(),
    };
    vec![field("basis", basis.to_owned()), field("confidence", confidence.to_string())]
}

fn broken(judge: &Judge, record: &Record, fault: Fault) -> Raised {
    let reason = format!("{}: {}", fault.title, fault.description);
    let finding = Finding {
        source: "integrity".to_owned(),
        rule_id: fault.rule.to_owned(),
        title: fault.title.to_owned(),
        rule_version: env!("CARGO_PKG_VERSION").to_owned(),
        rule_digest: Digest::ZERO,
        pack_digest: judge.rules.pack_digest,
        level: Level::Critical,
        tags: vec!["attack.defense-evasion".to_owned(), "attack.t1562".to_owned()],
        description: fault.description,
        evidence: vec![record.header.record_id],
        matches: Vec::new(),
        task_plan_score: None,
        plan_action_score: None,
        action_effect_score: None,
        step: fault.step,
    };
    (outgoing(record, finding, fault.rule), fault.step, reason)
}

fn outgoing(record: &Record, finding: Finding, name: &str) -> Outgoing {
    Outgoing {
        topic: Topic::Findings,
        id: RecordId::derived(&[record.header.record_id], name),
        caused_by: finding.evidence.clone(),
        occurred_at: record.header.occurred_at,
        body: finding.into(),
    }
}

/// The command that a finding leads to. A session is frozen once until it is resumed, and killed once.
pub(crate) fn command(
    session: &mut Session,
    judge: &Judge,
    header: &Header,
    finding: RecordId,
    step: Step,
    reason: &str,
) -> Option<Outgoing> {
    let at = header.occurred_at;
    let instruction = match step {
        Step::Freeze => Instruction::Freeze,
        Step::Kill => Instruction::Kill,
        Step::Note | Step::Warn | Step::Ask | Step::Unspecified => return None,
    };
    let is_asked = session.asked.is_some_and(|a| a.is_kill || (step == Step::Freeze && at.0 <= a.until));
    let is_frozen = step == Step::Freeze && session.frozen_by.is_some();
    if judge.settings.is_shadow || session.has_ended || is_asked || is_frozen {
        return None;
    }
    let expires_at = at.plus_micros(judge.settings.command_ttl_us);
    session.asked = Some(crate::session::Asked { is_kill: step == Step::Kill, until: expires_at.0 });
    let command = Command {
        instruction,
        ticket: None,
        policy: None,
        reason: text::cut(reason, 1024).to_owned(),
        by: "watcher".to_owned(),
        issued_at: at,
        expires_at,
        key_id: String::new(),
        signature: Bytes::default(),
    };
    Some(Outgoing {
        topic: Topic::Commands,
        id: RecordId::derived(&[finding], instruction.as_str()),
        caused_by: vec![finding],
        occurred_at: at,
        body: command.into(),
    })
}
