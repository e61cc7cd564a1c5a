//! Answers what clients ask about authorization, and asks the server and its issuer for it.

use super::super::admit::is_loopback;
use super::super::reach::{Outgoing, Reach};
use super::super::replies::{Answer, answer, whole};
use super::authority::{self, Authority, Door, Unfit};
use super::challenge;
use crate::egress::is_near;
use crate::lock::lock;
use anyhow::Context as _;
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use url::Url;

/// A request to an issuer that is longer is refused.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// How long an issuer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What of a client's request goes on to an issuer: its own proof among them, a server's cookies and sessions not.
const ASKED_WITH: [HeaderName; 4] = [header::AUTHORIZATION, header::CONTENT_TYPE, header::ACCEPT, header::USER_AGENT];

/// What of an issuer's answer goes back.
const ANSWERED_WITH: [HeaderName; 5] =
    [header::CONTENT_TYPE, header::CACHE_CONTROL, header::PRAGMA, header::WWW_AUTHENTICATE, header::RETRY_AFTER];

/// Where clients of one proxy ask for tokens.
#[derive(Debug)]
pub(in super::super) struct Authorization {
    server: Url,
    /// Whether the server is on this machine.
    is_here: bool,
    /// Where the server has said that its metadata is.
    announced: Mutex<Option<Url>>,
    /// The issuer that it named last.
    known: Mutex<Option<Arc<Authority>>>,
}

/// What is answered instead, in OAuth's words.
struct Refusal(StatusCode, &'static str, String);

impl From<Unfit> for Refusal {
    fn from(unfit: Unfit) -> Self {
        Self(StatusCode::BAD_GATEWAY, "temporarily_unavailable", unfit.to_string())
    }
}

fn invalid(error: &'static str) -> impl FnOnce(Unfit) -> Refusal {
    move |unfit| Refusal(StatusCode::BAD_REQUEST, error, unfit.to_string())
}

fn unreachable(why: String) -> Refusal {
    Refusal(StatusCode::BAD_GATEWAY, "temporarily_unavailable", why)
}

fn not_here() -> Refusal {
    Refusal(StatusCode::NOT_FOUND, "invalid_request", "no MCP server has this path".to_owned())
}

impl Authorization {
    pub(in super::super) fn new(server: Url, is_here: bool) -> Self {
        Self { server, is_here, announced: Mutex::default(), known: Mutex::default() }
    }

    /// Has the client look for the server's metadata at `here`, where an answer of the server's says where it is.
    pub(in super::super) fn challenged(&self, headers: &mut HeaderMap, here: &str) {
        for value in headers.get_all(header::WWW_AUTHENTICATE) {
            // What is at another host is not asked for; the server has a place of its own for it.
            let named = value.to_str().ok().and_then(challenge::named).and_then(|url| Url::parse(url).ok());
            if let Some(url) = named.filter(|url| url.origin() == self.server.origin()) {
                *lock(&self.announced) = Some(url);
            }
        }
        let place = format!("{here}{}", self.paths()[0]);
        if let header::Entry::Occupied(mut challenges) = headers.entry(header::WWW_AUTHENTICATE) {
            for value in challenges.iter_mut() {
                let changed = value.to_str().ok().and_then(|value| challenge::with(value, &place));
                if let Some(changed) = changed.and_then(|changed| HeaderValue::try_from(changed).ok()) {
                    *value = changed;
                }
            }
        }
    }

    /// Where clients find the server's metadata here: as at the server.
    fn paths(&self) -> Vec<String> {
        authority::places_of_resource(&self.server).iter().map(|place| place.path().to_owned()).collect()
    }

    /// Answers a request for a path that is not the server's own.
    pub(in super::super) async fn answer(&self, reach: &Reach, here: &str, envelope: Parts, body: Incoming) -> Answer {
        self.answer_or_refuse(reach, here, envelope, body).await.unwrap_or_else(|Refusal(status, error, why)| {
            if status != StatusCode::NOT_FOUND {
                tracing::warn!(why, "the MCP proxy has refused what a client asked about authorization");
            }
            let error = json!({"error": error, "error_description": format!("watchkeeper: {why}")});
            document(status, &error)
        })
    }

    async fn answer_or_refuse(
        &self,
        reach: &Reach,
        here: &str,
        envelope: Parts,
        body: Incoming,
    ) -> Result<Answer, Refusal> {
        let path = envelope.uri.path();
        // The pages of an issuer in there are out of a browser's reach.
        if reach.leads_inside() || !(path.starts_with("/as/") || path.starts_with("/.well-known/")) {
            return Err(not_here());
        }
        let is_get = envelope.method == Method::GET;
        if is_get && self.paths().iter().any(|own| own == path) {
            return Ok(document(StatusCode::OK, &self.discover(reach).await?.resource_at(here)));
        }
        let known = lock(&self.known).clone();
        let authority = match known {
            Some(known) => known,
            None => self.discover(reach).await?,
        };
        let query = envelope.uri.query();
        match (authority.door(path), is_get, envelope.method == Method::POST) {
            (Some(Door::Metadata), true, _) => Ok(document(StatusCode::OK, &authority.metadata_at(here))),
            (Some(Door::Authorize), true, _) => {
                let asked = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
                let mut to = authority.authorize.clone();
                to.query_pairs_mut()
                    .extend_pairs(authority.translated(here, asked).map_err(invalid("invalid_target"))?);
                sent_on(&to)
            }
            (Some(Door::Back(address)), true, _) => {
                sent_on(&authority.back(here, address, query).map_err(invalid("invalid_request"))?)
            }
            (Some(Door::Token), _, true) => {
                let body = read(body).await?;
                let asked = authority.translated(here, url::form_urlencoded::parse(&body));
                let asked = asked.map_err(invalid("invalid_target"))?;
                let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(asked).finish();
                self.pass_on(authority.token.clone(), &envelope.headers, form).await
            }
            (Some(Door::Register), _, true) => {
                let to = authority.register.clone().ok_or_else(not_here)?;
                let client = serde_json::from_slice(&read(body).await?);
                let not_json = |_| Unfit("a client is registered in JSON".to_owned());
                let client: Value = client.map_err(not_json).map_err(invalid("invalid_client_metadata"))?;
                self.pass_on(to, &envelope.headers, authority.registered(here, client).to_string()).await
            }
            _ => Err(not_here()),
        }
    }

    /// Asks the server for its issuer, and the issuer for its endpoints.
    async fn discover(&self, reach: &Reach) -> Result<Arc<Authority>, Refusal> {
        let announced = lock(&self.announced).clone();
        let mut resource = None;
        for url in announced.into_iter().chain(authority::places_of_resource(&self.server)) {
            let asked = Outgoing { method: Method::GET, url, headers: accepts_json(), body: Bytes::new() };
            let response = reach.send(&asked).await;
            let response =
                response.map_err(|error| unreachable(format!("the MCP server cannot be reached: {error:#}")))?;
            resource = metadata(response).await?;
            if resource.is_some() {
                break;
            }
        }
        let resource = resource.ok_or_else(not_here)?;
        let issuer = authority::named_by(&resource, &self.server)?;
        let url = authority::may_be_asked(&issuer, self.is_here)?;
        for place in authority::places_of_issuer(&url) {
            let request = client_for(&place)?.get(place).headers(accepts_json());
            if let Some(found) = metadata(request.send().await.map_err(issuer_unreachable)?).await? {
                let authority = Arc::new(Authority::new(resource, issuer, found)?);
                *lock(&self.known) = Some(Arc::clone(&authority));
                return Ok(authority);
            }
        }
        Err(unreachable(format!("the authorization server `{issuer}` has no metadata")))
    }

    /// Passes a request on to the issuer, and its answer back. Neither is looked at.
    async fn pass_on(&self, url: Url, headers: &HeaderMap, body: String) -> Result<Answer, Refusal> {
        let request = client_for(&url)?.post(url).headers(some_of(headers, &ASKED_WITH)).body(body);
        let response = request.send().await.map_err(issuer_unreachable)?;
        let status = response.status();
        if status.is_redirection() {
            return Err(unreachable("the authorization server sends elsewhere".to_owned()));
        }
        let headers = some_of(response.headers(), &ANSWERED_WITH);
        let body = whole(response).await.map_err(unreachable)?;
        Ok(answer(status, headers, Either::Left(Full::new(body))))
    }
}

/// The metadata in an answer, when there is any.
async fn metadata(response: reqwest::Response) -> Result<Option<Map<String, Value>>, Refusal> {
    match response.status() {
        StatusCode::OK => {}
        status if status.is_server_error() => {
            return Err(unreachable(format!("metadata cannot be had: HTTP status {status}")));
        }
        _ => return Ok(None),
    }
    Ok(serde_json::from_slice(&whole(response).await.map_err(unreachable)?).ok())
}

async fn read(body: Incoming) -> Result<Bytes, Refusal> {
    let read = Limited::new(body, REQUEST_BYTES_MAX).collect().await;
    let too_long =
        |_| Refusal(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", "a request must be shorter".to_owned());
    read.map(http_body_util::Collected::to_bytes).map_err(too_long)
}

fn accepts_json() -> HeaderMap {
    HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("application/json"))])
}

fn some_of(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let some = names.iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone())));
    some.collect()
}

fn document(status: StatusCode, document: &Value) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer(status, headers, Either::Left(Full::new(document.to_string().into())))
}

/// Sends a browser on.
fn sent_on(to: &Url) -> Result<Answer, Refusal> {
    let location = HeaderValue::try_from(to.as_str()).map_err(|_| not_here())?;
    let mut headers = HeaderMap::new();
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(answer(StatusCode::FOUND, headers, Either::Left(Full::default())))
}

fn issuer_unreachable(error: reqwest::Error) -> Refusal {
    // Without the URL, and so without what stands in it.
    unreachable(format!("the authorization server cannot be reached: {:#}", anyhow::Error::from(error.without_url())))
}

/// A client for one request: there are few of them. One to another machine finds no way to this one, whatever a name leads to.
fn client_for(url: &Url) -> Result<reqwest::Client, Refusal> {
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE);
    let builder = match url.host_str() {
        Some(host) if is_loopback(host) => builder.no_proxy(),
        _ => builder.dns_resolver(Arc::new(Outside)),
    };
    let built = builder.build().context("failed to make a client for the authorization server");
    built.map_err(|error| unreachable(format!("{error:#}")))
}

/// Finds what is on other machines.
struct Outside;

impl Resolve for Outside {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let outside: Vec<SocketAddr> = found.filter(|at| !is_near(at.ip())).collect();
            if outside.is_empty() {
                return Err("its name leads to no other machine".into());
            }
            Ok(Box::new(outside.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_leads_nowhere() {
        assert!(Outside.resolve("localhost".parse().unwrap()).await.is_err());
    }
}
