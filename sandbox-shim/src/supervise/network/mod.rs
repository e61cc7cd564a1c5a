//! Connections and datagrams.
//!
//! What goes to an IP address is decided on the shim's own copy of the address and done by the shim on a copy of the socket, so
//! nothing that changes in the agent's memory or descriptors afterwards matters. Local sockets are left to the kernel, because
//! the other side would see the shim's credentials; a path decides about them like about any file.
//!
//! [`calls`] takes what a process asks for and [`messages`] the calls that carry several parts; both lead to [`internet`] or [`local`],
//! which look at what is there, have it judged by [`decide`], do it or refuse it, and write it down by [`record`].

mod calls;
mod decide;
mod internet;
mod local;
mod messages;
mod record;
mod target;

pub(super) use internet::Socket;
pub(super) use record::Attempt;
pub(crate) use target::{Target, abstract_name, target};
