//! Tables that fit: side by side while there is room, one column a line when there is none.

use super::Style;
use super::text::visible;
use arrow::datatypes::{DataType, SchemaRef};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Row, Table, presets};
use std::fmt::Write as _;

/// A column that is narrower than this helps nobody.
const COLUMN_WIDTH_MIN: usize = 12;

/// Lines that one row may take on a terminal before its longest cells are cut.
const ROW_LINES_MAX: usize = 4;

pub(crate) fn render(schema: &SchemaRef, rows: &[Vec<String>], style: Style) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| visible(cell)).collect()).collect();
    if style.vertical || style.width.is_some_and(|width| !fits(schema, &rows, width)) {
        return vertical(schema, &rows, style.width);
    }
    let mut table = Table::new();
    match style.width {
        Some(width) => table
            .load_preset(presets::UTF8_FULL_CONDENSED)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(u16::try_from(width).unwrap_or(u16::MAX)),
        None => table.load_preset(presets::ASCII_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled),
    };
    table.set_truncation_indicator("…");
    table.set_header(schema.fields().iter().map(|field| visible(field.name())));
    for row in rows {
        let cells = row.into_iter().zip(schema.fields()).map(|(cell, field)| {
            let right =
                matches!(field.data_type(), DataType::Int32 | DataType::Int64 | DataType::UInt64 | DataType::Float64);
            Cell::new(cell).set_alignment(if right { CellAlignment::Right } else { CellAlignment::Left })
        });
        let mut row = Row::from(cells.collect::<Vec<_>>());
        if style.width.is_some() {
            row.max_height(ROW_LINES_MAX);
        }
        table.add_row(row);
    }
    format!("{table}\n")
}

/// Whether every column gets the width that helps, or the little that it needs.
fn fits(schema: &SchemaRef, rows: &[Vec<String>], width: usize) -> bool {
    let needed = |i: usize| {
        let name = schema.field(i).name().chars().count();
        rows.iter().map(|row| row[i].chars().count()).fold(name, usize::max)
    };
    (0..schema.fields().len()).map(|i| needed(i).min(COLUMN_WIDTH_MIN) + 3).sum::<usize>() < width
}

fn vertical(schema: &SchemaRef, rows: &[Vec<String>], width: Option<usize>) -> String {
    let names: Vec<String> = schema.fields().iter().map(|field| visible(field.name())).collect();
    let margin = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (i, row) in rows.iter().enumerate() {
        writeln!(text, "── row {} ──", i + 1).expect("writing to a String does not fail");
        for (name, cell) in names.iter().zip(row) {
            let cell = match width {
                Some(width) => cut(cell, (width.saturating_sub(margin + 3)).max(COLUMN_WIDTH_MIN) * ROW_LINES_MAX),
                None => cell.clone(),
            };
            writeln!(text, "{name:<margin$} │ {cell}").expect("writing to a String does not fail");
        }
    }
    text
}

/// The first `max` characters, with a sign when that is not all.
pub(crate) fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some(_) => text.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::*;
    use arrow::datatypes::{Field, Schema};
    use std::sync::Arc;

    fn style(width: Option<usize>) -> Style {
        Style { format: Format::Table, width, vertical: false }
    }

    fn schema(columns: usize) -> SchemaRef {
        Arc::new(Schema::new(
            (0..columns).map(|i| Field::new(format!("column_{i}"), DataType::Utf8, true)).collect::<Vec<_>>(),
        ))
    }

    #[test]
    fn a_long_cell_is_wrapped_and_cut_within_the_terminal() {
        let text = render(&schema(2), &[vec!["x".into(), "long ".repeat(400)]], style(Some(60)));
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        assert!(text.contains('…'), "{text}");
        assert!(text.lines().count() < 12, "{text}");
    }

    #[test]
    fn many_columns_stand_below_each_other() {
        let row = vec!["a value that is long enough".to_owned(); 12];
        let text = render(&schema(12), &[row], style(Some(80)));
        assert!(text.starts_with("── row 1 ──\ncolumn_0  │ a value"), "{text}");
    }

    #[test]
    fn anywhere_else_nothing_is_cut() {
        let text = render(&schema(30), &[vec!["y".repeat(300); 30]], style(None));
        assert!(text.is_ascii(), "{text}");
        assert!(text.contains(&"y".repeat(300)));
    }
}
