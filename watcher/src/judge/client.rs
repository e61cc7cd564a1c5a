//! Asks an endpoint, with deadlines and repetitions. The only file here that talks to the network.

use super::answer::{Answer, read};
use super::config::JudgeConfig;
use super::dialect::{Ask, Reply, reply, sending};
use super::failure::{Failure, backoff, retry_after};
use super::look::Look;
use super::prompt::{Policy, Prompt};
use super::{digits, prompt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// No honest answer is longer.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A configuration that no client can be made from.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL.
    #[error("the endpoint `{url}` is no URL of http or https: {reason}")]
    Url {
        /// As configured.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that cannot be read.
    #[error("cannot read `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file that does not hold what it should.
    #[error("`{path}`: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The TLS or HTTP library.
    #[error("no HTTP client can be made")]
    Http(#[from] reqwest::Error),
}

/// A client for the configured endpoint, and the policy that it is asked by.
///
/// # Errors
/// [`ClientError`] names the file or the URL.
pub fn open(config: JudgeConfig) -> Result<(Client, Policy), ClientError> {
    let tenant = config.policy_file.as_deref().map(bytes).transpose()?;
    let policy = Policy::new(tenant.map(|t| String::from_utf8_lossy(&t).into_owned()).as_deref());
    Ok((Client::new(config)?, policy))
}

/// An endpoint to ask.
#[derive(Clone)]
pub struct Client {
    config: JudgeConfig,
    http: reqwest::Client,
    key: Option<String>,
}

impl std::fmt::Debug for Client {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("config", &self.config)
            .field("has_key", &self.key.is_some())
            .finish_non_exhaustive()
    }
}

/// What asking gave.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) answer: Answer,
    /// The answer as the model wrote it.
    pub(super) text: String,
    pub(super) model: String,
    pub(super) tokens: (u64, u64),
}

impl Client {
    /// Reads the key and the certificates.
    ///
    /// # Errors
    /// [`ClientError`] names the file or the URL.
    pub fn new(config: JudgeConfig) -> Result<Self, ClientError> {
        let http = http(&Transport {
            url: &config.url,
            connect_timeout: config.connect_timeout,
            ca_file: config.ca_file.as_deref(),
            certificate: config.certificate_file.as_deref().zip(config.certificate_key_file.as_deref()),
            proxy: config.proxy.as_deref(),
        })?;
        let key = config.key_file.as_deref().map(secret).transpose()?;
        Ok(Self { config, http, key })
    }

    /// The configuration that it was made from.
    #[must_use]
    pub const fn config(&self) -> &JudgeConfig {
        &self.config
    }

    /// Asks for a look until there is an answer, asking is no use, or `deadline` has passed. Waits at most so long.
    pub(super) async fn look(
        &self,
        look: Look,
        prompt: &Prompt,
        session: &str,
        deadline: Duration,
    ) -> Result<Told, Failure> {
        let reply = self.repeat(Ask::Look(look), prompt, session, deadline).await?;
        let answer = read(look, &reply.text, &prompt.names)?;
        Ok(Told { answer, text: reply.text, model: reply.model, tokens: reply.tokens })
    }

    /// The mean over the distribution of one digit, if the endpoint gives it.
    pub(super) async fn digit(
        &self,
        prompt: &Prompt,
        session: &str,
        deadline: Duration,
    ) -> Result<Option<u8>, Failure> {
        let mut prompt = prompt.clone();
        prompt.messages.push(prompt::Message { role: prompt::Role::User, text: digits::INSTRUCTION.to_owned() });
        let reply = self.repeat(Ask::Digit, &prompt, session, deadline).await?;
        Ok(digits::expected(&reply.first_token))
    }

    async fn repeat(&self, ask: Ask, prompt: &Prompt, session: &str, deadline: Duration) -> Result<Reply, Failure> {
        let until = Instant::now() + deadline;
        let [seed, ..] = prompt.digest().0;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let failure = match tokio::time::timeout_at(until, self.once(ask, prompt, session)).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(failure)) => failure,
                Err(_) => return Err(Failure::TimedOut),
            };
            let Some(asked_for) = failure.retry().filter(|_| attempt < self.config.attempts) else {
                return Err(failure);
            };
            let wait = backoff(attempt, asked_for, u64::from(seed) * 7919 * u64::from(attempt));
            // Waiting past the deadline would only hide why there is no answer.
            if Instant::now() + wait >= until {
                return Err(failure);
            }
            tracing::debug!(failure = failure.name(), attempt, "the judge is asked again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn once(&self, ask: Ask, prompt: &Prompt, session: &str) -> Result<Reply, Failure> {
        let sending = sending(&self.config, self.key.as_deref(), ask, prompt, session);
        let mut request = self.http.post(&self.config.url).json(&sending.body);
        for (name, value) in sending.headers {
            request = request.header(name, value);
        }
        let mut response = request.send().await.map_err(|error| failure(&error))?;
        let status = response.status();
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok());
        let after = retry_after(header("retry-after"));
        if let Some(id) = header("x-request-id").or(header("request-id")) {
            tracing::debug!(request_id = crate::text::cut(id, 80), status = status.as_u16(), "the judge answered");
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(Failure::TooLong(ANSWER_BYTES_MAX));
            }
        }
        let body = String::from_utf8_lossy(&bytes);
        if !status.is_success() {
            return Err(Failure::of_status(status.as_u16(), after, &body));
        }
        reply(self.config.dialect, &body)
    }
}

fn failure(error: &reqwest::Error) -> Failure {
    if error.is_timeout() {
        Failure::TimedOut
    } else if error.is_connect() {
        Failure::Connect(chain(error))
    } else {
        Failure::Cut
    }
}

/// The causes in one line, without the URL, which may hold a secret.
fn chain(error: &dyn std::error::Error) -> String {
    let mut causes = std::iter::successors(error.source(), |e| e.source());
    let text = causes.next().map(ToString::to_string).unwrap_or_else(|| "no connection".to_owned());
    causes.fold(text, |all, cause| format!("{all}: {cause}"))
}

/// How an HTTP client reaches its server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transport<'a> {
    pub(crate) url: &'a str,
    pub(crate) connect_timeout: Duration,
    pub(crate) ca_file: Option<&'a Path>,
    pub(crate) certificate: Option<(&'a Path, &'a Path)>,
    pub(crate) proxy: Option<&'a str>,
}

/// Makes an HTTP client. It follows no redirection, which could lead what it sends elsewhere, and takes no proxy from the environment.
pub(crate) fn http(transport: &Transport<'_>) -> Result<reqwest::Client, ClientError> {
    let wrong = |reason: String| ClientError::Url { url: transport.url.to_owned(), reason };
    let url = reqwest::Url::parse(transport.url).map_err(|error| wrong(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(format!("its scheme is `{}`", url.scheme())));
    }
    let mut http = reqwest::Client::builder()
        .connect_timeout(transport.connect_timeout)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    if let Some(path) = transport.ca_file {
        let content = |reason: String| ClientError::Content { path: path.to_owned(), reason };
        let authorities =
            reqwest::Certificate::from_pem_bundle(&bytes(path)?).map_err(|error| content(error.to_string()))?;
        if authorities.is_empty() {
            return Err(content("it holds no certificate".to_owned()));
        }
        for authority in authorities {
            http = http.add_root_certificate(authority);
        }
    }
    if let Some((certificate, key)) = transport.certificate {
        let identity = reqwest::Identity::from_pkcs8_pem(&bytes(certificate)?, &bytes(key)?);
        let content = |error: reqwest::Error| ClientError::Content { path: key.to_owned(), reason: error.to_string() };
        http = http.identity(identity.map_err(content)?);
    }
    if let Some(proxy) = transport.proxy {
        http = http.proxy(reqwest::Proxy::all(proxy)?);
    }
    Ok(http.build()?)
}

fn bytes(path: &Path) -> Result<Vec<u8>, ClientError> {
    std::fs::read(path).map_err(|source| ClientError::File { path: path.to_owned(), source })
}

/// A secret out of its file: the first line.
pub(crate) fn secret(path: &Path) -> Result<String, ClientError> {
    let text = String::from_utf8_lossy(&bytes(path)?).lines().next().unwrap_or_default().trim().to_owned();
    if text.is_empty() {
        return Err(ClientError::Content { path: path.to_owned(), reason: "it is empty".to_owned() });
    }
    Ok(text)
}
