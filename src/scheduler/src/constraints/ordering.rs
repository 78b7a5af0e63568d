//! `rsc_order`: what must be done before what.

use super::{Named, ResSet, single_set, tag_set};
use crate::model::flags::rel;
use crate::model::{Index, RscIdx, Sched, Side, Str, op_key};
use base::text::{is_true, parse_bool, parse_int};
use xml::Element;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Optional,
    Mandatory,
    Serialize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Symmetry {
    Asymmetric,
    Symmetric,
    Inverse,
}

fn invert(action: &str) -> Option<&'static str> {
    Some(match action {
        "start" => "stop",
        "stop" => "start",
        "promote" => "demote",
        "demote" => "promote",
        "promoted" => "demoted",
        "demoted" => "promoted",
        "running" => "stopped",
        "stopped" => "running",
        _ => return None,
    })
}

/// Whether `symmetrical` of an element, else of its parent, makes an ordering work both ways.
fn symmetry(kind: Kind, own: Option<&str>, parent: Option<&str>) -> Symmetry {
    let wanted = own.and_then(parse_bool).or_else(|| parent.map(is_true));
    match wanted {
        Some(true) if kind != Kind::Serialize => Symmetry::Symmetric,
        Some(_) => Symmetry::Asymmetric,
        None if kind == Kind::Serialize => Symmetry::Asymmetric,
        None => Symmetry::Symmetric,
    }
}

fn kind_flags(kind: Kind, first: &str, symmetry: Symmetry) -> u32 {
    match (kind, symmetry) {
        (Kind::Optional, _) => rel::ORDERED,
        (Kind::Serialize, _) => rel::SERIALIZE,
        (Kind::Mandatory, Symmetry::Asymmetric) => rel::ORDERED | rel::ASYMMETRIC,
        (Kind::Mandatory, Symmetry::Inverse) => rel::ORDERED | rel::THEN_IMPLIES_FIRST,
        (Kind::Mandatory, Symmetry::Symmetric) => {
            let blocks =
                if matches!(first, "start" | "promote" | "migrate_from") { rel::UNRUNNABLE_FIRST_BLOCKS } else { 0 };
            rel::ORDERED | rel::FIRST_IMPLIES_THEN | blocks
        }
    }
}

impl Sched {
    fn order_kind(&mut self, id: &str, kind: Option<&str>, score: Option<&str>) -> Kind {
        match kind {
            None => match score.map(|s| self.score_of(s).unwrap_or(0)) {
                Some(0) => Kind::Optional,
                _ => Kind::Mandatory,
            },
            Some("Mandatory") => Kind::Mandatory,
            Some("Optional") => Kind::Optional,
            Some("Serialize") => Kind::Serialize,
            Some(other) => {
                self.error(format!(
                    "Resetting 'kind' for constraint {id} to 'Mandatory' because '{other}' is not valid"
                ));
                Kind::Mandatory
            }
        }
    }

    pub(super) fn unpack_order(&mut self, e: &Element, index: &Index<'_>) {
        let id = e.id().unwrap_or_default().to_owned();
        let kind = self.order_kind(&id, e.attr("kind"), e.attr("score"));
        let symmetrical = e.attr("symmetrical");
        let symmetry = symmetry(kind, symmetrical, None);
        let mut sets = self.constraint_sets(e, index);
        if sets.is_empty() {
            match self.order_tags(e) {
                Some(made) => sets = made,
                None => return,
            }
        }
        if sets.is_empty() {
            self.unpack_simple_order(e, &id, kind, symmetry);
            return;
        }
        let mut last: Option<&ResSet> = None;
        for set in &sets {
            if self.unpack_order_set(set, kind, symmetrical).is_none() {
                return;
            }
            if let Some(last) = last {
                if self.order_sets(&id, last, set, kind, symmetry).is_none() {
                    return;
                }
                if symmetry == Symmetry::Symmetric && self.order_sets(&id, set, last, kind, Symmetry::Inverse).is_none()
                {
                    return;
                }
            }
            last = Some(set);
        }
    }

    /// Sets for `first` and `then` if one of them is a tag; empty if neither is; `None` if one is nothing.
    fn order_tags(&mut self, e: &Element) -> Option<Vec<ResSet>> {
        let (Some(first), Some(then)) = (e.attr("first"), e.attr("then")) else { return Some(Vec::new()) };
        let mut sides = Vec::new();
        let mut any_tag = false;
        for (id, action) in [(first, "first-action"), (then, "then-action")] {
            let mut set = match self.named(id) {
                Some(Named::Resource(_)) => single_set(id),
                Some(Named::Tag(refs)) => {
                    any_tag = true;
                    tag_set(id, refs)
                }
                None => {
                    self.not_valid(e, id);
                    return None;
                }
            };
            set.action = e.attr(action).map(Str::from);
            sides.push(set);
        }
        Some(if any_tag { sides } else { Vec::new() })
    }

    fn unpack_simple_order(&mut self, e: &Element, id: &str, kind: Kind, symmetry: Symmetry) {
        let mut sides = Vec::new();
        for attr in ["first", "then"] {
            let Some(name) = e.attr(attr) else {
                self.error(format!("Ignoring constraint '{id}' without {attr}"));
                return;
            };
            let Some(rsc) = self.constraint_resource(name) else {
                self.error(format!("Ignoring constraint '{id}' because resource '{name}' does not exist"));
                return;
            };
            sides.push(rsc);
        }
        let [first, then] = sides[..] else { return };
        let first_action = e.attr("first-action").unwrap_or("start");
        let then_action = e.attr("then-action").unwrap_or(first_action);
        let flags = kind_flags(kind, first_action, symmetry);
        let min = self.minimum_first(first, e);
        if min > 0 {
            self.clone_min_ordering(id, (first, first_action), (then, then_action), flags, min);
        } else {
            self.order_tasks(first, first_action, then, then_action, flags);
        }
        if symmetry == Symmetry::Symmetric {
            let (Some(inv_first), Some(inv_then)) = (invert(first_action), invert(then_action)) else {
                self.warn(format!("Cannot invert constraint '{id}' (please specify inverse manually)"));
                return;
            };
            let flags = kind_flags(kind, inv_first, Symmetry::Inverse);
            self.order_tasks(then, inv_then, first, inv_first, flags);
        }
    }

    /// How many instances of a clone must be up before `then` may start; 0 means all.
    fn minimum_first(&self, rsc: RscIdx, e: &Element) -> i32 {
        if !self[rsc].is_clone() {
            return 0;
        }
        if let Some(min) = self[rsc].meta("clone-min") {
            return parse_int(min).unwrap_or(0).clamp(0, i64::from(i32::MAX)) as i32;
        }
        match e.attr("require-all") {
            Some(text) if !is_true(text) => 1,
            _ => 0,
        }
    }

    fn clone_min_ordering(&mut self, id: &str, first: (RscIdx, &str), then: (RscIdx, &str), flags: u32, min: i32) {
        let met = self.pseudo_op(&format!("clone-one-or-more:{id}"));
        self[met].required_runnable_before = min;
        for child in self[first.0].children.clone() {
            let key = self.key(child, first.1, 0);
            let flags = rel::MIN_RUNNABLE | rel::FIRST_IMPLIES_THEN_GRAPHED;
            self.new_ordering(Side { rsc: Some(child), key: Some(key), action: None }, Side::of(met), flags);
        }
        let key = self.key(then.0, then.1, 0);
        let then = Side { rsc: Some(then.0), key: Some(key), action: None };
        self.new_ordering(Side::of(met), then, flags | rel::UNRUNNABLE_FIRST_BLOCKS);
    }

    fn set_members(&mut self, set_id: &str, members: &[Str]) -> Option<Vec<RscIdx>> {
        let mut found = Vec::new();
        for id in members {
            match self.constraint_resource(id) {
                Some(rsc) => found.push(rsc),
                None => {
                    self.error(format!("{set_id}: No resource found for {id}"));
                    return None;
                }
            }
        }
        Some(found)
    }

    fn unpack_order_set(&mut self, set: &ResSet, parent_kind: Kind, parent_symmetrical: Option<&str>) -> Option<()> {
        let id = set.id.clone().unwrap_or_else(|| "".into());
        let action = set.action.as_deref().unwrap_or("start").to_owned();
        let kind = match &set.kind {
            Some(kind) => self.order_kind(&id, Some(kind), None),
            None => parent_kind,
        };
        let sequential = set.sequential.as_deref().is_none_or(is_true);
        let symmetry_kind = if set.kind.is_some() || set.score.is_some() {
            self.order_kind(&id, set.kind.as_deref(), set.score.as_deref())
        } else {
            parent_kind
        };
        let symmetry = symmetry(symmetry_kind, set.symmetrical.as_deref(), parent_symmetrical);
        let flags = kind_flags(kind, &action, symmetry);
        let members = self.set_members(&id, &set.members)?;
        if members.len() == 1 {
            return Some(());
        }
        for (i, rsc) in members.iter().enumerate() {
            if kind == Kind::Serialize {
                for then in &members[i + 1..] {
                    self.order_tasks(*rsc, &action, *then, &action, flags);
                }
            } else if sequential && i > 0 {
                self.order_tasks(members[i - 1], &action, *rsc, &action, flags);
            }
        }
        if symmetry == Symmetry::Asymmetric {
            return Some(());
        }
        let Some(inverse) = invert(&action) else { return Some(()) };
        let flags = kind_flags(kind, inverse, Symmetry::Inverse);
        if sequential {
            for pair in members.windows(2) {
                self.order_tasks(pair[1], inverse, pair[0], inverse, flags);
            }
        }
        Some(())
    }

    fn order_sets(&mut self, id: &str, set1: &ResSet, set2: &ResSet, kind: Kind, symmetry: Symmetry) -> Option<()> {
        let mut action1 = set1.action.as_deref().unwrap_or("start").to_owned();
        let mut action2 = set2.action.as_deref().unwrap_or("start").to_owned();
        let mut require_all = set1.require_all.as_deref().and_then(parse_bool).unwrap_or(true);
        if symmetry == Symmetry::Inverse {
            (action1, action2) = (invert(&action1)?.to_owned(), invert(&action2)?.to_owned());
        }
        require_all |= action1 == "stop" || action1 == "demote";
        let flags = kind_flags(kind, &action1, symmetry);
        let firsts = self.set_members(id, &set1.members)?;
        let thens = self.set_members(id, &set2.members)?;
        if !require_all {
            let name = format!("one-or-more:{}", set1.id.as_deref().unwrap_or_default());
            let any = self.pseudo_op(&name);
            self[any].required_runnable_before = 1;
            for rsc in firsts {
                let side = Side { rsc: Some(rsc), key: Some(op_key(&self[rsc].id, &action1, 0)), action: None };
                self.new_ordering(side, Side::of(any), rel::MIN_RUNNABLE | rel::FIRST_IMPLIES_THEN_GRAPHED);
            }
            for rsc in thens {
                let side = Side { rsc: Some(rsc), key: Some(op_key(&self[rsc].id, &action2, 0)), action: None };
                self.new_ordering(Side::of(any), side, flags | rel::UNRUNNABLE_FIRST_BLOCKS);
            }
            return Some(());
        }
        let inverse = symmetry == Symmetry::Inverse;
        let chosen = |set: &ResSet, members: &[RscIdx], front: bool| -> Vec<RscIdx> {
            if !set.sequential.as_deref().is_some_and(is_true) {
                return members.to_vec();
            }
            let one = if front { members.first() } else { members.last() };
            one.map_or_else(|| members.to_vec(), |m| vec![*m])
        };
        let firsts = chosen(set1, &firsts, inverse);
        let thens = chosen(set2, &thens, !inverse);
        for first in &firsts {
            for then in &thens {
                self.order_tasks(*first, &action1, *then, &action2, flags);
            }
        }
        Some(())
    }
}
