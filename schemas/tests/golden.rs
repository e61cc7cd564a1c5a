//! `golden/` holds the schema and the bytes of every released version. What was written once is read for ever.
//!
//! A released folder is never changed. A new version gets a folder of its own; the test below says what it must hold.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod common;

use apache_avro::schema_compatibility::SchemaCompatibility;
use std::fs;
use std::path::{Path, PathBuf};
use wk_schemas::{Body, SCHEMA, codec};

fn versions() -> Vec<PathBuf> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut found: Vec<_> = fs::read_dir(golden).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    found.sort();
    found
}

#[test]
fn the_bytes_of_every_version_are_read_and_written_back_the_same() {
    for version in versions() {
        let mut read = 0;
        for file in fs::read_dir(&version).unwrap().map(|e| e.unwrap().path()) {
            if file.extension().is_some_and(|e| e == "avro") {
                let datum = fs::read(&file).unwrap();
                let record = codec::decode(&datum).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
                assert_eq!(codec::encode(&record), datum, "{}", file.display());
                assert_eq!(file.file_stem().unwrap().to_str().unwrap(), record.kind().as_str());
                read += 1;
            }
        }
        assert!(read > 0, "{} holds no bytes", version.display());
    }
}

#[test]
fn the_newest_version_holds_every_kind_as_it_is_encoded_today() {
    let newest = versions().pop().unwrap();
    for record in common::all() {
        let file = newest.join(format!("{}.avro", record.kind()));
        let golden = fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert!(golden == codec::encode(&record), "{}: the encoding of {} has changed", file.display(), record.kind());
    }
    assert_eq!(fs::read_dir(&newest).unwrap().count(), Body::FIELDS.len() + 1);
}

#[test]
fn the_schema_is_compatible_with_every_version_both_ways() {
    let current = apache_avro::Schema::parse_str(SCHEMA).unwrap();
    for version in versions() {
        let text = fs::read_to_string(version.join("audit_record.avsc")).unwrap();
        let released = apache_avro::Schema::parse_str(&text).unwrap();
        SchemaCompatibility::mutual_read(&released, &current).unwrap_or_else(|e| panic!("{}: {e}", version.display()));
    }
}
