//! From a decision to a connection outside, and what then goes back and forth.

use super::super::core::Core;
use super::decide::Left;
use crate::egress::hello::{self, Hello};
use crate::policy::{Action, Destination};
use crate::process::Process;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;
use wk_schemas::body::Outcome;

/// How long looking a name up, and connecting to one address, may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a frozen session is looked at.
const FROZEN_TICK: Duration = Duration::from_millis(10);
const AGENT_ENDED: &str = "the agent has ended";

/// Somebody behind the proxy, and where they want to go.
#[derive(Debug, Clone)]
pub(super) struct Traveller {
    pub(super) process: Arc<Process>,
    pub(super) to: Destination,
    pub(super) port: u16,
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The policy, or a person, said no.
    NotAllowed {
        /// The rule and its reason, or what the person said.
        reason: String,
        /// The question that was asked, or the record of the refusal.
        ticket: Uuid,
    },
    /// It may go, and there is no way.
    Unreachable(String),
}

/// Decides and connects.
pub(super) async fn leave(core: &Arc<Core>, who: &Traveller, method: Option<&str>) -> Result<TcpStream, Refusal> {
    let (verdict, _) = core.egress_verdict(&who.to, who.port, method);
    let reason = match verdict.action {
        Action::Allow => verdict.reason,
        Action::Deny => return Err(refuse(core, who, verdict.reason, None)),
        Action::Hold => {
            let (ticket, answer) = core.ask_to_leave(&who.process, &who.to, who.port, &verdict);
            match answer.await {
                Ok((true, reason)) => Some(reason),
                Ok((false, reason)) => return Err(refuse(core, who, Some(reason), Some(ticket))),
                Err(_) => return Err(refuse(core, who, Some("nobody is left to ask".to_owned()), Some(ticket))),
            }
        }
    };
    dial(core, who, reason).await
}

/// Writes a refusal down.
pub(super) fn refuse(core: &Core, who: &Traveller, reason: Option<String>, ticket: Option<Uuid>) -> Refusal {
    let left =
        Left { address: None, outcome: Outcome::Denied, errno: Some(libc::EPERM), reason: reason.clone(), count: 1 };
    let record = core.record_left(&who.process, &who.to, who.port, left);
    let ticket = ticket.or(record.ok().map(|id| id.0)).unwrap_or_default();
    Refusal::NotAllowed { reason: reason.unwrap_or_else(|| "the policy's default".to_owned()), ticket }
}

/// Connects to where something may go; each address is written down before it is dialled.
pub(super) async fn dial(core: &Arc<Core>, who: &Traveller, reason: Option<String>) -> Result<TcpStream, Refusal> {
    wait_while_frozen(core).await.map_err(|error| Refusal::Unreachable(error.to_string()))?;
    let pinned = core.pinned(&who.to, who.port);
    let found = match (&who.to, pinned) {
        (_, Some(at)) => Ok(vec![at]),
        (Destination::Address(ip), None) => Ok(vec![SocketAddr::new(*ip, who.port)]),
        (Destination::Name(name), None) => {
            let found = patiently(core, tokio::net::lookup_host((name.as_str(), who.port))).await;
            found.map(Iterator::collect)
        }
    };
    let failed = |what: String, errno: Option<i32>, count: i64| {
        let reason = Some(what.clone());
        let left = Left { address: None, outcome: Outcome::Failed, errno, reason, count };
        core.record_left(&who.process, &who.to, who.port, left).ok();
        Refusal::Unreachable(what)
    };
    let addresses = found.map_err(|error| failed(format!("`{}` is not found: {error}", who.to), None, 1))?;
    let mut last = None;
    for at in addresses {
        // An address that a rule spells out, or that was asked for as such, was decided already.
        let is_decided = pinned.is_some() || who.to.name().is_none();
        let shut = if is_decided { core.shut_for_all(at) } else { core.shut(at) };
        if let Some(why) = shut {
            last = Some(refuse(core, who, Some(why), None));
            continue;
        }
        let (keeper, traveller, reason) = (Arc::clone(core), who.clone(), reason.clone());
        let kept = tokio::task::spawn_blocking(move || {
            let left = Left { address: Some(at.ip()), outcome: Outcome::Allowed, errno: None, reason, count: 1 };
            keeper.record_left(&traveller.process, &traveller.to, traveller.port, left).is_ok()
        });
        if !kept.await.unwrap_or(false) {
            return Err(Refusal::Unreachable("the connection could not be recorded".to_owned()));
        }
        match patiently(core, TcpStream::connect(at)).await {
            Ok(stream) => {
                stream.set_nodelay(true).ok();
                return Ok(stream);
            }
            Err(error) => last = Some(failed(format!("{at}: {error}"), error.raw_os_error(), 0)),
        }
    }
    Err(last.unwrap_or_else(|| failed(format!("`{}` has no address", who.to), None, 1)))
}

/// What `going` comes to, unless it takes too long, or the agent ends meanwhile.
async fn patiently<T>(core: &Core, going: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::select! {
        biased;
        gone = tokio::time::timeout(PATIENCE, going) => gone.unwrap_or(Err(io::Error::from_raw_os_error(libc::ETIMEDOUT))),
        () = core.agent_ended() => Err(io::Error::new(io::ErrorKind::Interrupted, AGENT_ENDED)),
    }
}

/// # Errors
/// When the agent ends while it is frozen.
async fn wait_while_frozen(core: &Core) -> io::Result<()> {
    while core.gate.is_shut() {
        tokio::select! {
            () = tokio::time::sleep(FROZEN_TICK) => {}
            () = core.agent_ended() => return Err(io::Error::new(io::ErrorKind::Interrupted, AGENT_ENDED)),
        }
    }
    Ok(())
}

/// Carries bytes back and forth until both sides have ended, or the agent has and all it said is passed on. Nothing goes out while
/// the session is frozen, and nothing at all when the first words name another server.
pub(super) async fn carry(
    core: &Arc<Core>,
    who: &Traveller,
    inside: impl AsyncRead + AsyncWrite,
    outside: TcpStream,
) -> io::Result<()> {
    let (mut from_inside, mut to_inside) = tokio::io::split(inside);
    let (mut from_outside, mut to_outside) = outside.into_split();
    let out = async {
        let first = first_words(core, who, &mut from_inside).await?;
        wait_while_frozen(core).await?;
        to_outside.write_all(&first).await?;
        drop(first);
        let mut buffer = vec![0; 32 << 10];
        loop {
            let length = from_inside.read(&mut buffer).await?;
            if length == 0 {
                return to_outside.shutdown().await;
            }
            wait_while_frozen(core).await?;
            to_outside.write_all(&buffer[..length]).await?;
        }
    };
    let back = async {
        tokio::select! {
            copied = tokio::io::copy(&mut from_outside, &mut to_inside) => copied.map(drop)?,
            () = core.agent_ended() => return Ok(()),
        }
        to_inside.shutdown().await
    };
    tokio::try_join!(out, back).map(drop)
}

/// What a client says first, as far as it has to be known before anything is passed on.
async fn first_words(core: &Core, who: &Traveller, from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut said = Vec::new();
    let mut buffer = vec![0; 4 << 10];
    loop {
        let length = from.read(&mut buffer).await?;
        said.extend_from_slice(&buffer[..length]);
        let heard = hello::read(&said);
        let wrong = match (&who.to, &heard) {
            _ if length == 0 => return Ok(said),
            (_, Hello::More) => continue,
            (_, Hello::NotTls) => return Ok(said),
            (Destination::Address(_), Hello::Named(_) | Hello::Nameless) => return Ok(said),
            (Destination::Name(name), Hello::Named(server)) if name == server => return Ok(said),
            (Destination::Name(name), Hello::Named(server)) => {
                format!("TLS asks for `{server}`, and the connection is to `{name}`")
            }
            (Destination::Name(name), Hello::Nameless) => {
                format!("TLS names no server, and the connection is to `{name}`")
            }
            (_, Hello::Broken) => "TLS begins and cannot be read".to_owned(),
        };
        refuse(core, who, Some(wrong.clone()), None);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, wrong));
    }
}
