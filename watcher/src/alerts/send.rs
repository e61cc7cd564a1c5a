//! Sends one alert to one receiver.

use super::alert::{Alert, severity};
use super::config::{AlertConfig, Kind};
use super::{clock, otlp, slack, syslog, webhook};
use crate::judge::{ClientError, Transport, http, secret};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use wk_schemas::body::Level;

/// One attempt takes no longer.
const ATTEMPT: Duration = Duration::from_secs(20);

/// An alert that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It may be taken later.
    #[error("{0}")]
    Later(String),
    /// The receiver will never take it.
    #[error("{0}")]
    Never(String),
}

/// A receiver, ready to be sent to.
#[derive(Debug)]
pub struct Receiver {
    pub(super) config: AlertConfig,
    way: Way,
}

enum Way {
    Http {
        client: reqwest::Client,
        key: Option<String>,
    },
    Syslog {
        host: String,
        port: u16,
        tls: Option<tokio_native_tls::TlsConnector>,
        open: tokio::sync::Mutex<Option<Line>>,
    },
}

impl std::fmt::Debug for Way {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Http { .. } => "Http",
            Self::Syslog { .. } => "Syslog",
        })
    }
}

enum Line {
    Plain(TcpStream),
    Tls(Box<tokio_native_tls::TlsStream<TcpStream>>),
}

impl Receiver {
    /// Reads keys and certificates. Nothing is connected yet.
    ///
    /// # Errors
    /// [`ClientError`] names the file or the URL.
    pub fn new(config: AlertConfig) -> Result<Self, ClientError> {
        let way = match config.kind {
            Kind::Webhook | Kind::Slack | Kind::Otlp => Way::Http {
                client: http(&Transport {
                    url: &config.url,
                    connect_timeout: ATTEMPT,
                    ca_file: config.ca_file.as_deref(),
                    certificate: config.certificate_file.as_deref().zip(config.certificate_key_file.as_deref()),
                    proxy: config.proxy.as_deref(),
                })?,
                key: config.key_file.as_deref().map(secret).transpose()?,
            },
            Kind::Syslog => syslog_way(&config)?,
        };
        Ok(Self { config, way })
    }

    /// Sends, once.
    ///
    /// # Errors
    /// [`SendError`] says whether trying again may help.
    pub async fn send(&self, alert: &Alert, level: Level) -> Result<(), SendError> {
        let sent = tokio::time::timeout(ATTEMPT, async {
            match &self.way {
                Way::Http { client, key } => self.post(client, key.as_deref(), alert, level).await,
                Way::Syslog { host, port, tls, open } => {
                    let framed = syslog::framed(&syslog::message(alert, severity(level)));
                    let mut open = open.lock().await;
                    let line = match open.take() {
                        Some(line) => line,
                        None => connect(host, *port, tls.as_ref()).await?,
                    };
                    *open = Some(write(line, &framed).await?);
                    Ok(())
                }
            }
        });
        sent.await.unwrap_or_else(|_| Err(SendError::Later("no answer within 20 s".to_owned())))
    }

    async fn post(
        &self,
        client: &reqwest::Client,
        key: Option<&str>,
        alert: &Alert,
        level: Level,
    ) -> Result<(), SendError> {
        let body = match self.config.kind {
            Kind::Webhook => webhook::body(alert),
            Kind::Slack => slack::body(alert),
            Kind::Otlp | Kind::Syslog => otlp::body(alert, severity(level)),
        }
        .to_string();
        let mut request = client.post(&self.config.url).header("content-type", "application/json");
        match (self.config.kind, key) {
            (Kind::Webhook, key) => {
                let at = clock::now();
                request = request.header("webhook-id", &alert.id).header("webhook-timestamp", at.to_string());
                if let Some(key) = key {
                    request = request.header("webhook-signature", webhook::signature(key, &alert.id, at, &body));
                }
            }
            (Kind::Otlp, Some(key)) => request = request.bearer_auth(key),
            (Kind::Slack | Kind::Syslog | Kind::Otlp, _) => {}
        }
        let response = request.body(body).send().await;
        // The URL may hold a secret, so it stands in no message.
        let response = response.map_err(|error| SendError::Later(error.without_url().to_string()))?;
        match response.status().as_u16() {
            200..=299 => Ok(()),
            status @ (400 | 404 | 405 | 410 | 413 | 415 | 422) => {
                Err(SendError::Never(format!("the receiver refused it with status {status}")))
            }
            status => Err(SendError::Later(format!("the receiver answered with status {status}"))),
        }
    }
}

fn syslog_way(config: &AlertConfig) -> Result<Way, ClientError> {
    let wrong = |reason: &str| ClientError::Url { url: config.url.clone(), reason: reason.to_owned() };
    let (scheme, rest) = config.url.split_once("://").ok_or_else(|| wrong("it has no scheme: tls:// or tcp://"))?;
    let (host, port) = rest.trim_end_matches('/').rsplit_once(':').ok_or_else(|| wrong("it names no port"))?;
    let port = port.parse().map_err(|_| wrong("its port is no number"))?;
    let host = host.trim_matches(['[', ']']).to_owned();
    let tls = match scheme {
        "tcp" => None,
        "tls" => Some(connector(config)?),
        _ => return Err(wrong("its scheme is neither tls nor tcp")),
    };
    Ok(Way::Syslog { host, port, tls, open: tokio::sync::Mutex::default() })
}

fn connector(config: &AlertConfig) -> Result<tokio_native_tls::TlsConnector, ClientError> {
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|source| ClientError::File { path: path.to_owned(), source })
    };
    let mut builder = native_tls::TlsConnector::builder();
    builder.min_protocol_version(Some(native_tls::Protocol::Tlsv12));
    if let Some(path) = &config.ca_file {
        let content = |e: native_tls::Error| ClientError::Content { path: path.clone(), reason: e.to_string() };
        builder.add_root_certificate(native_tls::Certificate::from_pem(&read(path)?).map_err(content)?);
    }
    if let (Some(certificate), Some(key)) = (&config.certificate_file, &config.certificate_key_file) {
        let content = |e: native_tls::Error| ClientError::Content { path: key.clone(), reason: e.to_string() };
        builder.identity(native_tls::Identity::from_pkcs8(&read(certificate)?, &read(key)?).map_err(content)?);
    }
    let built = builder.build().map_err(|e| ClientError::Content {
        path: config.ca_file.clone().unwrap_or_default(),
        reason: e.to_string(),
    })?;
    Ok(built.into())
}

async fn connect(host: &str, port: u16, tls: Option<&tokio_native_tls::TlsConnector>) -> Result<Line, SendError> {
    let later = |what: String| SendError::Later(format!("no connection to {host} port {port}: {what}"));
    let stream = TcpStream::connect((host, port)).await.map_err(|e| later(e.to_string()))?;
    match tls {
        None => Ok(Line::Plain(stream)),
        Some(tls) => Ok(Line::Tls(Box::new(tls.connect(host, stream).await.map_err(|e| later(e.to_string()))?))),
    }
}

/// Writes and gives the line back; one that fails is dropped.
///
/// Syslog acknowledges nothing. A receiver that has gone away is noticed by its end of the connection being closed, which is
/// looked for before writing; what it had not yet read when it went is lost to it, as RFC 5425 says.
async fn write(line: Line, bytes: &[u8]) -> Result<Line, SendError> {
    let lost = |e: std::io::Error| SendError::Later(format!("the connection broke off: {e}"));
    match line {
        Line::Plain(mut stream) => {
            is_open(&stream)?;
            stream.write_all(bytes).await.map_err(lost)?;
            stream.flush().await.map_err(lost)?;
            Ok(Line::Plain(stream))
        }
        Line::Tls(mut stream) => {
            is_open(stream.get_ref().get_ref().get_ref())?;
            stream.write_all(bytes).await.map_err(lost)?;
            stream.flush().await.map_err(lost)?;
            Ok(Line::Tls(stream))
        }
    }
}

/// Whether the other side has not closed the connection.
fn is_open(stream: &TcpStream) -> Result<(), SendError> {
    let mut byte = [0];
    let mut buffer = tokio::io::ReadBuf::new(&mut byte);
    match stream.poll_peek(&mut Context::from_waker(Waker::noop()), &mut buffer) {
        Poll::Ready(Ok(0) | Err(_)) => Err(SendError::Later("the receiver closed the connection".to_owned())),
        Poll::Ready(Ok(_)) | Poll::Pending => Ok(()),
    }
}
