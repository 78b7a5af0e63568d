//! Evaluation against a tree.

use super::{Axis, Comparison, Expr, Function, Location, MAX_VISITS, Path, PathError, Step};
use crate::tree::{Element, Node};
use std::collections::BTreeSet;

pub fn find(path: &Path, root: &Element, visits: &mut usize) -> Result<Vec<Location>, PathError> {
    let mut eval = Eval { root, visits };
    let mut found = BTreeSet::new();
    for steps in &path.branches {
        for item in eval.steps(vec![Item::Document], steps)? {
            match item {
                Item::Element(at) | Item::Attribute(at, _) => found.insert(at),
                Item::Document => false,
            };
        }
    }
    Ok(found.into_iter().collect())
}

/// What a step stands on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Item {
    /// Above the root element.
    Document,
    Element(Location),
    Attribute(Location, String),
}

enum Value {
    Items(Vec<Item>),
    Text(String),
    Number(f64),
    Bool(bool),
}

struct Context<'a> {
    item: &'a Item,
    position: usize,
    last: usize,
}

struct Eval<'a> {
    root: &'a Element,
    visits: &'a mut usize,
}

impl Eval<'_> {
    fn visit(&mut self) -> Result<(), PathError> {
        *self.visits += 1;
        if *self.visits > MAX_VISITS { Err(PathError::TooCostly) } else { Ok(()) }
    }

    fn steps(&mut self, from: Vec<Item>, steps: &[Step]) -> Result<Vec<Item>, PathError> {
        let mut current = from;
        for step in steps {
            let mut next = BTreeSet::new();
            for item in &current {
                next.extend(self.step(item, step)?);
            }
            current = next.into_iter().collect();
        }
        Ok(current)
    }

    fn step(&mut self, from: &Item, step: &Step) -> Result<Vec<Item>, PathError> {
        let mut items = self.axis(from, step)?;
        for predicate in &step.predicates {
            let last = items.len();
            let mut kept = Vec::new();
            for (i, item) in items.into_iter().enumerate() {
                let context = Context { item: &item, position: i + 1, last };
                let holds = match self.expr(predicate, &context)? {
                    Value::Number(n) => n == context.position as f64,
                    value => truth(&value),
                };
                if holds {
                    kept.push(item);
                }
            }
            items = kept;
        }
        Ok(items)
    }

    fn axis(&mut self, from: &Item, step: &Step) -> Result<Vec<Item>, PathError> {
        let mut out = Vec::new();
        match (step.axis, from) {
            (Axis::Attribute, Item::Element(at)) => {
                let names = self.element(at).map(|e| e.attrs().map(|(n, _)| n.to_owned()).collect::<Vec<_>>());
                let wanted =
                    names.unwrap_or_default().into_iter().filter(|n| step.name.as_ref().is_none_or(|w| w == n));
                out.extend(wanted.map(|n| Item::Attribute(at.clone(), n)));
            }
            (Axis::SelfNode, item) => self.push_if(&mut out, item.clone(), step)?,
            (Axis::Parent, item) => {
                if let Some(up) = parent(item) {
                    self.push_if(&mut out, up, step)?;
                }
            }
            (Axis::Ancestor, item) => {
                let mut here = parent(item);
                while let Some(up) = here {
                    here = parent(&up);
                    self.push_if(&mut out, up, step)?;
                }
            }
            (Axis::Child, item) => {
                for child in self.children(item) {
                    self.push_if(&mut out, child, step)?;
                }
            }
            (Axis::Descendant | Axis::DescendantOrSelf, item) => {
                if step.axis == Axis::DescendantOrSelf {
                    self.push_if(&mut out, item.clone(), step)?;
                }
                let mut stack = self.children(item);
                stack.reverse();
                while let Some(next) = stack.pop() {
                    let mut below = self.children(&next);
                    below.reverse();
                    self.push_if(&mut out, next, step)?;
                    stack.extend(below);
                }
            }
            (Axis::Attribute, _) => {}
        }
        Ok(out)
    }

    fn push_if(&mut self, out: &mut Vec<Item>, item: Item, step: &Step) -> Result<(), PathError> {
        self.visit()?;
        let fits = match (&step.name, &item) {
            (None, _) => true,
            (Some(name), Item::Element(at)) => self.element(at).is_some_and(|e| e.name() == name),
            (Some(name), Item::Attribute(_, n)) => n == name,
            (Some(_), Item::Document) => false,
        };
        if fits {
            out.push(item);
        }
        Ok(())
    }

    fn element(&self, at: &[usize]) -> Option<&Element> {
        self.root.at(at)
    }

    fn children(&self, item: &Item) -> Vec<Item> {
        match item {
            Item::Document => vec![Item::Element(Vec::new())],
            Item::Attribute(..) => Vec::new(),
            Item::Element(at) => {
                let nodes = self.element(at).into_iter().flat_map(Element::nodes);
                let elements = nodes.enumerate().filter(|(_, n)| matches!(n, Node::Element(_)));
                elements
                    .map(|(i, _)| {
                        let mut child = Vec::with_capacity(at.len() + 1);
                        child.extend_from_slice(at);
                        child.push(i);
                        Item::Element(child)
                    })
                    .collect()
            }
        }
    }

    fn expr(&mut self, expr: &Expr, context: &Context<'_>) -> Result<Value, PathError> {
        Ok(match expr {
            Expr::Text(t) => Value::Text(t.clone()),
            Expr::Number(n) => Value::Number(*n),
            Expr::Or(a, b) => Value::Bool(truth(&self.expr(a, context)?) || truth(&self.expr(b, context)?)),
            Expr::And(a, b) => Value::Bool(truth(&self.expr(a, context)?) && truth(&self.expr(b, context)?)),
            Expr::Compare(a, op, b) => {
                let (a, b) = (self.expr(a, context)?, self.expr(b, context)?);
                let holds = self.compare(&a, *op, &b);
                if *self.visits > MAX_VISITS {
                    return Err(PathError::TooCostly);
                }
                Value::Bool(holds)
            }
            Expr::Steps { absolute, steps } => {
                let from = if *absolute { Item::Document } else { context.item.clone() };
                Value::Items(self.steps(vec![from], steps)?)
            }
            Expr::Call(function, args) => {
                let value = self.call(*function, args, context)?;
                if *self.visits > MAX_VISITS {
                    return Err(PathError::TooCostly);
                }
                value
            }
        })
    }

    fn call(&mut self, function: Function, args: &[Expr], context: &Context<'_>) -> Result<Value, PathError> {
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            values.push(self.expr(arg, context)?);
        }
        let mut text = |i: usize| values.get(i).map(|v| self.text(v)).unwrap_or_default();
        Ok(match function {
            Function::Not => Value::Bool(!values.first().is_some_and(truth)),
            Function::Contains => Value::Bool(text(0).contains(&text(1))),
            Function::StartsWith => Value::Bool(text(0).starts_with(&text(1))),
            Function::Position => Value::Number(context.position as f64),
            Function::Last => Value::Number(context.last as f64),
            Function::StringLength => Value::Number(text(0).chars().count() as f64),
            Function::True => Value::Bool(true),
            Function::False => Value::Bool(false),
            Function::Count => Value::Number(match values.first() {
                Some(Value::Items(items)) => items.len() as f64,
                _ => 0.0,
            }),
            Function::Name => {
                let item = match values.first() {
                    Some(Value::Items(items)) => items.first(),
                    _ => Some(context.item),
                };
                Value::Text(match item {
                    Some(Item::Element(at)) => self.element(at).map(|e| e.name().to_owned()).unwrap_or_default(),
                    Some(Item::Attribute(_, name)) => name.clone(),
                    _ => String::new(),
                })
            }
        })
    }

    /// The text of an element is that of all below it, each of which counts as visited.
    fn string_of(&mut self, item: &Item) -> String {
        match item {
            Item::Document => String::new(),
            Item::Attribute(at, name) => self.element(at).and_then(|e| e.attr(name)).unwrap_or_default().to_owned(),
            Item::Element(at) => {
                let mut text = String::new();
                for e in self.root.at(at).into_iter().flat_map(Element::descendants) {
                    *self.visits += 1;
                    if *self.visits > MAX_VISITS {
                        break;
                    }
                    text.push_str(&e.text());
                }
                text
            }
        }
    }

    fn text(&mut self, value: &Value) -> String {
        match value {
            Value::Items(items) => items.first().map(|i| self.string_of(i)).unwrap_or_default(),
            Value::Text(t) => t.clone(),
            Value::Number(n) => n.to_string(),
            Value::Bool(b) => b.to_string(),
        }
    }

    /// XPath 1.0 §3.4: a node-set compares as true if any of its nodes does.
    fn compare(&mut self, a: &Value, op: Comparison, b: &Value) -> bool {
        match (a, b) {
            (Value::Items(items), other) => items.iter().any(|i| {
                let text = Value::Text(self.string_of(i));
                self.compare(&text, op, other)
            }),
            (other, Value::Items(items)) => items.iter().any(|i| {
                let text = Value::Text(self.string_of(i));
                self.compare(other, op, &text)
            }),
            (Value::Bool(_), _) | (_, Value::Bool(_)) => order(op, f64::from(truth(a)), f64::from(truth(b))),
            (Value::Text(x), Value::Text(y)) if matches!(op, Comparison::Eq | Comparison::Ne) => {
                (x == y) == (op == Comparison::Eq)
            }
            _ => order(op, self.number(a), self.number(b)),
        }
    }

    fn number(&mut self, value: &Value) -> f64 {
        match value {
            Value::Number(n) => *n,
            Value::Bool(b) => f64::from(*b),
            other => self.text(other).trim().parse().unwrap_or(f64::NAN),
        }
    }
}

fn order(op: Comparison, a: f64, b: f64) -> bool {
    match op {
        Comparison::Eq => a == b,
        Comparison::Ne => a != b,
        Comparison::Lt => a < b,
        Comparison::Le => a <= b,
        Comparison::Gt => a > b,
        Comparison::Ge => a >= b,
    }
}

fn parent(item: &Item) -> Option<Item> {
    match item {
        Item::Document => None,
        Item::Attribute(at, _) => Some(Item::Element(at.clone())),
        Item::Element(at) => Some(match at.split_last() {
            Some((_, up)) => Item::Element(up.to_vec()),
            None => Item::Document,
        }),
    }
}

fn truth(value: &Value) -> bool {
    match value {
        Value::Items(items) => !items.is_empty(),
        Value::Text(t) => !t.is_empty(),
        Value::Number(n) => *n != 0.0 && !n.is_nan(),
        Value::Bool(b) => *b,
    }
}
