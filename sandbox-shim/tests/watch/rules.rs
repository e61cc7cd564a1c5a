//! What a policy says beyond single files: reading without writing, arguments, limits; and what a record does not say.

use crate::harness::{FREE, Trial};
use wk_schemas::body::{FileOperation, Outcome};
use wk_shim::confine::Means;

const READ_MOSTLY: &str = "name = \"t\"\n[files]\ndefault = \"allow\"\nwrite = \"deny\"\nrules = [
    { match = \"${workspace}/in/**\", on = \"write\", action = \"allow\", reason = \"work\" },
    { match = \"/dev/**\", on = \"write\", action = \"allow\", reason = \"terminals\" },
  ]\n[network]\ndefault = \"allow\"\n";

fn read_mostly(means: Means) {
    let mut trial = Trial::shell(
        "cat out/read > in/copy && echo 1 >> in/copy && mkdir in/sub && mv in/copy in/sub/copy && chmod 600 in/sub/copy; \
         echo x > out/new; rm -f out/read; mv out/read in/read; ln out/read in/hard; mkdir out/sub; chmod 777 out/read; touch other",
    )
    .policy(READ_MOSTLY);
    std::fs::create_dir(trial.path("in")).unwrap();
    trial.write("out/read", "public\n");
    trial.means = means;
    trial.run();
    assert_eq!(trial.read("in/sub/copy"), "public\n1\n", "{:#?}", trial.files());
    assert_eq!(trial.read("out/read"), "public\n");
    for never in ["out/new", "out/sub", "other", "in/read", "in/hard"] {
        assert!(!trial.path(never).exists(), "{never}");
    }
    let refused = |operation: FileOperation| {
        let path = trial.path("out").display().to_string();
        trial
            .files()
            .iter()
            .any(|f| f.operation == operation && f.outcome == Outcome::Denied && f.path.starts_with(&path))
    };
    for operation in [FileOperation::Create, FileOperation::Unlink, FileOperation::Rename, FileOperation::ChangeMode] {
        assert!(refused(operation), "{operation:?} is recorded as refused");
    }
}

#[test]
fn what_may_only_be_read_cannot_be_written() {
    read_mostly(Means::probe());
}

#[test]
fn what_may_only_be_read_cannot_be_written_without_namespaces_either() {
    read_mostly(Means { namespaces: false, own_proc: false, covers: false, user_namespace: false, ..Means::probe() });
}

#[test]
fn a_rule_about_arguments_tells_two_uses_of_one_program_apart() {
    let policy = format!(
        "{FREE}[process]\ndefault = \"allow\"\nrules = [{{ match = \"**/echo\", arguments = \"push*\", action = \"deny\", reason = \"leaves this machine\" }}]\n"
    );
    let trial = Trial::shell("/bin/echo status > status; /bin/echo push origin > push; exit 0").policy(&policy);
    trial.run();
    assert_eq!((trial.read("status").as_str(), trial.read("push").as_str()), ("status\n", ""));
    let refused = trial.programs().into_iter().find(|p| p.outcome == Outcome::Denied).unwrap();
    assert_eq!(refused.reason.as_deref(), Some("**/echo push*: leaves this machine"));
}

#[test]
fn a_limit_of_memory_ends_an_allocation() {
    let policy = format!("{FREE}[limits]\nmemory = \"256MiB\"\n");
    let script = "try:\n x = bytearray(1 << 30); r = 'allocated'\nexcept MemoryError: r = 'refused'\nopen('result','w').write(r)";
    let mut trial = Trial::program(["/usr/bin/env", "python3", "-c", script]).policy(&policy);
    // A cgroup that counts memory would kill the process instead, and so prove the same.
    trial.means = Means { cgroup: None, ..Means::probe() };
    trial.run();
    assert_eq!(trial.read("result"), "refused");
}

#[test]
fn a_refusal_is_told_once_with_its_reason_and_a_ticket() {
    let trial = Trial::shell("cat out/a; cat out/a; echo x > out/b; cat in/c; exit 0").policy(
        "name = \"t\"\n[files]\ndefault = \"allow\"\nrules = [{ match = \"${workspace}/out/**\", action = \"deny\", reason = \"not yours\" },
          { match = \"${workspace}/in/**\", action = \"deny\", reason = \"nor this\" }]\n[network]\ndefault = \"allow\"\n",
    );
    trial.write("out/a", "a");
    trial.write("in/c", "c");
    trial.run();
    let told = trial.told.lock().unwrap().clone();
    assert_eq!(told.len(), 2, "{told:#?}");
    let (first, second) = (&told[0], &told[1]);
    assert!(
        first.starts_with("watchkeeper: refused ")
            && first.contains("/out/a: ")
            && first.contains(": not yours (ticket ")
    );
    assert!(second.contains("/in/c: ") && second.contains(": nor this (ticket "), "{second}");
}

#[test]
fn a_secret_among_arguments_is_not_recorded() {
    let trial = Trial::shell("/bin/true --password=hunter2; TOKEN=hunter3 /bin/true --token hunter4; exit 0");
    trial.run();
    let said = format!("{:?}", trial.recorder.bodies());
    for secret in ["hunter2", "hunter3", "hunter4"] {
        assert!(!said.contains(secret), "{secret}");
    }
    assert!(said.contains("--password=[redacted sha256:f52fbd32b2b3]"), "{said}");
}

#[test]
fn an_attempt_on_the_sandbox_is_recorded_once_and_counted() {
    let script = "import ctypes\nlibc=ctypes.CDLL(None)\nfor _ in range(50): libc.unshare(0x10000000)";
    let trial = Trial::program(["/usr/bin/env", "python3", "-c", script]);
    trial.run();
    let attempts: Vec<_> = trial
        .recorder
        .bodies()
        .into_iter()
        .filter_map(|body| if let wk_schemas::Body::CallAttempted(body) = body { Some(body) } else { None })
        .filter(|body| body.call == "unshare")
        .collect();
    assert_eq!(attempts.iter().map(|body| body.count).sum::<i64>(), 50);
    assert!(attempts.len() < 50 && attempts.iter().all(|body| body.outcome == Outcome::Denied));
    assert_eq!((attempts[0].detail.as_str(), attempts[0].reason.as_str()), ("flags 0x10000000", "new namespaces"));
}
