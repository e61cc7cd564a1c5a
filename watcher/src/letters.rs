//! What cannot be read is set aside whole: its bytes, its place and the reason become records on the dead-letter topic.

use crate::decide::Outgoing;
use crate::output::WRITER;
use wk_schemas::body::DeadLetter;
use wk_schemas::{Bytes, Digest, Header, Origin, RecordId, SessionId, Timestamp, Topic};
use wk_wire::Message;

/// The most bytes of a message in one record; longer ones come in parts.
const PART_BYTES: usize = 500_000;
/// The most bytes of a key that are kept; keys of ours have at most 64.
const KEY_BYTES: usize = 64 * 1024;
/// The session of letters whose key is no session id.
const UNREADABLE: &str = "unreadable";

/// A message as dead letters, with the header that they are like. They follow from the message alone, ids included.
#[must_use]
pub fn letters(message: &Message, reason: &str, tenant: &str, host: &str) -> (Header, Vec<Outgoing>) {
    let key = std::str::from_utf8(&message.key).ok().and_then(|k| SessionId::parse(k).ok());
    let occurred_at = Timestamp(message.timestamp_ms.unwrap_or(0).saturating_mul(1000));
    let header = Header {
        record_id: RecordId::derived(&[], "like"),
        session_id: key.unwrap_or_else(|| SessionId::parse(UNREADABLE).expect("the word is a session id")),
        writer: WRITER.to_owned(),
        seq: 0,
        prev_digest: Digest::ZERO,
        occurred_at,
        origin: Origin::Watcher,
        caused_by: Vec::new(),
        tenant: tenant.to_owned(),
        host: host.to_owned(),
        agent_name: None,
        agent_version: None,
        agent_model: None,
        principal: None,
        policy_digest: None,
    };
    let chunks: Vec<&[u8]> =
        if message.value.is_empty() { vec![&[]] } else { message.value.chunks(PART_BYTES).collect() };
    let parts = i32::try_from(chunks.len()).unwrap_or(i32::MAX);
    let digest = Digest::of(&message.value);
    let place = format!("{}/{}/{}", message.topic, message.partition, message.offset);
    let letter = |(part, bytes): (i32, &&[u8])| Outgoing {
        topic: Topic::DeadLetters,
        id: RecordId::derived(&[], &format!("watcher dead letter {place} {digest} {part}")),
        caused_by: Vec::new(),
        occurred_at,
        body: DeadLetter {
            topic: message.topic.to_string(),
            partition: message.partition,
            offset: message.offset,
            key: Bytes(message.key[..message.key.len().min(KEY_BYTES)].to_vec()),
            value: Bytes(bytes.to_vec()),
            part,
            parts,
            value_bytes: i64::try_from(message.value.len()).unwrap_or(i64::MAX),
            value_digest: digest,
            reason: reason.to_owned(),
        }
        .into(),
    };
    let out = (0..parts).zip(&chunks).map(letter).collect();
    (header, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wk_schemas::Body;

    #[test]
    fn a_long_message_is_kept_whole_in_parts_with_ids_of_their_own() {
        let value: Vec<u8> = (0..1_200_000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let message = Message {
            topic: Topic::Events.name().into(),
            partition: 1,
            offset: 9,
            timestamp_ms: Some(5),
            key: b"not a session!".to_vec().into(),
            value: value.clone().into(),
        };
        let (header, out) = letters(&message, "why", "t", "h");
        assert_eq!(header.session_id.as_str(), "unreadable");
        let mut whole = Vec::new();
        for outgoing in &out {
            let Body::DeadLetter(letter) = &outgoing.body else { panic!("not a dead letter") };
            whole.extend_from_slice(&letter.value.0);
        }
        assert_eq!((out.len(), whole == value), (3, true));
        assert_ne!(out[0].id, out[1].id);
        assert_eq!(letters(&message, "why", "t", "h").1, out);
    }
}
