//! Every system call of Linux and what becomes of it: the list (`linux.txt`), and the filter that is built from it.

pub(crate) mod filter;
pub(crate) mod table;

pub(crate) use table::{Entry, Setup, Then, When, decision, table};
