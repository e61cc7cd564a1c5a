//! What names the proxy in a request to an issuer is made to name the server, and what the issuer answers the other way round. Pure.

use super::super::admit::is_loopback;
use super::authority::{Authority, Unfit};
use serde_json::Value;
use std::borrow::Cow;
use url::{Host, Url};

impl Authority {
    /// The parameters of a request for leave or for a token, as the issuer is to have them.
    ///
    /// # Errors
    /// When the token would be for another server.
    pub(super) fn translated<'a>(
        &self,
        here: &str,
        parameters: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    ) -> Result<Vec<(String, String)>, Unfit> {
        let translate = |(name, value): (Cow<'a, str>, Cow<'a, str>)| {
            let value = match &*name {
                "resource" => self.resource_for(here, &value)?,
                "redirect_uri" => self.through_here(here, &value).unwrap_or_else(|| value.into_owned()),
                _ => value.into_owned(),
            };
            Ok((name.into_owned(), value))
        };
        parameters.map(translate).collect()
    }

    /// The server's name for what the client names.
    fn resource_for(&self, here: &str, asked: &str) -> Result<String, Unfit> {
        let (own, _) = self.own_resource();
        let rest = |origin: &str| {
            let rest = asked.strip_prefix(origin)?;
            (rest.is_empty() || rest.starts_with(['/', '?'])).then_some(rest)
        };
        let rest = rest(here).or_else(|| rest(own));
        rest.map(|rest| format!("{own}{rest}")).ok_or_else(|| Unfit("a token for another server".to_owned()))
    }

    /// The address that stands for a client's own, when its answer has to come through here: one on loopback, where programs of this
    /// machine listen for it.
    fn through_here(&self, here: &str, address: &str) -> Option<String> {
        let rest = address.strip_prefix("http://").filter(|_| self.says_who)?;
        returns_to(rest).map(|_| format!("{}{rest}", self.way_back(here)))
    }

    /// A client that registers may be answered through here as well.
    pub(super) fn registered(&self, here: &str, mut client: Value) -> Value {
        if let Some(addresses) = client.get_mut("redirect_uris").and_then(Value::as_array_mut) {
            let through = addresses.iter().filter_map(|address| self.through_here(here, address.as_str()?));
            let through: Vec<Value> = through.map(Value::from).collect();
            addresses.extend(through);
        }
        client
    }

    /// Where an issuer's answer goes on to: the client, which is told the issuer's name here.
    ///
    /// # Errors
    /// When it is no client's address, or another issuer's answer.
    pub(super) fn back(&self, here: &str, address: &str, query: Option<&str>) -> Result<Url, Unfit> {
        let mut to = returns_to(address).ok_or_else(|| Unfit("no client of this machine is there".to_owned()))?;
        let answer = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let mut pairs = to.query_pairs_mut();
        for (name, value) in answer {
            match (&*name, &*value) {
                ("iss", issuer) if issuer == self.issuer => drop(pairs.append_pair("iss", &self.issuer_at(here))),
                ("iss", _) => return Err(Unfit("this is another issuer's answer".to_owned())),
                (name, value) => drop(pairs.append_pair(name, value)),
            }
        }
        drop(pairs);
        Ok(to)
    }
}

/// The URL of a client on loopback, from what follows its scheme.
fn returns_to(address: &str) -> Option<Url> {
    let url = Url::parse(&format!("http://{address}")).ok()?;
    let is_here = match url.host()? {
        Host::Domain(name) => is_loopback(name),
        Host::Ipv4(ip) => ip.is_loopback(),
        // Its brackets have no place in a path.
        Host::Ipv6(_) => false,
    };
    (is_here && url.username().is_empty() && url.password().is_none() && url.fragment().is_none()).then_some(url)
}
