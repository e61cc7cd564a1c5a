//! How long opening a lake takes, from its checkpoint and from its commits alone: `open [commits]`.
//!
//! Makes a lake of so many commits of one record each in a temporary folder, without waiting for the disk, and opens it.

#[path = "../../ingest/src"]
#[expect(unreachable_pub, dead_code, reason = "the generator belongs to another crate")]
mod ingest {
    pub(crate) mod synthetic;
}

use ed25519_dalek::SigningKey;
use ingest::synthetic::Synthetic;
use object_store::local::LocalFileSystem;
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;
use wk_schemas::{Timestamp, Topic};
use wk_store::files::Files;
use wk_store::{Commit, Lake, Range, Row, Writer};

#[tokio::main]
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
async fn main() {
    let commits = std::env::args().nth(1).map_or(20_000, |a| a.parse::<u32>().expect("a number of commits"));
    let dir = tempfile::tempdir().expect("a temporary folder");
    let files = Files::on(Arc::new(LocalFileSystem::new_with_prefix(dir.path()).expect("it is a folder")));
    let lake = Lake::create_on(files.clone(), Uuid::from_u128(1), Timestamp(0)).await.expect("a new lake");
    let mut writer = Writer::open(lake, SigningKey::from_bytes(&[1; 32])).await.expect("the lake opens");
    let begun = Instant::now();
    let events = Synthetic::new(1).filter(|s| s.topic == Topic::Events);
    for (offset, sample) in (0..commits).zip(events) {
        let first = i64::from(offset);
        let row = Row::read(Topic::Events, 0, first, sample.recorded_at, sample.datum.into()).expect("a record");
        let range =
            Range { topic: Topic::Events, partition: 0, first, next: first + 1, rows: 1, dead_letters: 0, absent: 0 };
        // Not the id that the lake was made under: a commit of an id that is there already is not made again.
        let id = Uuid::from_u128(u128::from(offset) + 2);
        let commit = Commit::prepare(id, sample.recorded_at, vec![row], vec![range]).expect("it adds up");
        writer.commit(&commit).await.expect("it commits");
    }
    println!("made      {commits} commits in {:.1} s", begun.elapsed().as_secs_f64());
    for (name, checkpoint) in [("opened    from the checkpoint", true), ("replayed  every commit", false)] {
        let begun = Instant::now();
        let lake = match checkpoint {
            true => Lake::open_on(files.clone()).await,
            false => Lake::replay(files.clone()).await,
        };
        let records = lake.expect("it opens").snapshot().records();
        assert_eq!(records, u64::from(commits));
        println!("{name} in {:.3} s", begun.elapsed().as_secs_f64());
    }
    let begun = Instant::now();
    drop(Writer::open(Lake::open_on(files).await.expect("it opens"), SigningKey::from_bytes(&[1; 32])).await);
    println!("opened    for writing in {:.3} s", begun.elapsed().as_secs_f64());
}
