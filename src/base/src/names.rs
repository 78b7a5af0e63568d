//! A set of names that is handed on with every change: a copy costs next to nothing, and a change copies a small part.

use std::sync::Arc;

/// Names of one part at most.
const PART: usize = 128;

/// Names in order, each once.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Names {
    /// None is empty.
    parts: Vec<Arc<Vec<Arc<str>>>>,
}

impl Names {
    /// False if it was there.
    pub fn insert(&mut self, name: &str) -> bool {
        if self.parts.is_empty() {
            self.parts.push(Arc::new(vec![Arc::from(name)]));
            return true;
        }
        let at = self.part_of(name);
        let Err(place) = find(&self.parts[at], name) else { return false };
        let part = Arc::make_mut(&mut self.parts[at]);
        part.insert(place, Arc::from(name));
        if part.len() > PART {
            let second = part.split_off(PART / 2);
            self.parts.insert(at + 1, Arc::new(second));
        }
        true
    }

    /// False if it was not there.
    pub fn remove(&mut self, name: &str) -> bool {
        let at = self.part_of(name);
        let Some(place) = self.parts.get(at).and_then(|part| find(part, name).ok()) else { return false };
        let part = Arc::make_mut(&mut self.parts[at]);
        part.remove(place);
        if part.is_empty() {
            self.parts.remove(at);
        }
        true
    }

    pub fn contains(&self, name: &str) -> bool {
        self.parts.get(self.part_of(name)).is_some_and(|part| find(part, name).is_ok())
    }

    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().flat_map(|part| part.iter()).map(|name| &**name)
    }

    /// The part in which `name` stands, or would stand.
    fn part_of(&self, name: &str) -> usize {
        let starts_before = |part: &Arc<Vec<Arc<str>>>| part.first().is_some_and(|first| **first <= *name);
        self.parts.partition_point(starts_before).saturating_sub(1)
    }
}

fn find(part: &[Arc<str>], name: &str) -> Result<usize, usize> {
    part.binary_search_by(|known| (**known).cmp(name))
}

impl<S: AsRef<str>> FromIterator<S> for Names {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Names {
        let mut all = Names::default();
        for name in names {
            all.insert(name.as_ref());
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn as_a_plain_set_and_copies_stay() {
        let (mut names, mut plain) = (Names::default(), BTreeSet::new());
        let mut copies = Vec::new();
        for step in 0u64..6000 {
            let name = format!("r{}", step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53);
            if step % 3 == 2 {
                assert_eq!(names.remove(&name), plain.remove(&name));
            } else {
                assert_eq!(names.insert(&name), plain.insert(name.clone()));
            }
            assert_eq!(names.contains(&name), plain.contains(&name));
            if step % 500 == 0 {
                copies.push((names.clone(), plain.clone()));
            }
        }
        copies.push((names, plain));
        for (names, plain) in copies {
            assert!(names.iter().eq(plain.iter()) && names.len() == plain.len());
        }
    }

    #[test]
    fn a_change_copies_one_part() {
        let mut names: Names = (0..10_000).map(|i| format!("r{i}")).collect();
        let held = names.clone();
        assert!(names.remove("r5000") && held.contains("r5000"));
        let shared = names.parts.iter().filter(|part| held.parts.iter().any(|p| Arc::ptr_eq(p, part))).count();
        assert_eq!(shared + 1, held.parts.len());
        names.iter().map(str::to_owned).collect::<Vec<_>>().iter().for_each(|name| assert!(names.remove(name)));
        assert!(names.is_empty() && !names.contains("r1"));
    }
}
