//! A session inside bubblewrap, which the shim starts by itself.

use crate::stage::Stage;
use ed25519_dalek::pkcs8::EncodePublicKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use std::path::Path;
use std::process::{Command, Stdio};
use wk_schemas::body::{FileOperation, Outcome};
use wk_schemas::{Body, Record};

/// Whether a box can be made here; said loudly when not.
fn has_bubblewrap(name: &str) -> bool {
    let made = Command::new("bwrap").args(["--ro-bind", "/", "/", "--unshare-user", "--unshare-pid", "true"]).output();
    match made {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            println!("SKIPPED {name}: no box can be made: {}", String::from_utf8_lossy(&output.stderr));
            false
        }
        Err(error) => {
            println!("SKIPPED {name}: bwrap: {error}");
            false
        }
    }
}

/// `wk-shim run --wrap bwrap -- sh -c <script>` in the stage's workspace.
fn boxed(stage: &Stage, script: &str) -> Command {
    let log = stage.log();
    let key = stage.key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
    std::fs::write(stage.data().join("keys/command.pub"), key).unwrap();
    std::fs::set_permissions(stage.data(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wk-shim"));
    command.args(["--brokers", &log.brokers.bootstrap, "--registry", &log.registry.url]);
    command.arg("--data").arg(stage.data()).args(["run", "--wrap", "bwrap", "--policy", "build", "--"]);
    command.args(["sh", "-c", script]).current_dir(stage.workspace()).env("HOME", stage.folder.path());
    command
}

fn files(records: &[Record], path: &Path) -> Vec<(FileOperation, Outcome)> {
    let of = |record: &Record| match &record.body {
        Body::FileAccessed(file) if Path::new(&file.path) == path => Some((file.operation, file.outcome)),
        _ => None,
    };
    records.iter().filter_map(of).collect()
}

#[test]
fn a_session_in_a_box_is_recorded_kept_in_and_ends_as_any_other() {
    if !has_bubblewrap("a_session_in_a_box_is_recorded_kept_in_and_ends_as_any_other") {
        return;
    }
    let stage = Stage::new();
    // Not below /tmp, where the policy lets everybody write.
    let elsewhere = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let outside = elsewhere.path().join("outside");
    std::fs::write(&outside, "as it was").unwrap();
    let (data, me) = (stage.data(), std::process::id());
    // Each way out says that it is open by a file of its own in the workspace.
    let script = format!(
        "echo work > made
         echo pwned > {outside}; mv {outside} {outside}.gone
         ls {data}/outbox > /dev/null 2>&1 && echo > open-data
         echo > {data}/forged 2> /dev/null && echo > open-outbox
         kill -0 {me} 2> /dev/null && echo > open-processes
         kill -9 -1 2> /dev/null; kill -9 $PPID 2> /dev/null
         mount -t tmpfs none /mnt 2> /dev/null && echo > open-mount
         unshare -Urm mount -t tmpfs none /mnt 2> /dev/null && echo > open-namespace
         echo 1 > /proc/sys/kernel/core_pattern 2> /dev/null && echo > open-kernel
         python3 -c 'import ctypes, sys; sys.exit(ctypes.CDLL(None).syscall(425, 8, 0) != -1)' && echo closed > io_uring
         exit 7",
        outside = outside.display(),
        data = data.display(),
    );
    let status = boxed(&stage, &script).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(7), "the agent's exit code is passed on through the box");
    let left = std::fs::read_dir(stage.workspace()).unwrap().flatten().map(|entry| entry.file_name());
    let open: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with("open-")).collect();
    assert_eq!(open, Vec::<std::ffi::OsString>::new());
    assert!(stage.workspace().join("io_uring").exists(), "a way around every notification is closed");
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "as it was");
    assert!(!data.join("forged").exists());
    let all = stage.records();
    let records = stage.chain(&all[0].header.session_id);
    assert_eq!(records.len(), all.len(), "one session, its chain whole");
    let Body::SessionStarted(started) = &records[0].body else { panic!("{:?}", records[0]) };
    for word in ["inside-bubblewrap", "seccomp-unotify"] {
        assert!(started.confinement.iter().any(|w| w == word), "{:?}", started.confinement);
    }
    assert!(matches!(&records.last().unwrap().body, Body::SessionEnded(end) if end.exit_code == Some(7)));
    let made = files(&records, &stage.workspace().join("made"));
    assert!(matches!(made[..], [(FileOperation::Create, Outcome::Allowed | Outcome::Succeeded)]), "{made:?}");
    let tried = files(&records, &outside);
    assert!(tried.iter().any(|(_, outcome)| *outcome == Outcome::Denied), "what was refused is on record: {tried:?}");
    let looked = |r: &Record| matches!(&r.body, Body::CallAttempted(call) if call.call == "mount" || call.call == "unshare" || call.call == "kill");
    assert!(records.iter().any(looked), "who looked for a way out is on record");
}

#[test]
fn a_box_that_is_told_to_end_ends_its_session_in_order() {
    if !has_bubblewrap("a_box_that_is_told_to_end_ends_its_session_in_order") {
        return;
    }
    let stage = Stage::new();
    let script = "trap 'exit 5' TERM; echo ready > ready; while true; do sleep 0.05; done";
    let mut running = boxed(&stage, script).stderr(Stdio::null()).spawn().unwrap();
    crate::await_text(&stage.workspace().join("ready"), "ready");
    let told = Command::new("kill").args(["-TERM", &running.id().to_string()]).status().unwrap();
    assert!(told.success());
    assert_eq!(running.wait().unwrap().code(), Some(5));
    let records = stage.records();
    assert!(matches!(&records.last().unwrap().body, Body::SessionEnded(end) if end.exit_code == Some(5)));
}
