//! One request after the other: heard, passed on, and its answer heard and passed back.

use super::super::callers::Callers;
use super::super::ear::Ear;
use super::super::mcp::Mcp;
use super::super::refusals::Refusals;
use super::super::{Adapter as _, Channel, Said};
use super::admit;
use super::conversations::{Conversation, Conversations};
use super::events::{Event, Events};
use super::oauth::Authorization;
use super::reach::{Inside, Outgoing, Reach};
use super::replies::{Answer, Cut, Flow, MESSAGE_BYTES_MAX, answer, failed, not_recorded, whole};
use super::route::Route;
use crate::contract::RecordError;
use crate::lock::lock;
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap};
use hyper::{Method, Request, StatusCode, Uri};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;

/// Connections at once, each of which may be a stream that stays open; more wait.
const CONNECTIONS_MAX: usize = 256;

const SESSION: &str = "mcp-session-id";

/// A proxy in front of one server.
pub(crate) struct Proxy {
    route: Route,
    /// Tells the conversations of several proxies apart.
    index: usize,
    reach: Reach,
    authorization: Authorization,
    ear: Arc<Ear>,
    refusals: Arc<Refusals>,
    on_failure: Box<dyn Fn(&RecordError) + Send + Sync>,
    conversations: Mutex<Conversations>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("route", &self.route).finish_non_exhaustive()
    }
}

/// What could not be recorded has been reported, and must not be passed on.
struct NotRecorded;

/// What was heard of one message.
struct Heard {
    /// The calls that it makes.
    called: Vec<String>,
    /// The message in its place, when it answers a call during which something was refused.
    instead: Option<Value>,
}

impl Proxy {
    /// A proxy on this route, the `index`th of the session. What it hears goes to `ear`; results of calls say what `refusals` has for
    /// them; `on_failure` is told when something could not be recorded. `inside` is where a server under watch may be.
    ///
    /// # Errors
    /// When the machine's certificates cannot be read.
    pub(crate) fn new(
        route: Route,
        index: usize,
        inside: Option<Inside>,
        ear: Arc<Ear>,
        refusals: Arc<Refusals>,
        on_failure: Box<dyn Fn(&RecordError) + Send + Sync>,
    ) -> anyhow::Result<Self> {
        let authorization = Authorization::new(route.server().clone(), route.is_local());
        let reach = Reach::new(&route, inside)?;
        Ok(Self { route, index, reach, authorization, ear, refusals, on_failure, conversations: Mutex::default() })
    }

    /// Takes connections until `stop`.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let callers = Callers { who: "a client of the MCP proxy", at_most: CONNECTIONS_MAX };
        callers.admit_http(listener, stop, move |request| Arc::clone(&self).answer(request)).await;
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let (envelope, body) = request.into_parts();
        if let Some(why) = admit::refusal(&envelope.headers) {
            tracing::warn!(why, "the MCP proxy has refused a request");
            return failed(StatusCode::FORBIDDEN, why);
        }
        let session = envelope.headers.get(SESSION).and_then(|id| id.to_str().ok()).map(str::to_owned);
        let here = admit::here(&envelope.headers);
        let Some((url, endpoint)) = self.target(&envelope.uri) else {
            return self.authorization.answer(&self.reach, &here, envelope, body).await;
        };
        let name = session.map(|id| format!("session {id}")).or(endpoint);
        let known = name.as_ref().and_then(|name| lock(&self.conversations).find(name));
        let conversation = known.unwrap_or_else(|| {
            let mut conversations = lock(&self.conversations);
            let new = conversations.begin(self.index);
            name.iter().for_each(|name| conversations.name(name, &new));
            new
        });
        let sent = admit::passed_on(&envelope.headers);
        match envelope.method {
            Method::POST => self.post(url, sent, body, conversation, here).await,
            Method::GET => match self.pass_on(Method::GET, url, sent, Bytes::new()).await {
                Ok(response) => self.pass_back(response, conversation, Vec::new(), &here).await,
                Err(why) => failed(StatusCode::BAD_GATEWAY, &why),
            },
            Method::DELETE => match self.pass_on(Method::DELETE, url, sent, Bytes::new()).await {
                Ok(response) => {
                    if let (true, Some(name)) = (response.status().is_success(), name) {
                        lock(&self.conversations).end(&name);
                        let open = lock(&conversation).under_way();
                        if self.give_up(&conversation, &open, "the client has ended the conversation").is_err() {
                            return not_recorded();
                        }
                    }
                    self.pass_back(response, conversation, Vec::new(), &here).await
                }
                Err(why) => failed(StatusCode::BAD_GATEWAY, &why),
            },
            _ => failed(StatusCode::METHOD_NOT_ALLOWED, "MCP is POST, GET and DELETE"),
        }
    }

    /// The URL at the server that a path here stands for; the second is its name when a stream has named it.
    fn target(&self, uri: &Uri) -> Option<(Url, Option<String>)> {
        let mut url = self.route.server().clone();
        if uri.path() == url.path() {
            if let Some(query) = uri.query() {
                url.set_query(Some(query));
            }
            return Some((url, None));
        }
        let name = endpoint_name(uri.path(), uri.query());
        lock(&self.conversations).find(&name)?;
        url.set_path(uri.path());
        url.set_query(uri.query());
        Some((url, Some(name)))
    }

    async fn post(
        self: Arc<Self>,
        url: Url,
        sent: HeaderMap,
        body: Incoming,
        conversation: Conversation,
        here: String,
    ) -> Answer {
        let bytes = match Limited::new(body, MESSAGE_BYTES_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                let reason = format!("a message that could not be read: {error}");
                return self.lost(reason, || failed(StatusCode::PAYLOAD_TOO_LARGE, "a message must be shorter"));
            }
        };
        let message = match serde_json::from_slice::<Value>(&bytes) {
            Ok(message) => message,
            Err(error) => {
                let reason = format!("a message of {} bytes that is not JSON: {error}", bytes.len());
                return self.lost(reason, || failed(StatusCode::BAD_REQUEST, "a message is JSON"));
            }
        };
        let Ok(heard) = self.heard(&conversation, &message, Mcp::question_line) else { return not_recorded() };
        match self.pass_on(Method::POST, url, sent, bytes).await {
            Ok(response) => self.pass_back(response, conversation, heard.called, &here).await,
            Err(why) => match self.give_up(&conversation, &heard.called, &why) {
                Ok(()) => failed(StatusCode::BAD_GATEWAY, &why),
                Err(NotRecorded) => not_recorded(),
            },
        }
    }

    /// Asks the server; an error is told without the URL, which may hold a key.
    async fn pass_on(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<reqwest::Response, String> {
        match self.reach.send(&Outgoing { method, url, headers, body }).await {
            Ok(response) if response.status().is_redirection() => {
                Err("the MCP server sends elsewhere: name the place that it sends to".to_owned())
            }
            Ok(response) if response.headers().contains_key(header::CONTENT_ENCODING) => {
                Err("the MCP server packs its answers, though it was not asked to".to_owned())
            }
            Ok(response) => Ok(response),
            Err(error) => Err(format!("the MCP server cannot be reached: {error:#}")),
        }
    }

    /// Hears the server's answer and gives it to the client, who knows the proxy as `here`. `asked` are the calls that it is an answer to.
    async fn pass_back(
        self: Arc<Self>,
        response: reqwest::Response,
        conversation: Conversation,
        asked: Vec<String>,
        here: &str,
    ) -> Answer {
        let status = response.status();
        let mut headers = admit::passed_on(response.headers());
        self.authorization.challenged(&mut headers, here);
        if let Some(id) = headers.get(SESSION).and_then(|id| id.to_str().ok()) {
            lock(&self.conversations).name(&format!("session {id}"), &conversation);
        }
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if kind == "text/event-stream" && status.is_success() {
            // One event waits for the client and no more are read meanwhile.
            let (send, receive) = mpsc::channel(1);
            tokio::spawn(self.pump(response, conversation, send));
            return answer(status, headers, Either::Right(Flow(receive)));
        }
        let body = match whole(response).await {
            Ok(body) => body,
            Err(why) => {
                return match self.give_up(&conversation, &asked, &why) {
                    Ok(()) => failed(StatusCode::BAD_GATEWAY, &why),
                    Err(NotRecorded) => not_recorded(),
                };
            }
        };
        let message = serde_json::from_slice::<Value>(&body).ok().filter(|_| kind == "application/json");
        // A refusal may be in the words of another protocol, OAuth's among them.
        let message = message.filter(|said| status.is_success() || said.is_array() || said.get("jsonrpc").is_some());
        let mut passed = body.clone();
        if let Some(message) = &message {
            match self.heard(&conversation, message, Mcp::stream_line) {
                Ok(heard) => passed = heard.instead.map_or(body, |message| message.to_string().into()),
                Err(NotRecorded) => return not_recorded(),
            }
        } else if status.is_success() && status != StatusCode::ACCEPTED && !body.is_empty() {
            let reason = format!("an answer of {} bytes that is no message", body.len());
            return self.lost(reason, || answer(status, headers, Either::Left(Full::new(passed))));
        }
        if !status.is_success() && self.give_up(&conversation, &asked, &format!("HTTP status {status}")).is_err() {
            return not_recorded();
        }
        answer(status, headers, Either::Left(Full::new(passed)))
    }

    /// Passes the events of a stream on, each once it is on record, until either side ends it. A stream that is cut is cut for the
    /// client as well: it knows then that there is more to ask for.
    async fn pump(
        self: Arc<Self>,
        mut response: reqwest::Response,
        conversation: Conversation,
        send: mpsc::Sender<Result<Bytes, Cut>>,
    ) {
        let mut events = Events::default();
        loop {
            let piece = tokio::select! {
                piece = response.chunk() => piece,
                () = send.closed() => return,
            };
            let passed = match piece {
                Ok(Some(piece)) => self.pieces(&mut events, &piece, &conversation),
                Ok(None) => {
                    drop(send.send(Ok(events.rest().into())).await);
                    return;
                }
                Err(error) => Err(Cut(format!("the MCP server's stream was cut: {}", error.without_url()))),
            };
            let is_cut = passed.is_err();
            if send.send(passed).await.is_err() || is_cut {
                return;
            }
        }
    }

    /// What goes on of a piece of a stream.
    fn pieces(&self, events: &mut Events, piece: &[u8], conversation: &Conversation) -> Result<Bytes, Cut> {
        let Ok(whole) = events.push(piece) else {
            let reason = "an event of the MCP server's that does not end".to_owned();
            self.recorded(self.ear.lost(Channel::Proxy, reason.clone())).ok();
            return Err(Cut(reason));
        };
        let mut passed = Vec::new();
        for event in whole {
            match self.event(&event, conversation) {
                Ok(bytes) => passed.extend(bytes.unwrap_or(event.raw)),
                Err(NotRecorded) => return Err(Cut("it could not be recorded".to_owned())),
            }
        }
        Ok(passed.into())
    }

    /// Hears one event; gives what is to be passed on in its place.
    fn event(&self, event: &Event, conversation: &Conversation) -> Result<Option<Vec<u8>>, NotRecorded> {
        let Some(data) = event.data.as_deref().filter(|data| !data.is_empty()) else { return Ok(None) };
        if event.name.as_deref() == Some("endpoint") {
            let server = self.route.server();
            let Some(url) = server.join(data).ok().filter(|url| url.origin() == server.origin()) else {
                let reason = "an MCP server that names an endpoint at another server".to_owned();
                self.recorded(self.ear.lost(Channel::Proxy, reason))?;
                return Ok(Some(Vec::new()));
            };
            lock(&self.conversations).name(&endpoint_name(url.path(), url.query()), conversation);
            let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
            return Ok(Some(event.with_data(&format!("{}{query}", url.path()))));
        }
        let Ok(message) = serde_json::from_str::<Value>(data) else {
            let reason = format!("an event of {} bytes that is not JSON", data.len());
            return self.recorded(self.ear.lost(Channel::Proxy, reason)).map(|()| None);
        };
        let heard = self.heard(conversation, &message, Mcp::stream_line)?;
        Ok(heard.instead.map(|message| event.with_data(&message.to_string())))
    }

    /// Records what a message says.
    fn heard(
        &self,
        conversation: &Conversation,
        message: &Value,
        translate: impl FnOnce(&mut Mcp, &Value) -> Vec<Said>,
    ) -> Result<Heard, NotRecorded> {
        // Until it is on record, so that both halves are recorded in the order in which they were translated.
        let mut mcp = lock(conversation);
        let said = translate(&mut mcp, message);
        let called = said.iter().filter_map(|said| match said {
            Said::Called(call) => Some(call.id.clone()),
            _ => None,
        });
        let called = called.collect();
        let instead = mcp.explain(message, &said, &self.refusals);
        self.recorded(self.ear.hear(said, Channel::Proxy))?;
        Ok(Heard { called, instead })
    }

    /// These calls will have no answer.
    fn give_up(&self, conversation: &Conversation, calls: &[String], why: &str) -> Result<(), NotRecorded> {
        let mut mcp = lock(conversation);
        let said = mcp.give_up(calls, why);
        self.recorded(self.ear.hear(said, Channel::Proxy))
    }

    fn lost(&self, reason: String, otherwise: impl FnOnce() -> Answer) -> Answer {
        match self.recorded(self.ear.lost(Channel::Proxy, reason)) {
            Ok(()) => otherwise(),
            Err(NotRecorded) => not_recorded(),
        }
    }

    fn recorded(&self, outcome: Result<(), RecordError>) -> Result<(), NotRecorded> {
        outcome.map_err(|error| {
            (self.on_failure)(&error);
            NotRecorded
        })
    }
}

/// The name of a conversation whose stream has named this endpoint.
fn endpoint_name(path: &str, query: Option<&str>) -> String {
    format!("endpoint {path}?{}", query.unwrap_or_default())
}
