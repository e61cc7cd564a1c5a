//! The registry's client and server, together and against what is neither.

use reqwest::StatusCode;
use serde_json::{Value, json};
use wk_wire::Disposition;
use wk_wire::registry::{Client, MEDIA_TYPE, RegistryConfig, RegistryError};
use wk_wire::registry_server::RegistryServer;

const STRING: &str = r#""string""#;
const LONG: &str = r#"{"type": "long"}"#;

#[tokio::test]
async fn registering_again_gives_the_same_id_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("schemas.json");
    let server = RegistryServer::start(&file, 0).await.unwrap();
    let client = Client::new(server.url()).unwrap();
    let id = client.register("events", STRING).await.unwrap();
    assert_eq!(client.register("events", STRING).await.unwrap(), id);
    let second = client.register("events", LONG).await.unwrap();
    server.shutdown().await;

    let server = RegistryServer::start(&file, 0).await.unwrap();
    let client = Client::new(server.url()).unwrap();
    assert_eq!(&*client.by_id(id).await.unwrap(), STRING);
    let latest = client.latest("events").await.unwrap();
    assert_eq!((latest.id, latest.version, latest.schema.as_str()), (second, 2, LONG));
    assert_eq!(client.register("events", STRING).await.unwrap(), id);
    server.shutdown().await;
}

#[tokio::test]
async fn an_unknown_id_and_an_unknown_subject_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let server = RegistryServer::start(&dir.path().join("schemas.json"), 0).await.unwrap();
    let client = Client::new(server.url()).unwrap();
    let error = client.by_id(4711).await.unwrap_err();
    assert_eq!(error.to_string(), format!("the registry at {} has no schema with id 4711", server.url()));
    assert_eq!(error.disposition(), Disposition::SetAside);
    let error = client.latest("events").await.unwrap_err();
    assert!(matches!(error, RegistryError::UnknownSubject { subject, .. } if subject == "events-value"));
    let error = client.register("events", "{not json").await.unwrap_err();
    assert!(matches!(&error, RegistryError::Refused { code: 42201, .. }), "{error}");
    assert_eq!(error.disposition(), Disposition::Stop);
    server.shutdown().await;
}

#[tokio::test]
async fn a_schema_is_asked_for_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = RegistryServer::start(&dir.path().join("schemas.json"), 0).await.unwrap();
    Client::new(server.url()).unwrap().register("events", STRING).await.unwrap();
    let client = Client::new(server.url()).unwrap();
    client.by_id(1).await.unwrap();
    server.shutdown().await;
    assert_eq!(&*client.by_id(1).await.unwrap(), STRING);
    let error = client.by_id(2).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
    assert_eq!(error.disposition(), Disposition::Retry);
}

#[tokio::test]
async fn a_registry_that_has_moved_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let server = RegistryServer::start(&dir.path().join("schemas.json"), 0).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let new = server.url().to_owned();
    let answer = axum::Router::new()
        .fallback(async move |uri: axum::http::Uri| axum::response::Redirect::temporary(&format!("{new}{uri}")));
    let serving = tokio::spawn(async move { axum::serve(listener, answer).await });
    let client = Client::new(&url).unwrap();
    let id = client.register("events", STRING).await.unwrap();
    assert_eq!(client.latest("events").await.unwrap().id, id);
    serving.abort();
    server.shutdown().await;
}

#[tokio::test]
async fn a_password_is_given_to_a_registry_that_asks_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "open sesame\n").unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = axum::Router::new().fallback(async |headers: axum::http::HeaderMap| {
        // base64 of `alice:open sesame`.
        let knows = headers.get("authorization").is_some_and(|said| said == "Basic YWxpY2U6b3BlbiBzZXNhbWU=");
        if knows { (StatusCode::OK, r#"{"id": 7}"#) } else { (StatusCode::UNAUTHORIZED, "who are you?") }
    });
    let serving = tokio::spawn(async move { axum::serve(listener, answer).await });
    let config = RegistryConfig { url, username: Some("alice".into()), password_file: Some(file), ca_file: None };
    assert_eq!(Client::connect(&config).unwrap().register("events", STRING).await.unwrap(), 7);
    let stranger = Client::new(&config.url).unwrap().register("events", STRING).await.unwrap_err();
    assert!(matches!(stranger, RegistryError::Foreign { .. }), "{stranger}");
    serving.abort();
}

#[tokio::test]
async fn what_is_no_registry_is_called_so() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = axum::Router::new().fallback(async || "welcome to my home page");
    let serving = tokio::spawn(async move { axum::serve(listener, answer).await });
    let error = Client::new(&url).unwrap().by_id(1).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("what answers at {url} is no schema registry: 200 OK, \"welcome to my home page\"")
    );
    assert_eq!(error.disposition(), Disposition::Stop);
    serving.abort();
    let error = Client::new("127.0.0.1:8081").unwrap_err();
    assert!(matches!(error, RegistryError::Config { .. }), "{error}");
}

#[tokio::test]
async fn stock_clients_get_the_answers_of_a_confluent_registry() {
    let dir = tempfile::tempdir().unwrap();
    let server = RegistryServer::start(&dir.path().join("schemas.json"), 0).await.unwrap();
    let at = |path: &str| format!("{}{path}", server.url());
    let get = async |path: &str| answer(reqwest::Client::new().get(at(path))).await;
    let post = async |path: &str, body: Value| {
        let request = reqwest::Client::new().post(at(path)).header("content-type", MEDIA_TYPE);
        answer(request.body(body.to_string())).await
    };
    let schema = json!({"schema": STRING});
    let entry = json!({"subject": "a-value", "id": 1, "version": 1, "schemaType": "AVRO", "schema": STRING});
    let missing = |code: u32, message: &str| {
        let status = StatusCode::from_u16(u16::try_from(code / 100).unwrap()).unwrap();
        (status, json!({"error_code": code, "message": message}))
    };

    assert_eq!(get("/subjects").await, (StatusCode::OK, json!([])));
    assert_eq!(post("/subjects/a-value", schema.clone()).await, missing(40401, "Subject 'a-value' not found."));
    let registered = post("/subjects/a-value/versions?normalize=false", schema.clone()).await;
    assert_eq!(registered, (StatusCode::OK, json!({"id": 1})));
    assert_eq!(get("/subjects?deleted=true").await, (StatusCode::OK, json!(["a-value"])));
    assert_eq!(get("/subjects/a-value/versions").await, (StatusCode::OK, json!([1])));
    for version in ["1", "latest", "-1"] {
        let path = format!("/subjects/a-value/versions/{version}?deleted=true");
        assert_eq!(get(&path).await, (StatusCode::OK, entry.clone()));
    }
    let ids = get("/schemas/ids/1?subject=a-value&fetchMaxId=false").await;
    assert_eq!(ids, (StatusCode::OK, json!({"schema": STRING})));
    let found = post("/subjects/a-value?normalize=true&deleted=true", schema).await;
    assert_eq!(found, (StatusCode::OK, entry));

    assert_eq!(get("/subjects/b-value/versions").await, missing(40401, "Subject 'b-value' not found."));
    assert_eq!(get("/subjects/a-value/versions/2").await, missing(40402, "Version 2 not found."));
    assert_eq!(get("/schemas/ids/2").await, missing(40403, "Schema 2 not found"));
    assert_eq!(post("/subjects/a-value", json!({"schema": LONG})).await, missing(40403, "Schema not found"));
    assert_eq!(get("/subjects/a-value/versions/one").await.1["error_code"], 42202);
    assert_eq!(post("/subjects/a-value/versions", json!({})).await.1["error_code"], 42201);
    assert_eq!(get("/mode").await.0, StatusCode::NOT_FOUND);
    server.shutdown().await;
}

async fn answer(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], MEDIA_TYPE);
    let status = answer.status();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
}
