//! A held call waits; nothing leaves before the answer, and nothing at all when the answer is no.

use crate::harness::Trial;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;
use wk_schemas::Body;
use wk_schemas::body::{NetworkOperation, Outcome, Resolution};
use wk_shim::contract::{Decision, Ticket};

const HOLD: &str = "name = \"t\"\nhold_timeout = \"10m\"\n[network]\ndefault = \"hold\"\n";

/// Connects, sends a word, and writes what became of it into `result`.
fn client(to: SocketAddr) -> Trial {
    let script = format!(
        "import socket\ntry:\n s=socket.create_connection(('{}',{}),20)\n s.sendall(b'word')\n r='sent'\nexcept OSError as e:\n r=str(e.errno)\nopen('result','w').write(r)",
        to.ip(),
        to.port()
    );
    Trial::program(["/usr/bin/env", "python3", "-c", &script]).policy(HOLD)
}

fn listener() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

fn asked(trial: &Trial) -> (Ticket, Option<i32>, String) {
    trial.recorder.wait_for("an approval to be requested", |body| match body {
        Body::ApprovalRequested(asked) => Some((asked.ticket.0, asked.port, asked.action.clone())),
        _ => None,
    })
}

fn decision(granted: bool) -> Decision {
    Decision { granted, by: Some("ada".into()), reason: "because".into(), command_id: None }
}

fn resolutions(trial: &Trial) -> Vec<Resolution> {
    let pick = |body| if let Body::ApprovalResolved(body) = body { Some(body.resolution) } else { None };
    trial.recorder.bodies().into_iter().filter_map(pick).collect()
}

#[test]
fn a_held_connect_waits_and_a_denial_lets_nothing_through() {
    let listener = listener();
    let to = listener.local_addr().unwrap();
    let trial = client(to);
    let running = trial.start();
    let (ticket, port, action) = asked(&trial);
    assert_eq!((port, action.as_str()), (Some(i32::from(to.port())), "connect"));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(trial.read("result"), "", "the call went on before the answer");
    assert!(running.resolve(ticket, decision(false)));
    assert!(!running.resolve(ticket, decision(true)), "a second answer counted");
    running.wait();
    assert_eq!(trial.read("result"), libc::EPERM.to_string());
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(resolutions(&trial), [Resolution::Denied]);
    let outcomes: Vec<_> = trial.connections().into_iter().map(|c| (c.operation, c.outcome)).collect();
    assert_eq!(outcomes, [(NetworkOperation::Connect, Outcome::Denied)]);
}

#[test]
fn a_grant_lets_the_shim_connect_the_agents_own_socket() {
    let listener = listener();
    let trial = client(listener.local_addr().unwrap());
    let running = trial.start();
    let (ticket, ..) = asked(&trial);
    assert!(running.resolve(ticket, decision(true)));
    running.wait();
    assert_eq!(trial.read("result"), "sent");
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(false).unwrap();
    let mut word = String::new();
    stream.read_to_string(&mut word).unwrap();
    assert_eq!(word, "word");
    assert_eq!(trial.connections().iter().map(|c| c.outcome).collect::<Vec<_>>(), [Outcome::Allowed]);
}

#[test]
fn a_hold_that_nobody_answers_ends_in_a_denial() {
    let listener = listener();
    let trial = client(listener.local_addr().unwrap())
        .policy("name = \"t\"\nhold_timeout = \"300ms\"\n[network]\ndefault = \"hold\"\n");
    trial.run();
    assert_eq!(trial.read("result"), libc::EPERM.to_string());
    assert_eq!(resolutions(&trial), [Resolution::Expired]);
}

#[test]
fn a_timer_in_the_agent_does_not_restart_a_held_call() {
    let listener = listener();
    let to = listener.local_addr().unwrap();
    let script = format!(
        "import signal,socket\nsignal.signal(signal.SIGALRM,lambda *a:None)\nsignal.setitimer(signal.ITIMER_REAL,0.02,0.02)\ns=socket.socket()\ntry:\n s.connect(('127.0.0.1',{}))\n r='ok'\nexcept OSError as e:\n r=str(e.errno)\nopen('result','w').write(r)",
        to.port()
    );
    let trial = Trial::program(["/usr/bin/env", "python3", "-c", &script]).policy(HOLD);
    let running = trial.start();
    let (ticket, ..) = asked(&trial);
    std::thread::sleep(Duration::from_millis(500));
    assert!(running.resolve(ticket, decision(true)));
    running.wait();
    assert_eq!(trial.read("result"), "ok");
    assert_eq!(resolutions(&trial), [Resolution::Granted], "the call was issued again and again");
}

#[test]
fn a_killed_process_abandons_its_hold() {
    let listener = listener();
    let trial = client(listener.local_addr().unwrap());
    let running = trial.start();
    asked(&trial);
    running.kill().unwrap();
    running.wait();
    assert_eq!(resolutions(&trial), [Resolution::Abandoned]);
    assert_eq!(running.held(), 0);
}

/// Connects from many threads at once; beside them one thread makes and reads files for as long as any waits.
fn many_at_once(threads: usize) {
    let listener = listener();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "
import os,socket,threading
threading.stack_size(256<<10)
def go():
    try: socket.create_connection(('127.0.0.1',{port}),300)
    except OSError: pass
ts=[threading.Thread(target=go) for _ in range({threads})]
[t.start() for t in ts]
done=False
def count():
    n=0
    while not done:
        n+=1
        open('count.new','w').write(str(n)); os.rename('count.new','count')
c=threading.Thread(target=count); c.start()
[t.join() for t in ts]
done=True
c.join()
"
    );
    let trial = Trial::program(["/usr/bin/env", "python3", "-c", &script])
        .policy("name = \"t\"\nhold_timeout = \"10m\"\n[network]\ndefault = \"hold\"\n");
    let running = trial.start();
    let mut tickets = std::collections::BTreeSet::new();
    until("every call to be held", || {
        let pick = |body| if let Body::ApprovalRequested(body) = body { Some(body.ticket.0) } else { None };
        tickets = trial.recorder.bodies().into_iter().filter_map(pick).collect();
        tickets.len() >= threads
    });
    assert_eq!((tickets.len(), running.held()), (threads, threads));
    // All wait, and the thread beside them still opens, writes and renames.
    for _ in 0..2 {
        let before = trial.read("count");
        until("the other thread to go on", || trial.read("count") != before);
    }
    // So does the shim: each answer finds its own call, granted or denied, while the rest waits.
    for (n, ticket) in tickets.into_iter().enumerate() {
        assert!(running.resolve(ticket, decision(n == 0)));
    }
    assert_eq!(running.wait().exit_code, Some(0));
    assert_eq!(running.held(), 0);
    let all = resolutions(&trial);
    let granted = all.iter().filter(|r| **r == Resolution::Granted).count();
    assert_eq!((all.len(), granted), (threads, 1));
    assert!(listener.accept().is_ok(), "the one that was granted");
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "a denied one came through");
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..12_000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("waited for {what}");
}

#[test]
fn while_one_call_is_held_the_other_threads_go_on() {
    many_at_once(1);
}

#[test]
fn a_thousand_calls_are_held_at_once_and_hold_up_nothing_else() {
    many_at_once(1000);
}

#[test]
fn a_socket_that_does_not_block_gets_its_connect_started() {
    let listener = listener();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "import socket,select\ns=socket.socket()\ns.setblocking(False)\nr=s.connect_ex(('127.0.0.1',{port}))\nselect.select([],[s],[],10)\nopen('result','w').write('%d %d'%(r in (0,115),s.getsockopt(socket.SOL_SOCKET,socket.SO_ERROR)))"
    );
    let trial = Trial::program(["/usr/bin/env", "python3", "-c", &script]);
    trial.run();
    assert_eq!(trial.read("result"), "1 0");
    assert!(listener.accept().is_ok());
}

#[test]
fn protected_endpoints_are_refused_whatever_the_policy_says() {
    let listener = listener();
    let to = listener.local_addr().unwrap();
    for disguise in ["127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "127.0.0.9"] {
        let mut trial = client(SocketAddr::new(disguise.parse().unwrap(), to.port())).policy(crate::harness::FREE);
        trial.endpoints = vec![to];
        trial.run();
        assert_eq!(trial.read("result"), libc::EPERM.to_string(), "{disguise}");
        assert!(trial.connections().iter().any(|c| c.outcome == Outcome::Denied));
    }
    assert!(listener.accept().is_err());
}

#[test]
fn a_held_read_is_carried_out_by_the_shim_after_the_grant() {
    let trial = Trial::shell("cat keys/secret > copy 2> error; cat plain >> copy");
    trial.write("keys/secret", "s3cret\n");
    trial.write("plain", "plain\n");
    let policy = "name = \"t\"\nhold_timeout = \"10m\"\n[files]\ndefault = \"allow\"\nrules = [{ match = \"~/keys/**\", action = \"hold\", reason = \"keys\" }]\n[network]\ndefault = \"allow\"\n";
    let trial = trial.policy(policy);
    let running = trial.start();
    let (ticket, _, action) = asked(&trial);
    assert_eq!(action, "read");
    assert!(running.resolve(ticket, decision(true)));
    running.wait();
    assert_eq!(trial.read("copy"), "s3cret\nplain\n");
    let secret = trial.files().into_iter().find(|f| f.path.ends_with("keys/secret")).unwrap();
    assert_eq!((secret.outcome, secret.reason.as_deref()), (Outcome::Succeeded, Some("granted: because")));
}

#[test]
fn a_datagram_to_an_address_is_sent_by_the_shim_and_a_name_question_is_seen() {
    let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(Duration::from_secs(300))).unwrap();
    let port = server.local_addr().unwrap().port();
    let script = format!(
        "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\nn=s.sendto(b'one',('127.0.0.1',{port}))\nm=s.sendmsg([b'tw',b'o'],[],0,('127.0.0.1',{port}))\ns.connect(('127.0.0.1',{port}))\nk=s.sendmsg([b'three'])\nq=bytes.fromhex('123401000001000000000000')+b'\\3www\\7example\\3org\\0\\0\\1\\0\\1'\ntry:\n s.sendto(q,('127.0.0.1',53))\nexcept OSError: pass\nopen('result','w').write('%d %d %d'%(n,m,k))"
    );
    let trial = Trial::program(["/usr/bin/env", "python3", "-c", &script]);
    trial.run();
    assert_eq!(trial.read("result"), "3 3 5");
    let mut buffer = [0; 16];
    for word in [b"one".as_slice(), b"two", b"three"] {
        let length = server.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], word);
    }
    trial.recorder.wait_for("the question", |body| match body {
        Body::NameResolved(asked) => (asked.name == "www.example.org" && asked.record_type == "A").then_some(()),
        _ => None,
    });
}
