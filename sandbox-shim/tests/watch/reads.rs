//! Opens for reading that do not wait for the shim are on record all the same, with how they ended.

use crate::harness::{FREE, Trial};
use std::path::Path;
use wk_schemas::Body;
use wk_schemas::body::{FileAccessed, FileOperation, Outcome};
use wk_shim::confine::Means;
use wk_shim::ebpf::READS_WORD;

/// Whether reads can go on here without waiting; when not, that is said.
pub(crate) fn told(test: &str) -> bool {
    let means = Means::probe();
    let is_offered = means.ebpf && means.cgroup.is_some() && cfg!(target_arch = "x86_64");
    if !is_offered {
        println!(
            "SKIPPED {test}: reads are told by eBPF as root in the machine's own namespaces, with a cgroup of version 2, on x86-64"
        );
    }
    is_offered
}

fn shell(script: &str) -> Trial {
    let mut trial = Trial::shell(script);
    trial.ebpf_reads = true;
    trial
}

fn python(script: &str) -> Trial {
    let mut trial = Trial::program(["/usr/bin/python3", "-c", script]);
    trial.ebpf_reads = true;
    trial
}

/// What is on record about opens for reading inside the trial's folder: by which program, of what, where it led, the error, and how often.
type Said = (String, String, Option<String>, Option<i32>, i64);

fn reads(trial: &Trial) -> Vec<Said> {
    let root = trial.root();
    let short = |path: &str| Path::new(path).strip_prefix(&root).ok().map(|path| path.display().to_string());
    let inside = trial.files().into_iter().filter(|file| file.operation == FileOperation::Read);
    let said = |file: FileAccessed| {
        assert_eq!(file.outcome, if file.errno.is_some() { Outcome::Failed } else { Outcome::Succeeded }, "{file:?}");
        let image = file.actor.image.rsplit('/').next().unwrap_or_default().to_owned();
        let target = file.target_path.map(|path| short(&path).unwrap_or(path));
        Some((image, short(&file.path).filter(|name| !name.is_empty())?, target, file.errno, file.count))
    };
    inside.filter_map(said).collect()
}

fn read(image: &str, name: &str) -> Said {
    (image.to_owned(), name.to_owned(), None, None, 1)
}

#[test]
fn reads_are_on_record_with_how_they_ended_and_where_they_led() {
    if !told("reads_are_on_record_with_how_they_ended_and_where_they_led") {
        return;
    }
    let trial = shell("cat there; cat link; cat missing; cd d; cat ../there; cat $HOME/link; : < deep; exit 0");
    trial.write("there", "");
    trial.write("d/deep", "");
    std::os::unix::fs::symlink("there", trial.path("link")).unwrap();
    let running = trial.start();
    assert!(running.confinement().iter().any(|word| word == READS_WORD), "{:?}", running.confinement());
    running.wait();
    let linked = ("cat".to_owned(), "link".to_owned(), Some("there".to_owned()), None, 1);
    let failed = ("cat".to_owned(), "missing".to_owned(), None, Some(libc::ENOENT), 1);
    let shell = trial.programs()[0].actor.image.rsplit('/').next().unwrap().to_owned();
    assert_eq!(
        reads(&trial),
        [
            read("cat", "there"),
            // A relative path is told by where it led.
            read("cat", "there"),
            failed,
            read("cat", "there"),
            linked,
            read(&shell, "d/deep"),
        ]
    );
}

#[test]
fn what_is_read_through_a_descriptor_of_a_folder_has_its_whole_path() {
    if !told("what_is_read_through_a_descriptor_of_a_folder_has_its_whole_path") {
        return;
    }
    let trial = python(
        "import os\nd=os.open('d',os.O_RDONLY)\nos.rename('d','e')\nos.open('file',os.O_RDONLY,dir_fd=d)\n\
         try: os.open('missing',os.O_RDONLY,dir_fd=d)\nexcept OSError: pass\n\
         try: os.open('missing',os.O_RDONLY,dir_fd=99)\nexcept OSError: pass\n",
    );
    trial.write("d/file", "");
    trial.run();
    let image = trial.programs()[0].actor.image.clone();
    let image = std::fs::canonicalize(image).unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let found: Vec<_> = reads(&trial).into_iter().map(|said| (said.1, said.3)).collect();
    assert_eq!(
        found,
        [("d".to_owned(), None), ("e/file".to_owned(), None), ("e/missing".to_owned(), Some(libc::ENOENT))],
        "by {image}"
    );
    // What the descriptor is of is not known, and the attempt is on record all the same.
    assert!(trial.files().iter().any(|file| file.path == "missing" && file.errno == Some(libc::EBADF)));
}

#[test]
fn a_read_stands_before_what_its_process_or_another_does_next() {
    if !told("a_read_stands_before_what_its_process_or_another_does_next") {
        return;
    }
    let trial = shell("for i in 1 2 3 4 5 6 7 8 9; do cat file$i; rm file$i; done");
    for i in 1..=9 {
        trial.write(&format!("file{i}"), "");
    }
    trial.run();
    let order: Vec<_> = trial.touched().into_iter().map(|(operation, name, _)| (operation, name)).collect();
    let expected = (1..=9).flat_map(|i| {
        let name = format!("file{i}");
        [(FileOperation::Read, name.clone()), (FileOperation::Unlink, name)]
    });
    assert_eq!(order, expected.collect::<Vec<_>>());
}

#[test]
fn a_child_that_only_reads_is_known_by_its_parent() {
    if !told("a_child_that_only_reads_is_known_by_its_parent") {
        return;
    }
    let trial = shell("for i in 1 2 3; do ( : < there ) & done; wait; exit 0");
    trial.write("there", "");
    trial.run();
    let of_children: Vec<_> = trial.files().into_iter().filter(|file| file.path.ends_with("/there")).collect();
    assert_eq!(of_children.len(), 3);
    let shell = &trial.programs()[0].actor;
    for file in of_children {
        assert_eq!(file.actor.image, shell.image);
        assert_ne!(file.actor.process_uid, shell.process_uid);
        assert_eq!(file.actor.process_uid.split_once('-').unwrap().0, file.actor.pid.to_string());
    }
}

#[test]
fn nothing_is_lost_when_more_is_read_than_can_be_told_at_once() {
    if !told("nothing_is_lost_when_more_is_read_than_can_be_told_at_once") {
        return;
    }
    let trial = python(
        "import os\n\
         for p in range(4):\n\
         \x20 if os.fork()==0:\n\
         \x20   for n in range(20000): os.close(os.open('d/%d'%(n%500),os.O_RDONLY))\n\
         \x20   os._exit(0)\n\
         for p in range(4): os.wait()\n",
    );
    for n in 0..500 {
        trial.write(&format!("d/{n}"), "");
    }
    trial.run();
    let lost = trial.recorder.bodies().into_iter().any(|body| matches!(body, Body::RecordsLost(_)));
    assert!(!lost);
    let counted: i64 = reads(&trial).iter().filter(|said| said.1.starts_with("d/")).map(|said| said.4).sum();
    assert_eq!(counted, 4 * 20_000);
}

#[test]
fn with_a_policy_that_says_something_about_reads_every_open_waits() {
    if !told("with_a_policy_that_says_something_about_reads_every_open_waits") {
        return;
    }
    let sealed = "[files]\ndefault = \"allow\"\n[[files.rules]]\nmatch = \"${workspace}/sealed\"\naction = \"deny\"\nreason = \"sealed\"\n";
    let trial = shell("cat sealed && touch read; cat there").policy(&format!("{FREE}{sealed}"));
    trial.write("sealed", "");
    trial.write("there", "");
    let running = trial.start();
    assert!(!running.confinement().iter().any(|word| word == READS_WORD), "{:?}", running.confinement());
    running.wait();
    assert!(!trial.path("read").exists());
    let outcomes: Vec<_> =
        trial.files().into_iter().filter(|file| file.path.ends_with("/sealed")).map(|f| f.outcome).collect();
    assert_eq!(outcomes, [Outcome::Denied]);
}

#[test]
fn a_policy_that_comes_later_ends_whoever_reads_what_it_denies() {
    if !told("a_policy_that_comes_later_ends_whoever_reads_what_it_denies") {
        return;
    }
    let trial = shell("while [ ! -e go ]; do sleep 0.01; done; cat sealed; sleep 60");
    trial.write("sealed", "");
    let running = trial.start();
    let places = wk_shim::policy::Places { home: trial.root(), workspace: trial.root() };
    let sealed = "[files]\ndefault = \"allow\"\n[[files.rules]]\nmatch = \"${workspace}/sealed\"\naction = \"deny\"\nreason = \"sealed\"\n";
    let policy = wk_shim::policy::Policy::parse(&format!("{FREE}{sealed}"), "test", &places).unwrap();
    running.replace_policy(std::sync::Arc::new(policy));
    trial.write("go", "");
    let found = || trial.files().into_iter().find(|file| file.path.ends_with("/sealed"));
    let file = loop {
        if let Some(file) = found() {
            break file;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    running.kill().unwrap();
    running.wait();
    assert_eq!(file.outcome, Outcome::Succeeded);
    assert!(file.reason.as_deref().is_some_and(|reason| reason.contains("sealed")), "{file:?}");
}

#[test]
fn the_memory_of_another_process_is_on_record_and_ends_whoever_reads_it() {
    if !told("the_memory_of_another_process_is_on_record_and_ends_whoever_reads_it") {
        return;
    }
    let trial = python(
        "import os,time\n\
         p=os.fork()\n\
         if p==0: time.sleep(60)\n\
         q=os.fork()\n\
         if q==0:\n\
         \x20 open('/proc/%d/mem'%p,'rb')\n\
         \x20 time.sleep(60)\n\
         os.waitpid(q,0)\n\
         os.kill(p,9)\n",
    );
    trial.run();
    let of_memory: Vec<_> = trial.files().into_iter().filter(|file| file.path.ends_with("/mem")).collect();
    assert_eq!(of_memory.len(), 1);
    assert!(of_memory[0].reason.as_deref().is_some_and(|reason| reason.contains("memory")), "{of_memory:?}");
}

#[test]
fn what_is_read_until_the_session_is_frozen_is_on_record_when_it_is_and_it_stays_frozen() {
    const TEST: &str = "what_is_read_until_the_session_is_frozen_is_on_record_when_it_is_and_it_stays_frozen";
    if !told(TEST) {
        return;
    }
    let trial = python(
        "import os\nn=0\n\
         while not os.path.exists('enough'):\n\
         \x20 os.close(os.open('d/%d'%(n%500),os.O_RDONLY))\n\
         \x20 n+=1\n\
         os.mkdir('n%d'%n)\n",
    );
    for n in 0..500 {
        trial.write(&format!("d/{n}"), "");
    }
    let running = trial.start();
    let counted = || -> i64 { reads(&trial).iter().filter(|said| said.1.starts_with("d/")).map(|said| said.4).sum() };
    for _ in 0..5 {
        let before = counted();
        while counted() == before {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let stopped = running.freeze().unwrap();
        assert!(stopped.complete, "{stopped:?}");
        let at_rest = counted();
        std::thread::sleep(std::time::Duration::from_millis(400));
        assert_eq!(counted(), at_rest);
        running.resume().unwrap();
    }
    trial.write("enough", "");
    running.wait();
    let made = trial.touched().into_iter().find(|touch| touch.0 == FileOperation::MakeDirectory).unwrap().1;
    assert_eq!(format!("n{}", counted()), made);
}
