//! Syslog over TLS, to a TLS server.

use crate::{alert, config};
use std::path::Path;
use std::process::Command;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use wk_watcher::alerts::{AlertConfig, Kind, Receiver, SendError};

/// A certificate for 127.0.0.1 that signs itself, and its key, as PEM; `None`, loudly, without the program that makes them.
fn certificate(folder: &Path) -> Option<(Vec<u8>, Vec<u8>)> {
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output();
    if !made.is_ok_and(|m| m.status.success()) {
        eprintln!("SKIPPED: no `openssl` that makes certificates on the path");
        return None;
    }
    Some((std::fs::read(certificate).unwrap(), std::fs::read(key).unwrap()))
}

/// Reads one frame: its length, a blank, the message.
async fn frame(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut length = String::new();
    loop {
        match stream.read_u8().await.unwrap() {
            b' ' => break,
            digit => length.push(char::from(digit)),
        }
    }
    let mut message = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut message).await.unwrap();
    String::from_utf8(message).unwrap()
}

#[tokio::test]
async fn a_syslog_server_gets_whole_messages_over_tls_and_a_stranger_gets_none() {
    let folder = tempfile::tempdir().unwrap();
    let Some((certificate, key)) = certificate(folder.path()) else { return };
    let identity = native_tls::Identity::from_pkcs8(&certificate, &key).unwrap();
    let acceptor = tokio_native_tls::TlsAcceptor::from(native_tls::TlsAcceptor::new(identity).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tls://{}", listener.local_addr().unwrap());
    let (alert, level) = alert();

    let serving = tokio::spawn(async move {
        // The first connection is that of a client that does not trust the certificate.
        let (stream, _) = listener.accept().await.unwrap();
        assert!(acceptor.accept(stream).await.is_err(), "a client that does not trust us goes away");
        let mut messages = Vec::new();
        // Two messages over one connection, which is then closed; a third over a new one.
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        messages.push(frame(&mut stream).await);
        messages.push(frame(&mut stream).await);
        drop(stream);
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        messages.push(frame(&mut stream).await);
        messages
    });

    let stranger = Receiver::new(config(Kind::Syslog, &url)).unwrap();
    assert!(matches!(stranger.send(&alert, level).await, Err(SendError::Later(_))));
    let trusted = AlertConfig { ca_file: Some(folder.path().join("certificate.pem")), ..config(Kind::Syslog, &url) };
    let receiver = Receiver::new(trusted).unwrap();
    receiver.send(&alert, level).await.unwrap();
    receiver.send(&alert, level).await.unwrap();
    // The end of the connection is noticed, sooner or later; then a new one is made.
    while !serving.is_finished() {
        receiver.send(&alert, level).await.ok();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let messages = serving.await.unwrap();
    assert_eq!(messages.len(), 3);
    for message in messages {
        assert!(
            message.starts_with("<10") && message.contains(" watchkeeper - SecretReadThenEgress [watchkeeper@32473 ")
        );
        assert!(message.contains(&format!(" id=\"{}\"", alert.id)), "{message}");
    }
}

#[test]
fn an_address_that_cannot_be_is_refused_at_the_start() {
    for url in ["localhost:514", "udp://127.0.0.1:514", "tls://127.0.0.1", "tcp://127.0.0.1:syslog"] {
        let error = Receiver::new(config(Kind::Syslog, url)).unwrap_err().to_string();
        assert!(error.contains(url), "{error}");
    }
}
