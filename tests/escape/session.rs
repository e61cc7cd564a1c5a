//! What takes a whole session to try: an agent that answers for the person who is asked about it.

#[expect(dead_code, reason = "the stage of the shim's own tests offers more than is used here")]
#[path = "../../sandbox-shim/tests/session/stage.rs"]
mod stage;

use stage::Stage;
use std::net::TcpListener;
use wk_schemas::Body;
use wk_schemas::body::{Outcome, Resolution};

/// Asks for something that is held, and meanwhile tries everything that could be taken for a person's answer.
const APPROVE_ITSELF: &str = r#"
import glob, json, os, socket, threading
held, broker, data = int(os.environ['HELD']), os.environ['LOG'], os.environ['DATA']
said = []
def ask():
    try:
        socket.create_connection(('127.0.0.1', held), 60)
        said.append('CONNECTED')
    except OSError as error:
        said.append(f'refused {error.errno}')
asking = threading.Thread(target=ask)
asking.start()
def attempt(what, act):
    try: said.append(f'{what} WORKED {act()}')
    except Exception as error: said.append(f'{what} {type(error).__name__}')
ticket = '00000000-0000-7000-8000-000000000000'
def speak():
    s = socket.socket(socket.AF_UNIX)
    s.connect(os.environ['WATCHKEEPER_SOCKET'])
    for kind in ('approval', 'grant_approval', 'approval_resolved', 'command'):
        s.sendall(json.dumps({'type': kind, 'ticket': ticket, 'decision': 'GRANTED', 'granted': True}).encode() + b'\n')
    s.settimeout(2)
    try: return s.recv(9999).count(b'"ok":true')
    except TimeoutError: return 0
host, port = broker.rsplit(':', 1)
attempt('log', lambda: socket.create_connection((host, int(port)), 5))
attempt('key', lambda: [open(path, 'rb').read() for path in glob.glob(data + '/keys/*')] or [][0])
attempt('answer', lambda: open(data + '/approvals', 'w'))
attempt('door', lambda: {}[speak()] if speak() == 0 else 'heard')
asking.join()
open('said', 'w').write('\n'.join(said))
"#;

#[test]
fn an_agent_cannot_approve_itself() {
    let stage = Stage::new();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    held.set_nonblocking(true).unwrap();
    std::fs::write(stage.data().join("keys/approval.key"), "TOP SECRET").unwrap();
    let mut config = stage.config(&["/usr/bin/python3", "-c", APPROVE_ITSELF]);
    let policy = stage.folder.path().join("holding.toml");
    std::fs::write(&policy, "name = \"holding\"\nhold_timeout = \"4s\"\n[network]\ndefault = \"hold\"\n").unwrap();
    config.policy = Some(policy.display().to_string());
    let port = held.local_addr().unwrap().port().to_string();
    for (name, value) in
        [("HELD", port), ("LOG", stage.log().brokers.bootstrap.clone()), ("DATA", stage.data().display().to_string())]
    {
        config.env.push((name.into(), value.into()));
    }
    let session = stage.begin(config);
    let id = session.id.clone();
    assert_eq!(session.end().exit_code, Some(0));
    let said = std::fs::read_to_string(stage.workspace().join("said")).unwrap();
    assert!(!said.contains("WORKED") && !said.contains("CONNECTED"), "{said}");
    assert!(held.accept().is_err(), "somebody came");
    let records = stage.chain(&id);
    let resolutions: Vec<Resolution> = records
        .iter()
        .filter_map(|record| if let Body::ApprovalResolved(body) = &record.body { Some(body.resolution) } else { None })
        .collect();
    assert_eq!(resolutions, [Resolution::Expired], "{said}");
    let refused_log = records.iter().any(|record| match &record.body {
        Body::ConnectionAttempted(body) => {
            body.outcome == Outcome::Denied && body.reason.as_deref() == Some("protected by the shim")
        }
        _ => false,
    });
    assert!(refused_log, "the attempt on the log is recorded");
}
