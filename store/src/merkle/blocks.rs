//! The top of the tree over a file's records, which the file keeps: one node for each block of 256 records.
//!
//! ```text
//! 0 … 255 │ 256 … 511 │ 512 … 700      records, in blocks; the last one is as long as it comes
//!    a    │     b     │     c          root over the leaves of each
//!          ╲   ╱           │
//!           ab ────────── abc          root over the blocks as if they were leaves: the root of the file
//! ```
//! RFC 6962 splits a tree at a power of two, so no split goes through a block. The nodes are not trusted: their root is that of the signed commit,
//! or they are of no use. With them one record is proven out of its block, and the rest of the file is not read.

use super::tree::{Edge, inclusion, root};
use wk_schemas::Digest;

/// Records in a block. They take 32 bytes more in the file.
pub const BLOCK_ROWS: u64 = 256;

/// The roots of the blocks of a growing tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blocks {
    whole: Vec<Digest>,
    open: Edge,
}

impl Blocks {
    /// Adds a leaf.
    pub fn push(&mut self, leaf: Digest) {
        self.open.push(leaf, |_, _| {});
        if self.open.size() == BLOCK_ROWS {
            self.whole.push(self.open.root());
            self.open = Edge::default();
        }
    }

    /// How many leaves there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.whole.len() as u64 * BLOCK_ROWS + self.open.size()
    }

    /// The root over each block, in their order.
    #[must_use]
    pub fn into_roots(mut self) -> Vec<Digest> {
        if self.open.size() > 0 {
            self.whole.push(self.open.root());
        }
        self.whole
    }
}

/// The hashes that prove leaf `index` of the tree over `leaves`.
///
/// # Panics
/// When there is no such leaf.
#[must_use]
pub fn path(index: u64, leaves: &[Digest]) -> Vec<Digest> {
    let at = |n: u64| usize::try_from(n).expect("an index into what is in memory");
    inclusion(index, leaves.len() as u64).into_iter().map(|(from, to)| root(&leaves[at(from)..at(to)])).collect()
}

/// The hashes that prove leaf `index` of a tree, out of the leaves of its block and the root over each block.
///
/// # Panics
/// When there is no such leaf.
#[must_use]
pub fn path_in_block(index: u64, block: &[Digest], roots: &[Digest]) -> Vec<Digest> {
    let mut hashes = path(index % BLOCK_ROWS, block);
    hashes.extend(path(index / BLOCK_ROWS, roots));
    hashes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::tree::{leaf_hash, verify_inclusion};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_tree_over_blocks_is_the_top_of_the_tree_over_leaves(n in 1u64..2100, seed in any::<u64>()) {
            let leaves: Vec<Digest> = (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect();
            let mut blocks = Blocks::default();
            leaves.iter().for_each(|leaf| blocks.push(*leaf));
            prop_assert_eq!(blocks.size(), n);
            let roots = blocks.into_roots();
            prop_assert_eq!(roots.len() as u64, n.div_ceil(BLOCK_ROWS));
            prop_assert_eq!(root(&roots), root(&leaves));

            let index = seed % n;
            let begin = usize::try_from(index / BLOCK_ROWS * BLOCK_ROWS).unwrap();
            let block = &leaves[begin..leaves.len().min(begin + 256)];
            let hashes = path_in_block(index, block, &roots);
            prop_assert_eq!(&hashes, &path(index, &leaves));
            prop_assert!(verify_inclusion(leaves[usize::try_from(index).unwrap()], index, n, &hashes, root(&leaves)));
        }
    }
}
