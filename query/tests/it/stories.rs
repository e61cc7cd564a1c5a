//! What `wk sessions` and `wk timeline` tell.

use crate::agents::session_name;
use crate::lake::{Fixture, asker};
use wk_query::{Config, render};

#[tokio::test]
async fn a_timeline_shows_the_plan_first_and_marks_what_departs_from_it() {
    let lake = Fixture::new(8, Config::default()).await;
    let text = render::timeline(&lake.engine, asker(), &session_name(3)).await.unwrap();
    let mut from = 0;
    for part in [
        "claude-code 1.0.0 for alice on build-3, frozen",
        "TASK\n  fix the typo in README.md of shop 3",
        "PLAN (update_plan)\n  1. [x] look at the file\n  2. [>] mend it\n  3. [ ] run the tests",
        "WHAT HAPPENED",
        "UNMEDIATED  /usr/bin/curl: read /home/agent/.ssh/id_rsa",
        "HELD        /usr/bin/curl: connect to 198.51.100.9:443 - unknown host (no tool call explains it)",
        "FINDING     CRITICAL SecretReadThenEgress: a credential was read",
        "FROZEN      frozen: 3 processes in 900 us (cgroup_freezer): SecretReadThenEgress",
        "DENIED      the hold, by dora: denied: not ours",
        "DENIED      /usr/bin/curl: connect tcp 198.51.100.9:443 (drop.example.org)",
    ] {
        let at = text[from..].find(part).unwrap_or_else(|| panic!("`{part}` is not where it should be in\n{text}"));
        from += at;
    }
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[tokio::test]
async fn effects_of_a_tool_call_are_counted_below_it() {
    let lake = Fixture::new(2, Config::default()).await;
    let text = render::timeline(&lake.engine, asker(), &session_name(0)).await.unwrap();
    let lines: Vec<&str> = text.lines().skip_while(|line| *line != "WHAT HAPPENED").collect();
    let call = lines.iter().position(|line| line.contains("  Bash ")).unwrap();
    assert!(lines[call + 1].contains("    /usr/bin/") || lines[call + 1].contains("    /opt/"), "{text}");
    assert!(lines[call..].iter().any(|line| line.contains(" files read")), "{text}");
    assert!(!text.contains("module_1.rs: read"), "{text}");
    // Every tool call and every return has its line, whatever is folded.
    assert_eq!(lines.iter().filter(|line| line.contains("Bash succeeded ok")).count(), 4, "{text}");
}

#[tokio::test]
async fn sessions_are_listed_newest_first() {
    let lake = Fixture::new(12, Config::default()).await;
    let text = render::sessions(&lake.engine, asker()).await.unwrap();
    let rows: Vec<&str> = text.lines().filter(|line| line.contains("| 0193")).collect();
    assert_eq!(rows.len(), 12, "{text}");
    assert!(rows[0].contains(&session_name(11)), "{text}");
    assert!(rows.iter().any(|row| row.contains("frozen") && row.contains("CRITICAL")), "{text}");
}

#[tokio::test]
async fn a_session_that_is_not_there_is_said_to_be_not_there() {
    let lake = Fixture::new(1, Config::default()).await;
    let text = render::timeline(&lake.engine, asker(), "no' OR ''='").await.unwrap();
    assert_eq!(text, "There is no session no' OR ''=' in the lake.\n");
}
