//! `corosync-cmapctl -t` and `-T`: changes of keys as they come, until somebody types q.

use super::keys::Key;
use crate::report::put;
use crate::source::Failure;
use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use wire::api::{KeyEvent, Keys};

/// Between two looks; the node counts the changes of its own keys, so that none of those is missed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(super) enum What {
    Key(String),
    Prefix(String),
}

impl What {
    fn is(&self, name: &str) -> bool {
        match self {
            What::Key(key) => name == key,
            What::Prefix(prefix) => name.starts_with(prefix.as_str()),
        }
    }
}

/// `read` gives what the node says of itself, and the keys that were set there with their changes after a number.
pub(super) fn follow(
    what: &What,
    binary: bool,
    read: impl Fn(u64) -> Result<(Vec<Key>, Keys), Failure>,
) -> Result<i32, Failure> {
    let (mut before, own) = read(u64::MAX)?;
    let mut last = own.last;
    put("Type \"q\" to finish\n");
    let end = end();
    while let Err(RecvTimeoutError::Timeout) = end.recv_timeout(LOOK_EVERY) {
        let (now, own) = read(last)?;
        // A node that was started again counts anew.
        let changed = if own.last < last { read(0)?.1.changes } else { own.changes };
        last = own.last;
        if own.lost > 0 {
            put(&format!("{} changes were missed\n", own.lost));
        }
        for change in changed.iter().filter(|c| what.is(&c.name)) {
            tell(change.event, &Key::own(&change.name, &change.value), binary);
        }
        for (event, key) in differences(&before, &now).into_iter().filter(|(_, k)| what.is(&k.name)) {
            tell(event, key, binary);
        }
        before = now;
    }
    Ok(0)
}

/// Ends or is answered when `q` or the end of the input comes.
fn end() -> mpsc::Receiver<()> {
    let (typed, end) = mpsc::channel();
    std::thread::spawn(move || {
        let quit = |line: &std::io::Result<String>| line.as_ref().map_or(true, |l| l.trim_start().starts_with('q'));
        let _ = std::io::stdin().lock().lines().find(quit);
        // Nobody may listen any more.
        let _ = typed.send(());
    });
    end
}

fn tell(event: KeyEvent, key: &Key, binary: bool) {
    put(&format!("{}> {}\n", event.word(), key.line(binary)));
}

fn differences<'a>(before: &'a [Key], now: &'a [Key]) -> Vec<(KeyEvent, &'a Key)> {
    let names = |keys: &'a [Key]| keys.iter().map(|k| (k.name.as_str(), k)).collect::<BTreeMap<_, _>>();
    let (old, new) = (names(before), names(now));
    let gone = before.iter().filter(|k| !new.contains_key(k.name.as_str())).map(|k| (KeyEvent::Delete, k));
    let came = now.iter().filter_map(|key| match old.get(key.name.as_str()) {
        None => Some((KeyEvent::Create, key)),
        Some(was) if **was != *key => Some((KeyEvent::Modify, key)),
        Some(_) => None,
    });
    gone.chain(came).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_changed_and_went_is_told() {
        let key = |name: &str, value: &str| Key { name: name.to_owned(), kind: "u8", value: value.to_owned() };
        let before = [key("a.same", "1"), key("b.changes", "1"), key("c.goes", "1")];
        let now = [key("a.same", "1"), key("b.changes", "2"), key("d.comes", "1")];
        let told: Vec<(KeyEvent, &str)> =
            differences(&before, &now).into_iter().map(|(e, k)| (e, k.name.as_str())).collect();
        assert_eq!(
            told,
            [(KeyEvent::Delete, "c.goes"), (KeyEvent::Modify, "b.changes"), (KeyEvent::Create, "d.comes")]
        );
    }
}
