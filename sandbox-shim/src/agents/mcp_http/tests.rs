//! The proxy between a client and a server that answers as it is told, byte for byte.

use super::{Proxy, Route};
use crate::agents::ear::Ear;
use crate::agents::ear::tests::{Kept, ear_for};
use crate::agents::refusals::Refusals;
use crate::causality::{CallTable, Calls};
use crate::contract::{Event, RecordError, Recorder};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wk_schemas::{Body, RecordId};

/// A server and the proxy before it.
struct Scene {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    refusals: Arc<Refusals>,
    failures: Arc<AtomicUsize>,
    /// Lets go of a stream that has no end.
    cut: Arc<Notify>,
    client: Client,
}

/// An answer with a body of this type.
fn said(status: &str, kind: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}Connection: close\r\n\r\n{body}"
    )
}

/// A stream of these pieces, which is cut when it has no end.
fn stream(pieces: &[&str], ends: bool) -> String {
    let chunks: String = pieces.iter().map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len())).collect();
    let end = if ends { "0\r\n\r\n" } else { "" };
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{end}"
    )
}

impl Scene {
    /// A server that gives each connection the next of these answers.
    async fn with(answers: Vec<String>, ear: Ear) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").await.unwrap(), answers, ear)
    }

    fn at(listener: TcpListener, answers: Vec<String>, ear: Ear) -> Self {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let route: Route = format!("http://{}/mcp", listener.local_addr().unwrap()).parse().unwrap();
        let hears = Arc::clone(&asked);
        let cut = Arc::new(Notify::new());
        let cutting = Arc::clone(&cut);
        tokio::spawn(async move {
            for answer in answers {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut reader = BufReader::new(&mut connection);
                let (mut text, mut length) = (String::new(), 0);
                while !text.ends_with("\r\n\r\n") {
                    let begin = text.len();
                    assert_ne!(reader.read_line(&mut text).await.unwrap(), 0);
                    if let Some(value) = text[begin..].to_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).await.unwrap();
                text.push_str(&String::from_utf8(body).unwrap());
                hears.lock().unwrap().push(text);
                connection.write_all(answer.as_bytes()).await.unwrap();
                if answer.contains("chunked") && !answer.ends_with("\r\n0\r\n\r\n") {
                    cutting.notified().await;
                }
            }
        });
        let url = route.to_string();
        let (refusals, failures) = (Arc::<Refusals>::default(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&failures);
        let on_failure = Box::new(move |_: &RecordError| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let here = TcpListener::from_std(route.listener().unwrap()).unwrap();
        let proxy = Proxy::new(route, 0, None, Arc::new(ear), Arc::clone(&refusals), on_failure).unwrap();
        tokio::spawn(Arc::new(proxy).serve(here, CancellationToken::new()));
        let client = Client::builder().no_proxy().build().unwrap();
        Self { url, asked, refusals, failures, cut, client }
    }

    fn ask(&self, method: Method) -> RequestBuilder {
        self.client.request(method, &self.url)
    }

    async fn post(&self, message: &Value) -> (StatusCode, String) {
        let answer =
            self.ask(Method::POST).header("mcp-session-id", "s1").body(message.to_string()).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn call(id: u8) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "add", "arguments": {"a": 1}}})
}

fn result(id: u8) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": "2"}], "isError": false}})
}

/// What is on record, in short.
fn told(kept: &Kept) -> Vec<String> {
    let short = |body: &Body| match body {
        Body::ToolCalled(c) => format!("{} {} {} {}", c.tool_call_id, c.tool, c.channel, c.decision),
        Body::ToolReturned(r) => format!("{} {:?} {}", r.tool_call_id, r.success, r.output),
        Body::RecordsLost(lost) => format!("lost: {}", lost.reason),
        other => format!("{:?}", other.kind()),
    };
    kept.events().iter().map(|event| short(&event.body)).collect()
}

const JSON: &str = "application/json";

#[tokio::test]
async fn a_call_and_its_answer_are_recorded_and_keys_are_not() {
    let kept = Arc::new(Kept::default());
    let answer = said("200 OK", JSON, "Mcp-Session-Id: s7\r\n", &result(1).to_string());
    let scene = Scene::with(vec![answer], ear_for(&kept)).await;
    let request = scene.ask(Method::POST).bearer_auth("sesame").header("mcp-protocol-version", "2025-06-18");
    let answer = request.body(call(1).to_string()).send().await.unwrap();
    assert_eq!((answer.status(), answer.headers()["mcp-session-id"].to_str().unwrap()), (StatusCode::OK, "s7"));
    assert_eq!(answer.text().await.unwrap(), result(1).to_string());
    let asked = scene.asked().concat().to_lowercase();
    assert!(asked.contains("authorization: bearer sesame") && asked.contains("mcp-protocol-version: 2025-06-18"));
    assert_eq!(told(&kept), ["mcp/0.1/client/1 add proxy allowed", "mcp/0.1/client/1 Some(true) 2"]);
    assert!(!format!("{:?}", kept.events()).contains("sesame"));
}

#[tokio::test]
async fn pages_of_other_machines_and_other_paths_reach_no_server() {
    let kept = Arc::new(Kept::default());
    let scene = Scene::with(Vec::new(), ear_for(&kept)).await;
    let from_a_page = scene.ask(Method::POST).header("origin", "https://evil.example").body(call(1).to_string());
    assert_eq!(from_a_page.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let by_a_name = scene.ask(Method::POST).header("host", "evil.example").body(call(1).to_string());
    assert_eq!(by_a_name.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let elsewhere = scene.client.post(format!("{}/../admin", scene.url)).body(call(1).to_string());
    assert_eq!(elsewhere.send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(scene.ask(Method::PUT).send().await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    let broken = scene.ask(Method::POST).body("{").send().await.unwrap();
    assert_eq!(broken.status(), StatusCode::BAD_REQUEST);
    assert_eq!((scene.asked(), told(&kept).len()), (Vec::new(), 1), "only what could not be read is on record");
}

#[tokio::test]
async fn a_cut_stream_is_cut_for_the_client_and_its_rest_is_heard_once() {
    let kept = Arc::new(Kept::default());
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}});
    let rest = format!("id: 3\ndata: {}\n\n", result(5));
    let answers = vec![
        stream(&["id: 1\nda", "ta:\n\n", &format!("id: 2\r\ndata: {progress}\r\n\r\n")], false),
        stream(&[&rest], true),
        stream(&[&rest], true),
    ];
    let scene = Scene::with(answers, ear_for(&kept)).await;
    let asking = scene.ask(Method::POST).header("mcp-session-id", "s1").body(call(5).to_string());
    let mut answer = asking.send().await.unwrap();
    let expected = format!("id: 1\ndata:\n\nid: 2\r\ndata: {progress}\r\n\r\n");
    let mut heard = Vec::new();
    while heard.len() < expected.len() {
        heard.extend_from_slice(&answer.chunk().await.unwrap().unwrap());
    }
    assert_eq!(String::from_utf8(heard).unwrap(), expected);
    scene.cut.notify_one();
    assert!(answer.chunk().await.is_err(), "the client knows that there is more");
    assert_eq!(told(&kept), ["mcp/0.1/client/5 add proxy allowed"]);
    for _ in 0..2 {
        let again = scene.ask(Method::GET).header("mcp-session-id", "s1").header("last-event-id", "2");
        assert_eq!(again.send().await.unwrap().text().await.unwrap(), rest);
    }
    assert!(scene.asked()[1].to_lowercase().contains("last-event-id: 2"));
    assert_eq!(told(&kept), ["mcp/0.1/client/5 add proxy allowed", "mcp/0.1/client/5 Some(true) 2"]);
}

#[tokio::test]
async fn a_call_that_comes_to_nothing_has_returned() {
    let kept = Arc::new(Kept::default());
    let answers = vec![
        said("404 Not Found", "text/plain", "", "no such session"),
        said("307 Temporary Redirect", "text/plain", "Location: http://elsewhere.example/\r\n", ""),
        said("202 Accepted", "text/plain", "", "Accepted"),
        said("200 OK", "text/plain", "", ""),
    ];
    let scene = Scene::with(answers, ear_for(&kept)).await;
    assert_eq!(scene.post(&call(1)).await, (StatusCode::NOT_FOUND, "no such session".to_owned()));
    assert_eq!(scene.post(&call(2)).await.0, StatusCode::BAD_GATEWAY);
    assert_eq!(scene.post(&call(3)).await, (StatusCode::ACCEPTED, "Accepted".to_owned()));
    let end = scene.ask(Method::DELETE).header("mcp-session-id", "s1").send().await.unwrap();
    assert_eq!(end.status(), StatusCode::OK);
    let returned: Vec<_> = told(&kept).into_iter().filter(|line| line.contains("Some(false)")).collect();
    assert_eq!(
        returned,
        [
            "mcp/0.1/client/1 Some(false) HTTP status 404 Not Found",
            "mcp/0.1/client/2 Some(false) the MCP server sends elsewhere: name the place that it sends to",
            "mcp/0.1/client/3 Some(false) the client has ended the conversation",
        ]
    );
}

#[tokio::test]
async fn a_result_says_what_was_refused_meanwhile() {
    let kept = Arc::new(Kept::default());
    let error = json!({"jsonrpc": "2.0", "id": 3, "error": {"code": -32000, "message": "no"}});
    let answers = vec![
        said("200 OK", JSON, "", &result(1).to_string()),
        stream(&[&format!("event: message\nid: 9\ndata: {}\n\n", result(2))], true),
        said("200 OK", JSON, "", &json!([result(9), error]).to_string()),
        said("200 OK", JSON, "", &result(4).to_string()),
    ];
    let scene = Scene::with(answers, ear_for(&kept)).await;
    for id in 1..=3 {
        scene.refusals.note(&format!("mcp/0.1/client/{id}"), &format!("watchkeeper: refused {id}"));
    }
    let (_, plain) = scene.post(&call(1)).await;
    let content = |text: &str| serde_json::from_str::<Value>(text).unwrap()["result"]["content"].clone();
    let expected =
        |id: u8| json!([{"type": "text", "text": "2"}, {"type": "text", "text": format!("watchkeeper: refused {id}")}]);
    assert_eq!(content(&plain), expected(1));
    let (_, events) = scene.post(&call(2)).await;
    let data = events.strip_prefix("event: message\nid: 9\ndata: ").unwrap();
    assert_eq!(content(data.strip_suffix("\n\n").unwrap()), expected(2));
    let (_, batch) = scene.post(&call(3)).await;
    assert!(batch.contains(r#""message":"no\nwatchkeeper: refused 3""#), "{batch}");
    assert_eq!(scene.post(&call(4)).await.1, result(4).to_string());
    assert!(!told(&kept).concat().contains("refused"), "the record has what the server said");
}

#[tokio::test]
async fn the_transport_of_2024_is_understood_too() {
    let kept = Arc::new(Kept::default());
    let first = "event: endpoint\ndata: /messages/?session_id=7\n\n";
    let stolen = "event: endpoint\ndata: http://elsewhere.example/\n\n";
    let answers = vec![
        stream(&[first, stolen], true),
        said("202 Accepted", "text/plain", "", "Accepted"),
        said("200 OK", JSON, "", &result(1).to_string()),
    ];
    let scene = Scene::with(answers, ear_for(&kept)).await;
    let heard = scene.ask(Method::GET).send().await.unwrap().text().await.unwrap();
    assert_eq!(heard, first, "an endpoint elsewhere is not passed on");
    let endpoint = scene.url.replace("/mcp", "/messages/");
    let to = |query: &str| scene.client.post(format!("{endpoint}?{query}")).body(call(1).to_string()).send();
    assert_eq!(to("session_id=8").await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(to("session_id=7").await.unwrap().status(), StatusCode::ACCEPTED);
    assert!(scene.asked()[1].starts_with("POST /messages/?session_id=7 "), "{:?}", scene.asked());
    let lost = "lost: an MCP server that names an endpoint at another server";
    assert_eq!(told(&kept), [lost, "mcp/0.1/client/1 add proxy allowed"]);
}

/// A server's metadata and that of an issuer at the same place, as both are asked for them.
fn names_an_issuer(scene: &str, issuer: &str) -> [String; 2] {
    let server = json!({"resource": format!("http://{scene}/mcp"), "authorization_servers": [format!("http://{scene}/{issuer}")]});
    let endpoint = |name: &str| format!("http://{scene}/{issuer}/{name}");
    let metadata = json!({
        "issuer": format!("http://{scene}/{issuer}"),
        "authorization_endpoint": endpoint("authorize"),
        "token_endpoint": endpoint("token"),
    });
    [server, metadata].map(|document| said("200 OK", JSON, "", &document.to_string()))
}

#[tokio::test]
async fn what_leads_to_a_token_goes_to_the_issuer_that_it_is_for_and_is_not_recorded() {
    let kept = Arc::new(Kept::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap().to_string();
    let [of_a, a] = names_an_issuer(&server, "a");
    let [of_b, b] = names_an_issuer(&server, "b");
    let challenge = "WWW-Authenticate: Bearer resource_metadata=\"https://elsewhere.example/x\", scope=\"use\"\r\n";
    let error = json!({"error": "invalid_token"}).to_string();
    let token = json!({"access_token": "sesame-token"}).to_string();
    let answers = vec![
        said("401 Unauthorized", JSON, challenge, &error),
        of_a,
        a,
        said("200 OK", JSON, "Set-Cookie: sesame=1\r\n", &token),
        said("307 Temporary Redirect", JSON, "Location: http://elsewhere.example/\r\n", ""),
        of_b,
        b,
    ];
    let scene = Scene::at(listener, answers, ear_for(&kept));
    let here = scene.url.strip_suffix("/mcp").unwrap().to_owned();
    let refused = scene.ask(Method::POST).body(call(1).to_string()).send().await.unwrap();
    let expected =
        format!("Bearer resource_metadata=\"{here}/.well-known/oauth-protected-resource/mcp\", scope=\"use\"");
    assert_eq!(refused.headers()["www-authenticate"].to_str().unwrap(), expected);
    let issuer = format!("{here}/as/http/{server}/a");
    let form = format!("code=sesame-code&code_verifier=sesame-verifier&resource={here}/mcp");
    let ask = || {
        let asking = scene.client.post(format!("{issuer}/token")).basic_auth("me", Some("sesame-secret"));
        asking
            .header("cookie", "sesame=2")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.clone())
    };
    // Nobody else's page, and nobody who calls the proxy by another name, has a way to the issuer either.
    for (name, value) in [("origin", "https://evil.example"), ("host", "evil.example")] {
        assert_eq!(ask().header(name, value).send().await.unwrap().status(), StatusCode::FORBIDDEN, "{name}");
    }
    let granted = ask().send().await.unwrap();
    assert!(!granted.headers().contains_key("set-cookie"));
    assert_eq!(granted.text().await.unwrap(), token);
    assert_eq!(ask().send().await.unwrap().status(), StatusCode::BAD_GATEWAY, "an issuer that sends elsewhere");
    // The server names another issuer: what is meant for the first does not go there.
    let metadata = scene.client.get(format!("{here}/.well-known/oauth-protected-resource/mcp")).send().await.unwrap();
    assert!(metadata.text().await.unwrap().contains(&format!("{here}/as/http/{server}/b")));
    assert_eq!(ask().send().await.unwrap().status(), StatusCode::NOT_FOUND);
    for other in ["/token", "/as/http/evil.example/token", "/.well-known/x", "/a/token"] {
        let asked = scene.client.post(format!("{here}{other}")).body(form.clone()).send().await.unwrap();
        assert_eq!(asked.status(), StatusCode::NOT_FOUND, "{other}");
    }
    let asked = scene.asked();
    let first: Vec<&str> = asked.iter().filter_map(|text| text.lines().next()).collect();
    let expected = [
        "POST /mcp HTTP/1.1",
        "GET /.well-known/oauth-protected-resource/mcp HTTP/1.1",
        "GET /.well-known/oauth-authorization-server/a HTTP/1.1",
        "POST /a/token HTTP/1.1",
        "POST /a/token HTTP/1.1",
        "GET /.well-known/oauth-protected-resource/mcp HTTP/1.1",
        "GET /.well-known/oauth-authorization-server/b HTTP/1.1",
    ];
    assert_eq!(first, expected);
    let resource = format!("resource=http%3A%2F%2F{}%2Fmcp", server.replace(':', "%3A"));
    assert!(asked[3].ends_with(&format!("code=sesame-code&code_verifier=sesame-verifier&{resource}")), "{}", asked[3]);
    let sent = asked[3].to_lowercase();
    assert!(sent.contains("authorization: basic ") && !sent.contains("cookie"), "{sent}");
    let expected = ["mcp/0.1/client/1 add proxy allowed", "mcp/0.1/client/1 Some(false) HTTP status 401 Unauthorized"];
    assert_eq!(told(&kept), expected);
    assert!(!format!("{:?}", kept.events()).contains("sesame"));
}

/// Takes nothing.
struct Full;

impl Recorder for Full {
    fn record(&self, _: Event) -> Result<RecordId, RecordError> {
        Err(RecordError::Full { detail: "no place".into() })
    }
    fn record_durable(&self, event: Event) -> Result<RecordId, RecordError> {
        self.record(event)
    }
}

#[tokio::test]
async fn what_cannot_be_recorded_does_not_go_on() {
    let ear = Ear::new(Arc::new(Full), Calls::new(CallTable::default()), Box::new(|_, _, _| {}));
    let scene = Scene::with(Vec::new(), ear).await;
    assert_eq!(scene.post(&call(1)).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((scene.asked(), scene.failures.load(Ordering::SeqCst)), (Vec::new(), 1));
}

#[tokio::test]
async fn a_server_is_read_no_faster_than_its_client() {
    let kept = Arc::new(Kept::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let route: Route = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&sent);
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await.unwrap();
        let event = format!(": {}\n\n", "x".repeat(64 << 10));
        while connection.write_all(event.as_bytes()).await.is_ok() {
            counts.fetch_add(event.len(), Ordering::SeqCst);
        }
    });
    let url = route.to_string();
    let here = TcpListener::from_std(route.listener().unwrap()).unwrap();
    let proxy = Proxy::new(route, 0, None, Arc::new(ear_for(&kept)), Arc::default(), Box::new(|_| {})).unwrap();
    tokio::spawn(Arc::new(proxy).serve(here, CancellationToken::new()));
    let mut answer = Client::builder().no_proxy().build().unwrap().get(&url).send().await.unwrap();
    // The pipes between are filled, and then nothing moves until the client reads.
    let mut before = usize::MAX;
    while sent.load(Ordering::SeqCst) != before {
        before = sent.load(Ordering::SeqCst);
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    assert!(before < 64 << 20, "{before} bytes are on the way");
    let mut read = 0;
    while read < before {
        read += answer.chunk().await.unwrap().unwrap().len();
    }
    assert!(!answer.chunk().await.unwrap().unwrap().is_empty());
}
