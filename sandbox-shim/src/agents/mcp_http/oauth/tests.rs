//! Issuers and clients as they are, and as they should not be.

use super::authority::{Authority, Door, may_be_asked, named_by, places_of_issuer, places_of_resource};
use serde_json::{Map, Value, json};
use url::Url;

const HERE: &str = "http://127.0.0.1:7777";

fn map(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

fn resource() -> Map<String, Value> {
    map(json!({
        "resource": "https://mcp.example/v1/mcp",
        "authorization_servers": ["https://auth.example/realm", "https://other.example"],
        "scopes_supported": ["use"],
        "signed_metadata": "e30.e30.",
    }))
}

fn metadata() -> Map<String, Value> {
    map(json!({
        "issuer": "https://auth.example/realm",
        "authorization_endpoint": "https://login.example/authorize?tenant=1",
        "token_endpoint": "https://auth.example/realm/token",
        "registration_endpoint": "https://auth.example/clients",
        "pushed_authorization_request_endpoint": "https://auth.example/par",
        "signed_metadata": "e30.e30.",
        "client_id_metadata_document_supported": true,
        "authorization_response_iss_parameter_supported": true,
        "code_challenge_methods_supported": ["S256"],
    }))
}

fn authority() -> Authority {
    Authority::new(resource(), "https://auth.example/realm".to_owned(), metadata()).unwrap()
}

fn server() -> Url {
    "https://mcp.example/v1/mcp?key=k".parse().unwrap()
}

#[test]
fn metadata_is_looked_for_where_it_is_said_to_be() {
    let texts = |urls: Vec<Url>| urls.into_iter().map(String::from).collect::<Vec<_>>();
    let of_resource = [
        "https://mcp.example/.well-known/oauth-protected-resource/v1/mcp",
        "https://mcp.example/.well-known/oauth-protected-resource",
    ];
    assert_eq!(texts(places_of_resource(&server())), of_resource);
    let of_issuer = [
        "https://a.example/.well-known/oauth-authorization-server/x",
        "https://a.example/.well-known/openid-configuration/x",
        "https://a.example/x/.well-known/openid-configuration",
    ];
    assert_eq!(texts(places_of_issuer(&"https://a.example/x/".parse().unwrap())), of_issuer);
    assert_eq!(places_of_issuer(&"https://a.example".parse().unwrap()).len(), 2);
}

#[test]
fn a_server_speaks_for_itself_only() {
    assert_eq!(named_by(&resource(), &server()).unwrap(), "https://auth.example/realm");
    for own in
        ["https://mcp.example", "https://mcp.example/", "https://mcp.example/v1/", "https://MCP.example:443/v1/mcp"]
    {
        let mut resource = resource();
        resource.insert("resource".to_owned(), own.into());
        assert!(named_by(&resource, &server()).is_ok(), "{own}");
    }
    for other in [
        "https://bank.example/v1/mcp",
        "http://mcp.example/v1/mcp",
        "https://mcp.example/v1/m",
        "https://mcp.example:8443/v1/mcp",
        "https://x@mcp.example/v1/mcp",
        "https:///mcp.example/v1/mcp",
        "https:mcp.example/v1/mcp",
        "urn:x",
        "",
    ] {
        let mut resource = resource();
        resource.insert("resource".to_owned(), other.into());
        assert!(named_by(&resource, &server()).is_err(), "{other}");
    }
    for none in [json!([]), json!("https://auth.example"), json!(null)] {
        let mut resource = resource();
        resource.insert("authorization_servers".to_owned(), none);
        assert!(named_by(&resource, &server()).is_err());
    }
}

#[test]
fn an_issuer_is_asked_only_where_the_server_may_send_the_proxy() {
    // Of a server on another machine, and of one on this one.
    let who = |issuer: &str| [false, true].map(|here| may_be_asked(issuer, here).is_ok());
    for outside in ["https://auth.example", "https://auth.example/realm/", "https://10.0.0.1:8443"] {
        assert_eq!(who(outside), [true, false], "{outside}");
    }
    for here in ["http://127.0.0.1:9", "https://localhost/x", "http://[::1]:9", "http://127.9.8.7"] {
        assert_eq!(who(here), [false, true], "{here}");
    }
    for never in [
        "http://auth.example",
        "https://169.254.169.254",
        "http://169.254.169.254",
        "https://0.0.0.0",
        "https://[::ffff:169.254.169.254]",
        "https://user@auth.example",
        "https://auth.example?x",
        "https://auth.example#x",
        "https:auth.example",
        "ftp://127.0.0.1",
        "unix:/run/x",
        "",
    ] {
        assert_eq!(who(never), [false; 2], "{never}");
    }
}

#[test]
fn an_issuer_that_is_another_or_sends_elsewhere_is_none() {
    let with = |name: &str, value: Value| {
        let mut metadata = metadata();
        metadata.insert(name.to_owned(), value);
        Authority::new(resource(), "https://auth.example/realm".to_owned(), metadata)
    };
    assert!(with("issuer", json!("https://auth.example/realm/")).is_err());
    for (name, url) in [
        ("issuer", "https://evil.example"),
        ("token_endpoint", "https://evil.example/token"),
        ("token_endpoint", "http://auth.example/token"),
        ("token_endpoint", "https://auth.example:8443/token"),
        ("registration_endpoint", "http://127.0.0.1:9/"),
        ("authorization_endpoint", "http://login.example/"),
        ("authorization_endpoint", "javascript:alert(1)"),
    ] {
        assert!(with(name, json!(url)).is_err(), "{name} {url}");
    }
}

#[test]
fn clients_are_told_of_a_server_and_an_issuer_that_are_here() {
    let authority = authority();
    let issuer = "http://127.0.0.1:7777/as/https/auth.example/realm";
    let resource = json!({
        "resource": "http://127.0.0.1:7777/v1/mcp",
        "authorization_servers": [issuer],
        "scopes_supported": ["use"],
    });
    assert_eq!(authority.resource_at(HERE), resource);
    let metadata = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "registration_endpoint": format!("{issuer}/register"),
        "client_id_metadata_document_supported": false,
        "authorization_response_iss_parameter_supported": true,
        "code_challenge_methods_supported": ["S256"],
    });
    assert_eq!(authority.metadata_at(HERE), metadata);
    for place in places_of_issuer(&issuer.parse().unwrap()) {
        assert_eq!(authority.door(place.path()), Some(Door::Metadata), "{place}");
    }
    let door = |path: &str| authority.door(path).map(|door| format!("{door:?}"));
    assert_eq!(door("/as/https/auth.example/realm/token").as_deref(), Some("Token"));
    assert_eq!(door("/as/https/auth.example/realm/back/localhost:1/x").as_deref(), Some("Back(\"localhost:1/x\")"));
    for other in
        ["/token", "/as/https/auth.example/realm2/token", "/as/http/auth.example/realm/token", "/as/https/evil/token"]
    {
        assert_eq!(door(other), None, "{other}");
    }
}

#[test]
fn a_token_is_asked_for_the_server_and_for_no_other() {
    let authority = authority();
    let asked = |query: &str| {
        let pairs = authority.translated(HERE, url::form_urlencoded::parse(query.as_bytes()));
        pairs.map(|pairs| pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>())
    };
    let expected =
        ["code=x", "resource=https://mcp.example/v1/mcp", "resource=https://mcp.example", "code_verifier=a+b"];
    let query = "code=x&resource=http://127.0.0.1:7777/v1/mcp&resource=http://127.0.0.1:7777&code_verifier=a%2Bb";
    assert_eq!(asked(query).unwrap(), expected);
    assert_eq!(asked("resource=https://mcp.example/v1/mcp").unwrap(), ["resource=https://mcp.example/v1/mcp"]);
    for other in [
        "https://bank.example/",
        "http://127.0.0.1:77777/",
        "http://127.0.0.1:7777.evil.example/",
        "https://mcp.example.evil/",
        "",
    ] {
        assert!(asked(&format!("resource={other}")).is_err(), "{other}");
    }
}

#[test]
fn an_answer_comes_back_through_here_to_a_client_on_loopback_alone() {
    let authority = authority();
    let back = "http://127.0.0.1:7777/as/https/auth.example/realm/back/";
    let client = json!({"redirect_uris": ["http://localhost:3/cb?a=1", "https://app.example/cb", "app://x", 7], "client_name": "n"});
    let registered = json!({
        "redirect_uris": ["http://localhost:3/cb?a=1", "https://app.example/cb", "app://x", 7, format!("{back}localhost:3/cb?a=1")],
        "client_name": "n",
    });
    assert_eq!(authority.registered(HERE, client), registered);
    let through = |uri: &str| {
        let pairs = [("redirect_uri".into(), uri.into())];
        authority.translated(HERE, pairs.into_iter()).unwrap().remove(0).1
    };
    assert_eq!(through("http://127.0.0.1:3/cb"), format!("{back}127.0.0.1:3/cb"));
    for own in [
        "http://evil.example/",
        "http://localhost@evil.example/",
        "http://localhost.evil.example",
        "http://[::1]:3/",
        "app://x",
    ] {
        assert_eq!(through(own), own);
    }
    let answered = |address: &str, query: &str| authority.back(HERE, address, Some(query)).map(String::from);
    let issuer = "http%3A%2F%2F127.0.0.1%3A7777%2Fas%2Fhttps%2Fauth.example%2Frealm";
    assert_eq!(
        answered("localhost:3/cb", "a=1&code=c&iss=https://auth.example/realm&state=s").unwrap(),
        format!("http://localhost:3/cb?a=1&code=c&iss={issuer}&state=s")
    );
    assert_eq!(answered("localhost:3/cb", "error=access_denied").unwrap(), "http://localhost:3/cb?error=access_denied");
    // Another issuer's answer, one that says the name that only we give, and somebody who is no client of this machine.
    assert!(answered("localhost:3/cb", "code=c&iss=https://evil.example").is_err());
    assert!(answered("localhost:3/cb", &format!("code=c&iss={issuer}")).is_err());
    assert!(answered("evil.example/", "code=c").is_err());
    assert!(answered("localhost:3@evil.example/", "code=c").is_err());
}

#[test]
fn an_issuer_that_does_not_say_who_it_is_answers_clients_directly() {
    let mut metadata = metadata();
    metadata.remove("authorization_response_iss_parameter_supported");
    let authority = Authority::new(resource(), "https://auth.example/realm".to_owned(), metadata).unwrap();
    let client = json!({"redirect_uris": ["http://localhost:3/cb"]});
    assert_eq!(authority.registered(HERE, client.clone()), client);
    assert_eq!(authority.metadata_at(HERE)["client_id_metadata_document_supported"], true);
}
