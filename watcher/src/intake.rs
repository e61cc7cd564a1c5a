//! Turns a message of the log into a record to judge, or says why it is none.

use crate::decide::Incoming;
use wk_schemas::{Digest, Topic, codec};
use wk_wire::Message;
use wk_wire::framing::{FrameError, unframe};

/// A message that is not exactly one canonical record in its place.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not framed as we frame.
    #[error("not framed: {0}")]
    Frame(#[from] FrameError),
    /// Framed with the id of no schema, or of another one.
    #[error("framed with schema id {id}, which is not that of an audit record")]
    Schema {
        /// The id.
        id: i32,
    },
    /// Not one canonical record.
    #[error("not one canonical record: {0}")]
    Codec(#[from] codec::CodecError),
    /// Its key is not its session.
    #[error("its key is `{key}`, but the record is of session `{session}`")]
    Key {
        /// The key, as text.
        key: String,
        /// The session.
        session: String,
    },
    /// On a topic that the watcher does not know.
    #[error("on topic `{0}`, which is none of ours")]
    Topic(String),
}

/// The schema id that a message is framed with, if it is framed.
#[must_use]
pub fn schema_id(message: &Message) -> Option<i32> {
    unframe(&message.value).ok().map(|(id, _)| id)
}

/// Reads a message whose schema id is known to be ours or not.
///
/// # Errors
/// [`Unreadable`] says what was found; the message belongs among the dead letters.
pub fn read(message: &Message, is_ours: bool) -> Result<Incoming, Unreadable> {
    let topic = Topic::from_name(&message.topic).ok_or_else(|| Unreadable::Topic(message.topic.to_string()))?;
    let (id, datum) = unframe(&message.value)?;
    if !is_ours {
        return Err(Unreadable::Schema { id });
    }
    let record = codec::decode(datum)?;
    let session = record.header.session_id.as_str();
    if message.key != session.as_bytes() {
        let key = String::from_utf8_lossy(&message.key[..message.key.len().min(80)]).into_owned();
        return Err(Unreadable::Key { key, session: session.to_owned() });
    }
    Ok(Incoming { topic, record, digest: Digest::of(datum) })
}
