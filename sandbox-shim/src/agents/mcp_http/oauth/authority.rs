//! The issuer that a server names, checked as a client would check it, and what clients are told of the two. Pure.

use super::super::admit::is_loopback;
use crate::egress::is_near;
use serde_json::{Map, Value};
use url::{Host, Url};

/// What of an issuer's metadata is not passed on: signed words cannot be changed, and these endpoints would lead past the proxy with the
/// proxy's URL for the server's.
const LEFT_OUT: [&str; 5] = [
    "signed_metadata",
    "mtls_endpoint_aliases",
    "pushed_authorization_request_endpoint",
    "device_authorization_endpoint",
    "backchannel_authentication_endpoint",
];

/// Why there is no way to a token through here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unfit(pub(super) String);

/// What a request to an issuer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door<'a> {
    Metadata,
    Authorize,
    Token,
    Register,
    /// An answer to the client of this address, which is without its scheme.
    Back(&'a str),
}

/// An issuer, and the server that named it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Authority {
    resource: Map<String, Value>,
    metadata: Map<String, Value>,
    pub(super) issuer: String,
    pub(super) authorize: Url,
    pub(super) token: Url,
    pub(super) register: Option<Url>,
    /// Whether it says who it is when it answers.
    pub(super) says_who: bool,
}

/// Where a server's metadata is: RFC 9728, and the older place without a path.
pub(super) fn places_of_resource(server: &Url) -> Vec<Url> {
    let path = server.path().trim_end_matches('/');
    let mut paths = vec![format!("/.well-known/oauth-protected-resource{path}")];
    paths.extend((!path.is_empty()).then(|| "/.well-known/oauth-protected-resource".to_owned()));
    at(server, paths)
}

/// Where an issuer's metadata is: RFC 8414, and OpenID Connect in two forms.
pub(super) fn places_of_issuer(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let mut paths: Vec<String> =
        ["oauth-authorization-server", "openid-configuration"].map(|name| format!("/.well-known/{name}{path}")).into();
    paths.extend((!path.is_empty()).then(|| format!("{path}/.well-known/openid-configuration")));
    at(issuer, paths)
}

fn at(base: &Url, paths: Vec<String>) -> Vec<Url> {
    let place = |path: String| {
        let mut url = base.clone();
        url.set_path(&path);
        url.set_query(None);
        url
    };
    paths.into_iter().map(place).collect()
}

/// The issuer that a server's metadata names, which must be the server's own. Of several it is the first.
pub(super) fn named_by(resource: &Map<String, Value>, server: &Url) -> Result<String, Unfit> {
    let name = text(resource, "resource")?;
    let is_its_own = Url::parse(name).is_ok_and(|url| {
        let [own, asked] = [url.path(), server.path()].map(|path| format!("{}/", path.trim_end_matches('/')));
        url.origin() == server.origin()
            && asked.starts_with(&own)
            && url.fragment().is_none()
            && url.username().is_empty()
    });
    let own = origin_of(name).and_then(|(own, _)| Url::parse(own).ok());
    if !is_its_own || own.is_none_or(|own| own.origin() != server.origin()) {
        return Err(Unfit("the metadata that the MCP server gives is for another resource".to_owned()));
    }
    let first = resource.get("authorization_servers").and_then(|all| all.get(0)).and_then(Value::as_str);
    first.map(str::to_owned).ok_or_else(|| Unfit("the MCP server names no authorization server".to_owned()))
}

/// The issuer's URL, when the proxy may go there. A server on another machine has an issuer on another machine, with TLS. A server on this one
/// may be a program under watch, or one that has taken its port: it has its issuer on this machine, and sends the proxy nowhere else.
pub(super) fn may_be_asked(issuer: &str, server_is_here: bool) -> Result<Url, Unfit> {
    let unfit = |why: &str| Unfit(format!("the authorization server `{issuer}` is not asked: {why}"));
    let url = Url::parse(issuer).map_err(|_| unfit("it has no URL"))?;
    let is_plain = url.query().is_none() && url.fragment().is_none();
    if !is_plain || !url.username().is_empty() || url.password().is_some() || origin_of(issuer).is_none() {
        return Err(unfit("its URL is no issuer's"));
    }
    let (is_here, is_near) = match url.host() {
        Some(Host::Domain(name)) => (is_loopback(name), is_loopback(name)),
        Some(Host::Ipv4(ip)) => (ip.is_loopback(), is_near(ip.into())),
        Some(Host::Ipv6(ip)) => (ip.is_loopback(), is_near(ip.into())),
        None => return Err(unfit("it has no host")),
    };
    match (server_is_here, url.scheme()) {
        (true, "http" | "https") if is_here => Ok(url),
        (true, _) => Err(unfit("it is not on this machine, and the MCP server is")),
        (false, "https") if !is_near => Ok(url),
        (false, "https") => Err(unfit("it is on this machine or its link, and the MCP server is not")),
        (false, _) => Err(unfit("it has no TLS")),
    }
}

impl Authority {
    /// Of what the server says and what the issuer says.
    ///
    /// # Errors
    /// When the metadata is another issuer's, or would have the proxy go to another host.
    pub(super) fn new(
        resource: Map<String, Value>,
        issuer: String,
        metadata: Map<String, Value>,
    ) -> Result<Self, Unfit> {
        if text(&metadata, "issuer")? != issuer {
            return Err(Unfit(format!("the metadata of `{issuer}` is another issuer's")));
        }
        let own = Url::parse(&issuer).map_err(|_| Unfit("an issuer without a URL".to_owned()))?.origin();
        let endpoint = |name: &str| {
            let url = Url::parse(text(&metadata, name)?).ok();
            // The browser goes to the first, and the proxy itself to the others.
            let may_be_elsewhere = |url: &Url| name == "authorization_endpoint" && url.scheme() == "https";
            let url = url.filter(|url| url.origin() == own || may_be_elsewhere(url));
            url.ok_or_else(|| Unfit(format!("the `{name}` of `{issuer}` is at another host")))
        };
        let (authorize, token) = (endpoint("authorization_endpoint")?, endpoint("token_endpoint")?);
        let register = metadata.contains_key("registration_endpoint").then(|| endpoint("registration_endpoint"));
        let register = register.transpose()?;
        let says_who = metadata.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true));
        Ok(Self { resource, metadata, issuer, authorize, token, register, says_who })
    }

    /// Its name for clients of the proxy at `here`.
    pub(super) fn issuer_at(&self, here: &str) -> String {
        format!("{here}{}", self.path())
    }

    fn path(&self) -> String {
        format!("/as/{}", self.issuer.replacen("://", "/", 1))
    }

    /// Where a client's address leads back through here, without what follows.
    pub(super) fn way_back(&self, here: &str) -> String {
        format!("{}/back/", self.issuer_at(here).trim_end_matches('/'))
    }

    /// What a path of the proxy's is for, when it is one of this issuer's.
    pub(super) fn door<'a>(&self, path: &'a str) -> Option<Door<'a>> {
        let own = self.path();
        let own = own.trim_end_matches('/');
        for name in ["oauth-authorization-server", "openid-configuration"] {
            let of = path.strip_prefix("/.well-known/").and_then(|path| path.strip_prefix(name));
            if of.is_some_and(|of| of.trim_end_matches('/') == own) {
                return Some(Door::Metadata);
            }
        }
        match path.strip_prefix(own)? {
            "/.well-known/openid-configuration" => Some(Door::Metadata),
            "/authorize" => Some(Door::Authorize),
            "/token" => Some(Door::Token),
            "/register" => Some(Door::Register),
            other => other.strip_prefix("/back/").map(Door::Back),
        }
    }

    /// The server's metadata for clients of the proxy.
    pub(super) fn resource_at(&self, here: &str) -> Value {
        let mut document = self.resource.clone();
        document.remove("signed_metadata");
        document.insert("resource".to_owned(), format!("{here}{}", self.own_resource().1).into());
        document.insert("authorization_servers".to_owned(), vec![self.issuer_at(here)].into());
        document.into()
    }

    /// The server's name for itself: its origin, and the rest.
    pub(super) fn own_resource(&self) -> (&str, &str) {
        let name = self.resource.get("resource").and_then(Value::as_str).unwrap_or_default();
        origin_of(name).unwrap_or_default()
    }

    /// The issuer's metadata for clients of the proxy.
    pub(super) fn metadata_at(&self, here: &str) -> Value {
        let mut document = self.metadata.clone();
        LEFT_OUT.iter().for_each(|name| drop(document.remove(*name)));
        let issuer = self.issuer_at(here);
        let own = issuer.trim_end_matches('/');
        document.insert("authorization_endpoint".to_owned(), format!("{own}/authorize").into());
        document.insert("token_endpoint".to_owned(), format!("{own}/token").into());
        if self.register.is_some() {
            document.insert("registration_endpoint".to_owned(), format!("{own}/register").into());
            if self.says_who {
                // A client that describes itself elsewhere cannot be answered through here: it has to register.
                document.insert("client_id_metadata_document_supported".to_owned(), false.into());
            }
        }
        document.insert("issuer".to_owned(), issuer.into());
        document.into()
    }
}

fn text<'a>(document: &'a Map<String, Value>, name: &str) -> Result<&'a str, Unfit> {
    document.get(name).and_then(Value::as_str).ok_or_else(|| Unfit(format!("metadata without `{name}`")))
}

/// A URL's text up to its path, and from there.
pub(super) fn origin_of(url: &str) -> Option<(&str, &str)> {
    let begin = url.find("://")? + 3;
    let end = url[begin..].find(['/', '?', '#']).map_or(url.len(), |end| begin + end);
    Some(url.split_at(end))
}
