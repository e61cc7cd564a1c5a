//! RFC 6962 Merkle trees: hashes, roots, proofs. Pure.
//!
//! ```text
//! leaf  SHA-256(0x00 || entry)         node  SHA-256(0x01 || left || right)
//! ```
//! A tree over n leaves splits at the largest power of two below n. A node is named by its level and its index in that
//! level; level 0 holds the leaves, and a node at level l covers the 2^l leaves from `index << l`.

use sha2::{Digest as _, Sha256};
use wk_schemas::Digest;

/// The hash of one entry.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Digest {
    Digest(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
}

/// The hash of two nodes side by side.
#[must_use]
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// The root over no leaves.
#[must_use]
pub fn empty_root() -> Digest {
    Digest::of(b"")
}

/// A node: its level and its index in that level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// 0 for a leaf.
    pub level: u32,
    /// Place in the level, from 0.
    pub index: u64,
}

/// A growing tree of which only the right edge is kept: enough to go on and to give the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    /// The perfect subtrees that make up the tree, largest first, each with its level.
    peaks: Vec<(u32, Digest)>,
}

impl Edge {
    /// Takes up a tree of `size` leaves whose peaks, largest first, are `hashes`; see [`peaks`].
    #[must_use]
    pub fn resume(size: u64, hashes: &[Digest]) -> Self {
        let peaks = peaks(0, size).iter().map(|n| n.level).zip(hashes.iter().copied()).collect();
        Self { size, peaks }
    }

    /// How many leaves there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf, and tells `made` of every node that is complete with it.
    pub fn push(&mut self, leaf: Digest, mut made: impl FnMut(Node, Digest)) {
        let mut node = Node { level: 0, index: self.size };
        let mut hash = leaf;
        made(node, hash);
        while let Some((level, left)) = self.peaks.last()
            && *level == node.level
        {
            hash = node_hash(left, &hash);
            node = Node { level: node.level + 1, index: node.index / 2 };
            made(node, hash);
            self.peaks.pop();
        }
        self.peaks.push((node.level, hash));
        self.size += 1;
    }

    /// The root over all leaves so far.
    #[must_use]
    pub fn root(&self) -> Digest {
        fold(self.peaks.iter().map(|(_, hash)| *hash)).unwrap_or_else(empty_root)
    }
}

/// The root over `leaves`.
#[must_use]
pub fn root(leaves: &[Digest]) -> Digest {
    let mut edge = Edge::default();
    for leaf in leaves {
        edge.push(*leaf, |_, _| {});
    }
    edge.root()
}

/// Joins perfect subtrees, largest first, into one hash.
#[must_use]
pub fn fold(peaks: impl DoubleEndedIterator<Item = Digest>) -> Option<Digest> {
    peaks.rev().reduce(|right, left| node_hash(&left, &right))
}

/// The perfect subtrees that make up the leaves `from..to`, left to right.
///
/// `from` is a multiple of the largest power of two that fits: the ranges of a proof always are.
#[must_use]
pub fn peaks(from: u64, to: u64) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut at = from;
    while at < to {
        let level = (to - at).ilog2();
        nodes.push(Node { level, index: at >> level });
        at += 1 << level;
    }
    nodes
}

/// The ranges of leaves whose hashes prove that leaf `index` is in the tree over `size` leaves, in the proof's order.
#[must_use]
pub fn inclusion(index: u64, size: u64) -> Vec<(u64, u64)> {
    assert!(index < size, "leaf {index} of {size}");
    let (mut from, mut to) = (0, size);
    let mut path = Vec::new();
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            path.push((middle, to));
            to = middle;
        } else {
            path.push((from, middle));
            from = middle;
        }
    }
    path.reverse();
    path
}

/// The ranges of leaves whose hashes prove that the tree over `old` leaves is the beginning of the one over `new`.
#[must_use]
pub fn consistency(old: u64, new: u64) -> Vec<(u64, u64)> {
    assert!(old <= new, "a tree of {old} leaves is no beginning of one of {new}");
    if old == 0 || old == new {
        return Vec::new();
    }
    let (mut from, mut to) = (0, new);
    let mut path = Vec::new();
    while old != to {
        let middle = from + split(to - from);
        if old <= middle {
            path.push((middle, to));
            to = middle;
        } else {
            path.push((from, middle));
            from = middle;
        }
    }
    // The verifier knows the old root; what is left is that root itself unless the path went right somewhere.
    if from != 0 {
        path.push((from, to));
    }
    path.reverse();
    path
}

/// The largest power of two below `n`, for `n` above 1.
fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// Does `proof` show that `leaf` is the leaf `index` of the tree over `size` leaves with this root?
#[must_use]
pub fn verify_inclusion(leaf: Digest, index: u64, size: u64, proof: &[Digest], root: Digest) -> bool {
    root_from_inclusion(leaf, index, size, proof) == Some(root)
}

/// The root of the tree over `size` leaves in which `proof` puts `leaf` at `index`; `None` when the proof has another length than it should.
#[must_use]
pub fn root_from_inclusion(leaf: Digest, index: u64, size: u64, proof: &[Digest]) -> Option<Digest> {
    if index >= size {
        return None;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, leaf);
    for step in proof {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(step, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, step);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// Does `proof` show that the tree over `old` leaves is the beginning of the one over `new`?
#[must_use]
pub fn verify_consistency(old: u64, old_root: Digest, new: u64, new_root: Digest, proof: &[Digest]) -> bool {
    if old > new {
        return false;
    }
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return proof.is_empty() && old_root == empty_root();
    }
    let mut rest = proof.iter();
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let first = if node == 0 {
        old_root
    } else {
        match rest.next() {
            Some(first) => *first,
            None => return false,
        }
    };
    let (mut old_hash, mut new_hash) = (first, first);
    for step in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(step, &old_hash);
            new_hash = node_hash(step, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, step);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == old_root && new_hash == new_root
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition of RFC 6962, section 2.1, word for word.
    fn mth(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            many => {
                let k = usize::try_from(split(many.len() as u64)).unwrap();
                node_hash(&mth(&many[..k]), &mth(&many[k..]))
            }
        }
    }

    fn leaves(n: u64) -> Vec<Digest> {
        (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    fn of(leaves: &[Digest], range: (u64, u64)) -> Digest {
        mth(&leaves[usize::try_from(range.0).unwrap()..usize::try_from(range.1).unwrap()])
    }

    #[test]
    fn roots_are_those_that_certificate_transparency_publishes() {
        // The entries and roots of the reference implementation's own test.
        let entries =
            ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let hashes: Vec<Digest> = entries
            .iter()
            .map(|hex| {
                let bytes: Vec<u8> =
                    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
                leaf_hash(&bytes)
            })
            .collect();
        for (n, expected) in (1..).zip(roots) {
            assert_eq!(root(&hashes[..n]).to_hex(), expected, "{n} leaves");
        }
    }

    proptest! {
        #[test]
        fn a_tree_grown_leaf_by_leaf_has_the_root_of_the_definition(n in 0u64..600) {
            let leaves = leaves(n);
            prop_assert_eq!(root(&leaves), mth(&leaves));
            let at: Vec<Digest> = peaks(0, n).iter().map(|p| of(&leaves, (p.index << p.level, (p.index + 1) << p.level))).collect();
            prop_assert_eq!(Edge::resume(n, &at).root(), mth(&leaves));
        }

        #[test]
        fn every_leaf_is_proven_and_no_other_is(n in 1u64..400, seed in any::<u64>(), flip in any::<usize>()) {
            let (leaves, index) = (leaves(n), seed % n);
            let proof: Vec<Digest> = inclusion(index, n).iter().map(|r| of(&leaves, *r)).collect();
            let leaf = leaf_hash(&index.to_be_bytes());
            prop_assert!(verify_inclusion(leaf, index, n, &proof, mth(&leaves)));
            prop_assert!(!verify_inclusion(leaf_hash(b"another"), index, n, &proof, mth(&leaves)));
            if !proof.is_empty() {
                let mut bent = proof.clone();
                let at = flip % bent.len();
                bent[at].0[flip % 32] ^= 1;
                prop_assert!(!verify_inclusion(leaf, index, n, &bent, mth(&leaves)));
                prop_assert!(!verify_inclusion(leaf, index, n, &proof[1..], mth(&leaves)));
            }
            let mut longer = proof;
            longer.push(leaf);
            prop_assert!(!verify_inclusion(leaf, index, n, &longer, mth(&leaves)));
        }

        #[test]
        fn a_longer_tree_is_proven_to_begin_with_the_shorter(n in 1u64..400, seed in any::<u64>(), flip in any::<usize>()) {
            let leaves = leaves(n);
            let old = seed % (n + 1);
            let old_root = of(&leaves, (0, old));
            let proof: Vec<Digest> = consistency(old, n).iter().map(|r| of(&leaves, *r)).collect();
            prop_assert!(verify_consistency(old, old_root, n, mth(&leaves), &proof));
            prop_assert!(!verify_consistency(old, leaf_hash(b"another"), n, mth(&leaves), &proof));
            if !proof.is_empty() {
                let mut bent = proof;
                let at = flip % bent.len();
                bent[at].0[flip % 32] ^= 1;
                prop_assert!(!verify_consistency(old, old_root, n, mth(&leaves), &bent));
            }
        }
    }
}
