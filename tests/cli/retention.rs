//! `wk retention` and `wk hold`. Removals themselves are tested where days can be made: store/tests/tamper/removed.rs.

use crate::place;

#[test]
fn holds_are_placed_listed_and_released_by_a_person_and_a_day_that_goes_on_is_not_removed() {
    let (_dir, installation, workspace) = place();
    assert!(installation.run(&[], &workspace, ["true"]).status.success());
    let said = |arguments: &[&str], code: i32| {
        let done = installation.wk(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        assert_eq!(done.status.code(), Some(code), "{arguments:?}: {said}");
        said
    };
    let placed = said(&["hold", "place", "--from", "2026-01-01", "--reason", "matter 12"], 0);
    let id = placed.split(' ').nth(1).unwrap().to_owned();
    assert!(placed.contains("on days from 2026-01-01 on"), "{placed}");
    let listed = said(&["hold", "list"], 0);
    assert!(listed.contains(&id) && listed.contains("matter 12"), "{listed}");
    let today = installation.sql("SELECT CAST(max(day) AS varchar) AS day FROM records");
    let today = today[0]["day"].as_str().unwrap().to_owned();
    let refused = said(&["retention", "remove", &today, "--reason", "cleaning up"], 2);
    assert!(refused.contains("is not over"), "{refused}");
    let refused = said(&["retention", "remove", "2026-02-30", "--reason", "cleaning up"], 2);
    assert!(refused.contains("is no day"), "{refused}");
    let refused = said(&["retention", "remove", "2020-01-01", "--reason", "cleaning up"], 2);
    assert!(refused.contains("no records of day 2020-01-01"), "{refused}");
    assert!(said(&["hold", "release", &id, "--reason", "settled"], 0).contains("released"));
    assert!(said(&["hold", "release", &id, "--reason", "settled"], 2).contains("there is no hold"));
    assert_eq!(said(&["hold", "list"], 0), "");
    assert_eq!(said(&["retention", "list"], 0), "");
    let verified = said(&["verify"], 0);
    assert!(verified.contains("result      valid"), "{verified}");
}
