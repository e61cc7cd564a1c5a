//! MCP's own Python SDK on both sides, and the shim between them: over HTTP in three forms, into a network of the server's own, and over
//! standard input and output.

use crate::stage::{Stage, protocols};
use crate::write_public_key;
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use wk_schemas::body::{Mediation, Outcome};
use wk_schemas::{Body, Record};
use wk_shim::agents::mcp_http::Route;

/// A call that reads what it may, and one that reads what the policy refuses.
const RULES: &str = "name = \"mcp\"\n[network]\ndefault = \"allow\"\n[files]\ndefault = \"allow\"\n[[files.rules]]\n\
                     match = \"${workspace}/keys.txt\"\naction = \"deny\"\nreason = \"keys for other machines\"\n";

fn script(name: &str) -> String {
    format!("{}/tests/session/mcp/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn scene() -> Stage {
    let stage = Stage::new();
    std::fs::write(stage.folder.path().join("mcp.toml"), RULES).unwrap();
    std::fs::write(stage.workspace().join("README.md"), "helo\n").unwrap();
    std::fs::write(stage.workspace().join("keys.txt"), "planted\n").unwrap();
    stage
}

/// A call that reads a file of the workspace.
fn read(stage: &Stage, name: &str) -> (&'static str, Value) {
    ("read", json!({"path": stage.workspace().join(name)}))
}

/// What the client is told, a line for each call.
fn ask(python: &Path, stage: &Stage, server: &str, how: &str, calls: &[(&str, Value)]) -> (String, Vec<Value>) {
    ask_as("client.py", python, stage, server, how, calls)
}

fn ask_as(
    client: &str,
    python: &Path,
    stage: &Stage,
    server: &str,
    how: &str,
    calls: &[(&str, Value)],
) -> (String, Vec<Value>) {
    let mut command = Command::new(python);
    command.arg(script(client)).args([server, how]);
    for (tool, arguments) in calls {
        command.args([(*tool).to_owned(), arguments.to_string()]);
    }
    let done = command.current_dir(stage.workspace()).stderr(Stdio::inherit()).output().unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{said}");
    let (revision, results) = said.split_once('\n').unwrap();
    (revision.to_owned(), results.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// Three calls: one is let do what it does, one is not, and one is answered on a stream that is cut meanwhile.
fn three(stage: &Stage) -> [(&'static str, Value); 3] {
    [read(stage, "README.md"), read(stage, "keys.txt"), ("slowly", json!({}))]
}

/// Both sides have been heard, the refusal was told where it belongs, and no key is on record.
fn check(stage: &Stage, records: &[Record], results: &[Value], proxy: &str) {
    let calls: Vec<(&str, &str, &str)> = records
        .iter()
        .filter_map(|record| match &record.body {
            Body::ToolCalled(c) => Some((c.tool.as_str(), c.channel.as_str(), c.decision.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(calls, [("read", "proxy", "allowed"), ("read", "proxy", "allowed"), ("slowly", "proxy", "allowed")]);
    let returned: Vec<(Option<bool>, &str)> = records
        .iter()
        .filter_map(|record| match &record.body {
            Body::ToolReturned(r) => Some((r.success, r.output.as_str())),
            _ => None,
        })
        .collect();
    let expected = [(Some(true), "helo\n"), (Some(false), "Error executing tool read"), (Some(true), "after the cut")];
    assert_eq!(returned, expected);
    let accessed = |name: &str, outcome: Outcome| {
        let path = stage.workspace().join(name).display().to_string();
        let found = records.iter().find_map(|record| match &record.body {
            Body::FileAccessed(f) if f.path == path && f.outcome == outcome => Some((record, f.actor.clone())),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("{path} was not {outcome:?}"))
    };
    // The shim opens what lies beside a guarded file itself.
    let (_, actor) = accessed("README.md", Outcome::Succeeded);
    assert_eq!(actor.mediation, Mediation::Declared);
    assert!(actor.tool_call_id.as_ref().is_some_and(|id| id.starts_with(proxy)), "{:?}", actor.tool_call_id);
    let (denied, actor) = accessed("keys.txt", Outcome::Denied);
    assert_eq!(actor.mediation, Mediation::Declared);
    let told = results[1]["texts"][1].as_str().unwrap_or_else(|| panic!("{results:?}"));
    let path = stage.workspace().join("keys.txt").display().to_string();
    assert!(told.starts_with(&format!("watchkeeper: refused {path}: ")), "{told}");
    let ticket = format!(": keys for other machines (ticket {})", denied.header.record_id.0);
    assert!(told.ends_with(&ticket), "{told}: {ticket}");
    assert_eq!(results[0], json!({"failed": false, "texts": ["helo\n"]}));
    assert_eq!(results[1], json!({"failed": true, "texts": ["Error executing tool read", told]}));
    assert_eq!(results[2], json!({"failed": false, "texts": ["after the cut"]}));
    let everything = format!("{records:?}");
    assert!(!everything.contains("sesame") && !everything.contains("planted"));
    assert!(!records.iter().any(|record| matches!(record.body, Body::RecordsLost(_))), "everything could be read");
    let agent = records.last().unwrap().header.agent_name.clone();
    assert_eq!(agent.as_deref(), Some("reader"), "the server said who it is");
}

/// An address of this process's own: no other can have taken its ports.
fn host() -> String {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    format!("127.{a}.{b}.{c}")
}

/// Runs the server under watch, the client beside it, and the proxy between.
fn over_http(how: &str, transport: &str, path: &str, port: u16, revision: &str) {
    let Some(python) = protocols() else { return };
    let stage = scene();
    let host = host();
    let route: Route = format!("http://{host}:{port}/{path}").parse().unwrap();
    let url = route.to_string();
    let (python_path, serve, at) = (python.to_str().unwrap(), script("server.py"), port.to_string());
    let mut config = stage.config(&[python_path, &serve, transport, &host, &at]);
    config.agent = Some("mcp".into());
    config.policy = Some(stage.folder.path().join("mcp.toml").display().to_string());
    config.mcp_http = vec![route];
    let session = stage.begin(config);
    let id = session.id.clone();
    let (spoken, results) = ask(&python, &stage, &url, how, &three(&stage));
    std::fs::write(stage.workspace().join("done"), "").unwrap();
    session.end();
    assert_eq!(spoken, revision);
    check(&stage, &stage.chain(&id), &results, "mcp/0.");
}

#[test]
fn a_session_over_http_is_heard_and_a_cut_stream_is_taken_up_again() {
    over_http("legacy", "streamable-http", "mcp", 3001, "2025-11-25");
}

#[test]
fn the_newest_revision_over_http_is_heard() {
    over_http("auto", "streamable-http", "mcp", 3002, "2026-07-28");
}

#[test]
fn the_transport_of_2024_is_heard() {
    over_http("sse", "sse", "sse", 3003, "2025-11-25");
}

#[test]
fn a_server_in_a_network_of_its_own_is_reached_through_the_proxy_and_reaches_nobody() {
    let Some(python) = protocols() else { return };
    let stage = scene();
    let walled = format!("{RULES}[egress]\ndefault = \"deny\"\n");
    std::fs::write(stage.folder.path().join("mcp.toml"), walled).unwrap();
    // Somebody on the machine, at the server's own address and at another port.
    let outside = [3004, 3005].map(|port| TcpListener::bind((host(), port)).unwrap());
    let route: Route = format!("http://{}:3004/mcp", host()).parse().unwrap();
    let (url, door) = (route.to_string(), route.address());
    let (python_path, serve) = (python.to_str().unwrap(), script("server.py"));
    let mut config = stage.config(&[python_path, &serve, "streamable-http", &host(), "3004"]);
    config.agent = Some("mcp".into());
    config.policy = Some(stage.folder.path().join("mcp.toml").display().to_string());
    config.mcp_http = vec![route];
    let session = stage.begin(config);
    let id = session.id.clone();
    let leave = |host: &str, port: u16| ("leave", json!({"host": host, "port": port}));
    let calls = [
        read(&stage, "README.md"),
        leave(&host(), 3005),
        leave(&door.ip().to_string(), door.port()),
        leave("192.0.2.1", 80),
    ];
    let (_, results) = ask(&python, &stage, &url, "auto", &calls);
    std::fs::write(stage.workspace().join("done"), "").unwrap();
    session.end();
    let first: Vec<&str> = results.iter().filter_map(|result| result["texts"][0].as_str()).collect();
    assert_eq!(first, ["helo\n", "no way out", "no way out", "no way out"]);
    for outside in outside {
        outside.set_nonblocking(true).unwrap();
        assert_eq!(outside.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "somebody came");
    }
    let records = stage.chain(&id);
    let called = records.iter().filter(|record| matches!(record.body, Body::ToolCalled(_))).count();
    let returned = records.iter().filter(|record| matches!(record.body, Body::ToolReturned(_))).count();
    assert_eq!((called, returned), (4, 4));
    assert!(records.iter().any(|record| match &record.body {
        Body::SessionStarted(started) => started.confinement.iter().any(|word| word == "network-namespace"),
        _ => false,
    }));
    assert!(records.iter().any(|record| match &record.body {
        Body::ConnectionAttempted(one) => one.address == "192.0.2.1" && one.outcome == Outcome::Denied,
        _ => false,
    }));
}

/// A client that has to ask for a token, a server that takes one which is for itself only, and its issuer.
fn guarded(transport: &str, port: u16, issuer: &str, way_back: &str) {
    let Some(python) = protocols() else { return };
    let stage = scene();
    let server = format!("http://{}:{port}/mcp", host());
    let route: Route = server.parse().unwrap();
    let (url, door) = (route.to_string(), route.address());
    let (python_path, serve) = (python.to_str().unwrap(), script("server.py"));
    let mut config = stage.config(&[python_path, &serve, transport, &host(), &port.to_string()]);
    config.agent = Some("mcp".into());
    config.policy = Some(stage.folder.path().join("mcp.toml").display().to_string());
    config.mcp_http = vec![route];
    let session = stage.begin(config);
    let id = session.id.clone();
    let (_, results) = ask_as("authorized.py", &python, &stage, &url, way_back, &three(&stage));
    let issuer = format!("{}:{}{issuer}", host(), port + 100);
    let get = |path: String| {
        let asked =
            stage.runtime.block_on(async { reqwest::get(format!("http://{door}{path}")).await.unwrap().text().await });
        serde_json::from_str::<Value>(&asked.unwrap()).unwrap()
    };
    let resource = get("/.well-known/oauth-protected-resource/mcp".to_owned());
    let named = format!("http://{door}/as/http/{issuer}");
    assert_eq!((&resource["resource"], &resource["authorization_servers"]), (&json!(url), &json!([named])));
    let metadata = get(format!("/.well-known/oauth-authorization-server/as/http/{issuer}"));
    assert_eq!((&metadata["issuer"], &metadata["token_endpoint"]), (&json!(named), &json!(format!("{named}/token"))));
    std::fs::write(stage.workspace().join("done"), "").unwrap();
    session.end();
    let records = stage.chain(&id);
    check(&stage, &records, &results, "mcp/0.");
    let asked = std::fs::read_to_string(stage.workspace().join("asked")).unwrap();
    let expected =
        format!("grant_type authorization_code\nresource {server}\ngrant_type refresh_token\nresource {server}\n");
    assert_eq!(asked, expected);
    let everything = format!("{records:?}");
    let secrets = std::fs::read_to_string(stage.workspace().join("secrets")).unwrap();
    // The client's own, the code with its verifier, and twice two tokens; some of them more than once.
    assert!(secrets.lines().count() >= 7, "{secrets}");
    for secret in secrets.lines() {
        assert!(secret.len() >= 32 && !everything.contains(secret), "{secret} is on record");
    }
}

#[test]
fn a_client_comes_to_a_token_for_the_server_through_the_proxy() {
    guarded("guarded", 3006, "", "http://localhost:3999/callback");
}

#[test]
fn an_issuer_that_says_who_it_is_is_believed_through_the_proxy() {
    guarded("guarded-iss", 3007, "/realm", "http://127.0.0.1:3999/callback?mine=1");
}

#[test]
fn a_client_over_standard_input_is_told_why_a_call_was_refused() {
    let Some(python) = protocols() else { return };
    let stage = scene();
    write_public_key(&stage);
    let log = stage.log();
    let policy = stage.folder.path().join("mcp.toml");
    let server = json!([
        env!("CARGO_BIN_EXE_wk-shim"),
        "--brokers",
        log.brokers.bootstrap,
        "--registry",
        log.registry.url,
        "--data",
        stage.data(),
        "mcp",
        "--policy",
        policy,
        "--",
        python,
        script("server.py"),
    ]);
    let (_, results) = ask(&python, &stage, &server.to_string(), "stdio", &three(&stage));
    // The client has waited for the server's end, and so for the shim's.
    let session = stage.records().last().unwrap().header.session_id.clone();
    check(&stage, &stage.chain(&session), &results, "mcp/client/");
}
