//! What this process uses, by the kernel's account.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// What this process has used of all processors, in seconds; the embedded log is part of it.
pub(crate) fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Looks at the resident memory of this process until it is asked for the most.
pub(crate) struct Peak {
    pub(crate) before_mib: u64,
    most_mib: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    watcher: JoinHandle<()>,
}

impl Peak {
    pub(crate) fn watch() -> Self {
        let (most_mib, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (most, ended) = (Arc::clone(&most_mib), Arc::clone(&over));
        let watcher = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                most.fetch_max(resident_mib(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self { before_mib: resident_mib(), most_mib, over, watcher }
    }

    pub(crate) fn most_mib(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.watcher.join().expect("it does not panic");
        self.most_mib.load(Ordering::Relaxed)
    }
}
