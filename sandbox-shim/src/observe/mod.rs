//! What the agent's processes ask of the kernel: which calls are watched, how they are read, and where their paths lead.

pub(crate) mod dns;
pub(crate) mod memory;
pub(crate) mod request;
pub(crate) mod resolve;
