//! The Model Context Protocol over HTTP, seen from between a client and a server: `--mcp-http [ADDRESS=]URL`.
//!
//! ```text
//! client ── POST  a message ───────────► recorded, then passed on ──► server
//!        ◄─ JSON, or a stream of events ─ recorded, then passed on ◄─
//!        ── GET   the server's own stream, or the rest of one that was cut (`Last-Event-ID`)
//!        ── DELETE the conversation is over
//! ```
//! This is the streamable HTTP transport (2025-03-26 to 2025-11-25, and 2026-07-28), and the one before it, where a stream names the
//! endpoint for messages. The proxy listens on loopback; the server may be anywhere. Headers go through unchanged, keys among them,
//! and are not recorded. No path but the server's own is passed on, and what leads to a token for it (`oauth/`); nothing is passed on that
//! cannot be read or recorded, and a server is read no faster than its client.
//!
//! Which side is under watch does not matter here: an agent that talks to a server elsewhere, or a server whose client is elsewhere. Only
//! the way to a server under watch differs, when it has a network of its own: `reach.rs`.

mod admit;
mod conversations;
mod events;
mod exchange;
mod oauth;
mod reach;
mod replies;
mod route;

pub(crate) use exchange::Proxy;
pub(crate) use reach::Inside;
pub use route::{Route, RouteError};

#[cfg(test)]
mod tests;
