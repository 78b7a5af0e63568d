//! The cluster's state for display: as the scheduler reads it, and the recorded operations beside it.

mod history;
#[cfg(test)]
mod tests;

use crate::source::Failure;
use base::WallTime;
use base::exit::crm;
use scheduler::status::{Cluster, Resource};
use xml::Element;

pub use history::{Operation, operations, since_start};

/// Reads everything that a display needs; `now` lets failures expire.
pub fn read(cib: &Element, now: WallTime) -> Result<Cluster, Failure> {
    scheduler::status::read(cib, now).map_err(|e| Failure::new(crm::DATAERR, e.to_string()))
}

/// A node as the cluster calls it; else what was asked for.
pub fn node_name<'a, 'n>(cluster: &'a Cluster, asked: &'n str) -> Result<&'a str, &'n str> {
    cluster.nodes.iter().map(|n| n.name.as_str()).find(|n| base::ids::same_node(n, asked)).ok_or(asked)
}

/// Sorts `n2` before `n10`.
pub fn natural(name: &str) -> Vec<(u64, String)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (text, tail) = rest.split_at(text_end);
        let digits_end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (digits, tail) = tail.split_at(digits_end);
        parts.push((0, text.to_lowercase()));
        if !digits.is_empty() {
            parts.push((digits.parse().unwrap_or(u64::MAX), String::new()));
        }
        rest = tail;
    }
    parts
}

/// The resource called `id` (configured id or instance) anywhere in the tree.
pub fn find<'a>(resources: &'a [Resource], id: &str) -> Option<&'a Resource> {
    resources.iter().find_map(|r| if r.id == id || r.name == id { Some(r) } else { find(&r.children, id) })
}
