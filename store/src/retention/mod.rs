//! Retention by signed act: the one way in which records leave the lake, and what stays to prove that it was this way.
//!
//! ```text
//! act      a person's decision, signed with the person's key: remove a day, place a hold, release it       act.rs
//! ledger   what a removal takes: files with their digests, offsets, a span for each chain of records      ledger.rs
//! commit   a Delta commit that carries the act; leaf N of the Merkle log as any other                     writer.rs
//! rules    which removals count: signed by a trusted key, of this lake, under no hold                     rules.rs
//! ```
//! ```text
//! <lake>/retention/<act id>.json     the ledger; its SHA-256 stands in the act, so the person has signed it
//! ```
//! The commits that brought the removed files stay, with their digests and ranges. So `wk verify` still follows every offset and every
//! chain across a removed day, and reports it as removed by a name on a date. A removal that does not count changes nothing for it: its
//! files are missing.

mod act;
mod ledger;
mod rules;
mod writer;

pub use act::{Act, ActError, Deed, Hold, Removal, SignedAct};
pub use ledger::{Gone, Ledger, Span};
pub use rules::{Acts, Placed, Standing};
pub use writer::{Prepared, RetentionError};
