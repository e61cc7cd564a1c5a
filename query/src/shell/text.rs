//! Values as text.

use arrow::array::{Array as _, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::json::LineDelimitedWriter;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::fmt::Write as _;
use std::sync::Arc;

/// The rows of a batch, each cell as text: times as RFC 3339 in UTC, bytes as hex, nested values as JSON, null as nothing.
#[must_use]
pub fn cells(batch: &RecordBatch) -> Vec<Vec<String>> {
    let columns: Vec<Vec<String>> = batch.columns().iter().map(column).collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect()
}

fn column(array: &ArrayRef) -> Vec<String> {
    if is_nested(array.data_type()) {
        return nested(array);
    }
    let options = FormatOptions::default().with_null("").with_display_error(true);
    match ArrayFormatter::try_new(array.as_ref(), &options) {
        Ok(formatter) => (0..array.len()).map(|row| formatter.value(row).to_string()).collect(),
        Err(error) => vec![format!("<{error}>"); array.len()],
    }
}

fn is_nested(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_nested(values),
        other => other.is_nested(),
    }
}

/// Each value as JSON, by way of a batch that has this column alone.
fn nested(array: &ArrayRef) -> Vec<String> {
    const OPEN: &str = "{\"v\":";
    let schema = Arc::new(Schema::new(vec![Field::new("v", array.data_type().clone(), true)]));
    let lines = RecordBatch::try_new(schema, vec![Arc::clone(array)])
        .and_then(|batch| {
            let mut lines: LineDelimitedWriter<Vec<u8>> = json_writer(Vec::new());
            lines.write(&batch)?;
            lines.finish()?;
            Ok(lines.into_inner())
        })
        .unwrap_or_default();
    let mut values: Vec<String> = String::from_utf8_lossy(&lines)
        .lines()
        .map(|line| line.strip_prefix(OPEN).and_then(|rest| rest.strip_suffix('}')).unwrap_or(line).to_owned())
        .map(|value| if value == "null" { String::new() } else { value })
        .collect();
    values.resize(array.len(), "<not printable>".to_owned());
    values
}

/// Writes rows as JSON, one object a line, nulls included.
pub(crate) fn json_writer<W: std::io::Write>(out: W) -> arrow::json::Writer<W, LineDelimited> {
    WriterBuilder::new().with_explicit_nulls(true).build(out)
}

/// Text as it may be shown on a terminal: control characters, and those that turn the direction of text, are spelled out, so that
/// nothing an agent wrote can move the cursor, change colours, or look like something else.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => {
                spell(character, &mut shown)
            }
            other if other.is_control() => spell(other, &mut shown),
            other => shown.push(other),
        }
    }
    shown
}

fn spell(character: char, shown: &mut String) {
    write!(shown, "\\u{{{:x}}}", u32::from(character)).expect("writing to a String does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BinaryArray, ListArray, TimestampMicrosecondArray};
    use arrow::datatypes::Int32Type;

    #[test]
    fn escape_sequences_are_shown_and_not_sent() {
        assert_eq!(visible("a\u{1b}[2Jb\u{9b}c\u{202e}d\te"), "a\\u{1b}[2Jb\\u{9b}c\\u{202e}d\\te");
        assert_eq!(visible("Größe → 東京"), "Größe → 東京");
    }

    #[test]
    fn times_bytes_lists_and_nulls_have_one_text_each() {
        let time: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from(vec![Some(1_500_000), None]).with_timezone("UTC"));
        let bytes: ArrayRef = Arc::new(BinaryArray::from_opt_vec(vec![Some(&[0xab, 1]), None]));
        let list: ArrayRef =
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None]), None]));
        let batch = RecordBatch::try_from_iter([("t", time), ("b", bytes), ("l", list)]).unwrap();
        let row = |texts: [&str; 3]| texts.map(str::to_owned).to_vec();
        assert_eq!(cells(&batch), vec![row(["1970-01-01T00:00:01.500Z", "ab01", "[1,null]"]), row(["", "", ""])]);
    }
}
