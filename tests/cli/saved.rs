//! `wk sql --saved`: listed, explained when asked wrongly, printed, asked.

use crate::{harness::Installation, place};

fn sql(installation: &Installation, arguments: &[&str]) -> (Option<i32>, String, String) {
    let done = installation.wk(["sql"].iter().chain(arguments)).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}

#[test]
fn saved_questions_are_listed_printed_and_asked() {
    let (_dir, installation, workspace) = place();
    let (code, listed, _) = sql(&installation, &["--saved"]);
    assert_eq!(code, Some(0));
    assert!(listed.contains("| who-touched-file") && listed.contains("path=<text> since=30d until=0s"), "{listed}");
    assert!(installation.run(&[], &workspace, ["touch", "note.txt"]).status.success());
    let path = format!("path={}", workspace.join("note.txt").display());
    let asked = ["--format", "csv", "--saved", "who-touched-file", "--param", &path];
    let (code, rows, said) = sql(&installation, &asked);
    assert_eq!(code, Some(0), "{said}");
    assert!(rows.starts_with("time,session_id,") && rows.contains("note.txt"), "{rows}");
    // What is printed is a whole statement, and gives the same answer.
    let (_, statement, _) = sql(&installation, &["--saved", "who-touched-file", "--param", &path, "--print"]);
    let (code, again, said) = sql(&installation, &["--format", "csv", &statement]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(again, rows);
}

#[test]
fn a_saved_question_asked_wrongly_says_how_it_is_asked() {
    let (_dir, installation, _) = place();
    for (arguments, code, words) in [
        (&["--saved", "who-touched"][..], 1, "there is no saved question `who-touched`"),
        (&["--saved", "who-touched-file"], 1, "`who-touched-file` wants path=<text>: Absolute path"),
        (&["--saved", "top-talkers", "--param", "since=yesterday"], 1, "since=yesterday is not a time: 7d"),
        (&["--saved", "top-talkers", "--param", "since"], 2, "it is no KEY=VALUE"),
        (&["--param", "since=1d"], 2, "--saved"),
    ] {
        let (found, out, said) = sql(&installation, arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {out}{said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}
