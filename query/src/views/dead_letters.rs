//! View `dead_letters`: one row per message that could not be read.

use super::{Column, DAY, RECORD, SESSION, TIME, View, column};

pub(super) const VIEW: View = View {
    name: "dead_letters",
    doc: "One row per message on the log that is not exactly one canonical record (per part, for long ones).",
    columns: COLUMNS,
    with: "",
    from: "records WHERE kind = 'dead_letter'",
};

const COLUMNS: &[Column] = &[
    TIME,
    SESSION,
    column("topic", "text", "Topic it was found in.", "dead_letter['topic']"),
    column("partition", "int", "Partition it was found in.", "dead_letter['partition']"),
    column("offset", "bigint", "Offset it was found at.", "dead_letter['offset']"),
    column("reason", "text", "Why it could not be read, and at which byte.", "dead_letter['reason']"),
    column("part", "int", "Which part this is, from 0.", "dead_letter['part']"),
    column(
        "parts",
        "int",
        "How many parts there are; 0 for a note that the message was replayed, whose reason says where to.",
        "dead_letter['parts']",
    ),
    column("value_bytes", "bigint", "Bytes of the whole message.", "dead_letter['value_bytes']"),
    column("value_digest", "bytes", "SHA-256 of the whole message.", "dead_letter['value_digest']"),
    column("key", "bytes", "The message's key.", "dead_letter['key']"),
    column("value", "bytes", "The message's bytes, or this part of them.", "dead_letter['value']"),
    RECORD,
    DAY,
];
