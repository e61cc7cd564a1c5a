//! A map that keeps only what was put in last.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

/// The longest key. Keys come from records, and so from agents; a longer one is kept as its beginning and its digest.
const KEY_BYTES_MAX: usize = 1024;

fn bounded(key: &str) -> Cow<'_, str> {
    crate::text::bounded(key, KEY_BYTES_MAX)
}

/// A map of at most `max` entries; the one that was put in first goes when another comes. Counts what went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recent<V> {
    max: usize,
    order: VecDeque<String>,
    map: BTreeMap<String, V>,
    /// How many entries had to go.
    pub forgotten: u64,
}

impl<V> Recent<V> {
    /// An empty map of at most `max` entries.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { max, order: VecDeque::new(), map: BTreeMap::new(), forgotten: 0 }
    }

    /// Puts `value` in; an entry of that key is replaced where it stands.
    pub fn insert(&mut self, key: &str, value: V) {
        let key = &*bounded(key);
        if let Some(old) = self.map.get_mut(key) {
            *old = value;
            return;
        }
        if self.map.len() >= self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.map.remove(&oldest);
            self.forgotten += 1;
        }
        self.order.push_back(key.to_owned());
        self.map.insert(key.to_owned(), value);
    }

    /// Puts `value` in unless the key is there.
    pub fn insert_first(&mut self, key: &str, value: V) {
        if !self.contains(key) {
            self.insert(key, value);
        }
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&V> {
        self.map.get(&*bounded(key))
    }

    /// The value of `key`, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        self.map.get_mut(&*bounded(key))
    }

    /// Whether `key` is there.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.map.contains_key(&*bounded(key))
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &str) -> Option<V> {
        let key = &*bounded(key);
        let value = self.map.remove(key)?;
        self.order.retain(|k| k != key);
        Some(value)
    }

    /// The entries, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &V)> {
        self.order.iter().filter_map(|k| self.map.get(k).map(|v| (k.as_str(), v)))
    }

    /// The entries whose keys begin with `prefix`, in order of key.
    pub fn starting_with<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a V)> {
        let from = self.map.range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
        from.take_while(move |(k, _)| k.starts_with(prefix)).map(|(k, v)| (k.as_str(), v))
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.order.clear();
        self.map.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entry_goes_and_is_counted() {
        let mut map = Recent::new(2);
        map.insert("a", 1);
        map.insert("b", 2);
        map.insert("a", 3);
        map.insert("c", 4);
        assert_eq!(map.iter().collect::<Vec<_>>(), [("b", &2), ("c", &4)]);
        assert_eq!((map.forgotten, map.len()), (1, 2));
    }
}
