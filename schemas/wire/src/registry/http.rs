//! HTTP to a registry, with as little as the address needs.
//!
//! A client that can speak TLS reads every certificate authority of the system when it is made: 150 ms of a processor, three times what the
//! rest of a session of `/bin/true` takes. So a registry at `http://` that wants no password and that no proxy stands before is asked without, and a client
//! with TLS is made when the address, a proxy, or an answer that leads elsewhere asks for it.

use super::MEDIA_TYPE;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioExecutor;
use std::sync::OnceLock;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

/// What went wrong on the way.
pub(super) type Broken = Box<dyn std::error::Error + Send + Sync>;

/// The client of one registry.
#[derive(Debug)]
pub(super) struct Http {
    /// `None` where more is needed.
    plain: Option<Client<HttpConnector, Full<Bytes>>>,
    whole: OnceLock<reqwest::Client>,
    /// No proxy of the environment is asked: it cannot reach this machine's loopback.
    is_direct: bool,
    authorities: Vec<reqwest::Certificate>,
    login: Option<(String, String)>,
}

impl Http {
    /// A client for what lies at `url`. It connects at the first question.
    ///
    /// # Errors
    /// What the TLS library says of its own settings.
    pub(super) fn new(
        url: &url::Url,
        authorities: Vec<reqwest::Certificate>,
        login: Option<(String, String)>,
    ) -> Result<Self, Broken> {
        let is_direct = is_loopback(url);
        let is_plain = url.scheme() == "http"
            && login.is_none()
            && (is_direct || Matcher::from_system().intercept(&url.as_str().parse()?).is_none());
        let plain = is_plain.then(|| Client::builder(TokioExecutor::new()).build_http());
        let http = Self { plain, whole: OnceLock::new(), is_direct, authorities, login };
        if !is_plain {
            http.whole()?;
        }
        Ok(http)
    }

    /// Asks, and returns the status and what was said.
    ///
    /// # Errors
    /// Nobody answers, or not within ten seconds.
    pub(super) async fn ask(
        &self,
        method: Method,
        url: &str,
        body: Option<String>,
    ) -> Result<(StatusCode, Bytes), Broken> {
        if let Some(plain) = &self.plain {
            let asked = tokio::time::timeout(TIMEOUT, ask_plainly(plain, &method, url, body.clone()));
            let answer = asked.await.map_err(|_| format!("no answer within {} s", TIMEOUT.as_secs()))??;
            if !answer.0.is_redirection() {
                return Ok(answer);
            }
        }
        let mut request = self.whole()?.request(method, url).header(ACCEPT, MEDIA_TYPE);
        if let Some((name, password)) = &self.login {
            request = request.basic_auth(name, Some(password));
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, MEDIA_TYPE).body(body);
        }
        let answer = request.send().await?;
        Ok((answer.status(), answer.bytes().await?))
    }

    fn whole(&self) -> Result<&reqwest::Client, reqwest::Error> {
        if let Some(made) = self.whole.get() {
            return Ok(made);
        }
        let mut builder = reqwest::Client::builder().timeout(TIMEOUT);
        if self.is_direct {
            builder = builder.no_proxy();
        }
        for authority in &self.authorities {
            builder = builder.add_root_certificate(authority.clone());
        }
        let made = builder.build()?;
        Ok(self.whole.get_or_init(|| made))
    }
}

async fn ask_plainly(
    client: &Client<HttpConnector, Full<Bytes>>,
    method: &Method,
    url: &str,
    body: Option<String>,
) -> Result<(StatusCode, Bytes), Broken> {
    let mut request = Request::builder().method(method).uri(url).header(ACCEPT, MEDIA_TYPE);
    if body.is_some() {
        request = request.header(CONTENT_TYPE, MEDIA_TYPE);
    }
    let answer = client.request(request.body(Full::from(body.unwrap_or_default()))?).await?;
    Ok((answer.status(), answer.into_body().collect().await?.to_bytes()))
}

fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
