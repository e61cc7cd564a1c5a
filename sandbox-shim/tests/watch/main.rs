//! The kernel side, tried on real processes: what is recorded, held, refused, frozen, and what stays out of reach.
#![expect(clippy::unwrap_used, reason = "a trial that cannot be set up has failed")]
#![expect(clippy::disallowed_methods, reason = "the helper process is told what to do by its environment")]

mod harness;

mod egress;
mod evidence;
mod floor;
mod freezing;
mod holding;
mod inside;
mod observers;
mod openings;
mod pitfalls;
mod reads;
mod results;
mod rules;
mod stream;
mod unprivileged;
