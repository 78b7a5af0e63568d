//! Constraints that lead back to where they began.

use std::collections::{BTreeMap, BTreeSet};
use xml::Element;

/// Resources that a message names.
const MAX_NAMED: usize = 8;

/// A cycle: one of its constraints, and the resources along it as words.
pub struct Cycle<'a> {
    pub constraint: &'a Element,
    pub along: String,
}

/// Cycles among the constraints of a kind, which lead from the resource in attribute `from` to that in `to`; one for each knot.
pub fn find<'a>(constraints: impl Iterator<Item = &'a Element>, from: &str, to: &str) -> Vec<Cycle<'a>> {
    let mut edges: BTreeMap<&str, Vec<(&str, &Element)>> = BTreeMap::new();
    for e in constraints {
        if let (Some(a), Some(b)) = (e.attr(from), e.attr(to))
            && a != b
        {
            edges.entry(a).or_default().push((b, e));
        }
    }
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut cycles = Vec::new();
    for start in edges.keys().copied().collect::<Vec<_>>() {
        // The way from the start to here, each with the number of its next edge to follow.
        let mut way: Vec<(&str, usize)> = vec![(start, 0)];
        let mut on_way: BTreeSet<&str> = BTreeSet::from([start]);
        if done.contains(start) {
            continue;
        }
        while let Some((at, next)) = way.last_mut() {
            let (here, edge) = (*at, edges.get(*at).and_then(|list| list.get(*next)));
            *next += 1;
            match edge {
                None => {
                    done.insert(here);
                    on_way.remove(here);
                    way.pop();
                }
                Some((other, constraint)) if on_way.contains(other) => {
                    let names: Vec<&str> = way.iter().map(|(n, _)| *n).skip_while(|n| n != other).collect();
                    cycles.push(Cycle { constraint, along: words(&names) });
                    // One message for a knot: all on the way are known to be in it or before it.
                    done.extend(on_way.iter().copied());
                    break;
                }
                Some((other, _)) if !done.contains(other) => {
                    on_way.insert(other);
                    way.push((other, 0));
                }
                Some(_) => {}
            }
        }
    }
    cycles
}

fn words(names: &[&str]) -> String {
    let first = names.first().copied().unwrap_or_default();
    if names.len() > MAX_NAMED {
        return format!("{}, … ({} resources), {first}", names[..MAX_NAMED].join(", "), names.len());
    }
    format!("{}, {first}", names.join(", "))
}
