//! The three forms of an answer.

use super::Style;
use super::table;
use super::text::{cells, json_writer, visible};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use std::io::{self, Write};

/// Form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// A table for people.
    #[default]
    Table,
    /// RFC 4180, with a header line.
    Csv,
    /// One JSON object a line.
    Json,
}

impl std::str::FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "table" => Ok(Self::Table),
            "csv" => Ok(Self::Csv),
            "json" => Ok(Self::Json),
            other => Err(UnknownFormat(other.to_owned())),
        }
    }
}

/// Not the name of a format.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a format: table, csv or json is expected")]
pub struct UnknownFormat(String);

/// Writes an answer as its rows come in. A table has to wait for its last row to know how wide it is; the others do not.
pub(crate) struct Printer {
    style: Style,
    schema: SchemaRef,
    rows_max: usize,
    kept: Vec<Vec<String>>,
    seen: u64,
}

impl Printer {
    pub(crate) fn new(style: Style, schema: SchemaRef, rows_max: usize) -> Self {
        Self { style, schema, rows_max, kept: Vec::new(), seen: 0 }
    }

    pub(crate) fn rows(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> io::Result<()> {
        let first = self.seen == 0;
        self.seen += u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
        match self.style.format {
            Format::Table => {
                let room = self.rows_max.saturating_sub(self.kept.len());
                if room > 0 {
                    self.kept.extend(cells(&batch.slice(0, room.min(batch.num_rows()))));
                }
                Ok(())
            }
            Format::Csv => {
                if first {
                    self.header(out)?;
                }
                cells(batch).iter().try_for_each(|row| self.csv(row, out))
            }
            Format::Json => {
                let mut writer = json_writer(out);
                writer.write(batch).and_then(|()| writer.finish()).map_err(io::Error::other)
            }
        }
    }

    /// Writes what is left; returns the number of rows in the whole answer.
    pub(crate) fn finish(self, out: &mut dyn Write) -> io::Result<u64> {
        match self.style.format {
            Format::Table => {
                out.write_all(table::render(&self.schema, &self.kept, self.style).as_bytes())?;
                let kept = u64::try_from(self.kept.len()).unwrap_or(u64::MAX);
                if self.seen > kept {
                    writeln!(
                        out,
                        "… {} more rows are not shown: ask for fewer, or use --format csv or json (`table_rows` in query.toml)",
                        self.seen - kept
                    )?;
                }
            }
            Format::Csv if self.seen == 0 => self.header(out)?,
            Format::Csv | Format::Json => {}
        }
        Ok(self.seen)
    }

    fn header(&self, out: &mut dyn Write) -> io::Result<()> {
        let names: Vec<String> = self.schema.fields().iter().map(|field| field.name().clone()).collect();
        self.csv(&names, out)
    }

    fn csv(&self, row: &[String], out: &mut dyn Write) -> io::Result<()> {
        // A file gets every byte as it is; a terminal must not.
        let cell = |cell: &String| match self.style.width {
            Some(_) => quoted(&visible(cell)),
            None => quoted(cell),
        };
        writeln!(out, "{}", row.iter().map(cell).collect::<Vec<_>>().join(","))
    }
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use std::sync::Arc;

    fn print(format: Format, rows_max: usize) -> String {
        let name: ArrayRef = Arc::new(StringArray::from(vec![Some("a,\"b\"\n\u{1b}[2J"), None, Some("c")]));
        let n: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let batch = RecordBatch::try_from_iter_with_nullable([("name", name, true), ("n", n, true)]).unwrap();
        let mut out = Vec::new();
        let style = Style { format, width: None, vertical: false };
        let mut printer = Printer::new(style, batch.schema(), rows_max);
        printer.rows(&batch.slice(0, 2), &mut out).unwrap();
        printer.rows(&batch.slice(2, 1), &mut out).unwrap();
        assert_eq!(printer.finish(&mut out).unwrap(), 3);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_keeps_every_byte_and_has_one_header() {
        assert_eq!(print(Format::Csv, 1), "name,n\n\"a,\"\"b\"\"\n\u{1b}[2J\",1\n,2\nc,3\n");
    }

    #[test]
    fn json_is_one_object_a_line_with_nulls() {
        assert_eq!(
            print(Format::Json, 1),
            "{\"name\":\"a,\\\"b\\\"\\n\\u001b[2J\",\"n\":1}\n{\"name\":null,\"n\":2}\n{\"name\":\"c\",\"n\":3}\n"
        );
    }

    #[test]
    fn a_table_says_how_many_rows_it_does_not_show() {
        let table = print(Format::Table, 2);
        assert!(table.contains("… 1 more rows"), "{table}");
        assert!(table.contains(r#"a,"b"\n\u{1b}[2J"#), "{table}");
    }
}
