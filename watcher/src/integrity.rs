//! Whether a record follows the one before it in its writer's chain.
//!
//! The log delivers at least once, so a record that was there before changes nothing. A gap or a broken chain means that records
//! were lost, withheld or altered; what is judged afterwards rests on half a story, and so the session is frozen.

use crate::session::{ChainEnd, Session};
use wk_schemas::body::Step;
use wk_schemas::digest::ChainBreak;
use wk_schemas::{Chain, Digest, Header};

/// Writers of one session whose chains are followed; more than a few means that something is wrong elsewhere.
const WRITERS_MAX: usize = 16;

/// Where a record stands in its writer's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It follows.
    Next,
    /// It was there before: nothing is to be done.
    Repeated,
    /// Something is wrong with what is between it and the one before.
    Broken(Fault),
}

/// A fault of a chain: a finding of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Id of the finding's rule.
    pub rule: &'static str,
    /// Title of the finding.
    pub title: &'static str,
    /// What happened, in a sentence.
    pub description: String,
    /// What is done about it.
    pub step: Step,
}

/// Places a record in its writer's chain, and moves the chain on. After a fault the chain goes on from this record.
pub fn follow(session: &mut Session, header: &Header, digest: Digest) -> Standing {
    let known = session.chains.get(&header.writer).copied();
    if known.is_none() && session.chains.len() >= WRITERS_MAX {
        return Standing::Next;
    }
    let end = known.unwrap_or_default();
    let mut chain = end.chain();
    let result = follow_digest(&mut chain, header, digest);
    let here = ChainEnd::from(Chain { next_seq: header.seq.saturating_add(1), last: digest });
    let broken = match result {
        Ok(()) => None,
        Err(ChainBreak::Repeated { seq, next }) => {
            // Only the last one's digest is at hand; that is the one that a second writer would contend for.
            if seq + 1 == next && digest != end.chain().last {
                return Standing::Broken(Fault {
                    rule: "integrity.record_forked",
                    title: "RecordForked",
                    description: format!("two different records of {} claim seq {seq}", header.writer),
                    step: Step::Freeze,
                });
            }
            return Standing::Repeated;
        }
        Err(ChainBreak::Gap { from, to }) => Some(Fault {
            rule: "integrity.sequence_gap",
            title: "SequenceGap",
            description: format!("the records of {} with seq {from} to {to} are missing", header.writer),
            step: Step::Freeze,
        }),
        Err(ChainBreak::Altered { seq, expected, found }) => Some(Fault {
            rule: "integrity.chain_broken",
            title: "ChainBroken",
            description: format!(
                "the record of {} with seq {seq} is not the one that its successor was chained to: its digest is {found}, {expected} was expected",
                header.writer
            ),
            step: Step::Freeze,
        }),
    };
    match session.chains.get_mut(&header.writer) {
        Some(end) => *end = here,
        None => {
            session.chains.insert(header.writer.clone(), here);
        }
    }
    broken.map_or(Standing::Next, Standing::Broken)
}

/// [`Chain::follow`] for a datum whose digest is known already.
fn follow_digest(chain: &mut Chain, header: &Header, digest: Digest) -> Result<(), ChainBreak> {
    let (seq, next) = (header.seq, chain.next_seq);
    if seq < next {
        return Err(ChainBreak::Repeated { seq, next });
    }
    if seq > next {
        return Err(ChainBreak::Gap { from: next, to: seq - 1 });
    }
    if header.prev_digest != chain.last {
        return Err(ChainBreak::Altered { seq: seq - 1, expected: header.prev_digest, found: chain.last });
    }
    *chain = Chain { next_seq: seq + 1, last: digest };
    Ok(())
}
