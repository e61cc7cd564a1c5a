//! One record is proven without its neighbours and without the lake.

use crate::common::{Session, filled, key, range, records, rows};
use ed25519_dalek::SigningKey;
use uuid::Uuid;
use wk_schemas::{Timestamp, Topic};
use wk_store::merkle::proof::{Placed, ProofBroken, ProofError, prove};
use wk_store::{Commit, Source};

#[tokio::test]
async fn every_record_of_a_file_is_proven_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = filled(dir.path()).await;
    // In the file the rows lie by time, here the other way round than by offset.
    let mut session = Session::new(2);
    let mut datums: Vec<_> = records::bodies().into_iter().take(7).map(|body| session.datum(body)).collect();
    datums.reverse();
    let rows = rows(25, datums);
    let ranges = vec![range(25, &rows)];
    writer
        .commit(&Commit::prepare(Uuid::from_u128(9 << 96), Timestamp(0), rows.clone(), ranges).unwrap())
        .await
        .unwrap();
    for row in &rows {
        let source = Source { topic: row.topic(), partition: row.partition() };
        let (proof, record) = prove(writer.lake(), source, row.offset()).await.unwrap();
        let expected = Placed {
            topic: row.topic(),
            partition: row.partition(),
            offset: row.offset(),
            recorded_at: row.recorded_at(),
            datum: row.datum().clone(),
        };
        assert_eq!(record, expected);
        let public = key().verifying_key();
        assert_eq!(proof.check(&record, &public).unwrap().size, 5);
        let broken = Err(ProofBroken::Record { version: 4 });
        assert_eq!(proof.check(&Placed { offset: 3, ..record.clone() }, &public), broken);
        assert_eq!(proof.check(&Placed { topic: Topic::Findings, ..record.clone() }, &public), broken);
        assert_eq!(proof.check(&Placed { recorded_at: Timestamp(1), ..record.clone() }, &public), broken);
        let bent = [&record.datum[..record.datum.len() - 1], b"\x02"].concat().into();
        assert_eq!(proof.check(&Placed { datum: bent, ..record.clone() }, &public), broken);
        let mut other = proof.clone();
        other.commit = [&proof.commit[..], b"\n"].concat().into();
        assert_eq!(other.check(&record, &public), Err(ProofBroken::Commit { version: 4 }));
        let foreign = SigningKey::from_bytes(&[1; 32]).verifying_key();
        assert!(matches!(proof.check(&record, &foreign), Err(ProofBroken::Checkpoint(_))));
    }
    let events = Source { topic: Topic::Events, partition: 0 };
    let error = prove(writer.lake(), events, 32).await.unwrap_err();
    assert!(matches!(error, ProofError::Absent { offset: 32, .. }), "{error}");
}
