//! One session: what it is, how far it has come, and the chains of those who write about it.

use super::{Random, Sample, turns, words};
use std::collections::VecDeque;
use uuid::Uuid;
use wk_schemas::body::{Finding, Level, Match, PolicyApplied, SessionEnded, SessionStarted, Step};
use wk_schemas::{Body, Chain, Digest, Header, Origin, RecordId, SessionId, Timestamp, Topic};

/// The policy's text; every session has the same.
const POLICY: &str =
    "[files]\ndefault = \"allow\"\n[network]\ndefault = \"hold\"\nallow = [\"api.anthropic.com\", \"github.com\"]\n";

/// A record to come, and the finding that follows from it.
#[derive(Debug, Clone)]
struct Planned {
    origin: Origin,
    body: Body,
    finding: Option<Box<Finding>>,
}

/// A session under way.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// What every header has in common.
    header: Header,
    watcher: Header,
    events: Chain,
    findings: Chain,
    pub(super) user: String,
    pub(super) workspace: String,
    adapter: &'static str,
    /// What happens next, in order.
    queue: VecDeque<Planned>,
    /// Written next: the record before it shows what it is about.
    finding: Option<Box<Finding>>,
    turns_left: u64,
    pub(super) turn: i64,
    next_pid: i64,
    pub(super) plan: i32,
    started_at: Timestamp,
    last_recorded: i64,
    last_record: RecordId,
    over: bool,
}

impl Session {
    pub(super) fn new(random: &mut Random, at: Timestamp) -> Self {
        let [agent, version, model, adapter] = words::AGENTS[random.skewed(words::AGENTS.len())];
        let user = words::USERS[random.skewed(words::USERS.len())];
        let project = words::PROJECTS[random.skewed(words::PROJECTS.len())];
        let id = uuid(random, at).hyphenated().to_string();
        let header = Header {
            record_id: RecordId(Uuid::nil()),
            session_id: SessionId::parse(&id).expect("a UUID is a session id"),
            writer: "shim".into(),
            seq: 0,
            prev_digest: Digest::ZERO,
            occurred_at: at,
            origin: Origin::Shim,
            caused_by: Vec::new(),
            tenant: "default".into(),
            host: format!("dev-{}", random.skewed(40)),
            agent_name: Some(agent.into()),
            agent_version: Some(version.into()),
            agent_model: Some(model.into()),
            principal: Some(user.into()),
            policy_digest: Some(Digest::of(POLICY.as_bytes()).to_hex()),
        };
        let watcher = Header { writer: "watcher".into(), origin: Origin::Watcher, ..header.clone() };
        let mut session = Self {
            header,
            watcher,
            events: Chain::default(),
            findings: Chain::default(),
            user: user.into(),
            workspace: format!("/home/{user}/{project}"),
            adapter,
            queue: VecDeque::new(),
            finding: None,
            turns_left: 5 + random.below(40),
            turn: 0,
            next_pid: 2000 + random.small(20_000),
            plan: 0,
            started_at: at,
            last_recorded: 0,
            last_record: RecordId(Uuid::nil()),
            over: false,
        };
        session.open(random);
        session
    }

    /// Whether the last record has been written.
    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    /// Writes the next record.
    pub(super) fn next(&mut self, random: &mut Random, at: Timestamp) -> Sample {
        if let Some(finding) = self.finding.take() {
            return self.find(*finding, at);
        }
        if self.queue.is_empty() && self.turns_left > 0 {
            self.turns_left -= 1;
            turns::next(self, random, at);
        }
        let planned = self.queue.pop_front();
        let Planned { origin, body, finding } =
            planned.unwrap_or_else(|| Planned { origin: Origin::Shim, body: self.end(at), finding: None });
        self.finding = finding;
        let mut header = self.header.clone();
        header.record_id = RecordId(uuid(random, at));
        header.occurred_at = at;
        header.origin = origin;
        self.last_record = header.record_id;
        self.sample(Topic::Events, header, body)
    }

    /// Lets `body` follow what is already planned.
    pub(super) fn say(&mut self, origin: Origin, body: impl Into<Body>) {
        self.queue.push_back(Planned { origin, body: body.into(), finding: None });
    }

    /// As [`Session::say`], and a rule finds fault with it because of this field.
    pub(super) fn say_found(&mut self, random: &mut Random, body: impl Into<Body>, field: &str, value: &str) {
        let finding = Some(Box::new(finding(random, field, value)));
        self.queue.push_back(Planned { origin: Origin::Kernel, body: body.into(), finding });
    }

    fn find(&mut self, mut finding: Finding, at: Timestamp) -> Sample {
        let mut header = self.watcher.clone();
        header.record_id = RecordId::derived(&[self.last_record], &finding.rule_id);
        header.occurred_at = at;
        header.caused_by = vec![self.last_record];
        finding.evidence = vec![self.last_record];
        self.sample(Topic::Findings, header, finding.into())
    }

    fn sample(&mut self, topic: Topic, header: Header, body: Body) -> Sample {
        let (session_id, occurred_at, kind) = (header.session_id.clone(), header.occurred_at, body.kind());
        let chain = if topic == Topic::Findings { &mut self.findings } else { &mut self.events };
        let (_, datum) = chain.seal(header, body);
        // A log keeps milliseconds; the next whole one is never earlier than the record, nor than the one of the record before.
        let recorded_at = Timestamp((occurred_at.0.div_euclid(1000) + 2) * 1000);
        debug_assert!(self.last_recorded <= recorded_at.0, "time went back");
        self.last_recorded = recorded_at.0;
        Sample { topic, session_id, kind, occurred_at, recorded_at, datum }
    }

    fn open(&mut self, random: &mut Random) {
        let pid = self.pid();
        let started = SessionStarted {
            arguments: vec![self.adapter.into(), "exec".into()],
            working_directory: self.workspace.clone(),
            workspace: self.workspace.clone(),
            pid,
            user: self.user.clone(),
            uid: 1000,
            adapter: self.adapter.into(),
            confinement: vec!["seccomp-unotify".into(), "landlock-7".into()],
            shim_version: env!("CARGO_PKG_VERSION").into(),
            kernel: "6.18.2".into(),
        };
        let policy = PolicyApplied {
            name: "workspace".into(),
            digest: Digest::of(POLICY.as_bytes()).to_hex(),
            text: POLICY.into(),
            source: "preset".into(),
        };
        self.say(Origin::Shim, started);
        self.say(Origin::Shim, policy);
        turns::task(self, random);
    }

    fn end(&mut self, at: Timestamp) -> Body {
        self.over = true;
        let wall_time_us = at.micros_since(self.started_at);
        SessionEnded { exit_code: Some(0), signal: None, reason: "exited".into(), wall_time_us }.into()
    }

    /// The next process id.
    pub(super) const fn pid(&mut self) -> i64 {
        self.next_pid += 1;
        self.next_pid
    }
}

fn finding(random: &mut Random, field: &str, value: &str) -> Finding {
    let [rule_id, title] = words::RULES[random.skewed(words::RULES.len())];
    Finding {
        source: "rule".into(),
        rule_id: rule_id.into(),
        title: title.into(),
        rule_version: "2026-11-01".into(),
        rule_digest: Digest::of(rule_id.as_bytes()),
        pack_digest: Digest::of(b"watchkeeper pack 1"),
        level: [Level::Low, Level::Medium, Level::High, Level::Critical][random.skewed(4)],
        tags: vec!["attack.exfiltration".into(), "atlas.aml.t0053".into()],
        description: format!("{title}: {field} is {value}"),
        evidence: Vec::new(),
        matches: vec![Match { field: field.into(), value: value.into(), selection: "selection".into() }],
        task_plan_score: None,
        plan_action_score: Some(40 + i32::try_from(random.below(60)).expect("below 60")),
        action_effect_score: Some(20),
        step: [Step::Note, Step::Warn, Step::Ask][random.skewed(3)],
    }
}

/// A version 7 id made of the time and the seed's bits.
fn uuid(random: &mut Random, at: Timestamp) -> Uuid {
    let millis = u128::from(at.0.div_euclid(1000).unsigned_abs()) & 0xffff_ffff_ffff;
    let (a, b) = (u128::from(random.next() & 0xfff), u128::from(random.next() >> 2));
    Uuid::from_u128(millis << 80 | 7 << 76 | a << 64 | 2 << 62 | b)
}
