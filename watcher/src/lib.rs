//! Judges what agents do against what they said: folds records into sessions, runs rules and scores, decides.
//!
//! ```text
//! record ─► Session (fold) ─► Context (flat fields) ─► rules, deviation ─► Decision {findings, commands} ─► log
//! ```
//! [`decide::step`] is pure; [`run::Watcher`] is the loop around it, and the only place that waits.
//!
//! **Never**: awaits, reads a clock or draws a random number while deciding; opens the lake to decide; acts on a session
//! except by a signed command on the log.
#![forbid(unsafe_code)]

pub mod alerts;
pub mod approvals;
pub mod backtest;
pub mod claims;
pub mod config;
pub mod context;
pub mod decide;
pub mod deviation;
pub mod event;
pub mod grants;
pub mod intake;
pub mod integrity;
pub mod judge;
pub mod ladder;
pub mod letters;
pub mod output;
pub mod places;
pub mod recover;
pub mod replay;
pub mod rules;
pub mod run;
pub mod session;
mod setup;
pub mod state;
pub mod taint;
pub mod text;
mod work;

pub use config::Config;
pub use decide::{Decision, Judge, step};
pub use run::{Setup, WatchError, Watcher};
pub use session::Session;
