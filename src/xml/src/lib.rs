//! XML as the cluster uses it: an ordered, mutable tree with canonical writing, a path subset, diff and patch.
//!
//! A copy of an element shares its children with it until one of the two changes; attributes keep their order of appearance. Parsing is strict and bounded
//! ([`MAX_DEPTH`], [`MAX_BYTES`]); document type declarations are refused.

mod children;
pub mod diff;
mod parse;
pub mod path;
mod shared;
mod tree;
mod write;

pub use children::Children;
pub use diff::{PatchError, diff, diff_as_written, patch, patch_within};
pub use parse::{MAX_BYTES, MAX_DEPTH, ParseError, parse};
pub use path::{Location, Path, PathError};
pub use tree::{Element, Name, Node};
pub use write::digest_form;
