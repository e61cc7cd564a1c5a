//! Which host names an address is known by.
//!
//! A connect names an address, a policy names hosts. The shim looks up the hosts of the policy itself, and those the agent asked
//! for, and compares: a name counts only when the shim's own answer holds the address, so the agent cannot make one up.

use crate::clock;
use crate::lock::lock;
use crate::policy::{Policy, plain};
use std::collections::HashMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const KEPT_FOR: Duration = Duration::from_secs(60);
/// Of the names that the agent asked for, the latest are looked at.
const ASKED_MAX: usize = 64;

/// What was looked up lately, and what the agent asked for.
#[derive(Debug, Default)]
pub(crate) struct Names {
    found: Mutex<HashMap<String, (Vec<IpAddr>, Instant)>>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    /// The agent asked for a name.
    pub(crate) fn asked(&self, name: &str) {
        let mut asked = lock(&self.asked);
        asked.retain(|known| known != name);
        asked.push(name.to_owned());
        if asked.len() > ASKED_MAX {
            asked.remove(0);
        }
    }

    /// The names under which `address` is known. Looks names up, so it may block; only a worker asks.
    pub(crate) fn of(&self, address: IpAddr, policy: &Policy) -> Vec<String> {
        if address.is_loopback() {
            return vec!["localhost".to_owned()];
        }
        let mut names: Vec<String> = policy.host_names().into_iter().map(str::to_owned).collect();
        names.extend(lock(&self.asked).iter().rev().cloned());
        names.dedup();
        names.retain(|name| self.look_up(name).contains(&plain(address)));
        names
    }

    fn look_up(&self, name: &str) -> Vec<IpAddr> {
        let now = clock::instant();
        if let Some((addresses, at)) = lock(&self.found).get(name)
            && now.duration_since(*at) < KEPT_FOR
        {
            return addresses.clone();
        }
        let addresses: Vec<IpAddr> =
            (name, 0_u16).to_socket_addrs().map(|all| all.map(|a| plain(a.ip())).collect()).unwrap_or_default();
        lock(&self.found).insert(name.to_owned(), (addresses.clone(), now));
        addresses
    }
}

/// The resolvers of this machine.
pub(crate) fn resolvers() -> Vec<IpAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    servers.filter_map(|rest| rest.split_whitespace().next()?.parse().ok()).map(plain).collect()
}
