//! What an agent does in a turn, and what the kernel sees of it.

use super::session::Session;
use super::{Random, words};
use wk_schemas::body::{
    Actor, ConnectionAttempted, FileAccessed, FileOperation, Mediation, NameResolved, NetworkOperation, Outcome,
    PlanDeclared, PlanStep, ProcessExited, ProcessStarted, PromptSubmitted, StepStatus, Thought, ToolCalled,
    ToolReturned,
};
use wk_schemas::{Body, Digest, Origin, Timestamp};

fn text(text: &str) -> (String, i64, Digest) {
    let bytes = i64::try_from(text.len()).expect("texts are short");
    (text.to_owned(), bytes, Digest::of(text.as_bytes()))
}

/// The task and the first plan.
pub(super) fn task(session: &mut Session, random: &mut Random) {
    let (text, text_bytes, text_digest) = text(random.one_of(&words::TASKS));
    let prompt = PromptSubmitted { text, text_bytes, text_digest, channel: "hook".into() };
    session.say(Origin::Hook, prompt);
    plan(session, random);
}

fn plan(session: &mut Session, random: &mut Random) {
    let count = 3 + random.index(4);
    let done = usize::try_from(session.plan).unwrap_or(0).min(count);
    let steps = (0..count).map(|step| PlanStep {
        text: words::STEPS[(step + count) % words::STEPS.len()].into(),
        status: match step.cmp(&done) {
            std::cmp::Ordering::Less => StepStatus::Completed,
            std::cmp::Ordering::Equal => StepStatus::InProgress,
            std::cmp::Ordering::Greater => StepStatus::Pending,
        },
    });
    let plan = PlanDeclared {
        revision: session.plan,
        steps: steps.collect(),
        source: "update_plan".into(),
        confidence: 1.0,
        explanation: None,
    };
    session.plan += 1;
    session.say(Origin::Hook, plan);
}

/// Fills the queue with a turn.
pub(super) fn next(session: &mut Session, random: &mut Random, at: Timestamp) {
    session.turn += 1;
    if random.happens(400) {
        let (text, text_bytes, text_digest) = text(random.one_of(&words::THOUGHTS));
        let (form, channel) = ("reasoning".into(), "stream".into());
        session.say(Origin::Transcript, Thought { text, text_bytes, text_digest, form, channel });
    }
    if random.happens(200) {
        plan(session, random);
    }
    let call = format!("call_{:05}", session.turn);
    match random.below(10) {
        0..=5 => shell(session, random, &call, at),
        6..=7 => read(session, random, &call, at),
        _ => edit(session, random, &call, at),
    }
    if random.happens(40) {
        unmediated(session, random, at);
    }
}

fn path(session: &Session, random: &mut Random) -> String {
    let folder = words::FOLDERS[random.skewed(words::FOLDERS.len())];
    let (file, ending) = (random.one_of(&words::FILES), random.one_of(&words::ENDINGS));
    format!("{}/{folder}/{file}_{}.{ending}", session.workspace, random.skewed(60))
}

fn called(session: &Session, call: &str, tool: &str, class: &str, arguments: &str, command: Option<&str>) -> Body {
    let (arguments, arguments_bytes, arguments_digest) = text(arguments);
    ToolCalled {
        tool_call_id: call.into(),
        tool: tool.into(),
        tool_class: class.into(),
        arguments,
        arguments_bytes,
        arguments_digest,
        command_text: command.map(Into::into),
        working_directory: Some(session.workspace.clone()),
        subagent_id: None,
        channel: "hook".into(),
        decision: "allowed".into(),
        reason: None,
    }
    .into()
}

fn returned(random: &mut Random, call: &str, tool: &str, output: &str) -> Body {
    let (output, output_bytes, output_digest) = text(output);
    ToolReturned {
        tool_call_id: call.into(),
        tool: tool.into(),
        success: Some(!random.happens(80)),
        output,
        output_bytes,
        output_digest,
        duration_us: Some(2_000 + random.small(3_000_000)),
        channel: "hook".into(),
    }
    .into()
}

fn actor(session: &Session, pid: i64, image: &str, call: Option<&str>, mediation: Mediation, at: Timestamp) -> Actor {
    Actor {
        pid,
        process_uid: format!("{pid}-{}", at.0.div_euclid(10_000) % 100_000_000),
        image: image.into(),
        user: session.user.clone(),
        tool_call_id: call.map(Into::into),
        mediation,
    }
}

fn file(actor: Actor, operation: FileOperation, path: String, random: &mut Random) -> Body {
    let missing = operation == FileOperation::Read && random.happens(60);
    FileAccessed {
        actor,
        operation,
        path,
        path_bytes: None,
        target_path: None,
        flags: if operation == FileOperation::Read { 0o2_000_000 } else { 0o2_001_101 },
        outcome: if missing { Outcome::Failed } else { Outcome::Allowed },
        errno: missing.then_some(2),
        count: if random.happens(50) { 2 + random.small(20) } else { 1 },
        last_at: None,
        reason: None,
    }
    .into()
}

/// A shell command: the shell, the program, what it opens, whom it calls.
fn shell(session: &mut Session, random: &mut Random, call: &str, at: Timestamp) {
    let [image, line] = words::PROGRAMS[random.skewed(words::PROGRAMS.len())];
    let line = line.replace("{}", &path(session, random));
    let arguments = format!(r#"{{"command":"{line}","timeout_ms":120000}}"#);
    session.say(Origin::Hook, called(session, call, "Bash", "shell", &arguments, Some(&line)));
    let (bash, program) = (session.pid(), session.pid());
    let shell_line = format!("bash -c {line}");
    let parent = actor(session, bash, "/bin/bash", Some(call), Mediation::Declared, at);
    let child = actor(session, program, image, Some(call), Mediation::Inherited, at);
    let start = |actor: &Actor, line: &str, parent: (&str, i64, &str, &str), directory: &str| ProcessStarted {
        actor: actor.clone(),
        arguments: line.split(' ').map(Into::into).collect(),
        command_line: line.to_owned(),
        working_directory: directory.to_owned(),
        parent_pid: parent.1,
        parent_process_uid: parent.0.to_owned(),
        parent_image: parent.2.to_owned(),
        parent_command_line: parent.3.to_owned(),
        outcome: Outcome::Allowed,
        errno: None,
        reason: None,
    };
    let directory = session.workspace.clone();
    let agent = ("1999-77001122", 1999, "/usr/bin/node", "node cli.js");
    session.say(Origin::Kernel, start(&parent, &shell_line, agent, &directory));
    let above = (parent.process_uid.as_str(), bash, "/bin/bash", shell_line.as_str());
    session.say(Origin::Kernel, start(&child, &line, above, &directory));
    for library in &words::LIBRARIES[..4 + random.index(8)] {
        let body = file(child.clone(), FileOperation::Read, (*library).to_owned(), random);
        session.say(Origin::Kernel, body);
    }
    for _ in 0..random.skewed(24) {
        let operation = match random.below(10) {
            0 => FileOperation::Write,
            1 => FileOperation::Create,
            _ => FileOperation::Read,
        };
        let path = path(session, random);
        session.say(Origin::Kernel, file(child.clone(), operation, path, random));
    }
    if random.happens(250) {
        connect(session, random, &child);
    }
    for (actor, wall) in [(child, 900_000), (parent, 950_000)] {
        let exited =
            ProcessExited { actor, exit_code: Some(0), signal: None, wall_time_us: wall + random.small(90_000) };
        session.say(Origin::Kernel, exited);
    }
    let output = format!("{line}\n{} lines, {} matches\nok\n", random.below(400), random.below(40));
    session.say(Origin::Hook, returned(random, call, "Bash", &output));
}

fn read(session: &mut Session, random: &mut Random, call: &str, at: Timestamp) {
    let path = path(session, random);
    let arguments = format!(r#"{{"file_path":"{path}"}}"#);
    session.say(Origin::Hook, called(session, call, "Read", "read", &arguments, None));
    let actor = actor(session, 1999, "/usr/bin/node", Some(call), Mediation::Declared, at);
    session.say(Origin::Kernel, file(actor, FileOperation::Read, path, random));
    let output = random.one_of(&words::THOUGHTS);
    session.say(Origin::Hook, returned(random, call, "Read", output));
}

fn edit(session: &mut Session, random: &mut Random, call: &str, at: Timestamp) {
    let path = path(session, random);
    let arguments = format!(r#"{{"file_path":"{path}","old_string":"total","new_string":"total_price"}}"#);
    session.say(Origin::Hook, called(session, call, "Edit", "edit", &arguments, None));
    let actor = actor(session, 1999, "/usr/bin/node", Some(call), Mediation::Declared, at);
    session.say(Origin::Kernel, file(actor.clone(), FileOperation::Read, path.clone(), random));
    session.say(Origin::Kernel, file(actor, FileOperation::Write, path, random));
    session.say(Origin::Hook, returned(random, call, "Edit", "1 replacement"));
}

/// A question for a name, then a connection. One host in a hundred was never met before.
fn connect(session: &mut Session, random: &mut Random, actor: &Actor) {
    let [host, address] = words::HOSTS[random.skewed(words::HOSTS.len())];
    let (host, address) = if random.happens(10) {
        let n = random.below(1_000_000);
        (format!("cdn-{n}.example.net"), format!("203.0.{}.{}", n / 250 % 250, n % 250))
    } else {
        (host.to_owned(), address.to_owned())
    };
    let denied = random.happens(20);
    let resolved = NameResolved {
        actor: actor.clone(),
        name: host.clone(),
        record_type: "A".into(),
        addresses: vec![address.clone()],
        outcome: Outcome::Succeeded,
    };
    let attempted = ConnectionAttempted {
        actor: actor.clone(),
        operation: NetworkOperation::Connect,
        protocol: "tcp".into(),
        address,
        port: Some(443),
        host_name: Some(host.clone()),
        outcome: if denied { Outcome::Denied } else { Outcome::Succeeded },
        errno: denied.then_some(111),
        count: 1,
        last_at: None,
        reason: denied.then(|| "network.default: hold".into()),
    };
    session.say(Origin::Kernel, resolved);
    if denied {
        session.say_found(random, attempted, "DestinationHostname", &host);
    } else {
        session.say(Origin::Kernel, attempted);
    }
}

/// An effect that no tool call explains.
fn unmediated(session: &mut Session, random: &mut Random, at: Timestamp) {
    let pid = session.pid();
    let actor = actor(session, pid, "/usr/bin/python3", None, Mediation::None, at);
    let path = format!("/home/{}/.cache/thumbnails/{}.png", session.user, random.below(5000));
    let body = file(actor, FileOperation::Read, path, random);
    session.say(Origin::Kernel, body);
}
