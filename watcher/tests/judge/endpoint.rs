//! An HTTP server that does what a script says, one act for each request; the last act is repeated.

use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What is done with a request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Status, more headers, body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// A byte now and then, for ever.
    Drip,
    /// Half of an answer, then the connection is closed.
    Cut,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) text: String,
    pub(crate) body: Value,
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    address: std::net::SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Endpoint {
    pub(crate) async fn start(acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let seen = Arc::clone(&requests);
        let serving = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (seen, acts) = (Arc::clone(&seen), acts.clone());
                tokio::spawn(async move { serve(stream, &seen, &acts).await });
            }
        });
        Self { address, requests, serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1/chat/completions", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Request>>, acts: &[Act]) {
    let Some(request) = read(&mut stream).await else { return };
    let act = {
        let mut seen = seen.lock().unwrap();
        seen.push(request);
        acts[(seen.len() - 1).min(acts.len() - 1)].clone()
    };
    match act {
        Act::Answer(status, headers, body) => {
            let mut head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.ok();
        }
        Act::Drip => {
            stream.write_all(b"HTTP/1.1 200 x\r\ncontent-length: 100000\r\n\r\n{").await.ok();
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Act::Cut => {
            stream.write_all(b"HTTP/1.1 200 x\r\ncontent-length: 100000\r\n\r\n{\"choices\":[{").await.ok();
        }
    }
    stream.shutdown().await.ok();
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
            let length =
                head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
            let end = at + 4 + length.unwrap_or(0_usize);
            if bytes.len() >= end {
                let text = String::from_utf8_lossy(&bytes[at + 4..end]).into_owned();
                let body = serde_json::from_str(&text).unwrap_or_default();
                return Some(Request { head, text, body });
            }
        }
        let mut part = vec![0; 16 * 1024];
        match stream.read(&mut part).await {
            Ok(n) if n > 0 => bytes.extend_from_slice(&part[..n]),
            _ => return None,
        }
    }
}

/// A body of OpenAI's chat completions that says `content`.
pub(crate) fn says(content: &str) -> Act {
    let body = json!({
        "model": "scripted-1",
        "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
    });
    Act::Answer(200, Vec::new(), body.to_string())
}

/// An answer to a first look.
pub(crate) fn first(risk: &str, authorization: &str, deviation: &str) -> Act {
    says(&json!({"risk": risk, "authorization": authorization, "deviation": deviation}).to_string())
}

/// Nothing is left open.
pub(crate) fn plain() -> Act {
    first("low", "high", "none")
}

/// The content of an answer to a second look.
pub(crate) fn closely(evidence: &[&str], score: u8) -> Value {
    json!({
        "evidence": evidence,
        "rationale": "The address stands in a text it has read.",
        "risk": "high",
        "authorization": "unknown",
        "deviation": "goal",
        "score": score,
    })
}

/// An answer to a second look.
pub(crate) fn second(evidence: &[&str], score: u8) -> Act {
    says(&closely(evidence, score).to_string())
}

/// A status without more.
pub(crate) fn status(status: u16) -> Act {
    Act::Answer(status, Vec::new(), "{\"error\":{\"message\":\"no\"}}".to_owned())
}
