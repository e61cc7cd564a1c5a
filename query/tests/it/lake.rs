//! A real lake in a folder that goes away with the test.

use crate::agents;
use crate::keeper::Keeper;
use crate::known;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use wk_query::{Answer, Asker, Config, Engine, QueryError};
use wk_schemas::body::QueryRun;
use wk_store::Lake;

/// A lake of sessions, an engine over it, and every question that was asked.
pub(crate) struct Fixture {
    pub(crate) engine: Arc<Engine>,
    pub(crate) keeper: tokio::sync::Mutex<Keeper>,
    pub(crate) asked: Arc<Mutex<Vec<QueryRun>>>,
    pub(crate) folder: TempDir,
}

pub(crate) fn asker() -> Asker {
    Asker { user: "carol".into(), door: "shell".into() }
}

impl Fixture {
    /// `sessions` sessions, eight to a commit, seven hours apart from commit to commit, so that several days are touched.
    pub(crate) async fn new(sessions: u64, config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::create(folder.path()).await;
        let all: Vec<u64> = (0..sessions).collect();
        for (i, group) in all.chunks(8).enumerate() {
            let hours = i64::try_from(i).unwrap() * 7 * 3_600_000_000;
            let start = |n: u64| agents::START + hours + i64::try_from(n).unwrap() * 1_000_000;
            keeper.commit(group.iter().flat_map(|&n| agents::session(n, start(n), 4)).collect()).await;
        }
        Self::over(folder, keeper, config).await
    }

    /// Four short sessions with a record of every kind; see `known.rs`.
    pub(crate) async fn known(config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::create(folder.path()).await;
        for said in known::sessions() {
            keeper.commit(said).await;
        }
        Self::over(folder, keeper, config).await
    }

    async fn over(folder: TempDir, keeper: Keeper, config: Config) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&asked);
        let lake = Lake::open(folder.path()).await.unwrap();
        let engine = Engine::open(lake, config, Arc::new(move |run| note.lock().unwrap().push(run))).unwrap();
        Self { engine: Arc::new(engine), keeper: tokio::sync::Mutex::new(keeper), asked, folder }
    }

    pub(crate) async fn ask(&self, sql: &str) -> Result<Answer, QueryError> {
        self.engine.query(sql, asker()).await
    }

    /// The rows of an answer, each cell as text.
    pub(crate) async fn rows(&self, sql: &str) -> Result<Vec<Vec<String>>, QueryError> {
        let answer = self.ask(sql).await?;
        Ok(answer.all().await?.iter().flat_map(wk_query::shell::cells).collect())
    }

    /// The one cell of an answer.
    pub(crate) async fn one(&self, sql: &str) -> String {
        let rows = self.rows(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!((rows.len(), rows[0].len()), (1, 1), "{sql}");
        rows[0][0].clone()
    }
}
