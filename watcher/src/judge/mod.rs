//! The judge: a model that is asked about what rules and score leave open.
//!
//! ```text
//! step() ─► Question ─► worker ─► Verdict ─► a finding on the log ─► step() ─► command, or nothing
//!  pure                 waits, asks, retries                        pure
//! ```
//! Deciding never waits for it. A question leaves the core beside the findings; its answer comes back as a record of the
//! findings topic, signed by the watcher, and is an input like any other, so a replay of the log decides the same without a
//! model. While the judge is away every question is answered `unavailable`, which is an answer of its own and never a low
//! score: what the rules decided stands, and what is held waits for a person.
//!
//! What the agent or a tool wrote reaches the model as quoted, escaped, fenced data; the first look does not see the agent's
//! prose at all. What looks like a secret does not leave the machine. `docs/judge.md` has the prompt's parts, the failure
//! classes and the fields of a verdict.
//!
//! **Never**: decides, commands, or lets a held action go on by itself; takes silence or nonsense for consent.

mod answer;
mod breaker;
mod budget;
mod clean;
mod client;
mod config;
mod dialect;
mod digits;
mod examine;
mod failure;
mod input;
mod look;
mod memory;
mod prompt;
mod question;
mod redact;
mod rejudge;
mod verdict;
mod worker;

pub use answer::{Answer, Authorization, Departure, Risk};
pub use client::{Client, ClientError, open};
pub(crate) use client::{Transport, http, secret};
pub use config::{DialectName, HoldPower, JudgeConfig};
pub use failure::Failure;
pub use input::Verified;
pub(crate) use input::{answered, is_verdict, lost, outgoing, verdict_id};
pub use memory::Memory;
pub use prompt::Policy;
pub(crate) use question::ask;
pub use question::{Action, Gate, Question};
pub(crate) use redact::Redactor;
pub use rejudge::{Difference, RejudgeError, rejudge};
pub use verdict::{Cost, Outcome, Verdict};
pub use worker::{Answered, Job, Worker};
