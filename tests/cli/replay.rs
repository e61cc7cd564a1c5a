//! `wk ingest replay-dead-letters`.

use crate::place;

#[test]
fn replaying_dead_letters_says_what_there_was_to_replay_and_needs_a_log() {
    let (_dir, installation, _) = place();
    let replay = || {
        let done = installation.wk(["ingest", "replay-dead-letters", "--dry-run"]).output().unwrap();
        (done.status.code(), String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
    };
    let (code, said) = replay();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("nothing is running for the data folder"), "{said}");
    let up = installation.up();
    let (code, said) = replay();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("0 dead letters, 0 replayed before, 0 replayed now"), "{said}");
    assert!(up.stop().success());
}
