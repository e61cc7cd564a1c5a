//! What there is to ask about.

use super::{Format, Style, table};
use crate::schema::{Documented, documented, sql_name};
use crate::views::{self, ALL};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

const KEYS: &str = "\
A question ends with `;` and may take several lines. Ctrl-C gives a running question up.
  \\d            the tables and views        \\d NAME        columns of one, with their meaning
  \\format NAME  table, csv or json          \\x             one line per column, on or off
  \\saved       the saved questions        \\saved NAME k=v asks one; `\\saved NAME ?` explains it
  \\?            this help                   \\q             leaves (so does Ctrl-D)
";

/// What `help`, `help NAME` and the shell's own commands print.
pub(super) fn answer(about: &str, width: Option<usize>) -> String {
    if about.is_empty() {
        return format!("{}\n{}", overview(width), KEYS);
    }
    describe(about, width).unwrap_or_else(|| format!("there is no table or view `{about}`; `help` lists them\n"))
}

/// The tables and views, with what a row of each is.
#[must_use]
pub fn overview(width: Option<usize>) -> String {
    let mut rows: Vec<Vec<String>> = ALL.iter().map(|view| vec![view.name.to_owned(), view.doc.to_owned()]).collect();
    rows.push(vec![
        "records".into(),
        "Every record as it is, one nested column per kind; what the views are made of.".into(),
    ]);
    rows.push(vec![views::COLUMNS.into(), "What every column of all of these means.".into()]);
    rows.extend(views::rollups().into_iter().map(|table| vec![table.name, table.doc.to_owned()]));
    render(["name", "one row is"], &rows, width)
}

/// The columns of a table or view with what they mean; `None` when there is none of that name.
#[must_use]
pub fn describe(name: &str, width: Option<usize>) -> Option<String> {
    let said = |columns: Vec<Documented>| -> Vec<Vec<String>> {
        columns.into_iter().map(|c| vec![c.name, sql_name(&c.data_type), c.doc]).collect()
    };
    let rows: Vec<Vec<String>> = match ALL.iter().find(|view| view.name == name) {
        Some(view) => view.columns.iter().map(|c| [c.name, c.data_type, c.doc].map(str::to_owned).to_vec()).collect(),
        None if name == "records" => said(documented()),
        None => said(views::rollups().into_iter().find(|table| table.name == name)?.columns),
    };
    Some(render(["column", "type", "meaning"], &rows, width))
}

fn render<const N: usize>(names: [&str; N], rows: &[Vec<String>], width: Option<usize>) -> String {
    let schema: SchemaRef = Arc::new(Schema::new(names.map(|name| Field::new(name, DataType::Utf8, false)).to_vec()));
    table::render(&schema, rows, Style { format: Format::Table, width, vertical: false })
}
