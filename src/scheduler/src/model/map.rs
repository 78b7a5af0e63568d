//! A sorted map from text to text: most have a handful of entries, and there is one per action.

use super::basics::Str;
use std::collections::BTreeMap;

/// With more entries than this a list would be slow.
const FEW: usize = 48;

/// Entries sorted by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Map {
    Few(Vec<(Str, Str)>),
    #[expect(clippy::box_collection, reason = "the usual case is to be small")]
    Many(Box<BTreeMap<Str, Str>>),
}

impl Default for Map {
    fn default() -> Map {
        Map::Few(Vec::new())
    }
}

impl Map {
    pub fn new() -> Map {
        Map::default()
    }

    pub fn get(&self, name: &str) -> Option<&Str> {
        match self {
            Map::Few(list) => find(list, name).ok().map(|at| &list[at].1),
            Map::Many(map) => map.get(name),
        }
    }

    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Sets a value, whatever there was.
    pub fn insert(&mut self, name: Str, value: Str) {
        match self {
            Map::Few(list) => match find(list, &name) {
                Ok(at) => list[at].1 = value,
                Err(at) => self.add(at, name, value),
            },
            Map::Many(map) => drop(map.insert(name, value)),
        }
    }

    /// Sets a value unless there is one.
    pub fn insert_new(&mut self, name: &Str, value: &Str) {
        match self {
            Map::Few(list) => {
                if let Err(at) = find(list, name) {
                    self.add(at, name.clone(), value.clone());
                }
            }
            Map::Many(map) => drop(map.entry(name.clone()).or_insert_with(|| value.clone())),
        }
    }

    fn add(&mut self, at: usize, name: Str, value: Str) {
        let Map::Few(list) = self else { return };
        if list.len() < FEW {
            if list.len() == list.capacity() {
                list.reserve_exact(2 + list.len() / 2);
            }
            list.insert(at, (name, value));
        } else {
            let mut map: BTreeMap<Str, Str> = std::mem::take(list).into_iter().collect();
            map.insert(name, value);
            *self = Map::Many(Box::new(map));
        }
    }

    pub fn remove(&mut self, name: &str) -> Option<Str> {
        match self {
            Map::Few(list) => find(list, name).ok().map(|at| list.remove(at).1),
            Map::Many(map) => map.remove(name),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Str, &Str)> {
        let (few, many) = match self {
            Map::Few(list) => (&list[..], None),
            Map::Many(map) => (&[][..], Some(&**map)),
        };
        few.iter().map(|(n, v)| (n, v)).chain(many.into_iter().flatten())
    }

    /// The entries whose names begin with `prefix`.
    pub fn starting_with<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a Str, &'a Str)> {
        let (few, many) = match self {
            Map::Few(list) => (&list[find(list, prefix).unwrap_or_else(|at| at)..], None),
            Map::Many(map) => (&[][..], Some(map.range(Str::from(prefix)..))),
        };
        let all = few.iter().map(|(n, v)| (n, v)).chain(many.into_iter().flatten());
        all.take_while(move |(name, _)| name.starts_with(prefix))
    }

    pub fn keys(&self) -> impl Iterator<Item = &Str> {
        self.iter().map(|(name, _)| name)
    }

    /// Gives back memory that is not needed if nothing more is added.
    pub fn shrink(&mut self) {
        if let Map::Few(list) = self {
            list.shrink_to_fit();
        }
    }
}

/// Where a name is, or would be.
fn find(list: &[(Str, Str)], name: &str) -> Result<usize, usize> {
    list.binary_search_by(|(n, _)| (**n).cmp(name))
}

/// Of entries with the same name the last one counts.
impl FromIterator<(Str, Str)> for Map {
    fn from_iter<I: IntoIterator<Item = (Str, Str)>>(entries: I) -> Map {
        let mut map = Map::new();
        entries.into_iter().for_each(|(name, value)| map.insert(name, value));
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_sorted_and_keeps_one_value_per_name() {
        let mut map: Map =
            [("b", "1"), ("a", "2"), ("b", "3")].map(|(n, v)| (n.into(), v.into())).into_iter().collect();
        map.insert_new(&"a".into(), &"4".into());
        map.insert_new(&"c".into(), &"5".into());
        let all = |map: &Map| map.iter().map(|(n, v)| format!("{n}{v}")).collect::<Vec<_>>().join(" ");
        assert_eq!(all(&map), "a2 b3 c5");
        assert_eq!(
            all(&map.clone()),
            map.starting_with("").map(|(n, v)| format!("{n}{v}")).collect::<Vec<_>>().join(" ")
        );
        assert_eq!(
            (map.remove("b").as_deref(), map.remove("b"), map.get("c").map(|v| &**v)),
            (Some("3"), None, Some("5"))
        );
    }

    #[test]
    fn many_entries_are_kept_like_few() {
        let names = |of: std::ops::Range<usize>| of.map(|i| (Str::from(format!("n{i}")), Str::from(format!("{i}"))));
        let mut map: Map = names(0..200).collect();
        assert!(matches!(map, Map::Many(_)));
        assert_eq!(map.iter().count(), 200);
        assert_eq!(map.starting_with("n19").count(), 11);
        assert_eq!(names(0..40).collect::<Map>().starting_with("n3").count(), 11);
        map.insert("n7".into(), "x".into());
        map.insert_new(&"n8".into(), &"x".into());
        assert_eq!((map.get("n7").map(|v| &**v), map.get("n8").map(|v| &**v)), (Some("x"), Some("8")));
        assert_eq!((map.remove("n7").as_deref(), map.contains_key("n7")), (Some("x"), false));
    }
}
