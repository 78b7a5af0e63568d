//! Children behave as a plain list, at every size, and a change copies little.

use super::*;
use crate::tree::Element;
use proptest::prelude::*;

fn node(id: &str) -> Node {
    Node::Element(Element::new("e").with("id", id))
}

fn ids(children: &Children) -> Vec<String> {
    children.iter().filter_map(id_of).map(str::to_owned).collect()
}

fn wide(count: usize) -> Element {
    let mut e = Element::new("list");
    (0..count).for_each(|i| e.push(Element::new("e").with("id", format!("r{i}"))));
    e
}

#[derive(Clone, Debug)]
enum Step {
    Push(u16),
    Insert(usize, u16),
    Remove(usize),
    Rename(usize, u16),
    Thin(usize),
    RenameAll,
    Copy,
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        300 => any::<u16>().prop_map(Step::Push),
        60 => (any::<usize>(), any::<u16>()).prop_map(|(at, id)| Step::Insert(at, id)),
        60 => any::<usize>().prop_map(Step::Remove),
        40 => (any::<usize>(), any::<u16>()).prop_map(|(at, id)| Step::Rename(at, id)),
        4 => (2usize..50).prop_map(Step::Thin),
        2 => Just(Step::RenameAll),
        20 => Just(Step::Copy),
        1 => Just(Step::Clear),
    ]
}

/// The same on a plain list.
fn perform(step: &Step, children: &mut Children, plain: &mut Vec<String>) {
    match step {
        Step::Push(id) => {
            children.push(node(&id.to_string()));
            plain.push(id.to_string());
        }
        Step::Insert(at, id) => {
            let at = at % (plain.len() + 1);
            children.insert(at, node(&id.to_string()));
            plain.insert(at, id.to_string());
        }
        Step::Remove(at) if !plain.is_empty() => {
            let at = at % plain.len();
            let gone = children.remove(at).expect("there is one");
            assert_eq!(id_of(&gone), Some(plain.remove(at).as_str()));
        }
        Step::Rename(at, id) if !plain.is_empty() => {
            let at = at % plain.len();
            *children.get_mut(at).expect("there is one") = node(&id.to_string());
            plain[at] = id.to_string();
        }
        Step::Thin(every) => {
            let mut n = 0;
            children.retain(|_| {
                n += 1;
                n % every != 0
            });
            n = 0;
            plain.retain(|_| {
                n += 1;
                n % every != 0
            });
        }
        Step::RenameAll => {
            children.iter_mut().enumerate().for_each(|(i, n)| *n = node(&format!("n{i}")));
            plain.iter_mut().enumerate().for_each(|(i, n)| *n = format!("n{i}"));
        }
        Step::Clear => {
            children.clear();
            plain.clear();
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is done in whatever order: order, look-up and equality are those of a plain list, and copies do not change.
    #[test]
    fn as_a_plain_list(steps in proptest::collection::vec(step(), 0..3000)) {
        let (mut children, mut plain) = (Children::from(Vec::new()), Vec::<String>::new());
        let mut copies: Vec<(Children, Vec<String>)> = Vec::new();
        for (i, step) in steps.iter().enumerate() {
            perform(step, &mut children, &mut plain);
            if matches!(step, Step::Copy) {
                copies.push((children.clone(), plain.clone()));
            }
            if i % 16 == 0 && !plain.is_empty() {
                let id = &plain[i % plain.len()];
                let first = plain.iter().position(|p| p == id);
                prop_assert_eq!(children.position_by_id(id, |_| true), first);
                prop_assert_eq!(children.get(i % plain.len()).and_then(id_of), Some(id.as_str()));
            }
            prop_assert_eq!(children.len(), plain.len());
            prop_assert_eq!(children.position_by_id("no such", |_| true), None);
        }
        prop_assert_eq!(ids(&children), plain.clone());
        let back: Vec<&str> = children.iter().rev().filter_map(id_of).collect();
        prop_assert!(back.iter().rev().eq(plain.iter()));
        prop_assert_eq!(&children, &Children::from(plain.iter().map(|id| node(id)).collect::<Vec<_>>()));
        for (copy, plain) in copies {
            prop_assert_eq!(ids(&copy), plain);
        }
    }
}

/// A change copies the way to it, and shares the rest with the copy that somebody holds.
#[test]
fn a_change_of_one_copies_few() {
    let mut list = wide(10_000);
    let held = list.clone();
    list.child_by_id_mut("e", "r7000").expect("it is there").set("state", "new");
    assert_eq!(held.child_by_id("e", "r7000").expect("it is there").attr("state"), None);
    let (Kept::Many(new), Kept::Many(old)) = (&list.nodes().0, &held.nodes().0) else { panic!("not in blocks") };
    let copied = new.iter().zip(old).filter(|(a, b)| !Arc::ptr_eq(&a.shared, &b.shared)).count();
    assert_eq!((copied, new.len()), (1, 10_000usize.div_ceil(BLOCK)));
    assert_ne!(list, held);
    list.child_by_id_mut("e", "r7000").expect("it is there").remove_attr("state");
    assert_eq!(list, held);
}

/// An id that is changed through a reference is found by its new name, and no more by its old one.
#[test]
fn changed_ids_are_found() {
    let mut list = wide(1000);
    assert!(list.child_by_id("e", "r500").is_some());
    list.child_by_id_mut("e", "r500").expect("it is there").set("id", "x");
    assert!(list.child_by_id("e", "r500").is_none() && list.child_by_id("e", "x").is_some());
    list.elements_mut().for_each(|e| {
        let id = format!("{}-2", e.id().unwrap_or_default());
        e.set("id", id);
    });
    assert!(list.child_by_id("e", "x").is_none() && list.child_by_id("e", "x-2").is_some());
    assert!(list.child_by_id("f", "x-2").is_none(), "the name has to fit as well");
    list.retain_elements(|e| e.id() != Some("x-2"));
    assert!(list.child_by_id("e", "x-2").is_none() && list.child_by_id("e", "r999-2").is_some());
}
