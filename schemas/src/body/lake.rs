//! What happens to the record itself: questions asked of it, evidence taken from it, bytes that could not be read.

use crate::avro::{Bytes, avro_record};
use crate::digest::Digest;

avro_record! {
    /// Somebody asked the lake a question.
    pub struct QueryRun {
        /// The question, as SQL. OCSF: query_info.query_string.
        pub sql: String,
        /// Who asked. OCSF: actor.user.name.
        pub user: String,
        /// Which door: shell, postgres, flight, http.
        pub door: String,
        /// Version of the table that answered.
        pub table_version: i64,
        /// Rows in the answer. OCSF: query_info.data_size counts bytes instead.
        pub rows: i64,
        /// Microseconds until the last row. OCSF: duration.
        pub duration_us: i64,
        /// What went wrong; null when nothing did. OCSF: status_detail.
        pub error: Option<String>,
    }
}

avro_record! {
    /// Somebody took evidence out of the lake. OCSF: Compliance Finding 2003.
    pub struct EvidenceExported {
        /// Who took it. OCSF: actor.user.name.
        pub user: String,
        /// The framework: soc2, iso27001, hipaa. OCSF: compliance.standards.
        pub framework: String,
        /// First day of the period, YYYY-MM-DD.
        pub from_day: String,
        /// Last day of the period, YYYY-MM-DD.
        pub to_day: String,
        /// Version of the table that it was taken from.
        pub table_version: i64,
        /// Records in the population. OCSF: count.
        pub records: i64,
        /// SHA-256 of the bundle's manifest.
        pub manifest_digest: Digest,
    }
}

avro_record! {
    /// Bytes from the log that are not exactly one canonical record. Long ones come in several parts.
    pub struct DeadLetter {
        /// Topic they were found in.
        pub topic: String,
        /// Partition they were found in.
        pub partition: i32,
        /// Offset they were found at.
        pub offset: i64,
        /// The message's key.
        pub key: Bytes,
        /// The message's bytes, or this part of them.
        pub value: Bytes,
        /// Which part this is, from 0.
        pub part: i32,
        /// How many parts there are.
        pub parts: i32,
        /// Bytes of the whole message.
        pub value_bytes: i64,
        /// SHA-256 of the whole message.
        pub value_digest: Digest,
        /// Why it could not be read, and at which byte. OCSF: status_detail.
        pub reason: String,
    }
}
