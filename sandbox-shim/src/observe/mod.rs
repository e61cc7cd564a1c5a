//! What the agent's processes ask of the kernel: which calls are watched, how they are read, where their paths lead, and what comes of
//! it when somebody else watched.

pub(crate) mod bases;
pub(crate) mod dns;
pub(crate) mod memory;
pub(crate) mod proc;
pub(crate) mod request;
pub(crate) mod resolve;
pub(crate) mod witness;
