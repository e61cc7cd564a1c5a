//! `wk lake compact`, and a lake that compacts itself.

use crate::harness::{Installation, eventually};
use crate::place;

#[test]
fn compacting_changes_the_files_and_no_answer() {
    let (_dir, installation, workspace) = place();
    for _ in 0..2 {
        assert!(installation.run(&[], &workspace, ["true"]).status.success());
    }
    let counts =
        "SELECT session_id, kind, count(*) AS n FROM records GROUP BY session_id, kind ORDER BY session_id, kind";
    let before = installation.sql(counts);
    let compact = || {
        let done = installation.wk(["lake", "compact", "--all"]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let said = compact();
    assert!(said.contains("files into one"), "{said}");
    assert_eq!(installation.sql(counts), before);
    let verified = installation.wk(["verify"]).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    assert_eq!(compact(), "", "there is nothing left to do");
}

/// Names of the lake's data files that a compaction wrote.
fn compacted(installation: &Installation) -> Vec<String> {
    let days = std::fs::read_dir(installation.data().join("lake/records")).unwrap().flatten();
    let days = days.filter(|entry| entry.file_name().to_string_lossy().starts_with("day="));
    let files = days.flat_map(|day| std::fs::read_dir(day.path()).unwrap().flatten());
    let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("sessions-") && name.ends_with(".parquet")).collect()
}

#[test]
fn what_is_kept_running_compacts_by_itself_as_its_configuration_says() {
    let (dir, installation, workspace) = place();
    for _ in 0..3 {
        assert!(installation.run(&[], &workspace, ["true"]).status.success());
    }
    let counts = "SELECT session_id, kind, count(*) AS n FROM records \
                  WHERE topic = 'agent.session.events.v1' AND kind <> 'query_run' GROUP BY session_id, kind ORDER BY session_id, kind";
    let before = installation.sql(counts);
    assert_eq!(compacted(&installation), [""; 0], "three files of today are few");
    let config = dir.path().join("wk.toml");
    std::fs::write(&config, "[ingest]\ncompact_interval = \"100ms\"\ncompact_files = 2\n").unwrap();
    let eager = Installation::with_options(dir.path(), ["--config", config.to_str().unwrap()]);
    let up = eager.up();
    eventually("the lake compacts itself", || (!compacted(&eager).is_empty()).then_some(()));
    assert_eq!(eager.sql(counts), before);
    assert!(up.stop().success());
    let verified = installation.wk(["verify"]).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success() && said.contains("found again in the order of sessions"), "{said}");
    assert_eq!(installation.sql(counts), before);
}
