//! Which files may hold rows for which a filter is true, by what the Delta log says of them.
//!
//! The bounds in the log hold every value but need not be reached (times are widened to milliseconds), so they serve to
//! leave files out and never to answer a question. The kinds in a file are known one by one.

use arrow::array::{
    Array as _, ArrayRef, BooleanArray, Int64Array, StringViewArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use std::collections::HashSet;
use std::sync::Arc;
use wk_schemas::Timestamp;
use wk_store::DataFile;
use wk_store::rows::KindName;

/// The files that may hold rows for which the filter is true.
pub(crate) fn prune(
    files: &[Arc<DataFile>],
    columns: &SchemaRef,
    filter: Option<&Arc<dyn PhysicalExpr>>,
) -> Result<Vec<Arc<DataFile>>> {
    let Some(filter) = filter else { return Ok(files.to_vec()) };
    // A filter that says nothing about the statistics leaves every file in; it is not an error.
    let Ok(predicate) =
        PruningPredicateBuilder::new().with_file_schema(Arc::clone(columns)).try_build(Arc::clone(filter))
    else {
        return Ok(files.to_vec());
    };
    let keep = predicate.prune(&Known { files })?;
    Ok(files.iter().zip(keep).filter(|(_, keep)| *keep).map(|(file, _)| Arc::clone(file)).collect())
}

/// A day, YYYY-MM-DD, as a value of the partition column.
pub(crate) fn day(day: &str) -> Result<ScalarValue> {
    ScalarValue::try_from_string(day.to_owned(), &DataType::Date32)
}

struct Known<'a> {
    files: &'a [Arc<DataFile>],
}

impl Known<'_> {
    fn times(&self, bound: impl Fn(&DataFile) -> Timestamp) -> ArrayRef {
        let times = TimestampMicrosecondArray::from_iter_values(self.files.iter().map(|file| bound(file).0));
        Arc::new(times.with_timezone("UTC"))
    }

    fn texts<'a>(&'a self, bound: impl Fn(&'a DataFile) -> Option<&'a str>) -> ArrayRef {
        Arc::new(self.files.iter().map(|file| bound(file)).collect::<StringViewArray>())
    }

    fn bounds(&self, column: &str, upper: bool) -> Option<ArrayRef> {
        let pick = move |(low, high): (Timestamp, Timestamp)| if upper { high } else { low };
        match column {
            "occurred_at" => Some(self.times(|file| pick(file.stats.occurred_at))),
            "recorded_at" => Some(self.times(|file| pick(file.stats.recorded_at))),
            "session_id" => Some(self.texts(|file| {
                let (low, high) = &file.stats.session_id;
                Some(if upper { high } else { low })
            })),
            "kind" => Some(self.texts(|file| {
                let kinds = file.stats.kinds.keys().map(KindName::as_str);
                if upper { kinds.max() } else { kinds.min() }
            })),
            "topic" => Some(self.texts(|file| {
                let topics = file.stats.held.iter().map(|held| held.source.topic.name());
                if upper { topics.max() } else { topics.min() }
            })),
            "offset" => Some(Arc::new(
                self.files
                    .iter()
                    .map(|file| {
                        let held = file.stats.held.iter();
                        if upper { held.map(|held| held.last).max() } else { held.map(|held| held.first).min() }
                    })
                    .collect::<Int64Array>(),
            )),
            wk_store::rows::DAY => ScalarValue::iter_to_array(
                self.files.iter().map(|file| day(&file.day).unwrap_or(ScalarValue::Date32(None))),
            )
            .ok(),
            _ => None,
        }
    }
}

impl PruningStatistics for Known<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column.name(), false)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column.name(), true)
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    /// The columns with bounds are never null.
    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let bounds = self.bounds(column.name(), false)?;
        Some(Arc::new(UInt64Array::from(vec![0; bounds.len()])))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(UInt64Array::from_iter_values(self.files.iter().map(|file| file.rows))))
    }

    /// `false` where a file has none of the values, `true` where it has no others.
    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        if column.name() != "kind" {
            return None;
        }
        let asked: Option<HashSet<&str>> = values.iter().map(|value| value.try_as_str().flatten()).collect();
        let asked = asked?;
        let known = |file: &Arc<DataFile>| {
            let has = |kind: &KindName| asked.contains(kind.as_str());
            if file.stats.kinds.keys().all(has) {
                Some(true)
            } else if file.stats.kinds.keys().any(has) {
                None
            } else {
                Some(false)
            }
        };
        Some(self.files.iter().map(known).collect())
    }
}
