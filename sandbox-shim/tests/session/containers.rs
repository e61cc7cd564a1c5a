//! Containers of gVisor as sessions on the log, with messages as a sandbox sends them.

use crate::stage::Stage;
use std::io::{Read, Write};
use std::sync::mpsc;
use std::time::Duration;
use wk_schemas::{Body, Kind, Record};
use wk_shim::clock;
use wk_shim::gvisor::points::{Context, Credentials, Ended, Exit, Open, Point, Start};
use wk_shim::gvisor::{connect, wire};
use wk_shim::session::{CONFIG_PLACE, ContainersConfig, observe_containers};

fn context(container: &str) -> Option<Context> {
    Some(Context {
        time_ns: clock::now().0 * 1000,
        thread_id: 1,
        thread_group_id: 1,
        thread_group_start_time_ns: 10_000_000,
        container_id: container.into(),
        credentials: Some(Credentials { effective_uid: 1000 }),
        cwd: "/work".into(),
        process_name: "agent".into(),
    })
}

#[test]
fn containers_of_a_sandbox_become_sessions_on_the_log() {
    let stage = Stage::new();
    let socket = stage.folder.path().join("gvisor.sock");
    let config = ContainersConfig {
        socket: socket.clone(),
        stop: None,
        tenant: "default".into(),
        host: "here".into(),
        principal: Some("ada".into()),
        data: stage.data(),
        log: stage.log(),
        config: wk_shim::Config { drain_patience: Duration::from_secs(600), ..wk_shim::Config::default() },
    };
    let go = stage.folder.path().join("go");
    // Stands for runsc: it finds the configuration where it was told, and runs until the sandbox has said everything.
    let script = format!(
        "grep -q {} {CONFIG_PLACE} && until [ -e {} ]; do sleep 0.02; done; exit 3",
        socket.display(),
        go.display()
    );
    let command = ["sh", "-c", &script].map(std::ffi::OsString::from);
    let (tell, told) = mpsc::sync_channel(1);
    let observing =
        std::thread::spawn(move || observe_containers(&config, &command, |_| tell.send(()).unwrap()).unwrap());
    told.recv().unwrap();
    let mut sandbox = connect(&socket).unwrap();
    sandbox.write_all(&[8, 1]).unwrap();
    let answered = sandbox.read(&mut [0; 16]).unwrap();
    assert_eq!(answered, 2);
    for id in ["one", "two"] {
        let open = Open {
            context: context(id),
            exit: Some(Exit { result: 3, errorno: 0 }),
            fd: -100,
            pathname: format!("/{id}"),
            ..Open::default()
        };
        let points = [
            Point::Start(Start {
                context: context(id),
                id: id.into(),
                cwd: "/work".into(),
                args: vec!["/usr/bin/agent".into(), "--token=ghp_abcdefghijklmnopqrstuvwxyz0123456789".into()],
            }),
            Point::Open(open),
            Point::TaskExit(Ended { context: context(id), exit_status: 5 << 8 }),
        ];
        for point in points {
            let (kind, payload) = point.encode();
            sandbox.write_all(&wire::message(kind, 0, &payload)).unwrap();
        }
    }
    drop(sandbox);
    std::fs::write(&go, "").unwrap();
    assert_eq!(observing.join().unwrap().unwrap().code(), Some(3), "the command's end is passed on");
    assert!(!socket.exists() && !socket.with_extension("sock.json").exists(), "nothing is left of the socket");
    let all = stage.records();
    let started: Vec<_> = all.iter().filter(|record| record.kind() == Kind::SessionStarted).collect();
    assert_eq!(started.len(), 2);
    for id in ["one", "two"] {
        // Each has a way to the log of its own, and neither waits for the other.
        let word = format!("container:{id}");
        let is_this =
            |record: &&&Record| matches!(&record.body, Body::SessionStarted(s) if s.confinement.contains(&word));
        let record = started.iter().find(is_this).unwrap();
        let Body::SessionStarted(start) = &record.body else { unreachable!("a start") };
        assert_eq!(start.confinement, ["gvisor", "gvisor-stream", &word]);
        assert!(!format!("{start:?}").contains("ghp_"), "a secret in an argument stays out");
        let chain = stage.chain(&record.header.session_id);
        let kinds: Vec<_> = chain.iter().map(Record::kind).collect();
        let expected =
            [Kind::SessionStarted, Kind::ProcessStarted, Kind::FileAccessed, Kind::ProcessExited, Kind::SessionEnded];
        assert_eq!(kinds, expected);
        assert!(matches!(&chain[2].body, Body::FileAccessed(file) if file.path == format!("/{id}")));
        assert!(
            matches!(&chain[4].body, Body::SessionEnded(end) if end.exit_code == Some(5) && end.reason == "exited")
        );
    }
    let left: Vec<_> =
        std::fs::read_dir(stage.data().join("outbox")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["opening"], "outboxes that are empty are removed");
}
