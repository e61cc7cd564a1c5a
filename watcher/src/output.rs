//! Gives a decision's records their place in the watcher's chains, signs commands, and encodes.

use crate::decide::Outgoing;
use ed25519_dalek::SigningKey;
use wk_schemas::command::Signed;
use wk_schemas::{Body, Chain, Header, Origin, Record};

/// Name under which the watcher writes.
pub const WRITER: &str = "watcher";

/// Seals one record: signed if it is a command, placed at the end of `chain`, encoded. `like` is the record that led to it;
/// what it says of tenant, host and agent holds for this one too.
pub fn seal(outgoing: Outgoing, like: &Header, chain: &mut Chain, key: &SigningKey) -> (Record, Vec<u8>) {
    let mut body = outgoing.body;
    if let Body::Command(command) = &mut body {
        command.sign(&like.session_id, outgoing.id, key);
    }
    let header = Header {
        record_id: outgoing.id,
        writer: WRITER.to_owned(),
        occurred_at: outgoing.occurred_at,
        origin: Origin::Watcher,
        caused_by: outgoing.caused_by,
        ..like.clone()
    };
    chain.seal(header, body)
}
