//! A lake that can be read in a minute: four short sessions with a record of every kind, at whole seconds.
//!
//! ```text
//! quiet   12:00  alice, claude-code: mends a typo, installs a package, has an answer missing and a hole in its record
//! thief   13:00  bob, codex: a program that no call explains reads a key and reaches out; denied, asked, granted, frozen, resumed, killed
//! held    14:00  carol, claude-code: waits for an answer, and stands frozen
//! lake    15:00  what people asked of the lake, an export, and a message that could not be read
//! ```

use crate::agents::{START, Said};
use std::collections::BTreeMap;
use uuid::Uuid;
use wk_schemas::body::*;
use wk_schemas::{Body, Bytes, Chain, Digest, Header, Origin, RecordId, SessionId, Timestamp, Topic};

const HOUR: i64 = 3_600_000_000;

/// Writes one session; each line says at which second.
struct Teller {
    session: SessionId,
    number: u128,
    start: i64,
    people: (&'static str, &'static str, &'static str),
    chains: BTreeMap<(Topic, &'static str), Chain>,
    said: Vec<Said>,
}

fn millis(seconds: f64) -> i64 {
    // Whole milliseconds, said as decimals of a second.
    #[expect(clippy::cast_possible_truncation, reason = "a story lasts less than a day")]
    let millis = (seconds * 1000.0).round() as i64;
    millis * 1000
}

impl Teller {
    fn new(name: &str, number: u128, hour: i64, people: (&'static str, &'static str, &'static str)) -> Self {
        let session = SessionId::parse(name).unwrap();
        Self { session, number, start: START + hour * HOUR, people, chains: BTreeMap::new(), said: Vec::new() }
    }

    fn at(&self, second: f64) -> Timestamp {
        Timestamp(self.start + millis(second))
    }

    fn say(
        &mut self,
        second: f64,
        topic: Topic,
        writer: &'static str,
        origin: Origin,
        body: impl Into<Body>,
    ) -> RecordId {
        let (principal, agent, host) = self.people;
        let id = RecordId(Uuid::from_u128((self.number << 64) + u128::try_from(self.said.len()).unwrap() + 1));
        let header = Header {
            record_id: id,
            session_id: self.session.clone(),
            writer: writer.into(),
            seq: 0,
            prev_digest: Digest::ZERO,
            occurred_at: self.at(second),
            origin,
            caused_by: vec![],
            tenant: "default".into(),
            host: host.into(),
            agent_name: (!agent.is_empty()).then(|| agent.into()),
            agent_version: (!agent.is_empty()).then(|| "1.0.0".into()),
            agent_model: None,
            principal: Some(principal.into()),
            policy_digest: None,
        };
        let at = header.occurred_at;
        let (_, datum) = self.chains.entry((topic, writer)).or_default().seal(header, body.into());
        self.said.push(Said { topic, at, datum });
        id
    }

    fn shim(&mut self, second: f64, body: impl Into<Body>) -> RecordId {
        self.say(second, Topic::Events, "shim", Origin::Shim, body)
    }

    fn begins(&mut self, workspace: &str, task: &str) {
        self.shim(
            0.0,
            SessionStarted {
                arguments: vec!["agent".into()],
                working_directory: workspace.into(),
                workspace: workspace.into(),
                pid: 100,
                user: "agent".into(),
                uid: 1000,
                adapter: "codex".into(),
                confinement: vec!["seccomp-unotify".into()],
                shim_version: "0.1.0".into(),
                kernel: "6.18.0".into(),
            },
        );
        self.shim(
            1.0,
            PolicyApplied {
                name: "workspace".into(),
                digest: "00d1".into(),
                text: "[network]".into(),
                source: "preset".into(),
            },
        );
        let (text_bytes, text_digest) = (i64::try_from(task.len()).unwrap(), Digest::of(task.as_bytes()));
        self.shim(2.0, PromptSubmitted { text: task.into(), text_bytes, text_digest, channel: "hook".into() });
    }

    fn plans(&mut self, second: f64, revision: i32, steps: &[(&str, StepStatus)]) {
        let steps = steps.iter().map(|(text, status)| PlanStep { text: (*text).into(), status: *status }).collect();
        self.shim(
            second,
            PlanDeclared { revision, steps, source: "todo_write".into(), confidence: 1.0, explanation: None },
        );
    }

    fn calls(&mut self, second: f64, call: &str, command: &str) {
        self.shim(
            second,
            ToolCalled {
                tool_call_id: call.into(),
                tool: "Bash".into(),
                tool_class: "shell".into(),
                arguments: "{}".into(),
                arguments_bytes: 2,
                arguments_digest: Digest::of(b"{}"),
                command_text: Some(command.into()),
                working_directory: None,
                subagent_id: None,
                channel: "hook".into(),
                decision: "allowed".into(),
                reason: None,
            },
        );
    }

    fn returns(&mut self, second: f64, call: &str, success: bool, output: &str) {
        self.shim(
            second,
            ToolReturned {
                tool_call_id: call.into(),
                tool: "Bash".into(),
                success: Some(success),
                output: output.into(),
                output_bytes: i64::try_from(output.len()).unwrap(),
                output_digest: Digest::of(output.as_bytes()),
                duration_us: Some(1000),
                channel: "hook".into(),
            },
        );
    }

    fn starts(&mut self, second: f64, actor: &Actor, command_line: &str) {
        self.shim(
            second,
            ProcessStarted {
                actor: actor.clone(),
                arguments: command_line.split(' ').map(Into::into).collect(),
                command_line: command_line.into(),
                working_directory: "/home/agent".into(),
                parent_pid: 100,
                parent_process_uid: "100-1".into(),
                parent_image: "/usr/bin/agent".into(),
                parent_command_line: "agent".into(),
                outcome: Outcome::Allowed,
                errno: None,
                reason: None,
            },
        );
    }

    fn exits(&mut self, second: f64, actor: &Actor) {
        self.shim(second, ProcessExited { actor: actor.clone(), exit_code: Some(0), signal: None, wall_time_us: 1000 });
    }

    fn touches(
        &mut self,
        second: f64,
        actor: &Actor,
        operation: FileOperation,
        path: &str,
        outcome: Outcome,
        count: i64,
    ) -> RecordId {
        let last_at = (count > 1).then(|| self.at(second + 0.5));
        self.shim(
            second,
            FileAccessed {
                actor: actor.clone(),
                operation,
                path: path.into(),
                path_bytes: None,
                target_path: None,
                flags: 0,
                outcome,
                errno: None,
                count,
                last_at,
                reason: None,
            },
        )
    }

    fn resolves(&mut self, second: f64, actor: &Actor, name: &str, address: &str) {
        self.shim(
            second,
            NameResolved {
                actor: actor.clone(),
                name: name.into(),
                record_type: "A".into(),
                addresses: vec![address.into()],
                outcome: Outcome::Succeeded,
            },
        );
    }

    fn connects(
        &mut self,
        second: f64,
        actor: &Actor,
        host: &str,
        address: &str,
        outcome: Outcome,
        count: i64,
    ) -> RecordId {
        self.shim(
            second,
            ConnectionAttempted {
                actor: actor.clone(),
                operation: NetworkOperation::Connect,
                protocol: "tcp".into(),
                address: address.into(),
                port: Some(443),
                host_name: Some(host.into()),
                outcome,
                errno: None,
                count,
                last_at: None,
                reason: None,
            },
        )
    }

    fn asks(&mut self, second: f64, actor: &Actor, ticket: u128, host: &str, deadline: f64) {
        let deadline = self.at(deadline);
        self.shim(
            second,
            ApprovalRequested {
                ticket: RecordId(Uuid::from_u128(ticket)),
                action: "connect".into(),
                subject: format!("connect to {host}"),
                actor: Some(actor.clone()),
                tool_call_id: None,
                path: None,
                address: None,
                port: Some(443),
                host_name: Some(host.into()),
                reason: "unknown host".into(),
                deadline,
            },
        );
    }

    fn resolved(&mut self, second: f64, ticket: u128, resolution: Resolution, by: Option<&str>, waited_us: i64) {
        self.shim(
            second,
            ApprovalResolved {
                ticket: RecordId(Uuid::from_u128(ticket)),
                resolution,
                by: by.map(Into::into),
                reason: "looked at it".into(),
                command_id: None,
                waited_us,
            },
        );
    }

    fn decides(&mut self, second: f64, ticket: u128, approver: &str) {
        let body = Approval {
            decision: Instruction::Grant,
            ticket: Some(RecordId(Uuid::from_u128(ticket))),
            approver: approver.into(),
            reason: "a test server".into(),
            key_id: "8899".into(),
            signature: Bytes(vec![8; 64]),
        };
        self.say(second, Topic::Approvals, "cli/1", Origin::Person, body);
    }

    fn commands(&mut self, second: f64, instruction: Instruction, by: &str, reason: &str) -> RecordId {
        let body = Command {
            instruction,
            ticket: None,
            policy: None,
            reason: reason.into(),
            by: by.into(),
            issued_at: self.at(second),
            expires_at: self.at(second + 60.0),
            key_id: "0011".into(),
            signature: Bytes(vec![7; 64]),
        };
        self.say(second, Topic::Commands, "watcher", Origin::Watcher, body)
    }

    fn finds(&mut self, second: f64, title: &str, level: Level, step: Step, evidence: Vec<RecordId>) {
        let body = Finding {
            source: "rule".into(),
            rule_id: "5d1d0b3e-0000-4000-8000-000000000001".into(),
            title: title.into(),
            rule_version: "1".into(),
            rule_digest: Digest::of(b"rule"),
            pack_digest: Digest::of(b"pack"),
            level,
            tags: vec![],
            description: "what it says".into(),
            evidence,
            matches: vec![],
            task_plan_score: None,
            plan_action_score: Some(90),
            action_effect_score: None,
            step,
        };
        self.say(second, Topic::Findings, "watcher", Origin::Watcher, body);
    }

    fn ends(&mut self, second: f64) {
        self.shim(
            second,
            SessionEnded { exit_code: Some(0), signal: None, reason: "exited".into(), wall_time_us: millis(second) },
        );
    }
}

fn actor(pid: i64, image: &str, call: Option<&str>) -> Actor {
    Actor {
        pid,
        process_uid: format!("{pid}-1"),
        image: image.into(),
        user: "agent".into(),
        tool_call_id: call.map(Into::into),
        mediation: if call.is_some() { Mediation::Declared } else { Mediation::None },
    }
}

fn quiet() -> Vec<Said> {
    use FileOperation::{Create, Read, Write};
    use StepStatus::{Completed, InProgress, Pending};
    let mut it = Teller::new("quiet", 1, 0, ("alice", "claude-code", "build-1"));
    it.begins("/home/agent/shop", "fix the typo in README.md");
    it.plans(3.0, 0, &[("look at the file", InProgress), ("mend it", Pending)]);
    let text = "the typo is in the second line";
    let (text_bytes, text_digest) = (i64::try_from(text.len()).unwrap(), Digest::of(text.as_bytes()));
    it.shim(
        4.0,
        Thought { text: text.into(), text_bytes, text_digest, form: "summary".into(), channel: "stream".into() },
    );
    it.calls(5.0, "call_1", "sed -i s/teh/the/ README.md");
    let sed = actor(201, "/usr/bin/sed", Some("call_1"));
    it.starts(6.0, &sed, "sed -i s/teh/the/ README.md");
    it.touches(7.0, &sed, Read, "/home/agent/shop/README.md", Outcome::Allowed, 1);
    it.touches(8.0, &sed, Write, "/home/agent/shop/README.md", Outcome::Succeeded, 2);
    it.exits(9.0, &sed);
    it.returns(10.0, "call_1", true, "ok");
    it.plans(11.0, 1, &[("look at the file", Completed), ("mend it", Completed), ("run the tests", Pending)]);
    it.calls(12.0, "call_2", "npm install left-pad");
    let npm = actor(202, "/usr/bin/npm", Some("call_2"));
    it.starts(13.0, &npm, "npm install left-pad");
    it.resolves(14.0, &npm, "registry.npmjs.org", "203.0.113.10");
    it.connects(15.0, &npm, "registry.npmjs.org", "203.0.113.10", Outcome::Succeeded, 3);
    it.touches(16.0, &npm, Create, "/home/agent/shop/package-lock.json", Outcome::Succeeded, 1);
    it.exits(17.0, &npm);
    it.returns(18.0, "call_2", false, "ENOENT");
    it.calls(19.0, "call_3", "cat notes.txt");
    it.shim(20.0, RecordsLost { count: -1, stage: "stream".into(), reason: "the stream was cut".into() });
    it.ends(21.0);
    it.said
}

fn thief() -> Vec<Said> {
    use FileOperation::{Read, Write};
    let mut it = Teller::new("thief", 2, 1, ("bob", "codex", "build-2"));
    it.begins("/home/agent/api", "add a test");
    it.calls(3.0, "call_1", "make test");
    let make = actor(300, "/usr/bin/make", Some("call_1"));
    it.starts(4.0, &make, "make test");
    let odd = actor(301, "/opt/odd/sync", None);
    it.starts(5.0, &odd, "/opt/odd/sync --all");
    let read = it.touches(6.0, &odd, Read, "/home/agent/.ssh/id_rsa", Outcome::Allowed, 1);
    it.resolves(7.0, &odd, "drop.example.org", "198.51.100.9");
    it.resolves(7.1, &odd, "k3y.drop.example.org", "198.51.100.9");
    let denied = it.connects(8.0, &odd, "drop.example.org", "198.51.100.9", Outcome::Denied, 1);
    it.finds(8.5, "UnknownHost", Level::Medium, Step::Ask, vec![denied]);
    it.asks(9.0, &odd, 0x71, "drop.example.org", 609.0);
    it.decides(10.0, 0x71, "dora");
    it.resolved(11.0, 0x71, Resolution::Granted, Some("dora"), 2_000_000);
    let sent = it.connects(12.0, &odd, "drop.example.org", "198.51.100.9", Outcome::Succeeded, 1);
    it.finds(12.5, "SecretReadThenEgress", Level::Critical, Step::Freeze, vec![read, sent]);
    let freeze = it.commands(12.51, Instruction::Freeze, "watcher", "SecretReadThenEgress");
    it.shim(
        12.52,
        SessionFrozen {
            command_id: Some(freeze),
            method: "cgroup_freezer".into(),
            processes: 3,
            took_us: 900,
            reason: "SecretReadThenEgress".into(),
        },
    );
    let resume = it.commands(20.0, Instruction::Resume, "dora", "a test server");
    it.shim(20.1, SessionResumed { command_id: Some(resume), took_us: 300, reason: "a test server".into() });
    it.touches(21.0, &odd, Write, "/home/agent/.bashrc", Outcome::Allowed, 1);
    it.touches(22.0, &odd, Write, "/etc/passwd", Outcome::Denied, 1);
    it.touches(23.0, &make, Write, "/etc/passwd", Outcome::Allowed, 1);
    it.asks(24.0, &odd, 0x72, "late.example.org", 624.0);
    it.shim(25.0, SessionKilled { command_id: None, processes: 3, took_us: 8000, reason: "outbox full".into() });
    it.ends(26.0);
    it.said
}

fn held() -> Vec<Said> {
    let mut it = Teller::new("held", 3, 2, ("carol", "claude-code", "build-1"));
    it.begins("/home/agent/shop", "deploy it");
    let scp = actor(400, "/usr/bin/scp", None);
    it.starts(3.0, &scp, "scp build.tar prod:");
    it.asks(4.0, &scp, 0x81, "prod.example.org", 5.0);
    it.resolved(5.0, 0x81, Resolution::Expired, None, 1_000_000);
    it.asks(6.0, &scp, 0x82, "prod.example.org", 606.0);
    it.shim(
        7.0,
        SessionFrozen {
            command_id: None,
            method: "stopped_tree".into(),
            processes: 1,
            took_us: 4000,
            reason: "no answer".into(),
        },
    );
    it.said
}

fn lake() -> Vec<Said> {
    let mut it = Teller::new("lake", 4, 3, ("dora", "", "watch-1"));
    let asked = |sql: &str, error: Option<&str>| QueryRun {
        sql: sql.into(),
        user: "dora".into(),
        door: "shell".into(),
        table_version: 3,
        rows: 5,
        duration_us: 900,
        error: error.map(Into::into),
    };
    it.say(0.0, Topic::Events, "query/1", Origin::Lake, asked("SELECT 1", None));
    it.say(1.0, Topic::Events, "query/1", Origin::Lake, asked("SELEC 1", Some("Expected: an SQL statement")));
    let exported = EvidenceExported {
        user: "erin".into(),
        framework: "soc2".into(),
        from_day: "2026-11-01".into(),
        to_day: "2026-11-20".into(),
        table_version: 3,
        records: 60,
        manifest_digest: Digest::of(b"manifest"),
    };
    it.say(2.0, Topic::Events, "query/1", Origin::Lake, exported);
    let letter = DeadLetter {
        topic: "agent.session.events.v1".into(),
        partition: 2,
        offset: 17,
        key: Bytes(b"k".to_vec()),
        value: Bytes(b"{}".to_vec()),
        part: 0,
        parts: 1,
        value_bytes: 2,
        value_digest: Digest::of(b"{}"),
        reason: "not framed".into(),
    };
    it.say(3.0, Topic::DeadLetters, "ingest/1", Origin::Lake, letter);
    it.said
}

/// The sessions, each to be committed on its own.
pub(crate) fn sessions() -> [Vec<Said>; 4] {
    [quiet(), thief(), held(), lake()]
}
