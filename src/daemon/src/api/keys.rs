//! Keys that scripts set on this node, and what has become of them of late.

use std::collections::{BTreeMap, VecDeque};
use wire::api::{
    KeyChange, KeyChanged, KeyError, KeyEvent, KeyRefused, KeyValue, Keys, KeysCall, KeysReply, MAX_BINARY_BYTES,
};

/// Corosync's bounds of a name.
const NAME_BYTES: std::ops::RangeInclusive<usize> = 3..=255;
const MAX_KEYS: usize = 1000;
/// Changes that are remembered for those who follow them.
const MAX_CHANGES: usize = 1000;
/// What is below these the node itself says, or would mean something to corosync that nothing here carries out.
const OWNED: &[(&str, &str)] = &[
    ("totem.", FILE),
    ("nodelist.", FILE),
    ("quorum.", FILE),
    ("logging.", FILE),
    ("system.", FILE),
    ("resources.", FILE),
    ("interface.", FILE),
    ("uidgid.", "who may ask is said by the group haclient and by ACLs"),
    ("config.", "use `corosync-cfgtool -R` to read corosync.conf again"),
    ("internal_configuration.", SHOWN),
    ("runtime.", SHOWN),
    ("stats.", SHOWN),
];
const FILE: &str = "change it in corosync.conf on every node, then run `corosync-cfgtool -R`";
const SHOWN: &str = "it shows the state of the node";

#[derive(Default)]
pub(super) struct Store {
    keys: BTreeMap<String, KeyValue>,
    changes: VecDeque<KeyChanged>,
    /// Number of the newest change.
    last: u64,
}

impl Store {
    pub fn since(&self, after: u64) -> Keys {
        let oldest = self.last - self.changes.len() as u64;
        let skipped = after.saturating_sub(oldest).min(self.changes.len() as u64);
        Keys {
            keys: self.keys.clone(),
            last: self.last,
            changes: self.changes.iter().skip(skipped as usize).cloned().collect(),
            lost: oldest.saturating_sub(after),
        }
    }

    pub fn change(&mut self, call: KeysCall) -> KeysReply {
        let mut keys = self.keys.clone();
        let mut told = Vec::new();
        for (number, change) in call.changes.into_iter().enumerate() {
            if let Err((error, message)) = apply(&mut keys, change, &mut told) {
                return KeysReply { refused: Some(KeyRefused { change: number, error, message }) };
            }
        }
        self.keys = keys;
        self.last += told.len() as u64;
        self.changes.extend(told);
        let surplus = self.changes.len().saturating_sub(MAX_CHANGES);
        self.changes.drain(..surplus);
        KeysReply::default()
    }
}

type Refusal = (KeyError, String);

fn apply(keys: &mut BTreeMap<String, KeyValue>, change: KeyChange, told: &mut Vec<KeyChanged>) -> Result<(), Refusal> {
    let deleted = |(name, value)| KeyChanged { event: KeyEvent::Delete, name, value };
    match change {
        KeyChange::Set { name, value } => {
            check_name(&name)?;
            check_value(&value)?;
            let event = match keys.get(&name) {
                Some(old) if *old == value => return Ok(()),
                Some(_) => KeyEvent::Modify,
                None if keys.len() >= MAX_KEYS => {
                    return Err((KeyError::NoMemory, format!("there are {MAX_KEYS} keys already: delete some")));
                }
                None => KeyEvent::Create,
            };
            keys.insert(name.clone(), value.clone());
            told.push(KeyChanged { event, name, value });
        }
        KeyChange::Delete { name } => {
            check_owner(&name)?;
            let entry = keys.remove_entry(&name);
            told.push(entry.map(deleted).ok_or((KeyError::NotExist, "no such key was set on this node".to_owned()))?);
        }
        KeyChange::DeletePrefix { prefix } => {
            check_owner(&prefix)?;
            told.extend(keys.extract_if(.., |name, _| name.starts_with(&prefix)).map(deleted));
        }
    }
    Ok(())
}

fn check_owner(name: &str) -> Result<(), Refusal> {
    match OWNED.iter().find(|(prefix, _)| name.starts_with(prefix)) {
        Some((_, cure)) => Err((KeyError::Access, (*cure).to_owned())),
        None => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
    if !NAME_BYTES.contains(&name.len()) || !name.chars().all(allowed) {
        let (least, most) = (NAME_BYTES.start(), NAME_BYTES.end());
        let rule = format!("a name has {least} to {most} of the characters A-Z a-z 0-9 . _ - / :");
        return Err((KeyError::Name, rule));
    }
    check_owner(name)
}

fn check_value(value: &KeyValue) -> Result<(), Refusal> {
    let wrong = match value {
        KeyValue::Flt(n) if !n.is_finite() => "expected a finite number".to_owned(),
        KeyValue::Dbl(n) if !n.is_finite() => "expected a finite number".to_owned(),
        KeyValue::Bin(bytes) if bytes.len() > MAX_BINARY_BYTES => {
            format!("{} bytes: at most {MAX_BINARY_BYTES} are kept", bytes.len())
        }
        _ => return Ok(()),
    };
    Err((KeyError::Invalid, wrong))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: u8) -> KeyChange {
        KeyChange::Set { name: name.to_owned(), value: KeyValue::U8(value) }
    }

    fn delete(name: &str) -> KeyChange {
        KeyChange::Delete { name: name.to_owned() }
    }

    fn error(store: &mut Store, changes: Vec<KeyChange>) -> Option<(usize, KeyError)> {
        store.change(KeysCall { changes }).refused.map(|r| (r.change, r.error))
    }

    fn told(keys: Keys) -> Vec<(KeyEvent, String)> {
        keys.changes.into_iter().map(|c| (c.event, c.name)).collect()
    }

    #[test]
    fn all_changes_are_made_or_none_and_told_in_their_order() {
        let mut store = Store::default();
        assert_eq!(error(&mut store, vec![set("my.key", 1), set("my.key", 1), set("my.key", 2)]), None);
        assert_eq!(error(&mut store, vec![set("my.more", 1), delete("my.none")]), Some((1, KeyError::NotExist)));
        assert_eq!(store.since(0).keys, BTreeMap::from([("my.key".to_owned(), KeyValue::U8(2))]));
        let prefix = KeyChange::DeletePrefix { prefix: "my.".to_owned() };
        assert_eq!(error(&mut store, vec![set("my.more", 1), prefix, set("other", 1)]), None);
        let events = |words: &[(KeyEvent, &str)]| words.iter().map(|(e, n)| (*e, (*n).to_owned())).collect::<Vec<_>>();
        use KeyEvent::*;
        let all =
            [(Create, "my.key"), (Modify, "my.key"), (Create, "my.more"), (Delete, "my.key"), (Delete, "my.more")];
        assert_eq!(told(store.since(0)), [events(&all), events(&[(Create, "other")])].concat());
        assert_eq!(told(store.since(5)), events(&[(Create, "other")]));
        assert_eq!((told(store.since(6)), told(store.since(u64::MAX))), (vec![], vec![]));
    }

    #[test]
    fn what_the_node_says_itself_is_not_written_over() {
        let mut store = Store::default();
        for name in ["totem.token", "runtime.members.1.ip", "uidgid.gid.7", "stats.x"] {
            assert_eq!(error(&mut store, vec![set(name, 1)]), Some((0, KeyError::Access)), "{name}");
            assert_eq!(error(&mut store, vec![delete(name)]), Some((0, KeyError::Access)), "{name}");
        }
        for name in ["ab", "a b c", "sch\u{f6}n", &"x".repeat(256)] {
            assert_eq!(error(&mut store, vec![set(name, 1)]), Some((0, KeyError::Name)), "{name}");
        }
        let value = KeyValue::Dbl(f64::NAN);
        let change = KeyChange::Set { name: "nan".to_owned(), value };
        assert_eq!(error(&mut store, vec![change]), Some((0, KeyError::Invalid)));
    }

    #[test]
    fn memory_is_bounded_and_what_is_not_kept_is_counted() {
        let mut store = Store::default();
        let fill = |n: usize| set(&format!("key.{n}"), 1);
        assert_eq!(error(&mut store, (0..MAX_KEYS).map(fill).collect()), None);
        assert_eq!(error(&mut store, vec![fill(MAX_KEYS)]), Some((0, KeyError::NoMemory)));
        for n in 0..5 {
            assert_eq!(error(&mut store, vec![set("key.0", 2 + n)]), None);
        }
        let keys = store.since(0);
        assert_eq!((keys.changes.len(), keys.lost, keys.last), (MAX_CHANGES, 5, MAX_CHANGES as u64 + 5));
        assert_eq!(store.since(5).lost, 0);
    }
}
