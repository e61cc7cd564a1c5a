//! One record of every kind, with every optional field set once and left out once where that matters.

use uuid::Uuid;
use wk_schemas::body::*;
use wk_schemas::{Body, Bytes, Digest, Header, Origin, Record, RecordId, SessionId, Timestamp};

pub(crate) fn id(n: u128) -> RecordId {
    RecordId(Uuid::from_u128(n))
}

pub(crate) fn header(seq: i64) -> Header {
    Header {
        record_id: id(0x0193_0000_0000_7000_8000_0000_0000_0000 + u128::from(seq.unsigned_abs())),
        session_id: SessionId::parse("01930000-0000-7000-8000-00000000aaaa").unwrap(),
        writer: "shim".into(),
        seq,
        prev_digest: Digest::ZERO,
        occurred_at: Timestamp(1_793_000_000_000_000 + seq),
        origin: Origin::Kernel,
        caused_by: vec![id(1), id(2)],
        tenant: "default".into(),
        host: "build-7".into(),
        agent_name: Some("codex".into()),
        agent_version: Some("0.169.0".into()),
        agent_model: None,
        principal: Some("alice".into()),
        policy_digest: Some(Digest::of(b"policy").to_hex()),
    }
}

fn actor() -> Actor {
    Actor {
        pid: 4711,
        process_uid: "4711-998877".into(),
        image: "/usr/bin/curl".into(),
        user: "alice".into(),
        tool_call_id: Some("call_1".into()),
        mediation: Mediation::Inherited,
    }
}

pub(crate) fn bodies() -> Vec<Body> {
    let text = |t: &str| (t.to_owned(), i64::try_from(t.len()).unwrap(), Digest::of(t.as_bytes()));
    let (prompt, prompt_bytes, prompt_digest) = text("fix the typo in README.md");
    let (arguments, arguments_bytes, arguments_digest) = text(r#"{"cmd":"ls"}"#);
    vec![
        SessionStarted {
            arguments: vec!["codex".into(), "exec".into()],
            working_directory: "/home/alice/shop".into(),
            workspace: "/home/alice/shop".into(),
            pid: 4700,
            user: "alice".into(),
            uid: 1000,
            adapter: "codex".into(),
            confinement: vec!["seccomp-unotify".into(), "landlock-7".into()],
            shim_version: "0.1.0".into(),
            kernel: "6.18.0".into(),
        }
        .into(),
        SessionEnded { exit_code: Some(0), signal: None, reason: "exited".into(), wall_time_us: 5_000_000 }.into(),
        PromptSubmitted {
            text: prompt.clone(),
            text_bytes: prompt_bytes,
            text_digest: prompt_digest,
            channel: "hook".into(),
        }
        .into(),
        PlanDeclared {
            revision: 1,
            steps: vec![
                PlanStep { text: "read the file".into(), status: StepStatus::Completed },
                PlanStep { text: "mend it".into(), status: StepStatus::InProgress },
            ],
            source: "update_plan".into(),
            confidence: 1.0,
            explanation: None,
        }
        .into(),
        Thought {
            text: prompt,
            text_bytes: prompt_bytes,
            text_digest: prompt_digest,
            form: "summary".into(),
            channel: "stream".into(),
        }
        .into(),
        ToolCalled {
            tool_call_id: "call_1".into(),
            tool: "Bash".into(),
            tool_class: "shell".into(),
            arguments: arguments.clone(),
            arguments_bytes,
            arguments_digest,
            command_text: Some("ls".into()),
            working_directory: Some("/home/alice/shop".into()),
            subagent_id: None,
            channel: "hook".into(),
            decision: "allowed".into(),
            reason: None,
        }
        .into(),
        ToolReturned {
            tool_call_id: "call_1".into(),
            tool: "Bash".into(),
            success: Some(true),
            output: arguments,
            output_bytes: arguments_bytes,
            output_digest: arguments_digest,
            duration_us: Some(1200),
            channel: "hook".into(),
        }
        .into(),
        ProcessStarted {
            actor: actor(),
            arguments: vec!["curl".into(), "https://example.org".into()],
            command_line: "curl https://example.org".into(),
            working_directory: "/home/alice/shop".into(),
            parent_pid: 4700,
            parent_process_uid: "4700-998800".into(),
            parent_image: "/bin/bash".into(),
            parent_command_line: "bash -c curl https://example.org".into(),
            outcome: Outcome::Failed,
            errno: Some(2),
            reason: None,
        }
        .into(),
        ProcessExited { actor: actor(), exit_code: None, signal: Some(9), wall_time_us: 77 }.into(),
        FileAccessed {
            actor: actor(),
            operation: FileOperation::Rename,
            path: "/home/alice/shop/a\u{fffd}".into(),
            path_bytes: Some(Bytes(b"/home/alice/shop/a\xff".to_vec())),
            target_path: Some("/home/alice/shop/b".into()),
            flags: -1,
            outcome: Outcome::Allowed,
            errno: None,
            count: 3,
            last_at: Some(Timestamp(1_793_000_000_900_000)),
            reason: Some("files.allow[0]".into()),
        }
        .into(),
        ConnectionAttempted {
            actor: actor(),
            operation: NetworkOperation::Connect,
            protocol: "tcp".into(),
            address: "203.0.113.7".into(),
            port: Some(443),
            host_name: Some("example.org".into()),
            outcome: Outcome::Denied,
            errno: Some(1),
            count: 1,
            last_at: None,
            reason: Some("not in the plan".into()),
        }
        .into(),
        NameResolved {
            actor: actor(),
            name: "example.org".into(),
            record_type: "A".into(),
            addresses: vec!["203.0.113.7".into()],
            outcome: Outcome::Succeeded,
        }
        .into(),
        RecordsLost { count: -1, stage: "stream".into(), reason: "the stream was cut".into() }.into(),
        PolicyApplied {
            name: "workspace".into(),
            digest: Digest::of(b"policy").to_hex(),
            text: "[network]".into(),
            source: "preset".into(),
        }
        .into(),
        ApprovalRequested {
            ticket: id(99),
            action: "connect".into(),
            subject: "connect to 203.0.113.7:443".into(),
            actor: Some(actor()),
            tool_call_id: Some("call_1".into()),
            path: None,
            address: Some("203.0.113.7".into()),
            port: Some(443),
            host_name: None,
            reason: "unknown host".into(),
            deadline: Timestamp(1_793_000_600_000_000),
        }
        .into(),
        ApprovalResolved {
            ticket: id(99),
            resolution: Resolution::Expired,
            by: None,
            reason: "nobody answered".into(),
            command_id: None,
            waited_us: 600_000_000,
        }
        .into(),
        SessionFrozen {
            command_id: Some(id(55)),
            method: "cgroup_freezer".into(),
            processes: 12,
            took_us: 900,
            reason: "secret read, then egress".into(),
        }
        .into(),
        SessionResumed { command_id: Some(id(56)), took_us: 300, reason: "looked at it".into() }.into(),
        SessionKilled { command_id: None, processes: 12, took_us: 8000, reason: "outbox full".into() }.into(),
        Finding {
            source: "rule".into(),
            rule_id: "5d1d0b3e-0000-4000-8000-000000000001".into(),
            title: "SecretReadThenEgress".into(),
            rule_version: "2026-11-21".into(),
            rule_digest: Digest::of(b"rule"),
            pack_digest: Digest::of(b"pack"),
            level: Level::Critical,
            tags: vec!["attack.exfiltration".into()],
            description: "a credential was read, then a host outside the plan was dialled".into(),
            evidence: vec![id(3), id(4)],
            matches: vec![Match {
                field: "secret.read_ago".into(),
                value: "2".into(),
                selection: "recent_secret".into(),
            }],
            task_plan_score: None,
            plan_action_score: Some(90),
            action_effect_score: Some(75),
            step: Step::Freeze,
        }
        .into(),
        Command {
            instruction: Instruction::Freeze,
            ticket: None,
            policy: None,
            reason: "SecretReadThenEgress".into(),
            by: "watcher".into(),
            issued_at: Timestamp(1_793_000_000_000_500),
            expires_at: Timestamp(1_793_000_600_000_500),
            key_id: "0011223344556677".into(),
            signature: Bytes(vec![7; 64]),
        }
        .into(),
        Approval {
            decision: Instruction::Deny,
            ticket: Some(id(99)),
            approver: "bob".into(),
            reason: "not ours".into(),
            key_id: "8899aabbccddeeff".into(),
            signature: Bytes(vec![8; 64]),
        }
        .into(),
        QueryRun {
            sql: "SELECT 1".into(),
            user: "carol".into(),
            door: "shell".into(),
            table_version: 12,
            rows: 1,
            duration_us: 900,
            error: None,
        }
        .into(),
        EvidenceExported {
            user: "dave".into(),
            framework: "soc2".into(),
            from_day: "2026-10-01".into(),
            to_day: "2026-10-31".into(),
            table_version: 12,
            records: 1_000_000,
            manifest_digest: Digest::of(b"manifest"),
        }
        .into(),
        DeadLetter {
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
        }
        .into(),
    ]
}

/// A kind that came later: lakes to test with are made of the bodies before it.
fn later() -> Body {
    CallAttempted {
        actor: actor(),
        call: "ptrace".into(),
        detail: "PTRACE_ATTACH of process 4711".into(),
        outcome: Outcome::Denied,
        errno: Some(1),
        count: 1,
        last_at: None,
        reason: "drives another process".into(),
    }
    .into()
}

pub(crate) fn all() -> Vec<Record> {
    (0..).zip(bodies().into_iter().chain([later()])).map(|(seq, body)| Record { header: header(seq), body }).collect()
}
