//! What leaves goes through the shim's proxy: by name, in a network of the agent's own, and without one.

use crate::harness::Trial;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use wk_schemas::Body;
use wk_schemas::body::{ConnectionAttempted, NameResolved, Outcome};
use wk_shim::confine::Means;
use wk_shim::contract::Decision;

/// A host outside that answers every request with `hello`, and keeps what it was asked.
struct Outside {
    at: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Outside {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let keeping = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, keeping) = (stream.unwrap(), Arc::clone(&keeping));
                std::thread::spawn(move || {
                    let mut said = vec![0; 4096];
                    let length = stream.read(&mut said).unwrap_or(0);
                    keeping.lock().unwrap().push(String::from_utf8_lossy(&said[..length]).into_owned());
                    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
                    drop(stream.write_all(answer.as_bytes()));
                });
            }
        });
        Self { at, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// A policy that allows `api.test`, and `read.test` for reading, and asks about `ask.test`.
    fn policy(&self) -> String {
        let at = self.at;
        format!(
            "name = \"t\"\nhold_timeout = \"10m\"\n[egress]\ndefault = \"deny\"\nrules = [
              {{ match = \"api.test\", at = \"{at}\", action = \"allow\", reason = \"the model\" }},
              {{ match = \"read.test:80\", methods = [\"GET\"], at = \"{at}\", action = \"allow\", reason = \"reading\" }},
              {{ match = \"ask.test\", at = \"{at}\", action = \"hold\", reason = \"a new host\" }},
              {{ match = \"evil.test\", action = \"deny\", reason = \"evil\" }},
            ]\n"
        )
    }
}

fn without_namespaces() -> Means {
    Means { namespaces: false, own_proc: false, covers: false, user_namespace: false, ..Means::probe() }
}

/// As in a container with Docker's default profile.
fn in_a_container() -> Means {
    Means { copies_descriptors: false, ..without_namespaces() }
}

fn python(script: &str) -> Trial {
    Trial::program(["/usr/bin/python3", "-c", script])
}

fn leaving(trial: &Trial) -> Vec<ConnectionAttempted> {
    trial.connections().into_iter().filter(|one| one.host_name.is_some()).collect()
}

fn names(trial: &Trial) -> Vec<NameResolved> {
    let pick = |body| if let Body::NameResolved(body) = body { Some(body) } else { None };
    trial.recorder.bodies().into_iter().filter_map(pick).collect()
}

fn shown(trial: &Trial) -> Vec<(String, Option<i32>, Outcome, String)> {
    let show = |one: ConnectionAttempted| {
        (one.host_name.unwrap_or_default(), one.port, one.outcome, one.reason.unwrap_or_default())
    };
    leaving(trial).into_iter().map(show).collect()
}

fn by_proxy(means: Means) {
    let outside = Outside::new();
    let mut trial = Trial::shell(
        "curl -sS -m 20 http://api.test/a > plain; curl -sS -m 20 -w '%{http_code}' http://evil.test/x > evil; \
         curl -sS -m 20 -p http://api.test:81/b > tunnel; curl -s -m 20 -p http://evil.test:81/; echo $? > refused; \
         curl -sS -m 20 --socks5-hostname ${HTTP_PROXY#http://} http://api.test/c > socks; \
         curl -s -m 20 --socks5-hostname ${HTTP_PROXY#http://} http://evil.test/; echo $? > socks-refused; exit 0",
    )
    .policy(&outside.policy());
    trial.means = means;
    trial.run();
    for name in ["plain", "tunnel", "socks"] {
        assert_eq!(trial.read(name), "hello", "{name}: {:#?}", leaving(&trial));
    }
    let evil = trial.read("evil");
    assert!(evil.starts_with("blocked by Watchkeeper: evil.test: evil (ticket ") && evil.ends_with("403"), "{evil}");
    assert_eq!((trial.read("refused").trim(), trial.read("socks-refused").trim()), ("56", "97"));
    let allowed = |port| ("api.test".to_owned(), Some(port), Outcome::Allowed, "api.test: the model".to_owned());
    let denied = |port| ("evil.test".to_owned(), Some(port), Outcome::Denied, "evil.test: evil".to_owned());
    assert_eq!(shown(&trial), [allowed(80), denied(80), allowed(81), denied(81), allowed(80), denied(80)]);
    let actor = &leaving(&trial)[0].actor;
    assert!(actor.image.ends_with("/curl"), "{actor:?}");
    assert_eq!(leaving(&trial)[0].address, "127.0.0.1");
}

#[test]
fn a_proxy_lets_through_what_is_allowed_and_says_why_not() {
    by_proxy(Means::probe());
}

#[test]
fn a_proxy_lets_through_what_is_allowed_and_says_why_not_without_namespaces() {
    by_proxy(without_namespaces());
}

#[test]
fn a_proxy_lets_through_what_is_allowed_and_says_why_not_in_a_container() {
    by_proxy(in_a_container());
}

fn unaware(means: Means) {
    let outside = Outside::new();
    let mut trial = python(
        "import socket\ndef get(host, port=80, family=0):\n\
         \x20 try:\n\
         \x20  s = socket.create_connection((host, port), 300)\n\
         \x20  s.sendall(b'GET /direct HTTP/1.1\\r\\nHost: ' + host.encode() + b'\\r\\n\\r\\n')\n\
         \x20  return s.makefile().read()[-5:]\n\
         \x20 except OSError as e: return type(e).__name__ + str(e.errno)\n\
         said = [get('api.test'), get('evil.test'), get('192.0.2.1'), get('2001:db8::1')]\n\
         s = socket.socket(); s.setblocking(False)\n\
         import select\n\
         e = s.connect_ex((socket.gethostbyname('api.test'), 80)); select.select([], [s], [], 20)\n\
         said.append(str(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))\n\
         v6 = socket.socket(socket.AF_INET6); v6.settimeout(300)\n\
         v6.connect(('::ffff:' + socket.gethostbyname('api.test'), 80)); v6.sendall(b'x'); said.append(v6.makefile().read()[-5:])\n\
         open('said','w').write(' '.join(said))",
    )
    .policy(&outside.policy());
    trial.means = means;
    trial.run();
    assert_eq!(
        trial.read("said"),
        "hello gaierror-2 PermissionError1 PermissionError1 0 hello",
        "{:#?}",
        trial.connections()
    );
    let denied: Vec<_> = trial.connections().into_iter().filter(|one| one.outcome == Outcome::Denied).collect();
    assert_eq!(denied.iter().map(|one| one.address.as_str()).collect::<Vec<_>>(), ["192.0.2.1", "2001:db8::1"]);
    let asked = |name: &str, outcome| names(&trial).iter().any(|one| one.name == name && one.outcome == outcome);
    assert!(asked("api.test", Outcome::Allowed) && asked("evil.test", Outcome::Denied), "{:#?}", names(&trial));
    assert_eq!(leaving(&trial).iter().filter(|one| one.outcome == Outcome::Allowed).count(), 3);
}

#[test]
fn a_program_that_knows_of_no_proxy_is_led_through_it() {
    unaware(Means::probe());
}

#[test]
fn a_program_that_knows_of_no_proxy_is_led_through_it_without_namespaces() {
    unaware(without_namespaces());
}

#[test]
fn a_program_that_knows_of_no_proxy_is_led_through_it_in_a_container() {
    unaware(in_a_container());
}

#[test]
fn names_are_answered_only_when_they_may_be_reached_and_never_as_a_tunnel() {
    let outside = Outside::new();
    let policy = outside.policy().replace("default = \"deny\"", "default = \"hold\"");
    let trial = python(
        "import socket, struct\n\
         server = open('/etc/resolv.conf').read().split()[1]\n\
         def ask(name, kind, to=None, tcp=False):\n\
         \x20 q = b'\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0' + b''.join(bytes([len(l)]) + l.encode() for l in name.split('.')) + b'\\0' + struct.pack('>HH', kind, 1)\n\
         \x20 try:\n\
         \x20  s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM); s.settimeout(300)\n\
         \x20  if tcp: s.connect((server, 53)); s.sendall(struct.pack('>H', len(q)) + q); r = s.recv(999)[2:]\n\
         \x20  else: s.sendto(q, (to or server, 53)); r = s.recv(999)\n\
         \x20  return f'{r[3] & 15}/{r[7]}'\n\
         \x20 except OSError as e: return type(e).__name__\n\
         said = [ask('api.test', 1), ask('api.test', 1, tcp=True), ask('api.test', 28), ask('api.test', 65), ask('api.test', 16),\n\
         \x20 ask('evil.test', 1), ask('new.test', 1), ask('dG9wIHNlY3JldCB3b3Jkcw8f.new.test', 1), ask('api.test', 1, '192.0.2.53')]\n\
         open('said','w').write(' '.join(said))",
    )
    .policy(&policy);
    trial.run();
    assert_eq!(trial.read("said"), "0/1 0/1 0/0 0/0 5/0 3/0 0/1 3/0 PermissionError", "{:#?}", names(&trial));
    assert_eq!(outside.heard(), [""; 0], "nobody outside was asked");
    let shown: Vec<_> = names(&trial).into_iter().map(|one| (one.name, one.record_type, one.outcome)).collect();
    let expect = |name: &str, kind: &str, outcome| {
        assert!(shown.contains(&(name.into(), kind.into(), outcome)), "{name} {shown:#?}")
    };
    expect("api.test", "TXT", Outcome::Denied);
    expect("evil.test", "A", Outcome::Denied);
    expect("new.test", "A", Outcome::Allowed);
    expect("dg9wihnly3jldcb3b3jkcw8f.new.test", "A", Outcome::Denied);
}

#[test]
fn the_server_that_tls_names_must_be_the_one_connected_to() {
    let outside = Outside::new();
    let trial = python(
        "import os, socket, ssl\n\
         def hello(server, tunnel):\n\
         \x20 to = ssl.MemoryBIO(), ssl.MemoryBIO()\n\
         \x20 c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE\n\
         \x20 t = c.wrap_bio(*to, server_hostname=server)\n\
         \x20 try: t.do_handshake()\n\
         \x20 except ssl.SSLWantReadError: pass\n\
         \x20 words = to[1].read()\n\
         \x20 if tunnel:\n\
         \x20  host, port = os.environ['HTTPS_PROXY'][7:].split(':')\n\
         \x20  s = socket.create_connection((host, int(port)), 300); s.sendall(b'CONNECT api.test:443 HTTP/1.1\\r\\nHost: api.test:443\\r\\n\\r\\n')\n\
         \x20  assert b'200' in s.recv(999)\n\
         \x20 else: s = socket.create_connection(('api.test', 443), 300)\n\
         \x20 try:\n\
         \x20  for at in range(0, len(words), 100): s.sendall(words[at:at + 100])\n\
         \x20  return str(len(s.recv(5)))\n\
         \x20 except OSError: return '0'\n\
         said = [hello(server, tunnel) for tunnel in (True, False) for server in ('api.test', 'other.test', None)]\n\
         open('said','w').write(' '.join(said))",
    )
    .policy(&outside.policy());
    trial.run();
    assert_eq!(trial.read("said"), "5 0 0 5 0 0");
    let heard = outside.heard();
    assert!(heard.iter().all(|words| !words.contains("other.test")), "the words of a mismatch were passed on");
    let reasons: Vec<_> = shown(&trial).into_iter().filter(|one| one.2 == Outcome::Denied).map(|one| one.3).collect();
    let (other, none) = (
        "TLS asks for `other.test`, and the connection is to `api.test`",
        "TLS names no server, and the connection is to `api.test`",
    );
    assert_eq!(reasons, [other, none, other, none]);
}

/// An agent says something and is gone, before the shim has heard it.
#[test]
fn what_was_said_last_is_heard_after_the_end() {
    let outside = Outside::new();
    let trial = python(
        "import os, socket, ssl\n\
         host, port = os.environ['HTTPS_PROXY'][7:].split(':')\n\
         to = ssl.MemoryBIO(), ssl.MemoryBIO()\n\
         try: ssl.create_default_context().wrap_bio(*to, server_hostname='other.test').do_handshake()\n\
         except ssl.SSLWantReadError: pass\n\
         words = to[1].read()\n\
         tunnels = [socket.create_connection((host, int(port)), 300) for _ in range(64)]\n\
         for s in tunnels:\n\
         \x20 s.sendall(b'CONNECT api.test:443 HTTP/1.1\\r\\nHost: api.test:443\\r\\n\\r\\n')\n\
         \x20 assert b'200' in s.recv(999)\n\
         for s in tunnels: s.sendall(words)\n\
         os._exit(0)",
    )
    .policy(&outside.policy());
    let ended = trial.run();
    assert_eq!(ended.exit_code, Some(0));
    let denied = leaving(&trial).into_iter().filter(|one| one.outcome == Outcome::Denied);
    let denied: i64 = denied
        .filter(|one| one.reason.as_deref().unwrap_or_default().contains("other.test"))
        .map(|one| one.count)
        .sum();
    assert_eq!(denied, 64, "each was written down: {:#?}", shown(&trial));
}

#[test]
fn methods_decide_where_they_are_seen() {
    let outside = Outside::new();
    let trial = Trial::shell(
        "for how in '' '--noproxy *'; do set -f; curl -sS -m 20 $how http://read.test/a; \
         curl -sS -m 20 $how -d x -w '%{http_code}' -o /dev/null http://read.test/b; \
         curl -s -m 20 $how -H 'Host: api.test' -w '%{http_code}' -o /dev/null http://read.test/c; \
         done > said; curl -s -m 20 -p http://read.test/d; echo $? >> said; exit 0",
    )
    .policy(&outside.policy());
    trial.run();
    // Through the proxy the first line says where it goes, and the host follows it; without, the host must be the one connected to.
    assert_eq!(trial.read("said"), "hello403200hello40340356\n", "{:#?}", shown(&trial));
    let heard = outside.heard();
    assert_eq!(heard.len(), 3, "{heard:#?}");
    assert!(
        heard.iter().all(|said| said.starts_with("GET /") && said.to_ascii_lowercase().contains("host: read.test"))
    );
}

#[test]
fn the_agents_own_loopback_is_its_own_and_the_machines_needs_a_rule() {
    let outside = Outside::new();
    let port = outside.at.port();
    let script = format!(
        "import socket\nl = socket.create_server(('127.0.0.1', 8123)); c = socket.create_connection(('127.0.0.1', 8123), 300)\n\
         c.sendall(b'own'); a, _ = l.accept(); said = a.recv(9).decode()\n\
         try:\n s = socket.create_connection(('127.0.0.1', {port}), 300); s.sendall(b'x'); said += ' ' + s.recv(99).decode()[:15]\n\
         except OSError as e: said += ' ' + type(e).__name__\nopen('said','w').write(said)"
    );
    let shut = python(&script).policy(&outside.policy());
    shut.run();
    assert_eq!(shut.read("said"), "own ConnectionRefusedError");
    let rule =
        format!("rules = [\n {{ match = \"loopback:{port}\", action = \"allow\", reason = \"a local model\" }},");
    let open = python(&script).policy(&outside.policy().replace("rules = [", &rule));
    open.run();
    assert_eq!(open.read("said"), "own HTTP/1.1 200 OK");
    assert_eq!(outside.heard().len(), 1);
}

#[test]
fn an_unknown_host_is_asked_about_at_the_proxy_and_behind_it() {
    let outside = Outside::new();
    for (how, granted, expected) in [("", true, "hello"), ("", false, "403"), ("--noproxy '*'", true, "hello")] {
        let trial = Trial::shell(&format!(
            "curl -sS -m 50 {how} -o body -w '%{{http_code}}' http://ask.test/ > code; cat body code > said"
        ))
        .policy(&outside.policy());
        let running = trial.start();
        let (ticket, host) = trial.recorder.wait_for("an approval to be requested", |body| match body {
            Body::ApprovalRequested(asked) => Some((asked.ticket.0, asked.host_name.clone())),
            _ => None,
        });
        assert_eq!(host.as_deref(), Some("ask.test"));
        assert!(trial.read("code").is_empty(), "it went on before the answer");
        let decision = Decision { granted, by: Some("ada".into()), reason: "because".into(), command_id: None };
        assert!(running.resolve(ticket, decision));
        running.wait();
        let said = trial.read("said");
        assert!(said.contains(expected), "{how} {granted}: {said}");
        assert!(granted || said.contains(&format!("denied: because (ticket {ticket})")), "{said}");
    }
    assert_eq!(outside.heard().len(), 2);
}

#[test]
fn a_session_says_what_stands_between_it_and_the_network() {
    let outside = Outside::new();
    let mut trial = Trial::shell("exit 0").policy(&outside.policy());
    let running = trial.start();
    let has = |words: &[String], word: &str| words.iter().any(|one| one == word);
    assert!(has(running.confinement(), "egress-proxy") && has(running.confinement(), "network-namespace"));
    running.wait();
    trial.means = without_namespaces();
    let running = trial.start();
    assert!(has(running.confinement(), "egress-proxy") && has(running.confinement(), "no-network-namespace"));
    running.wait();
    trial.policy = crate::harness::FREE.to_owned();
    let running = trial.start();
    assert!(!has(running.confinement(), "egress-proxy"));
    running.wait();
}
