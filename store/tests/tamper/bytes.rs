//! Somebody who can write to the disk changes data files.

use crate::stage::Stage;
use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt32Array,
};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use std::fs;
use std::sync::Arc;
use wk_store::verify::{Class, Scope};

/// The batch with one column put through `change`.
pub(crate) fn with_column(batch: &RecordBatch, name: &str, change: impl Fn(&ArrayRef) -> ArrayRef) -> RecordBatch {
    let index = batch.schema().index_of(name).unwrap();
    let mut columns = batch.columns().to_vec();
    columns[index] = change(&columns[index]);
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

/// Another host in the row of this number.
pub(crate) fn other_host(row: usize) -> impl Fn(RecordBatch) -> RecordBatch {
    move |batch| {
        with_column(&batch, "host", |hosts| {
            let hosts = hosts.as_string::<i32>();
            Arc::new(StringArray::from_iter_values(
                (0..hosts.len()).map(|n| if n == row { "elsewhere" } else { hosts.value(n) }),
            ))
        })
    }
}

const FILE_1: &str = "commit 1: records/day=2026-10-26/events-0-0-9-00000001000000000000000000000000.parquet: ";

fn of_1(what: &str) -> String {
    format!("{FILE_1}{what}")
}

#[tokio::test]
async fn a_byte_of_a_page() {
    let stage = Stage::new().await;
    Stage::bend(&stage.file(1), |bytes| bytes[300] ^= 1);
    Stage::finds(&stage.report().await, Class::Invalid, FILE_1);
}

#[tokio::test]
async fn a_byte_of_the_footer() {
    let stage = Stage::new().await;
    Stage::bend(&stage.file(1), |bytes| {
        let at = bytes.len() - 30;
        bytes[at] ^= 1;
    });
    Stage::finds(&stage.report().await, Class::Invalid, FILE_1);
}

#[tokio::test]
async fn a_file_cut_short() {
    let stage = Stage::new().await;
    Stage::bend(&stage.file(1), |bytes| bytes.truncate(bytes.len() - 1));
    Stage::finds(&stage.report().await, Class::Invalid, &of_1("not readable"));
}

#[tokio::test]
async fn a_byte_put_in_the_middle() {
    let stage = Stage::new().await;
    Stage::bend(&stage.file(1), |bytes| bytes.insert(1000, 0));
    Stage::finds(&stage.report().await, Class::Invalid, FILE_1);
}

#[tokio::test]
async fn a_file_emptied() {
    let stage = Stage::new().await;
    fs::write(stage.file(1), b"").unwrap();
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, &of_1("0 bytes with SHA-256"));
    Stage::finds(&report, Class::Missing, "it has 0 records of agent.session.events.v1/0, and says 10");
}

#[tokio::test]
async fn a_file_removed() {
    let stage = Stage::new().await;
    fs::remove_file(stage.file(1)).unwrap();
    let report = stage.report().await;
    Stage::finds(
        &report,
        Class::Missing,
        &of_1("the file is not there: 10 records, agent.session.events.v1/0 offsets 0 to 9"),
    );
    Stage::finds(&report, Class::Gap, "session session-1 writer shim: the records with seq 0 to 9 are missing");
}

#[tokio::test]
async fn two_files_swapped() {
    let stage = Stage::new().await;
    let (one, two) = (fs::read(stage.file(1)).unwrap(), fs::read(stage.file(2)).unwrap());
    fs::write(stage.file(1), two).unwrap();
    fs::write(stage.file(2), one).unwrap();
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, &of_1("its records have the root"));
    Stage::finds(&report, Class::Invalid, "commit 2: records/day=2026-10-26/events-0-10-19-and-1");
    Stage::finds(&report, Class::Invalid, "commit 1: agent.session.events.v1/0@10: it is outside the commit's ranges");
}

#[tokio::test]
async fn a_file_replaced_by_a_copy_of_another() {
    let stage = Stage::new().await;
    fs::copy(stage.file(3), stage.file(1)).unwrap();
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, &of_1("its records have the root"));
    Stage::finds(&report, Class::Invalid, &of_1("it holds 5 of agent.session.events.v1/0 from 20 to 24"));
}

#[tokio::test]
async fn a_row_changed_and_the_file_encoded_anew() {
    let stage = Stage::new().await;
    stage.rewrite(1, other_host(3));
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, &of_1("its records have the root"));
    Stage::finds(
        &report,
        Class::Invalid,
        "agent.session.events.v1/0@4: session session-1 writer shim: the record with seq 3 was altered",
    );
}

#[tokio::test]
async fn a_row_changed_and_file_and_commit_made_to_fit() {
    let stage = Stage::new().await;
    stage.rewrite(1, other_host(3));
    stage.reseal(1);
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, "commit 1: its bytes are not the ones that were signed");
    Stage::finds(&report, Class::Invalid, "the record with seq 3 was altered");
}

#[tokio::test]
async fn a_row_taken_out() {
    let stage = Stage::new().await;
    stage.rewrite(1, |batch| {
        let keep: BooleanArray = (0..batch.num_rows()).map(|row| Some(row != 4)).collect();
        filter_record_batch(&batch, &keep).unwrap()
    });
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, &of_1("it has 9 records, the commit says 10"));
    Stage::finds(&report, Class::Missing, "it has 9 records of agent.session.events.v1/0, and says 10");
    Stage::finds(&report, Class::Gap, "the record with seq 4 is missing");
}

#[tokio::test]
async fn a_row_put_in_twice() {
    let stage = Stage::new().await;
    stage.rewrite(1, |batch| concat_batches(&batch.schema(), &[batch.clone(), batch.slice(4, 1)]).unwrap());
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, "commit 1: agent.session.events.v1/0@4: it is in the commit twice");
    Stage::finds(&report, Class::Invalid, &of_1("it has 11 records, the commit says 10"));
}

#[tokio::test]
async fn rows_put_in_another_order() {
    let stage = Stage::new().await;
    stage.rewrite(1, |batch| {
        let order: UInt32Array = (0..10).map(|row| if row < 2 { 1 - row } else { row }).collect();
        take_record_batch(&batch, &order).unwrap()
    });
    Stage::finds(&stage.report().await, Class::Invalid, &of_1("its records have the root"));
}

#[tokio::test]
async fn the_time_at_which_the_log_took_a_record_moved() {
    let stage = Stage::new().await;
    stage.rewrite(1, |batch| {
        with_column(&batch, "recorded_at", |times| {
            let times = times.as_primitive::<TimestampMicrosecondType>();
            let moved = (0..times.len()).map(|n| times.value(n) - if n == 0 { 3_600_000_000 } else { 0 });
            Arc::new(TimestampMicrosecondArray::from_iter_values(moved).with_timezone("UTC"))
        })
    });
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, &of_1("its records have the root"));
    Stage::finds(&report, Class::Invalid, &of_1("`recorded_at` of its records goes from"));
}

#[tokio::test]
async fn a_row_moved_to_another_offset() {
    let stage = Stage::new().await;
    stage.rewrite(1, |batch| {
        with_column(&batch, "offset", |offsets| {
            let offsets = offsets.as_primitive::<Int64Type>();
            Arc::new(Int64Array::from_iter_values(
                (0..offsets.len()).map(|n| if n == 9 { 77 } else { offsets.value(n) }),
            ))
        })
    });
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, "commit 1: agent.session.events.v1/0@77: it is outside the commit's ranges");
}

#[tokio::test]
async fn the_same_rows_in_other_bytes() {
    let stage = Stage::new().await;
    stage.rewrite(1, |batch| batch);
    Stage::finds_only(&stage.report().await, Class::Invalid, FILE_1);
}

#[tokio::test]
async fn a_file_added_that_no_commit_names() {
    let stage = Stage::new().await;
    fs::copy(stage.file(1), stage.file(1).with_file_name("events-0-0-9-extra.parquet")).unwrap();
    let report = stage.report().await;
    Stage::finds_only(&report, Class::Notice, "records/day=2026-10-26/events-0-0-9-extra.parquet: no commit names it");
    Stage::finds_only(&stage.report_of(Scope::Day("2026-10-26".into())).await, Class::Notice, "no commit names it");
}

#[tokio::test]
async fn what_was_done_to_one_part_is_found_when_that_part_is_checked_and_not_elsewhere() {
    let stage = Stage::new().await;
    stage.rewrite(4, other_host(1));
    for (scope, found) in [
        (Scope::Day("2026-10-27".into()), true),
        (Scope::Day("2026-10-26".into()), false),
        (Scope::Session("session-2".into()), true),
        (Scope::Session("session-1".into()), false),
        (Scope::record("agent.session.events.v1/1@6").unwrap(), true),
        (Scope::record("agent.session.events.v1/0@6").unwrap(), false),
    ] {
        let report = stage.report_of(scope.clone()).await;
        assert_eq!(report.is_valid(), !found, "{scope}: {report}");
    }
}

#[tokio::test]
async fn what_is_asked_for_and_is_not_there_is_missing() {
    let stage = Stage::new().await;
    for (scope, text) in [
        (Scope::Session("session-9".into()), "there is no record of session session-9"),
        (
            Scope::record("agent.session.events.v1/0@25").unwrap(),
            "agent.session.events.v1/0 has been committed up to offset 25, so 25 is not in the lake",
        ),
    ] {
        Stage::finds_only(&stage.report_of(scope).await, Class::Missing, text);
    }
}
