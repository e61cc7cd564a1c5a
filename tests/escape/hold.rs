//! Plays techniques and says which did not hold.

use crate::scene::Scene;
use crate::technique::{self, Technique};
use std::sync::Mutex;
use wk_shim::confine::Means;

/// Whether it is to be played: `WK_ESCAPE_ONLY` names some, for a machine that is slow.
fn is_wanted(technique: &Technique) -> bool {
    let only = std::env::var("WK_ESCAPE_ONLY").unwrap_or_default();
    only.is_empty() || only.split_whitespace().any(|name| name == technique.name)
}

/// Runs each technique and panics with what went wrong, if anything did.
pub(crate) fn hold(mut techniques: Vec<Technique>, means: &Means) {
    techniques.retain(is_wanted);
    let programs = technique::build(&techniques);
    let left = Mutex::new(techniques.iter());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(technique) = left.lock().unwrap().next() else { return };
                    if !technique.can_run(means) {
                        println!(
                            "SKIPPED {}: needs {}",
                            technique.name,
                            technique.needs.as_deref().unwrap_or_default()
                        );
                        continue;
                    }
                    if let Err(what) = Scene::new().play(technique, &programs, means) {
                        failures.lock().unwrap().push(format!("{}: {what}", technique.name));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), techniques.len(), failures.join("\n\n"));
}
