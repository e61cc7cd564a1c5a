//! Questions of a SOC on a lake of synthetic records, cold and hot, against DuckDB on the same files, in one run.
//!
//! ```sh
//! cargo build --release --workspace --ignore-rust-version --example bench_queries
//! target/release/examples/bench_queries --records 10000000 --lake bench-lake --python venv/bin/python
//! ```
//! The lake is made by wk-store, commit by commit, so its layout is the real one; a folder that holds a lake already is used as it is.
//! Days are compacted, as they are in a lake that runs for longer than a day; `--as-sealed` leaves them as ingest sealed them.
//! `--only needle` asks the questions whose names begin so.
//! *Cold* is the first time of a new engine (a new connection for DuckDB), after the kernel has dropped its page cache where this process may
//! ask for that (root); whether it did is printed. *Hot* is the best of `--runs` times after that. Both engines must give the same number of
//! rows. At the end stand the geometric means of the ratios: below 1 we are faster; questions that we answer from roll-ups are not in them. Without `--python` (an interpreter that can import duckdb)
//! only our own times are printed, and that is said.

#![expect(clippy::unwrap_used, reason = "what it shares with the tests fails by panicking")]

#[path = "../tests/it/agents.rs"]
mod agents;
#[path = "../tests/it/keeper.rs"]
mod keeper;

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;
use wk_query::{Asker, Config, Engine};
use wk_schemas::Timestamp;
use wk_store::Lake;
use wk_store::compact::Limits;

/// As `wk` does.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Records in one commit: two seconds of a busy log.
const COMMIT_RECORDS: u64 = 100_000;
const DUCKDB: &str = include_str!("bench_duckdb.py");

/// A question, as an analyst asks us and as DuckDB hears it over the raw files.
struct Question {
    name: &'static str,
    ours: String,
    theirs: String,
    /// We are answered from what compacted files keep in sum, DuckDB from the rows: not a race, and not in the mean.
    summed: bool,
}

fn questions(session: &str) -> Vec<Question> {
    let (path, host) = agents::NEEDLE;
    let question = |name: &'static str, ours: &str, theirs: &str| {
        let summed = name.ends_with(", rolled up");
        Question { name, ours: ours.into(), theirs: theirs.into(), summed }
    };
    vec![
        question(
            "session timeline",
            &format!(
                "SELECT occurred_at, kind, tool_called['tool'], process_started['command_line'], file_accessed['path'], \
                 connection_attempted['host_name'] FROM records WHERE session_id = '{session}' ORDER BY occurred_at, seq"
            ),
            &format!(
                "SELECT occurred_at, kind, tool_called.tool, process_started.command_line, file_accessed.path, \
                 connection_attempted.host_name FROM records WHERE session_id = '{session}' ORDER BY occurred_at, seq"
            ),
        ),
        question(
            "top talkers",
            "SELECT host_name, count(*) AS n FROM connections WHERE outcome <> 'HELD' GROUP BY host_name ORDER BY n DESC, host_name LIMIT 20",
            "SELECT connection_attempted.host_name AS h, count(*) AS n FROM records WHERE kind = 'connection_attempted' \
             GROUP BY h ORDER BY n DESC, h LIMIT 20",
        ),
        question(
            "first-seen hosts",
            "SELECT host_name, min(time) AS first FROM connections WHERE outcome <> 'HELD' GROUP BY host_name ORDER BY first DESC, host_name LIMIT 50",
            "SELECT connection_attempted.host_name AS h, min(occurred_at) AS first FROM records WHERE kind = 'connection_attempted' \
             GROUP BY h ORDER BY first DESC, h LIMIT 50",
        ),
        // From what compacted files keep in sum; with --as-sealed these are scans, too.
        question(
            "first-seen hosts, rolled up",
            "SELECT value, min(first_at) AS first, sum(records) AS n FROM daily_first_seen WHERE kind = 'host' GROUP BY value ORDER BY first DESC, value LIMIT 50",
            "SELECT coalesce(connection_attempted.host_name, connection_attempted.address) AS h, min(occurred_at) AS first, count(*) AS n FROM records \
             WHERE kind = 'connection_attempted' AND connection_attempted.protocol NOT IN ('unix', 'netlink') GROUP BY h ORDER BY first DESC, h LIMIT 50",
        ),
        question(
            "first-seen programs, rolled up",
            "SELECT value, min(first_at) AS first, sum(records) AS n FROM daily_first_seen WHERE kind = 'image' GROUP BY value ORDER BY first DESC, value LIMIT 50",
            "SELECT process_started.actor.image AS i, min(occurred_at) AS first, count(*) AS n FROM records WHERE kind = 'process_started' \
             GROUP BY i ORDER BY first DESC, i LIMIT 50",
        ),
        question(
            "newest sessions, rolled up",
            "SELECT session_id, started, tool_calls, findings FROM sessions ORDER BY started DESC, session_id LIMIT 50",
            "SELECT session_id, min(occurred_at) AS started, count(*) FILTER (WHERE kind = 'tool_called') AS calls, \
             count(*) FILTER (WHERE kind = 'finding') AS findings FROM records GROUP BY session_id ORDER BY started DESC, session_id LIMIT 50",
        ),
        question(
            "needle by path",
            &format!(
                "SELECT time, session_id, image FROM file_access WHERE path = '{path}' ORDER BY time, session_id LIMIT 100"
            ),
            &format!(
                "SELECT occurred_at, session_id, file_accessed.actor.image FROM records WHERE kind = 'file_accessed' \
                 AND file_accessed.path = '{path}' ORDER BY occurred_at, session_id LIMIT 100"
            ),
        ),
        question(
            "needle by host",
            &format!(
                "SELECT time, session_id, image, outcome FROM connections WHERE host_name = '{host}' AND outcome <> 'HELD' \
                 ORDER BY time, session_id LIMIT 100"
            ),
            &format!(
                "SELECT occurred_at, session_id, connection_attempted.actor.image, connection_attempted.outcome FROM records \
                 WHERE kind = 'connection_attempted' AND connection_attempted.host_name = '{host}' ORDER BY occurred_at, session_id LIMIT 100"
            ),
        ),
        question(
            "a key file, read by many",
            "SELECT time, session_id, image FROM file_access WHERE path = '/home/agent/.ssh/id_rsa' ORDER BY time, session_id LIMIT 100",
            "SELECT occurred_at, session_id, file_accessed.actor.image FROM records WHERE kind = 'file_accessed' \
             AND file_accessed.path = '/home/agent/.ssh/id_rsa' ORDER BY occurred_at, session_id LIMIT 100",
        ),
        question(
            "a host, reached by many",
            "SELECT time, session_id, image, outcome FROM connections WHERE host_name = 'drop.example.org' AND outcome <> 'HELD' ORDER BY time, session_id LIMIT 100",
            "SELECT occurred_at, session_id, connection_attempted.actor.image, connection_attempted.outcome FROM records \
             WHERE kind = 'connection_attempted' AND connection_attempted.host_name = 'drop.example.org' ORDER BY occurred_at, session_id LIMIT 100",
        ),
        question(
            "what a session changed",
            &format!(
                "SELECT path, operation, sum(count) AS n FROM file_access WHERE session_id = '{session}' AND operation <> 'READ' \
                 GROUP BY path, operation ORDER BY path, operation"
            ),
            &format!(
                "SELECT file_accessed.path AS p, file_accessed.operation AS o, sum(file_accessed.count) AS n FROM records \
                 WHERE kind = 'file_accessed' AND session_id = '{session}' AND file_accessed.operation <> 'READ' GROUP BY p, o ORDER BY p, o"
            ),
        ),
        question(
            "findings by rule",
            "SELECT title, level, count(*) AS n, count(DISTINCT session_id) AS sessions FROM findings GROUP BY title, level ORDER BY n DESC",
            "SELECT finding.title AS t, finding.level AS l, count(*) AS n, count(DISTINCT session_id) AS sessions FROM records \
             WHERE kind = 'finding' GROUP BY t, l ORDER BY n DESC",
        ),
        question(
            "activity by hour",
            "SELECT date_trunc('hour', occurred_at) AS h, count(*) AS n, count(DISTINCT session_id) AS sessions FROM records GROUP BY h ORDER BY h",
            "SELECT date_trunc('hour', occurred_at) AS h, count(*) AS n, count(DISTINCT session_id) AS sessions FROM records GROUP BY h ORDER BY h",
        ),
        question(
            "long tail of processes",
            "SELECT image, count(*) AS n, min(time) AS first FROM processes GROUP BY image HAVING count(*) < 4 ORDER BY n, image LIMIT 100",
            "SELECT process_started.actor.image AS i, count(*) AS n, min(occurred_at) AS first FROM records \
             WHERE kind = 'process_started' GROUP BY i HAVING count(*) < 4 ORDER BY n, i LIMIT 100",
        ),
    ]
}

struct Options {
    records: u64,
    runs: usize,
    lake: PathBuf,
    python: Option<PathBuf>,
    filter_while_reading: bool,
    as_sealed: bool,
    /// The questions whose names begin so; all without it.
    only: String,
}

fn options() -> Options {
    let mut options = Options {
        records: 1_000_000,
        runs: 5,
        lake: PathBuf::new(),
        python: None,
        filter_while_reading: false,
        as_sealed: false,
        only: String::new(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| panic!("{name} wants a value"));
        match name.as_str() {
            "--records" => options.records = value().parse().expect("--records wants a number"),
            "--runs" => options.runs = value().parse().expect("--runs wants a number"),
            "--lake" => options.lake = value().into(),
            "--python" => options.python = Some(value().into()),
            "--filter-while-reading" => options.filter_while_reading = true,
            "--only" => options.only = value(),
            "--as-sealed" => options.as_sealed = true,
            other => panic!("unknown option {other}"),
        }
    }
    assert!(options.lake.file_name().is_some(), "--lake wants a folder");
    options
}

#[tokio::main]
async fn main() {
    let options = options();
    let lake = match Lake::open(&options.lake).await {
        Ok(lake) => lake,
        Err(_) => make(&options).await,
    };
    let snapshot = lake.snapshot();
    let bytes: u64 = snapshot.files.iter().map(|file| file.size).sum();
    println!("{} records, {} files, {} MiB", snapshot.records(), snapshot.files.len(), bytes >> 20);

    let dropped = drop_page_cache();
    println!(
        "cold: {}",
        if dropped { "new engine, page cache dropped" } else { "new engine, page cache kept (only root can drop it)" }
    );
    let config = Config { filter_while_reading: options.filter_while_reading, ..Config::default() };
    let mut asked = questions(&agents::session_name(303));
    asked.retain(|question| question.name.starts_with(&options.only));
    let theirs = options.python.as_deref().map(|python| duckdb(python, &options, &snapshot.files, &asked));
    if theirs.is_none() {
        println!("DuckDB: SKIPPED, no --python");
    }
    println!(
        "| question | rows | cold ms | DuckDB | ratio | hot ms | DuckDB | ratio |\n|---|---|---|---|---|---|---|---|"
    );
    let mut same = true;
    let (mut cold_ratios, mut hot_ratios) = (Vec::new(), Vec::new());
    for (i, question) in asked.iter().enumerate() {
        drop_page_cache();
        let engine = Engine::open(lake.clone(), config.clone(), Arc::new(|_| ())).expect("the engine opens");
        let (_, cold) = best(&engine, &question.ours, 1).await;
        let (rows, hot) = best(&engine, &question.ours, options.runs).await;
        let name = question.name;
        let Some(theirs) = theirs.as_ref().map(|all| &all[i]) else {
            println!("| {name} | {rows} | {cold:.1} | | | {hot:.1} | | |");
            continue;
        };
        let ms = |name: &str| theirs[name].as_f64().expect("the script gives milliseconds");
        let (their_cold, their_hot) = (ms("cold_ms"), ms("ms"));
        let (cold_ratio, hot_ratio) = (cold / their_cold, hot / their_hot);
        println!(
            "| {name} | {rows} | {cold:.1} | {their_cold:.1} | {cold_ratio:.2} | {hot:.1} | {their_hot:.1} | {hot_ratio:.2} |"
        );
        if !question.summed {
            cold_ratios.push(cold_ratio);
            hot_ratios.push(hot_ratio);
        }
        if theirs["rows"].as_u64() != Some(rows) {
            println!("DIFFERENT: DuckDB gives {} rows", theirs["rows"]);
            same = false;
        }
    }
    if !hot_ratios.is_empty() {
        println!(
            "geometric mean of the ratios: cold {:.2}, hot {:.2}",
            geometric_mean(&cold_ratios),
            geometric_mean(&hot_ratios)
        );
    }
    assert!(same, "the engines do not agree");
}

fn geometric_mean(ratios: &[f64]) -> f64 {
    let count = u32::try_from(ratios.len()).expect("a few questions");
    (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / f64::from(count)).exp()
}

/// Asks the kernel to forget what it has read; whether it could be asked.
fn drop_page_cache() -> bool {
    std::fs::write("/proc/sys/vm/drop_caches", "1").is_ok()
}

async fn make(options: &Options) -> Lake {
    let started = now();
    let mut keeper = keeper::Keeper::create(&options.lake).await;
    // Ten minutes of a hundred agents at a time, going on through the days.
    let start = |number: u64| agents::START + i64::try_from(number).expect("few sessions") * 6_000_000;
    let (mut number, mut strayed) = (0, false);
    while keeper.records < options.records {
        let mut said = Vec::new();
        while u64::try_from(said.len()).expect("fits") < COMMIT_RECORDS {
            said.extend(agents::session(number, start(number), 20));
            number += 1;
        }
        if !strayed && keeper.records >= options.records / 2 {
            said.extend(agents::stray(number, start(number)));
            (number, strayed) = (number + 1, true);
        }
        keeper.commit(said).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "made the lake in {seconds:.0} s ({:.0} records/s)",
        f64::from(u32::try_from(keeper.records).expect("fewer than four billion")) / seconds
    );
    if !options.as_sealed {
        let (started, limits) = (now(), Limits::default());
        for number in 1.. {
            let (id, at) = (Uuid::from_u128(u128::MAX - number), Timestamp(agents::START));
            if keeper.writer.compact(&BTreeSet::new(), "9999-12-31", &limits, id, at).await.unwrap().is_none() {
                break;
            }
        }
        println!("compacted it in {:.0} s", started.elapsed().as_secs_f64());
    }
    keeper.writer.lake().clone()
}

/// Number of rows, and the best time in milliseconds.
async fn best(engine: &Engine, sql: &str, runs: usize) -> (u64, f64) {
    let mut rows = 0;
    let mut best = Duration::MAX;
    for _ in 0..runs {
        let asker = Asker { user: "bench".into(), door: "shell".into() };
        let started = now();
        let answer = engine.query(sql, asker).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let batches = answer.all().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        best = best.min(started.elapsed());
        rows = batches.iter().map(|batch| u64::try_from(batch.num_rows()).expect("fits")).sum();
    }
    (rows, best.as_secs_f64() * 1e3)
}

fn duckdb(python: &Path, options: &Options, files: &[Arc<wk_store::DataFile>], asked: &[Question]) -> Vec<Value> {
    let files: Vec<_> = files.iter().map(|file| options.lake.join(&file.path)).collect();
    let job = json!({
        "files": files,
        "questions": asked.iter().map(|question| question.theirs.as_str()).collect::<Vec<_>>(),
        "runs": options.runs,
    });
    let mut child = Command::new(python)
        .args(["-c", DUCKDB])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    child.stdin.take().expect("piped").write_all(job.to_string().as_bytes()).expect("the script reads its job");
    let output = child.wait_with_output().expect("the script ends");
    assert!(output.status.success(), "the DuckDB script failed");
    serde_json::from_slice(&output.stdout).expect("the script answers in JSON")
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
fn now() -> Instant {
    Instant::now()
}
