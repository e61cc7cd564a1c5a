//! The context of what the kernel saw, and of what is held there: files, programs, connections, names.

use super::{Context, Object, is_unexplained, mentions_path, task_speaks_of};
use crate::places::{self, Place};
use crate::session::{Session, host_key};
use crate::text;
use wk_schemas::body::{
    Actor, ApprovalRequested, ConnectionAttempted, FileAccessed, FileOperation, Mediation, NameResolved,
    NetworkOperation, Outcome, ProcessStarted,
};
use wk_schemas::sigma::Value;

impl<'a> Context<'a> {
    pub(super) fn file(&mut self, session: &'a Session, b: &'a FileAccessed) {
        self.actor(session, &b.actor);
        let writes = writes(b.operation);
        // A rename or a link acts on the new name; whether a credential is behind it depends on the old one.
        let acted_on = b.target_path.as_deref().filter(|_| writes).unwrap_or(&b.path);
        self.writes(writes);
        self.flag("effect.happened", happened(b.outcome));
        self.path(session, &b.actor, &b.path, acted_on, writes);
        if !gives_content(b) && self.meaning.secret.take().is_some() {
            // Whoever only writes a credential's file has not learnt what was in it.
            self.fields.iter_mut().filter(|(n, _)| *n == "secret.is_secret").for_each(|(_, v)| *v = Value::Flag(false));
        }
        let access = if writes { "write" } else { "read" };
        self.object(session, Object::Path { access, path: acted_on.to_owned() }, acted_on);
    }

    /// Scope, credential, task and plan of an access to a path.
    pub(super) fn path(&mut self, session: &Session, actor: &Actor, source: &str, acted_on: &str, writes: bool) {
        let place = places::place(acted_on, session.workspace.as_deref());
        let is_ordinary = if writes { place.is_ordinary_to_write } else { place.is_ordinary_to_read };
        let of_agent = place.is_agents && actor.mediation == Mediation::Agent;
        let looks_secret = places::secret(source);
        let secret = looks_secret.filter(|s| !s.belongs_to(&actor.image) && !of_agent);
        self.meaning.secret = secret;
        self.inside(place.is_inside);
        self.ordinary(is_ordinary);
        self.flag("scope.agents_own", place.is_agents);
        self.flag("secret.is_secret", secret.is_some());
        self.flag("secret.by_owner", secret.is_none() && looks_secret.is_some());
        if let Some(secret) = secret {
            self.text("secret.kind", secret.kind);
        }
        let is_explained = place.is_inside || (is_ordinary && secret.is_none());
        self.unmediated(is_unexplained(actor) && !is_explained);
        let is_mentioned = mentions_path(session.task(), source, session.workspace.as_deref())
            || secret.is_some_and(|s| session.task().any(|t| s.is_spoken_of(t.stems())));
        self.flag("task.mentions", is_mentioned);
        self.plan(session, |step| mentions_path([step].into_iter(), source, session.workspace.as_deref()), source);
    }

    pub(super) fn process(&mut self, session: &'a Session, b: &'a ProcessStarted) {
        self.actor(session, &b.actor);
        let place = places::place(&b.actor.image, session.workspace.as_deref());
        self.inside(place.is_inside);
        self.ordinary(place.is_ordinary_to_read);
        self.flag("scope.agents_own", place.is_agents);
        self.flag("effect.happened", happened(b.outcome));
        self.unmediated(is_unexplained(&b.actor) && !place.is_inside && !place.is_ordinary_to_read);
        let outside = b.arguments.iter().skip(1).any(|a| is_path_outside(a, &b.working_directory, session));
        self.flag("scope.arguments_outside", outside);
        self.flag("task.mentions", task_speaks_of(session, &b.command_line));
        self.taint(session, &b.command_line);
        self.plan(session, |_| false, &b.command_line);
        let image = b.actor.image.as_str();
        self.object(session, Object::Path { access: "execute", path: image.to_owned() }, image);
    }

    pub(super) fn connection(&mut self, session: &'a Session, b: &'a ConnectionAttempted) {
        self.actor(session, &b.actor);
        self.flag("effect.happened", happened(b.outcome));
        let by_rule = b.reason.is_some() && happened(b.outcome);
        self.host(session, Some(&b.actor), &b.protocol, &b.address, b.port, b.host_name.as_deref(), by_rule);
        let is_out = matches!(b.operation, NetworkOperation::Connect | NetworkOperation::Send);
        let is_unmediated = is_out && is_unexplained(&b.actor) && !self.is_explained_host();
        self.unmediated(is_unmediated);
    }

    pub(super) fn is_explained_host(&self) -> bool {
        ["host.loopback", "host.allowed", "host.agent_endpoint", "scope.ordinary", "granted.before"]
            .iter()
            .any(|f| self.is(f))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of an address, from two kinds of record")]
    pub(super) fn host(
        &mut self,
        session: &'a Session,
        actor: Option<&Actor>,
        protocol: &str,
        address: &'a str,
        port: Option<i32>,
        name: Option<&'a str>,
        by_rule: bool,
    ) {
        let is_local = matches!(protocol, "unix" | "netlink") || address.starts_with(['/', '@']) || address.is_empty();
        let name = name.or_else(|| session.names.get(address).map(String::as_str));
        let ip: Option<std::net::IpAddr> = address.parse().ok();
        let is_loopback = is_local || ip.is_some_and(|a| a.is_loopback() || a.is_unspecified());
        let is_private = ip.is_some_and(is_private);
        let names = || [name, Some(address)].into_iter().flatten();
        let first = !names().any(|n| session.hosts.contains(n));
        let allowed = by_rule || names().any(|n| session.allowed.iter().any(|a| a.covers(n, port)));
        let in_task = session.task().any(|t| names().any(|n| t.names_host(n)) || (is_loopback && t.names("localhost")));
        let in_plan = session.plan.as_ref().is_some_and(|p| p.steps.iter().any(|s| names().any(|n| s.names_host(n))));
        self.text("host.name", name.unwrap_or(address));
        self.flag("host.first_seen", first);
        self.meaning.is_first_seen = first;
        self.flag("host.in_plan", in_plan);
        self.flag("host.in_task", in_task);
        self.flag("host.loopback", is_loopback);
        self.flag("host.private", is_private);
        self.flag("host.allowed", allowed);
        self.flag("host.agent_endpoint", session.endpoints.contains(&host_key(address, port)));
        // Asking the resolver of this machine or network is how every program begins.
        self.ordinary(is_local || (port == Some(53) && (is_loopback || is_private)));
        self.flag("task.mentions", in_task);
        let said = actor.map_or("", |a| a.image.as_str());
        self.plan(session, |s| names().any(|n| s.names_host(n)), said);
        let label = host_key(name.unwrap_or(address), port);
        let (name, address) = (name.map(str::to_owned), address.to_owned());
        self.object(session, Object::Host { name, address, port }, label);
    }

    pub(super) fn held(&mut self, session: &'a Session, b: &'a ApprovalRequested) {
        if let Some(actor) = &b.actor {
            self.actor(session, actor);
        }
        if let Some(address) = &b.address {
            self.host(session, b.actor.as_ref(), "tcp", address, b.port, b.host_name.as_deref(), false);
            let is_unmediated = b.actor.as_ref().is_some_and(is_unexplained) && !self.is_explained_host();
            self.unmediated(is_unmediated);
        } else if let Some(path) = &b.path {
            let access = match b.action.as_str() {
                "read" => "read",
                "execute" => "execute",
                _ => "write",
            };
            if let Some(actor) = &b.actor {
                self.writes(access == "write");
                self.path(session, actor, path, path, access == "write");
            }
            self.object(session, Object::Path { access, path: path.clone() }, path.as_str());
        } else if b.action == "tool_call" {
            let subject = text::cut(&b.subject, 1024);
            self.object(session, Object::Call(subject.to_owned()), subject);
        }
    }

    pub(super) fn name(&mut self, session: &'a Session, b: &'a NameResolved) {
        self.actor(session, &b.actor);
        let name = b.name.trim_end_matches('.');
        let parent = name.rmatch_indices('.').nth(1).map_or(name, |(at, _)| &name[at + 1..]);
        let longest = name.split('.').map(str::len).max().unwrap_or(0);
        self.text("dns.parent", parent.to_lowercase());
        self.number("dns.longest_label", i64::try_from(longest).unwrap_or(i64::MAX));
    }
}

fn writes(operation: FileOperation) -> bool {
    !matches!(operation, FileOperation::Read | FileOperation::Unspecified)
}

/// Whether the operation lets the process see what is in the file: by reading it, or under another name.
fn gives_content(b: &FileAccessed) -> bool {
    // `O_ACCMODE` and `O_RDWR`, the same on all architectures.
    const ACCESS: i64 = 3;
    const BOTH: i64 = 2;
    match b.operation {
        FileOperation::Read | FileOperation::Link | FileOperation::Symlink | FileOperation::Rename => true,
        FileOperation::Write | FileOperation::Create => b.flags & ACCESS == BOTH,
        FileOperation::Unlink
        | FileOperation::MakeDirectory
        | FileOperation::RemoveDirectory
        | FileOperation::MakeNode
        | FileOperation::Truncate
        | FileOperation::ChangeMode
        | FileOperation::ChangeOwner
        | FileOperation::ChangeAttributes
        | FileOperation::Unspecified => false,
    }
}

fn happened(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Allowed | Outcome::Succeeded)
}

fn is_private(address: std::net::IpAddr) -> bool {
    match address {
        std::net::IpAddr::V4(a) => a.is_private() || a.is_link_local(),
        std::net::IpAddr::V6(a) => a.is_unique_local() || a.is_unicast_link_local(),
    }
}

/// Whether an argument is a path that leads out of the workspace to a place where writing is not ordinary.
fn is_path_outside(argument: &str, directory: &str, session: &Session) -> bool {
    let argument = argument.strip_prefix("file://").unwrap_or(argument);
    let is_path = argument.starts_with(['/', '~', '.']) || argument.contains('/');
    if !is_path || argument.starts_with('-') || argument.contains("://") {
        return false;
    }
    if argument.starts_with('~') {
        return true;
    }
    let path = places::resolve(argument, directory);
    let Place { is_inside, is_ordinary_to_write, .. } = places::place(&path, session.workspace.as_deref());
    session.workspace.is_some() && !is_inside && !is_ordinary_to_write
}
