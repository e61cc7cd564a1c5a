//! The roll-ups that a file keeps: are they what its records give?
//!
//! Whoever asks for a list of sessions or for what was seen first is answered from them, and does not look at the records.

use super::report::{Class, Finding};
use crate::lake::DataFile;
use crate::layout::rollups_of;
use crate::rollup::{self, Part, Places, Rollups};
use arrow::array::{Array as _, AsArray as _, RecordBatch};
use bytes::Bytes;
use parquet::file::metadata::ParquetMetaDataReader;
use std::collections::BTreeMap;
use std::ops::Range;
use wk_schemas::Schema;

/// The roll-ups of a file's records, made again while they are read.
#[derive(Default)]
pub(super) struct Again {
    /// What the file keeps, when that can be compared.
    places: Option<Places>,
    made: Rollups,
    /// Whether this program knows all that the records may say.
    known: Option<bool>,
    /// Findings without their place.
    found: Vec<(Class, String)>,
}

impl Again {
    /// Reads where the file keeps its roll-ups, and holds it against what the commit says.
    pub(super) fn begin(file: &DataFile, bytes: &Bytes) -> Self {
        let mut again = Self::default();
        // That the file is not readable is found elsewhere.
        let Ok(metadata) = ParquetMetaDataReader::new().parse_and_finish(bytes) else { return again };
        let kept = rollups_of(metadata.file_metadata()).map(Places::read);
        if kept != file.rollups {
            let word = |places: &Option<Places>| {
                places.as_ref().map_or_else(|| "nowhere".to_owned(), |places| format!("at `{places}`"))
            };
            let what = format!("its roll-ups are {}, the commit says {}", word(&kept), word(&file.rollups));
            again.found.push((Class::Invalid, what));
        }
        match kept {
            Some(places) if places.is_understood() => again.places = Some(places),
            Some(places) if places.is_newer() => {
                let what = "its roll-ups are of a form that only a newer version of this program can check";
                again.found.push((Class::Notice, what.into()));
            }
            Some(places) => {
                again
                    .found
                    .push((Class::Invalid, format!("its roll-ups are said to be at `{places}`, which is no place")));
            }
            None => {}
        }
        again
    }

    /// Takes a record; those of a file are of one schema.
    pub(super) fn take(&mut self, schema: &Schema, datum: &[u8]) -> Result<(), String> {
        if self.places.is_none() {
            return Ok(());
        }
        if !*self.known.get_or_insert_with(|| schema.is_known()) {
            let what =
                "its roll-ups are of records that only a newer version of this program knows all of: not checked";
            self.found.push((Class::Notice, what.into()));
            self.places = None;
            return Ok(());
        }
        self.made.take(schema, datum).map_err(|e| e.to_string())
    }

    /// Compares what the file keeps with what its records gave.
    pub(super) fn finish(mut self, file: &DataFile, bytes: &Bytes) -> Vec<Finding> {
        if let Some(places) = self.places {
            for (part, made) in Part::ALL.into_iter().zip(self.made.into_batches()) {
                let Some(place) = places.of(part) else { continue };
                if let Err(what) = compare(part, place, bytes, &made) {
                    self.found.push((Class::Invalid, format!("its roll-up of {}: {what}", part.name())));
                }
            }
        }
        let placed = |(class, what)| Finding::new(class, what).commit(file.version).file(&file.path);
        self.found.into_iter().map(placed).collect()
    }
}

fn compare(part: Part, place: &Range<u64>, bytes: &Bytes, made: &RecordBatch) -> Result<(), String> {
    let within = |n: u64| usize::try_from(n).ok().filter(|n| *n <= bytes.len());
    let (Some(start), Some(end)) = (within(place.start), within(place.end)) else {
        return Err(format!("it is said to be at {} to {}, behind the end of the file", place.start, place.end));
    };
    let kept = rollup::read(part, &bytes.slice(start..end), None).map_err(|e| format!("not readable: {e}"))?;
    let kept = arrow::compute::concat_batches(&part.schema(), &kept).map_err(|e| format!("not readable: {e}"))?;
    if kept == *made { Ok(()) } else { Err(difference(&kept, made)) }
}

/// The first thing in which two batches of one part are not the same, in words.
fn difference(kept: &RecordBatch, made: &RecordBatch) -> String {
    let keys = |batch: &RecordBatch| -> BTreeMap<(String, String), usize> {
        let (tenants, values) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
        (0..batch.num_rows()).map(|row| ((tenants.value(row).to_owned(), values.value(row).to_owned()), row)).collect()
    };
    let (kept_rows, made_rows) = (keys(kept), keys(made));
    for (key, row) in &made_rows {
        let Some(other) = kept_rows.get(key) else { return format!("`{}` is left out", key.1) };
        let differs = |column: &usize| kept.column(*column).slice(*other, 1) != made.column(*column).slice(*row, 1);
        if let Some(column) = (0..made.num_columns()).find(differs) {
            return format!("`{}` of `{}` is not what its records say", made.schema().field(column).name(), key.1);
        }
    }
    match kept_rows.keys().find(|key| !made_rows.contains_key(*key)) {
        Some((_, value)) => format!("`{value}` is in none of its records"),
        None if kept.num_rows() > kept_rows.len() => "it says something twice".into(),
        None => "its rows are in another order".into(),
    }
}
