//! Which permissions stand at which element, and what follows from them on the way down.

use super::permissions::{Kind, Permission, Selector};
use crate::CibError;
use std::collections::BTreeMap;
use xml::{Element, Node};

/// The permissions at an element and below it; where there are none, nothing is kept.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    here: Here,
    /// By index into [`Element::nodes`].
    below: BTreeMap<usize, Marks>,
}

/// First permission of each kind, in words.
#[derive(Clone, Debug, Default)]
struct Here {
    deny: Option<String>,
    write: Option<String>,
    read: Option<String>,
}

/// What may be done at an element, or the rule that forbids it.
#[derive(Clone, Debug)]
pub struct Allowed {
    pub read: Result<(), String>,
    pub write: Result<(), String>,
}

static NONE: Marks = Marks { here: Here { deny: None, write: None, read: None }, below: BTreeMap::new() };

impl Marks {
    pub fn of(root: &Element, permissions: &[Permission]) -> Result<Marks, CibError> {
        let mut marks = Marks::default();
        let mut visits = 0;
        for permission in permissions {
            match &permission.selector {
                Selector::Root => marks.put(&[], permission),
                Selector::Path(path) => {
                    let found = path.find_within(root, &mut visits);
                    let name = permission.to_string();
                    let found = found.map_err(|error| CibError::BadPermission { name, error })?;
                    found.iter().for_each(|at| marks.put(at, permission));
                }
                Selector::Like { tag, id, attribute } => {
                    let fits = |e: &Element| {
                        tag.as_ref().is_none_or(|t| e.name() == t)
                            && id.as_ref().is_none_or(|id| e.id() == Some(id))
                            && attribute.as_ref().is_none_or(|a| e.attr(a).is_some())
                    };
                    marks.put_where(root, &mut Vec::new(), &fits, permission);
                }
            }
        }
        Ok(marks)
    }

    fn put(&mut self, at: &[usize], permission: &Permission) {
        let place = at.iter().fold(self, |marks, i| marks.below.entry(*i).or_default());
        let slot = match permission.kind {
            Kind::Deny => &mut place.here.deny,
            Kind::Write => &mut place.here.write,
            Kind::Read => &mut place.here.read,
        };
        slot.get_or_insert_with(|| permission.to_string());
    }

    fn put_where(
        &mut self,
        e: &Element,
        at: &mut Vec<usize>,
        fits: &dyn Fn(&Element) -> bool,
        permission: &Permission,
    ) {
        if fits(e) {
            self.put(at, permission);
        }
        for (i, node) in e.nodes().iter().enumerate() {
            if let Node::Element(child) = node {
                at.push(i);
                self.put_where(child, at, fits, permission);
                at.pop();
            }
        }
    }

    /// Of the child at this place.
    pub fn child(&self, at: usize) -> &Marks {
        self.below.get(&at).unwrap_or(&NONE)
    }

    /// Places of the children at or below which there are any.
    pub fn marked(&self) -> impl Iterator<Item = (usize, &Marks)> {
        self.below.iter().map(|(at, marks)| (*at, marks))
    }

    pub fn has_any_below(&self) -> bool {
        !self.below.is_empty()
    }
}

impl Allowed {
    /// Above everything: nothing is allowed.
    pub fn nothing() -> Allowed {
        let default = || "no permission covers it".to_owned();
        Allowed { read: Err(default()), write: Err(default()) }
    }

    /// At an element with these marks, whose parent has this.
    pub fn at(&self, marks: &Marks) -> Allowed {
        let here = &marks.here;
        if let Some(rule) = &here.deny {
            let rule = format!("{rule} denies it");
            return Allowed { read: Err(rule.clone()), write: Err(rule) };
        }
        match (&here.write, &here.read) {
            (Some(_), _) => Allowed { read: Ok(()), write: Ok(()) },
            // The nearest one is named; but what is allowed above stays allowed.
            (None, Some(rule)) => {
                Allowed { read: Ok(()), write: self.write.clone().map_err(|_| format!("{rule} allows reading only")) }
            }
            (None, None) => self.clone(),
        }
    }
}
