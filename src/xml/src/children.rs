//! The children of one element.
//!
//! A few stand in one list. Many are kept in shared blocks, so that a copy that changes one child copies the list of blocks
//! and one block, however many children there are; and each block remembers marks of its children's ids, so that one of ten
//! thousand is found by its id without a look at the others. Order and equality are those of a plain list.

use crate::tree::Node;
use std::fmt;
use std::iter::FusedIterator;
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// Children of one block at most.
const BLOCK: usize = 128;
/// Up to this number they stand in one list.
const FEW: usize = 2 * BLOCK;

/// Mark of a child that nobody has looked at yet.
const UNKNOWN: u32 = 0;
/// Mark of a child that has no id.
const NO_ID: u32 = 1;

/// The children of an element, in order.
#[derive(Clone)]
pub struct Children(Kept);

#[derive(Clone)]
enum Kept {
    Few(Vec<Node>),
    Many(Vec<Block>),
}

#[derive(Clone)]
struct Block {
    /// Number of nodes, here so that counting needs no look into the blocks.
    len: usize,
    shared: Arc<Shared>,
}

struct Shared {
    nodes: Vec<Node>,
    /// What [`mark`] gives for each node; made when an id is first looked for.
    marks: OnceLock<Box<[AtomicU32]>>,
}

impl Children {
    pub fn len(&self) -> usize {
        match &self.0 {
            Kept::Few(nodes) => nodes.len(),
            Kept::Many(blocks) => blocks.iter().map(|b| b.len).sum(),
        }
    }

    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Kept::Few(nodes) => nodes.is_empty(),
            Kept::Many(blocks) => blocks.is_empty(),
        }
    }

    pub fn iter(&self) -> Iter<'_> {
        let (few, many): (&[Node], &[Block]) = match &self.0 {
            Kept::Few(nodes) => (nodes, &[]),
            Kept::Many(blocks) => (&[], blocks),
        };
        Iter { front: few.iter(), blocks: many.iter(), back: [].iter() }
    }

    /// All of them, to be changed: no block stays shared. To change one, [`Children::get_mut`] is much cheaper.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Node> {
        let (few, many): (&mut [Node], &mut [Block]) = match &mut self.0 {
            Kept::Few(nodes) => (nodes, &mut []),
            Kept::Many(blocks) => (&mut [], blocks),
        };
        few.iter_mut().chain(many.iter_mut().flat_map(|b| b.open().iter_mut()))
    }

    pub fn get(&self, at: usize) -> Option<&Node> {
        match &self.0 {
            Kept::Few(nodes) => nodes.get(at),
            Kept::Many(blocks) => {
                let (block, within) = place(blocks, at)?;
                blocks[block].shared.nodes.get(within)
            }
        }
    }

    pub fn get_mut(&mut self, at: usize) -> Option<&mut Node> {
        match &mut self.0 {
            Kept::Few(nodes) => nodes.get_mut(at),
            Kept::Many(blocks) => {
                let (block, within) = place(blocks, at)?;
                blocks[block].open_one(within)
            }
        }
    }

    /// Position of the first child element with this id for which `fits` holds.
    pub(crate) fn position_by_id(&self, id: &str, fits: impl Fn(&Node) -> bool) -> Option<usize> {
        let is_it = |n: &Node| id_of(n) == Some(id) && fits(n);
        let blocks = match &self.0 {
            Kept::Few(nodes) => return nodes.iter().position(is_it),
            Kept::Many(blocks) => blocks,
        };
        let wanted = mark(Some(id));
        let mut before = 0;
        for block in blocks {
            if let Some(within) = block.shared.position_by_mark(wanted, is_it) {
                return Some(before + within);
            }
            before += block.len;
        }
        None
    }

    pub fn push(&mut self, node: Node) {
        match &mut self.0 {
            Kept::Few(nodes) => nodes.push(node),
            Kept::Many(blocks) => match blocks.last_mut() {
                Some(last) if last.len < BLOCK => last.edit(|nodes| nodes.push(node)),
                _ => blocks.push(Block::new(vec![node])),
            },
        }
        self.part();
    }

    /// Puts `node` before what stands at `at`; at the end if nothing does.
    pub fn insert(&mut self, at: usize, node: Node) {
        match &mut self.0 {
            Kept::Few(nodes) => nodes.insert(at.min(nodes.len()), node),
            Kept::Many(blocks) => {
                let Some((block, within)) = place(blocks, at) else { return self.push(node) };
                blocks[block].edit(|nodes| nodes.insert(within, node));
                if blocks[block].len > BLOCK {
                    let half = blocks[block].edit(|nodes| nodes.split_off(nodes.len() / 2));
                    blocks.insert(block + 1, Block::new(half));
                }
            }
        }
        self.part();
    }

    /// Takes out what stands at `at`, if anything does.
    pub fn remove(&mut self, at: usize) -> Option<Node> {
        match &mut self.0 {
            Kept::Few(nodes) => (at < nodes.len()).then(|| nodes.remove(at)),
            Kept::Many(blocks) => {
                let (block, within) = place(blocks, at)?;
                let node = blocks[block].edit(|nodes| nodes.remove(within));
                join(blocks);
                Some(node)
            }
        }
    }

    /// Keeps those for which `keep` holds; it is asked once for each, in order.
    pub fn retain(&mut self, mut keep: impl FnMut(&Node) -> bool) {
        match &mut self.0 {
            Kept::Few(nodes) => nodes.retain(keep),
            Kept::Many(blocks) => {
                for block in blocks.iter_mut() {
                    let kept: Vec<bool> = block.shared.nodes.iter().map(&mut keep).collect();
                    // A block of which nothing goes stays shared.
                    if kept.contains(&false) {
                        let mut kept = kept.into_iter();
                        block.edit(|nodes| nodes.retain(|_| kept.next().unwrap_or(true)));
                    }
                }
                join(blocks);
            }
        }
    }

    pub fn clear(&mut self) {
        self.0 = Kept::Few(Vec::new());
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        match &mut self.0 {
            Kept::Few(nodes) => nodes.shrink_to_fit(),
            Kept::Many(blocks) => blocks.shrink_to_fit(),
        }
    }

    /// Too many for one list are parted into blocks; they stay so when there are fewer again.
    fn part(&mut self) {
        let Kept::Few(nodes) = &mut self.0 else { return };
        if nodes.len() <= FEW {
            return;
        }
        let mut nodes = std::mem::take(nodes);
        let mut blocks = Vec::with_capacity(nodes.len().div_ceil(BLOCK));
        while !nodes.is_empty() {
            let rest = nodes.split_off(nodes.len().min(BLOCK));
            blocks.push(Block::new(std::mem::replace(&mut nodes, rest)));
        }
        self.0 = Kept::Many(blocks);
    }
}

/// Block and position within it.
fn place(blocks: &[Block], at: usize) -> Option<(usize, usize)> {
    let mut within = at;
    for (number, block) in blocks.iter().enumerate() {
        if within < block.len {
            return Some((number, within));
        }
        within -= block.len;
    }
    None
}

/// Empty blocks go, and neighbours that fill half of one become one.
fn join(blocks: &mut Vec<Block>) {
    blocks.retain(|b| b.len > 0);
    let mut at = 1;
    while at < blocks.len() {
        if blocks[at - 1].len + blocks[at].len <= BLOCK / 2 {
            let mut second = blocks.remove(at);
            let mut more = std::mem::take(second.open());
            blocks[at - 1].edit(|nodes| nodes.append(&mut more));
        } else {
            at += 1;
        }
    }
}

impl Block {
    fn new(nodes: Vec<Node>) -> Block {
        Block { len: nodes.len(), shared: Arc::new(Shared { nodes, marks: OnceLock::new() }) }
    }

    /// The nodes, to be changed each for itself.
    fn open(&mut self) -> &mut Vec<Node> {
        let shared = Arc::make_mut(&mut self.shared);
        shared.marks.take();
        &mut shared.nodes
    }

    fn open_one(&mut self, at: usize) -> Option<&mut Node> {
        let shared = Arc::make_mut(&mut self.shared);
        if let Some(mark) = shared.marks.get_mut().and_then(|m| m.get_mut(at)) {
            *mark.get_mut() = UNKNOWN;
        }
        shared.nodes.get_mut(at)
    }

    /// Changes which nodes there are.
    fn edit<T>(&mut self, change: impl FnOnce(&mut Vec<Node>) -> T) -> T {
        let result = change(self.open());
        self.len = self.shared.nodes.len();
        result
    }
}

impl Shared {
    fn position_by_mark(&self, wanted: u32, is_it: impl Fn(&Node) -> bool) -> Option<usize> {
        let marks = self.marks.get_or_init(|| self.nodes.iter().map(|n| AtomicU32::new(mark(id_of(n)))).collect());
        for (at, known) in marks.iter().enumerate() {
            let seen = known.load(Ordering::Relaxed);
            if seen != wanted && seen != UNKNOWN {
                continue;
            }
            let node = &self.nodes[at];
            if seen == UNKNOWN {
                known.store(mark(id_of(node)), Ordering::Relaxed);
            }
            if is_it(node) {
                return Some(at);
            }
        }
        None
    }
}

/// A copy of a block is going to be changed; the marks are worth more than their copying.
impl Clone for Shared {
    fn clone(&self) -> Shared {
        let marks = OnceLock::new();
        if let Some(known) = self.marks.get() {
            let copy = known.iter().map(|m| AtomicU32::new(m.load(Ordering::Relaxed))).collect();
            let _ = marks.set(copy);
        }
        // Room for the one that may be added.
        let mut nodes = Vec::with_capacity((self.nodes.len() + 1).min(BLOCK));
        nodes.extend_from_slice(&self.nodes);
        Shared { nodes, marks }
    }
}

fn id_of(node: &Node) -> Option<&str> {
    match node {
        Node::Element(e) => e.id(),
        _ => None,
    }
}

/// A word of an id, never [`UNKNOWN`]. Equal words only mean that a look is worth it.
fn mark(id: Option<&str>) -> u32 {
    let Some(id) = id else { return NO_ID };
    let hash = id.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    hash.max(NO_ID + 1)
}

impl From<Vec<Node>> for Children {
    fn from(nodes: Vec<Node>) -> Children {
        let mut children = Children(Kept::Few(nodes));
        children.part();
        children
    }
}

impl Extend<Node> for Children {
    fn extend<I: IntoIterator<Item = Node>>(&mut self, nodes: I) {
        nodes.into_iter().for_each(|node| self.push(node));
    }
}

impl PartialEq for Children {
    fn eq(&self, other: &Children) -> bool {
        if let (Kept::Many(a), Kept::Many(b)) = (&self.0, &other.0)
            && a.len() == b.len()
            && a.iter().zip(b).all(|(a, b)| a.len == b.len)
        {
            let same = |(a, b): (&Block, &Block)| Arc::ptr_eq(&a.shared, &b.shared) || a.shared.nodes == b.shared.nodes;
            return a.iter().zip(b).all(same);
        }
        self.len() == other.len() && self.iter().eq(other)
    }
}

impl Eq for Children {}

impl fmt::Debug for Children {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<'a> IntoIterator for &'a Children {
    type Item = &'a Node;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Children in order, from either end.
#[derive(Clone)]
pub struct Iter<'a> {
    front: slice::Iter<'a, Node>,
    blocks: slice::Iter<'a, Block>,
    back: slice::Iter<'a, Node>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Node;

    fn next(&mut self) -> Option<&'a Node> {
        loop {
            if let Some(node) = self.front.next() {
                return Some(node);
            }
            match self.blocks.next() {
                Some(block) => self.front = block.shared.nodes.iter(),
                None => return self.back.next(),
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.front.len() + self.back.len() + self.blocks.clone().map(|b| b.len).sum::<usize>();
        (len, Some(len))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(node) = self.back.next_back() {
                return Some(node);
            }
            match self.blocks.next_back() {
                Some(block) => self.back = block.shared.nodes.iter(),
                None => return self.front.next_back(),
            }
        }
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl FusedIterator for Iter<'_> {}

#[cfg(test)]
#[path = "children/tests.rs"]
mod tests;
