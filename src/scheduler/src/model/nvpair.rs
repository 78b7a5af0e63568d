//! Sets of name-value pairs, with the rules that say when they apply.

use super::basics::Str;
use super::map::Map;
use super::rules::{Rule, RuleInput};
use base::WallTime;
use cib::config::Index;
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
    /// Reads the children of `parent` called `kind`.
    pub fn read(parent: &Element, kind: &str, first: Option<&str>, index: &Index<'_>, now: WallTime) -> Blocks {
        let block = |set: &Element| Block {
            rule: set.child("rule").map(|r| Rule::read(r, index, now)),
            pairs: cib::config::pairs(set, index).filter_map(|p| p.shared()).collect(),
        };
        Blocks(cib::config::sets(parent, kind, first, index).into_iter().map(block).collect())
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
