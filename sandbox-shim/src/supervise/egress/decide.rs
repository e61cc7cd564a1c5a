//! What the policy says about something that leaves, and the record of it.

use super::super::ask::Question;
use super::super::core::{Core, Stop};
use super::super::network::Attempt;
use crate::clock;
use crate::contract::Ticket;
use crate::egress::dns::{Question as Asked, Said};
use crate::egress::fake::looks_like_data;
use crate::egress::is_near;
use crate::policy::{Action, Destination, Verdict, plain};
use crate::process::Process;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio::sync::oneshot;
use wk_schemas::body::{NameResolved, NetworkOperation, Outcome};
use wk_schemas::{Origin, RecordId};

/// What became of something that leaves.
#[derive(Debug, Clone)]
pub(super) struct Left {
    pub(super) address: Option<IpAddr>,
    pub(super) outcome: Outcome,
    pub(super) errno: Option<i32>,
    pub(super) reason: Option<String>,
    /// 0 when the attempt itself was counted before.
    pub(super) count: i64,
}

impl Core {
    /// Decides, and says whether each request has to be decided by its method instead.
    pub(super) fn egress_verdict(&self, to: &Destination, port: u16, method: Option<&str>) -> (Verdict, bool) {
        let refused = |reason: &str| (Verdict { action: Action::Deny, reason: Some(reason.to_owned()) }, false);
        if let Destination::Address(ip) = to {
            let at = SocketAddr::new(*ip, port);
            if self.is_protected_endpoint(at) {
                return refused("protected by the shim");
            }
            if self.out.as_ref().is_some_and(|out| out.reachable.contains(&at)) {
                let reason = Some("a receiver of the shim's own".to_owned());
                return (Verdict { action: Action::Allow, reason }, false);
            }
        }
        let policy = self.policy();
        match (policy.leaving(to, port, method), policy.egress()) {
            (Some(verdict), Some(egress)) => {
                let by_request =
                    verdict.action != Action::Allow && method.is_none() && egress.depends_on_method(to, port);
                (verdict, by_request)
            }
            // The policy was replaced by one without such rules: its rules about the network are what there is.
            (None, _) | (_, None) => match to {
                Destination::Name(name) => (policy.host(name, port), false),
                Destination::Address(ip) => (policy.address(*ip, port, &[]), false),
            },
        }
    }

    /// What a host in a request means: the name that an address stands for, and loopback by its address.
    pub(super) fn meant(&self, to: Destination) -> Destination {
        match to {
            Destination::Address(ip) => {
                let name = self.out.as_ref().and_then(|out| out.names.name_of(ip));
                name.map_or(Destination::Address(ip), Destination::Name)
            }
            Destination::Name(name) if is_localhost(&name) => Destination::Address(Ipv4Addr::LOCALHOST.into()),
            name @ Destination::Name(_) => name,
        }
    }

    /// Where a rule says that a host is.
    pub(super) fn pinned(&self, to: &Destination, port: u16) -> Option<SocketAddr> {
        self.policy().egress().and_then(|egress| egress.pinned(to, port))
    }

    /// Why an address is not dialled, whatever a rule says.
    pub(super) fn shut_for_all(&self, at: SocketAddr) -> Option<String> {
        let is_reachable = self.out.as_ref().is_some_and(|out| out.reachable.contains(&at));
        (self.is_protected_endpoint(at) && !is_reachable).then(|| "protected by the shim".to_owned())
    }

    /// Why an address that a name led to is not dialled: whoever owns the name must not choose what it reaches here.
    pub(super) fn shut(&self, at: SocketAddr) -> Option<String> {
        let ip = plain(at.ip());
        if let Some(why) = self.shut_for_all(at) {
            return Some(why);
        }
        if is_near(ip) {
            return Some(format!("the name leads to {ip}, which is no host outside"));
        }
        self.policy().egress().and_then(|egress| egress.shuts(ip, at.port())).and_then(|verdict| verdict.reason)
    }

    /// Writes down what became of something that leaves; what is let through survives a loss of power.
    pub(super) fn record_left(
        &self,
        process: &Process,
        to: &Destination,
        port: u16,
        left: Left,
    ) -> Result<RecordId, Stop> {
        let address = match (to, left.address) {
            (_, Some(address)) => address.to_string(),
            (Destination::Address(address), None) => address.to_string(),
            (Destination::Name(_), None) => String::new(),
        };
        let attempt = Attempt {
            operation: NetworkOperation::Connect,
            protocol: "tcp".to_owned(),
            address,
            port: Some(i32::from(port)),
            host_name: to.name().map(str::to_owned),
        };
        let is_allowed = left.outcome == Outcome::Allowed;
        let body = self.attempt_body(process, &attempt, left.outcome, left.errno, left.reason, left.count);
        if is_allowed {
            self.record_durable(Origin::Proxy, clock::now(), vec![], body.into())
        } else {
            self.record(Origin::Proxy, clock::now(), body.into())
        }
    }

    /// Asks a person; the ticket, and where the answer comes.
    pub(super) fn ask_to_leave(
        &self,
        process: &Process,
        to: &Destination,
        port: u16,
        verdict: &Verdict,
    ) -> (Ticket, oneshot::Receiver<(bool, String)>) {
        let (tell, told) = oneshot::channel();
        let question = Question {
            action: "connect",
            subject: format!("connect to {to}:{port}"),
            path: None,
            address: if let Destination::Address(ip) = to { Some(ip.to_string()) } else { None },
            port: Some(i32::from(port)),
            host_name: to.name().map(str::to_owned),
        };
        let ticket = self.ask(None, process, verdict, question, move |_, granted, reason| {
            // Nobody listens when the client has gone away.
            drop(tell.send((granted, reason.to_owned())));
        });
        (ticket, told)
    }

    /// Answers a question for a name, and writes it down. Nothing is asked outside: a name that may be reached gets an address that
    /// stands for it.
    pub(super) fn answer_name(&self, process: &Process, asked: &Asked) -> Said {
        let (said, outcome) = self.say(asked);
        let (tool_call_id, mediation) = self.causality.mediation(&process.tie, &asked.name);
        let body = NameResolved {
            actor: process.actor(tool_call_id, mediation),
            name: asked.name.clone(),
            record_type: asked.kind.clone(),
            addresses: if let Said::Address(address) = said { vec![address.to_string()] } else { Vec::new() },
            outcome,
        };
        match self.record(Origin::Proxy, clock::now(), body.into()) {
            Ok(_) => said,
            Err(Stop) => Said::Refused,
        }
    }

    fn say(&self, asked: &Asked) -> (Said, Outcome) {
        let policy = self.policy();
        let (Some(out), Some(egress)) = (&self.out, policy.egress()) else { return (Said::Refused, Outcome::Denied) };
        let name = asked.name.as_str();
        let is_host = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        let verdict = egress.decide_name(name);
        let is_spelled = verdict.action == Action::Allow && verdict.reason.is_some();
        match asked.kind.as_str() {
            _ if !is_host || verdict.action == Action::Deny => (Said::Unknown, Outcome::Denied),
            "A" if is_localhost(name) => (Said::Address(Ipv4Addr::LOCALHOST), Outcome::Allowed),
            _ if !is_spelled && looks_like_data(name) => (Said::Unknown, Outcome::Denied),
            "A" => match out.names.address_of(name) {
                Some(address) => (Said::Address(address), Outcome::Allowed),
                None => (Said::Refused, Outcome::Denied),
            },
            // A name has one address here; and a host's keys for hiding names are not for this side of the proxy.
            "AAAA" | "HTTPS" | "SVCB" => (Said::Nothing, Outcome::Allowed),
            _ => (Said::Refused, Outcome::Denied),
        }
    }
}

fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}
