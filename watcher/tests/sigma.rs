//! Rules as SigmaHQ writes them load without an edit, and are asked only about records that they are for.
//!
//! SigmaHQ's rules are under their own licence and are not part of this repository. `WK_TEST_SIGMA=<folder>` names a copy of them;
//! without it that test says so and does nothing. The shapes that they have are in `sigma/shapes.yml`, written for this test.

#![cfg(test)]

use std::path::{Path, PathBuf};
use wk_schemas::sigma::{LogSource, Value};
use wk_watcher::event::Row;
use wk_watcher::rules::{Rules, Sources, Windows};

fn load(path: &Path) -> Rules {
    let mut sources = Sources::default();
    sources.add_path(path).unwrap();
    Rules::compile(&sources)
}

fn titles(rules: &Rules, category: &'static str, fields: &[(&'static str, Value<'static>)]) -> Vec<String> {
    let source = LogSource { product: "linux", category };
    let row = Row::from_fields(fields.iter().map(|(n, v)| ((*n).into(), v.clone())).collect(), source);
    rules.judge(&row, &mut Windows::default(), 0).into_iter().map(|h| h.rule.title.clone()).collect()
}

#[test]
fn rules_of_every_shape_load_and_match_what_they_are_for() {
    let rules = load(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sigma/shapes.yml"));
    assert_eq!(rules.problems, []);
    assert_eq!((rules.all().count(), rules.idle().count()), (6, 1));
    let process = |image: &'static str, line: &'static str, parent: &'static str| {
        titles(
            &rules,
            "process_creation",
            &[("Image", image.into()), ("CommandLine", line.into()), ("ParentImage", parent.into())],
        )
    };
    let tar = "tar cf x --checkpoint=1 --checkpoint-action=exec=sh";
    assert_eq!(process("/usr/bin/tar", tar, "/bin/sh"), ["Shape of a program with arguments and a filter"]);
    assert_eq!(process("/opt/tar-2/t", tar, "/bin/sh"), ["Shape of a program with arguments and a filter"]);
    assert_eq!(process("/usr/bin/tar", tar, "/usr/bin/make"), [""; 0]);
    let dash = ["Shape of a regular expression and a dash of any kind"];
    assert_eq!(process("/usr/bin/nc", "nc -e sh", ""), dash);
    assert_eq!(process("/usr/bin/nc", "nc /e sh", ""), dash);
    assert_eq!(process("/usr/bin/mkfifo", "mkfifo /tmp/f", ""), dash);
    assert_eq!(process("/opt/nc", "nc -e sh", ""), [""; 0]);
    let connection = |address: &'static str, port| {
        let fields =
            [("Initiated", "true".into()), ("DestinationIp", address.into()), ("DestinationPort", Value::Number(port))];
        titles(&rules, "network_connection", &fields)
    };
    assert_eq!(connection("203.0.113.7", 4444), ["Shape of a network rule"]);
    assert_eq!(connection("10.1.2.3", 4444), [""; 0]);
    assert_eq!(connection("203.0.113.7", 443), [""; 0]);
    let file = |path: &'static str| titles(&rules, "file_event", &[("TargetFilename", path.into())]);
    assert_eq!(file("/etc/cron.d/x"), ["Shape of a file rule"]);
    assert_eq!(file("/etc/profile.d/x.sh"), ["Shape of a file rule"]);
    assert_eq!(file("/home/a/x.sh"), [""; 0]);
    let said = [("text", Value::from("device eth0 entered promiscuous mode"))];
    assert_eq!(titles(&rules, "file_event", &said), ["Shape of a rule without a category"]);
}

#[test]
fn a_network_rule_is_never_asked_about_a_process() {
    let rules = load(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sigma/shapes.yml"));
    let fields = [
        ("Initiated", "true".into()),
        ("DestinationIp", "203.0.113.7".into()),
        ("DestinationPort", Value::Number(4444)),
    ];
    assert_eq!(titles(&rules, "process_creation", &fields), [""; 0]);
}

#[test]
fn sigmahq_loads_from_a_folder_without_an_edit() {
    let Some(folder) = option_env_folder() else {
        eprintln!("SKIPPED: WK_TEST_SIGMA names no copy of SigmaHQ's rules; their loading was not tested");
        return;
    };
    let rules = load(&folder);
    assert_eq!(rules.problems, []);
    let idle = rules.idle().count();
    let asked = rules.all().count() - idle;
    assert!(asked >= 130, "{asked} rules are for records of ours, {idle} are not");
    let tunnel = [("Image", "/usr/bin/base64".into()), ("CommandLine", "base64 -d x".into())];
    let found = titles(&rules, "process_creation", &tunnel);
    assert!(!found.is_empty(), "none of them speaks of decoding base64");
    eprintln!("{asked} of SigmaHQ's rules are for records of ours, {idle} are not; `base64 -d` matches {found:?}");
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the test's environment")]
fn option_env_folder() -> Option<PathBuf> {
    std::env::var("WK_TEST_SIGMA").ok().map(PathBuf::from).filter(|f| f.is_dir())
}
