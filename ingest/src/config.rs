//! `ingest.toml`: when a batch is sealed, and how long to keep trying.

use serde::Deserialize;
use std::num::NonZeroUsize;
use std::time::Duration;

/// `ingest.toml`. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A record waits at most this long for others before its batch is sealed and committed. Default: 2 seconds.
    ///
    /// Shorter shows records earlier and makes more and smaller files.
    #[serde(with = "humantime_serde")]
    pub seal_interval: Duration,
    /// A batch is sealed when it has so many records. Default: 65536.
    pub seal_records: NonZeroUsize,
    /// A batch is sealed when its messages have so many bytes. Default: 128 MiB.
    pub seal_bytes: NonZeroUsize,
    /// Batches that are turned into columns at once, each on a thread of its own. Default: one per processor.
    pub workers: Option<NonZeroUsize>,
    /// Once asked to stop, it still takes what the log held at that moment, for at most this long. Default: 10 seconds.
    #[serde(with = "humantime_serde")]
    pub drain_time: Duration,
    /// A commit that cannot be written is tried again for so long; then ingest stops, and its next start recovers. Default: 1 minute.
    #[serde(with = "humantime_serde")]
    pub commit_time: Duration,
    /// The consumer group under which lag displays find how far the lake has come. Nothing is read from it. Default: `watchkeeper-ingest`.
    pub group: String,
    /// Whether files are written again in the order of sessions while ingest goes on. Default: true.
    ///
    /// Without it `wk lake compact` does so when somebody asks, by a timer for instance.
    pub compact: bool,
    /// How often it is looked whether something is to be compacted. Default: 30 seconds.
    #[serde(with = "humantime_serde")]
    pub compact_interval: Duration,
    /// So many files of today are compacted together. Default: 64. Those of a day that is over are compacted however few they are.
    ///
    /// Fewer makes questions about today faster, and writes each record more often.
    pub compact_files: NonZeroUsize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seal_interval: Duration::from_secs(2),
            seal_records: NonZeroUsize::new(64 * 1024).expect("64 Ki is not zero"),
            seal_bytes: NonZeroUsize::new(128 << 20).expect("128 Mi is not zero"),
            workers: None,
            drain_time: Duration::from_secs(10),
            commit_time: Duration::from_secs(60),
            group: "watchkeeper-ingest".into(),
            compact: true,
            compact_interval: Duration::from_secs(30),
            compact_files: NonZeroUsize::new(64).expect("64 is not zero"),
        }
    }
}

impl Config {
    /// How many batches are turned into columns at once.
    pub(crate) fn workers(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
        self.workers.map_or_else(processors, NonZeroUsize::get)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../deploy/config/ingest.toml");

    #[test]
    fn the_shipped_file_names_every_key_with_its_default() {
        assert_eq!(toml::from_str::<Config>(SHIPPED).unwrap(), Config::default());
        let keys = ["seal_interval", "seal_records", "seal_bytes", "workers", "drain_time", "commit_time", "group"];
        for key in keys.into_iter().chain(["compact", "compact_interval", "compact_files"]) {
            let named = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
            assert_eq!(SHIPPED.lines().filter(|line| named(line)).count(), 1, "{key}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_and_line() {
        let error = toml::from_str::<Config>("seal_records = 10\nseal_rows = 10\n").unwrap_err().to_string();
        assert!(error.contains("seal_rows") && error.contains("line 2"), "{error}");
    }

    #[test]
    fn a_batch_of_no_records_is_refused() {
        assert!(toml::from_str::<Config>("seal_records = 0").is_err());
    }
}
