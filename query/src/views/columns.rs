//! The table `columns`: every column of `records`, of the views and of what they are made of, with what it means.

use super::{ALL, rollups};
use crate::schema::{Documented, documented, sql_name};
use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DataFusionError;
use datafusion::datasource::MemTable;
use std::sync::Arc;

/// Name of the table.
pub(crate) const NAME: &str = "columns";

const OWN: [(&str, &str); 4] = [
    ("table_name", "Name of the table or view; with that of its schema when it is not `public`."),
    ("column_name", "Name of the column; for a nested one the path that a question writes."),
    ("data_type", "Its type."),
    ("description", "What it means."),
];

/// The table.
pub(crate) fn table() -> Result<Arc<MemTable>, DataFusionError> {
    let mut rows: Vec<[String; 4]> = Vec::new();
    for view in ALL {
        rows.extend(view.columns.iter().map(|c| [view.name, c.name, c.data_type, c.doc].map(str::to_owned)));
    }
    rows.extend(documented().into_iter().map(|c| ["records".into(), c.name, sql_name(&c.data_type), c.doc]));
    for table in rollups() {
        let of_table = |c: Documented| [table.name.clone(), c.name, sql_name(&c.data_type), c.doc];
        rows.extend(table.columns.into_iter().map(of_table));
    }
    rows.extend(OWN.iter().map(|(name, doc)| [NAME, name, "text", doc].map(str::to_owned)));

    let schema = Arc::new(Schema::new(OWN.map(|(name, _)| Field::new(name, DataType::Utf8, false)).to_vec()));
    let column = |i: usize| Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row[i]))) as _;
    let batch = RecordBatch::try_new(Arc::clone(&schema), (0..OWN.len()).map(column).collect())?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}
