//! Authorization through the proxy: MCP's, of 2025-06-18 and later (RFC 9728, 8414, 7591, 8707 and 9207).
//!
//! A client asks for a token for the URL that it was given, which is the proxy's, and the server takes one that is for its own. So what
//! names the one has to name the other on the way, and nothing else changes:
//!
//! ```text
//! client                                     proxy                                       beyond it
//!   ◄── 401 resource_metadata="<here>…"   ◄── 401 resource_metadata="…"               ◄── server
//!   ──► metadata of the resource           ──► asked of the server, checked; `resource` and `authorization_servers` are here
//!   ──► metadata of the issuer             ──► asked of the issuer, checked; its name and endpoints are here
//!   ──► register                           ──► passed on                               ──► issuer
//!   (browser) authorize, for <here>/mcp    ──► sent on, for the server's own URL       ──► issuer, and straight back to the client
//!   ──► token, for <here>/mcp              ──► passed on, for the server's own URL     ──► issuer
//! ```
//! An issuer is `<here>/as/https/auth.example`: what a client keeps for one is never sent to another, even when the server names another one
//! meanwhile. An issuer that says who it is when it answers (RFC 9207) says another name than the client expects, so its answer comes back
//! through here: the client's address stands in the address that is registered for it, and the issuer checks it as it does any other.
//!
//! Nothing of this is recorded, and nothing but the server's URL and the names of the two is looked at.

mod authority;
mod challenge;
mod serve;
mod translate;

pub(super) use serve::Authorization;

#[cfg(test)]
mod tests;
