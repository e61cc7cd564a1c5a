//! Addresses that stand for names. A name is answered without asking anybody; who then connects to the address has said by name
//! where to go.

use crate::lock::lock;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;

/// `198.18.0.0/15` is set aside for measurements of networks and is nobody's.
const FIRST: u32 = u32::from_be_bytes([198, 18, 0, 1]);
const LAST: u32 = u32::from_be_bytes([198, 19, 255, 254]);

#[derive(Debug, Default)]
struct Both {
    by_name: BTreeMap<String, Ipv4Addr>,
    by_address: BTreeMap<Ipv4Addr, String>,
}

/// The names of one session. An address is never given to a second name.
#[derive(Debug, Default)]
pub(crate) struct FakeNames {
    known: Mutex<Both>,
}

impl FakeNames {
    /// The address that stands for a name; `None` when all are taken.
    pub(crate) fn address_of(&self, name: &str) -> Option<Ipv4Addr> {
        let mut known = lock(&self.known);
        if let Some(address) = known.by_name.get(name) {
            return Some(*address);
        }
        let next = FIRST.checked_add(u32::try_from(known.by_name.len()).ok()?).filter(|next| *next <= LAST)?;
        let address = Ipv4Addr::from_bits(next);
        known.by_name.insert(name.to_owned(), address);
        known.by_address.insert(address, name.to_owned());
        Some(address)
    }

    /// The name that an address stands for.
    #[must_use]
    pub(crate) fn name_of(&self, address: IpAddr) -> Option<String> {
        let IpAddr::V4(address) = address else { return None };
        lock(&self.known).by_address.get(&address).cloned()
    }
}

/// Whether a name looks as if it carried words rather than named a host. Only asked about names that no rule spells out.
#[must_use]
pub(crate) fn looks_like_data(name: &str) -> bool {
    let is_long = name.len() > 100 || name.split('.').count() > 8;
    is_long || name.split('.').any(|label| label.len() > 40 || (label.len() >= 20 && entropy(label) > 3.6))
}

/// Shannon's entropy, in bits a character.
fn entropy(text: &str) -> f64 {
    let mut counts = BTreeMap::<u8, u32>::new();
    for byte in text.bytes() {
        *counts.entry(byte).or_default() += 1;
    }
    let total: f64 = counts.values().copied().map(f64::from).sum();
    counts.values().map(|count| f64::from(*count) / total).map(|share| -share * share.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_address_and_an_address_its_name() {
        let names = FakeNames::default();
        let one = names.address_of("a.test").unwrap();
        let other = names.address_of("b.test").unwrap();
        assert_eq!((one, other), ("198.18.0.1".parse().unwrap(), "198.18.0.2".parse().unwrap()));
        assert_eq!(names.address_of("a.test"), Some(one));
        assert_eq!(names.name_of(other.into()).as_deref(), Some("b.test"));
        assert_eq!(names.name_of("192.0.2.1".parse().unwrap()), None);
    }

    #[test]
    fn names_that_carry_words_are_told_from_hosts() {
        for host in ["registry.npmjs.org", "ec2-203-0-113-25.compute-1.amazonaws.com", "raw.githubusercontent.com"] {
            assert!(!looks_like_data(host), "{host}");
        }
        for data in [
            "dG9wIHNlY3JldCB3b3Jkcw8f.example.org",
            "6f7065726174696f6e2d626c61636b2d6372616e65737c0a11fe.x.test",
            "a.b.c.d.e.f.g.h.test",
        ] {
            assert!(looks_like_data(data), "{data}");
        }
    }
}
