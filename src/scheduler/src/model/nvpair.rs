//! Sets of name-value pairs, with the rules that say when they apply.

use super::rules::{Rule, RuleInput};
use super::{Index, Map, Str};
use base::{Score, WallTime};
use xml::Element;

/// One `meta_attributes`, `instance_attributes`, `utilization` or `cluster_property_set` element.
#[derive(Clone, Debug)]
pub struct Block {
    rule: Option<Rule>,
    pairs: Vec<(Str, Str)>,
}

/// All blocks of one kind below one element, in the order in which they win.
#[derive(Clone, Debug, Default)]
pub struct Blocks(Vec<Block>);

impl Blocks {
    /// Reads the children of `parent` called `kind`. A block with the id `first` goes first, then a higher score; of equal
    /// scores the later one wins.
    pub fn read(parent: &Element, kind: &str, first: Option<&str>, index: &Index<'_>, now: WallTime) -> Blocks {
        let mut found: Vec<(bool, i32, Block)> = Vec::new();
        for e in parent.elements_named(kind).filter_map(|e| index.resolve(e)) {
            let score = e.attr("score").and_then(Score::parse).map_or(0, Score::value);
            let is_first = first.is_some() && e.id() == first;
            // Very old schemas have an <attributes> element between the block and its pairs.
            let holder = e.elements().next().filter(|c| c.name() == "attributes").unwrap_or(e);
            let pairs = holder.elements_named("nvpair").filter_map(|p| index.resolve(p));
            let pairs = pairs.filter_map(|p| Some((p.shared_attr("name")?, p.shared_attr("value")?))).collect();
            let rule = e.child("rule").map(|r| Rule::read(r, index, now));
            found.push((is_first, score, Block { rule, pairs }));
        }
        found.reverse();
        found.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.cmp(&a.1)));
        Blocks(found.into_iter().map(|(_, _, block)| block).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what applies to `values`; what is already there stays. `#default` takes a value away.
    pub fn unpack(&self, input: &RuleInput<'_>, values: &mut Map, next_change: &mut Option<i64>) {
        for block in &self.0 {
            if block.rule.as_ref().is_some_and(|rule| !rule.passes(input, next_change)) {
                continue;
            }
            for (name, value) in &block.pairs {
                if value.eq_ignore_ascii_case("#default") {
                    values.remove(name);
                } else {
                    values.insert_new(name, value);
                }
            }
        }
    }
}
