//! `query.toml`: what one question may cost.

use serde::Deserialize;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

const GIB: u64 = 1 << 30;

/// `query.toml`. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A question that has not given its last row after this long is stopped. Default: 5 minutes.
    #[serde(with = "humantime_serde")]
    pub time_limit: Duration,
    /// Memory that one question may hold for sorting, grouping and joining; beyond it spills to disk. Default: 1 GiB.
    pub memory_bytes: u64,
    /// Disk that one question may fill with what does not fit in its memory. Default: 4 GiB.
    pub spill_bytes: u64,
    /// Folder for that. Default: the system's folder for temporary files.
    pub spill_folder: Option<PathBuf>,
    /// A question is refused when the files it has to look into are larger than this together. Default: 64 GiB.
    pub scan_bytes: u64,
    /// Rows that the shell prints as a table; csv and json are never cut. Default: 1000.
    pub table_rows: usize,
    /// Questions that run at once; more wait their turn within their own time limit. Default: 4.
    pub concurrency: NonZeroUsize,
    /// Threads that answer questions, apart from all others. Default: one per processor.
    pub threads: Option<NonZeroUsize>,
    /// Memory for the footers of the table's files, shared by all questions. Default: 256 MiB.
    pub footer_cache_bytes: u64,
    /// Memory for the bloom filters of the table's files, shared by all questions. Default: 64 MiB.
    pub filter_cache_bytes: u64,
    /// Whether rows are left out while a file is decoded rather than after it, also for questions that do not look for one text. Default: false.
    pub filter_while_reading: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            time_limit: Duration::from_secs(300),
            memory_bytes: GIB,
            spill_bytes: 4 * GIB,
            spill_folder: None,
            scan_bytes: 64 * GIB,
            table_rows: 1000,
            concurrency: NonZeroUsize::new(4).expect("four is not zero"),
            threads: None,
            footer_cache_bytes: GIB / 4,
            filter_cache_bytes: GIB / 16,
            filter_while_reading: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../deploy/config/query.toml");

    /// Every key stands in the shipped file, in a comment when it has no value by default.
    const KEYS: [&str; 11] = [
        "time_limit",
        "memory_bytes",
        "spill_bytes",
        "spill_folder",
        "scan_bytes",
        "table_rows",
        "concurrency",
        "threads",
        "footer_cache_bytes",
        "filter_cache_bytes",
        "filter_while_reading",
    ];

    #[test]
    fn shipped_file_says_the_defaults() {
        assert_eq!(toml::from_str::<Config>(SHIPPED).unwrap(), Config::default());
    }

    #[test]
    fn shipped_file_names_every_key() {
        for key in KEYS {
            assert!(
                SHIPPED.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} ="))),
                "{key}"
            );
        }
    }

    #[test]
    fn unknown_key_is_refused() {
        let error = toml::from_str::<Config>("time_limits = \"1s\"").unwrap_err();
        assert!(error.to_string().contains("time_limits"), "{error}");
    }
}
