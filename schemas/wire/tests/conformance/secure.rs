//! TLS and a password, against a real Kafka that wants both; and what an operator is told when they are wrong.

use std::path::Path;

use wk_schemas::Topic;
use wk_wire::kafka::{AssignError, Producer, Reader, Sasl, SaslMechanism, Tls};
use wk_wire::topics::{self, TopicSpec};
use wk_wire::{Append as _, Brokers, Disposition, Read as _};

use crate::logs::Kafka;

const TOPIC: &str = Topic::Events.name();

#[tokio::test(flavor = "multi_thread")]
async fn a_kafka_with_tls_and_password_is_written_and_read() {
    let Some(kafka) = Kafka::start_secure() else { return };
    let brokers = brokers(kafka.dir());
    topics::create(&brokers, &TopicSpec::SINGLE).await.unwrap();
    let producer = Producer::connect(&brokers).unwrap();
    let position = producer.append(TOPIC, b"session", b"secret").await.unwrap();
    let offset = position.offset.unwrap();
    let mut reader = Reader::assign(&brokers, &[(TOPIC, position.partition, offset)]).await.unwrap();
    assert_eq!(reader.next().await.unwrap().value[..], *b"secret");

    // A wrong password is told, not waited for.
    let wrong = kafka.dir().join("wrong");
    std::fs::write(&wrong, "guess").unwrap();
    let mut guessing = brokers.clone();
    guessing.sasl.as_mut().unwrap().password_file = wrong;
    refused(&guessing, "authentication").await;

    // So is a broker that another authority vouches for.
    let mut strange = brokers.clone();
    strange.tls = Some(Tls::default());
    refused(&strange, "certificate").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_broker_is_told_with_the_reason_and_may_come_back() {
    // A port that was free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let brokers = Brokers::plain(address.to_string());
    let error = Producer::connect(&brokers).unwrap().append(TOPIC, b"session", b"x").await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Retry);
    let told = chain(&error);
    assert!(told.starts_with(&format!("no answer from the brokers at {address}: ")), "{told}");
    assert!(told.contains("Connection refused"), "{told}");
}

async fn refused(brokers: &Brokers, reason: &str) {
    // On a busy machine the brokers may not have refused yet when the time of a call is up.
    let producer = Producer::connect(brokers).unwrap();
    let error = loop {
        let error = producer.append(TOPIC, b"session", b"x").await.unwrap_err();
        if error.disposition() != Disposition::Retry {
            break error;
        }
    };
    assert_eq!(error.disposition(), Disposition::Stop, "{error}");
    assert!(chain(&error).contains(reason), "{}", chain(&error));
    let error = loop {
        match Reader::assign(brokers, &[(TOPIC, 0, 0)]).await.unwrap_err() {
            AssignError::Read(error) if error.disposition() == Disposition::Retry => {}
            error => break error,
        }
    };
    assert!(chain(&error).contains("refuse to be read"), "{}", chain(&error));
    assert!(chain(&error).contains(reason), "{}", chain(&error));
}

fn brokers(dir: &Path) -> Brokers {
    let secure = std::fs::read_to_string(dir.join("secure")).unwrap();
    let mut brokers = Brokers::plain(secure.trim());
    brokers.sasl = Some(Sasl {
        mechanism: SaslMechanism::ScramSha512,
        username: "watchkeeper".to_owned(),
        password_file: dir.join("password"),
    });
    brokers.tls = Some(Tls { ca_file: Some(dir.join("ca.pem")), ..Tls::default() });
    brokers
}

/// The error and its causes, as a binary prints them.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
