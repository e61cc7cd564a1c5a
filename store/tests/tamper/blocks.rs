//! What is done to the roots over blocks that a file keeps, with which one record is proven without reading the rest.

use crate::common::{START, Session, key, records};
use crate::stage::{Put, Stage};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use std::fs;
use wk_schemas::{Body, Digest, Kind, Topic};
use wk_store::merkle::proof::{ProofError, prove};
use wk_store::verify::Class;
use wk_store::{Lake, Source};

const FALSE: &str = "the roots over its blocks, which it keeps, are not those of its records";

/// A lake of one file with so many records, of three kinds in turn.
async fn stage(records: usize) -> Stage {
    let kinds = [Kind::ToolCalled, Kind::FileAccessed, Kind::ProcessStarted];
    let bodies: Vec<Body> =
        kinds.map(|kind| records::bodies().into_iter().find(|body| body.kind() == kind).unwrap()).into();
    let mut session = Session::new(1);
    let bodies = bodies.into_iter().cycle().take(records);
    let put = |datum| Put { topic: Topic::Events, partition: 0, recorded_at: START, datum };
    Stage::of(vec![bodies.map(|body| put(session.datum(body))).collect()]).await
}

/// Proves a record and checks the proof; gives what keeps it from being proven.
async fn proven(stage: &Stage, offset: i64) -> Result<(), ProofError> {
    let lake = Lake::open(stage.dir.path()).await.unwrap();
    let (proof, record) = prove(&lake, Source { topic: Topic::Events, partition: 0 }, offset).await?;
    assert_eq!(record.offset, offset);
    proof.check(&record, &key().verifying_key()).unwrap();
    Ok(())
}

fn metadata(stage: &Stage) -> ParquetMetaData {
    let bytes = bytes::Bytes::from(fs::read(stage.file(1)).unwrap());
    let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
    reader.try_parse(&bytes).unwrap();
    reader.finish().unwrap()
}

/// Where the file says that it keeps them.
fn kept_at(stage: &Stage) -> usize {
    let metadata = metadata(stage);
    let pairs = metadata.file_metadata().key_value_metadata().unwrap();
    let pair = pairs.iter().find(|pair| pair.key == "watchkeeper.blocks").unwrap();
    pair.value.as_ref().unwrap().parse().unwrap()
}

/// Makes the commit say what the file is now, but for the root over its records, and signs everything again.
async fn sign(stage: &Stage) {
    let bytes = fs::read(stage.file(1)).unwrap();
    stage.edit_add(1, |add| {
        add["size"] = bytes.len().into();
        add["tags"]["watchkeeper.sha256"] = Digest::of(&bytes).to_hex().into();
    });
    stage.sign_again().await;
}

#[tokio::test]
async fn a_record_is_proven_out_of_its_block_whatever_became_of_the_rest_of_the_file() {
    let stage = stage(9000).await;
    assert!(stage.report().await.is_valid());
    for offset in [0, 255, 256, 4095, 4096, 8191, 8959, 8960, 8999] {
        proven(&stage, offset).await.unwrap();
    }
    let error = proven(&stage, 9000).await.unwrap_err();
    assert!(matches!(error, ProofError::Absent { offset: 9000, .. }), "{error}");

    // The last page of the first column, which has a value of each of the last records.
    let metadata = metadata(&stage);
    let pages = metadata.offset_index().unwrap()[0][0].page_locations();
    assert!(pages.len() > 1, "the file has several pages");
    let last = pages.last().unwrap();
    let begin = usize::try_from(last.offset).unwrap();
    let end = begin + usize::try_from(last.compressed_page_size).unwrap();
    Stage::bend(&stage.file(1), |bytes| bytes[begin..end].fill(0x5a));
    proven(&stage, 17).await.unwrap();
    assert!(matches!(proven(&stage, 8999).await.unwrap_err(), ProofError::File { .. }));
    Stage::finds(&stage.report().await, Class::Invalid, "commit 1: records/");
}

#[tokio::test]
async fn a_byte_of_the_roots_over_blocks() {
    let stage = stage(700).await;
    let at = kept_at(&stage);
    Stage::bend(&stage.file(1), |bytes| bytes[at + 40] ^= 1);
    Stage::finds(&stage.report().await, Class::Invalid, FALSE);
    assert!(proven(&stage, 0).await.unwrap_err().to_string().ends_with(FALSE));
}

#[tokio::test]
async fn a_byte_of_the_roots_over_blocks_and_everything_signed_again() {
    let stage = stage(700).await;
    let at = kept_at(&stage);
    Stage::bend(&stage.file(1), |bytes| bytes[at] ^= 1);
    sign(&stage).await;
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, FALSE);
    assert_eq!(report.findings.iter().filter(|finding| finding.class == Class::Invalid).count(), 1, "{report}");
    // Even of a record whose own block's root is as it was.
    assert!(proven(&stage, 699).await.unwrap_err().to_string().ends_with(FALSE));
}

#[tokio::test]
async fn roots_over_blocks_that_are_said_to_lie_beyond_the_file() {
    let stage = stage(700).await;
    let said = kept_at(&stage).to_string();
    let elsewhere = "9".repeat(said.len());
    Stage::bend(&stage.file(1), |bytes| {
        let at = bytes.windows(said.len()).rposition(|found| found == said.as_bytes()).unwrap();
        bytes[at..at + said.len()].copy_from_slice(elsewhere.as_bytes());
    });
    sign(&stage).await;
    let what = format!("it says that the roots over its blocks are at `{elsewhere}`, where they cannot be");
    Stage::finds(&stage.report().await, Class::Invalid, &what);
    assert!(proven(&stage, 0).await.unwrap_err().to_string().ends_with(&what));
}

#[tokio::test]
async fn two_records_of_different_blocks_exchanged() {
    let stage = stage(700).await;
    stage.rewrite(1, |batch| {
        let index = |row| match row {
            3 => 600,
            600 => 3,
            row => row,
        };
        let rows = arrow::array::UInt32Array::from_iter_values((0..700).map(index));
        arrow::compute::take_record_batch(&batch, &rows).unwrap()
    });
    sign(&stage).await;
    // The file that was written anew keeps no roots, so it is read as a whole, and has not the root that was signed.
    for offset in [3, 600] {
        let error = proven(&stage, offset).await.unwrap_err().to_string();
        assert!(error.ends_with("its records are not those that were committed"), "{error}");
    }
    Stage::finds(&stage.report().await, Class::Invalid, "its records have the root");
}

#[tokio::test]
async fn a_file_without_them_is_proven_as_a_whole() {
    let stage = stage(700).await;
    stage.rewrite(1, |batch| batch);
    stage.reseal(1);
    stage.sign_again().await;
    assert!(stage.report().await.is_valid());
    for offset in [0, 256, 699] {
        proven(&stage, offset).await.unwrap();
    }
}

#[tokio::test]
async fn a_value_of_a_column_that_is_not_compressed() {
    let stage = stage(700).await;
    let metadata = metadata(&stage);
    let columns = metadata.row_group(0).columns();
    let column = columns.iter().find(|column| column.column_path().string() == "prev_digest").unwrap();
    let (begin, bytes) = column.byte_range();
    let last = usize::try_from(begin + bytes).unwrap() - 1;
    Stage::bend(&stage.file(1), |bytes| bytes[last] ^= 1);
    // The page is whole and says something else of the last record.
    let error = proven(&stage, 600).await.unwrap_err().to_string();
    assert!(error.ends_with("its records from row 512 are not those that were committed"), "{error}");
    proven(&stage, 511).await.unwrap();
    Stage::finds(&stage.report().await, Class::Invalid, "its records have the root");
}
