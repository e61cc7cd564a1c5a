//! Records equal what was done.

use crate::harness::Trial;
use wk_schemas::Body;
use wk_schemas::body::{FileOperation as Op, Outcome};

#[test]
fn records_of_a_script_are_what_the_script_did() {
    let trial = Trial::shell(
        "echo a > one; mkdir dir; mv one dir/two; cat dir/two; ln dir/two hard; ln -s hard soft; cat soft; \
         chmod 600 hard; rm soft hard dir/two; rmdir dir; mkfifo pipe; truncate -s 3 cut; exit 7",
    );
    let ended = trial.run();
    assert_eq!((ended.exit_code, ended.signal), (Some(7), None));
    let some = |text: &str| Some(text.to_owned());
    let expected = [
        (Op::Create, "one", None),
        (Op::MakeDirectory, "dir", None),
        (Op::Rename, "one", some("dir/two")),
        (Op::Read, "dir/two", None),
        (Op::Link, "dir/two", some("hard")),
        (Op::Symlink, "soft", some("hard")),
        (Op::Read, "soft", some("hard")),
        (Op::ChangeMode, "hard", None),
        (Op::Unlink, "soft", None),
        (Op::Unlink, "hard", None),
        (Op::Unlink, "dir/two", None),
        (Op::RemoveDirectory, "dir", None),
        (Op::MakeNode, "pipe", None),
        (Op::Create, "cut", None),
    ]
    .map(|(operation, path, target)| (operation, path.to_owned(), target));
    assert_eq!(trial.touched(), expected);
}

/// Since Linux 6.15 a kernel tells how a process ended to others than its parent (`PIDFD_GET_INFO`); before, a record says that it ended.
pub(crate) fn kernel_tells_exit_codes() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

#[test]
fn programs_are_recorded_with_arguments_parents_and_exits() {
    let trial = Trial::shell("cd /; /bin/echo hello 'big world'; (exec /bin/true)");
    let root = trial.root();
    trial.run();
    let programs = trial.programs();
    let shown: Vec<_> = programs
        .iter()
        .map(|p| (p.arguments.join("|"), p.working_directory.clone(), p.parent_pid, p.outcome))
        .collect();
    let shell = programs[0].actor.pid;
    assert_eq!(shown[0].1, root.to_string_lossy());
    assert_eq!(
        shown[1..],
        [
            ("/bin/echo|hello|big world".to_owned(), "/".to_owned(), shell, Outcome::Allowed),
            ("/bin/true".to_owned(), "/".to_owned(), shell, Outcome::Allowed),
        ]
    );
    assert!(programs[1..].iter().all(|p| p.parent_image == programs[0].actor.image && !p.parent_image.is_empty()));
    let exits: Vec<_> = trial
        .recorder
        .bodies()
        .into_iter()
        .filter_map(|body| {
            if let Body::ProcessExited(body) = body { Some((body.actor.process_uid, body.exit_code)) } else { None }
        })
        .collect();
    for program in &programs {
        let code = exits.iter().find(|(process_uid, _)| *process_uid == program.actor.process_uid).map(|exit| exit.1);
        let expected = [Some(Some(0)), (!kernel_tells_exit_codes()).then_some(None)];
        assert!(code.is_some() && expected.contains(&code), "{exits:?}");
    }
}
