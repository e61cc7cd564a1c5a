//! `wk lake compact`.

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
