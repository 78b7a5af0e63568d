//! `corosync-objctl`, as guides of corosync 1 type it: the same keys as `corosync-cmapctl` shows, in the form of that time.

use super::cmapctl::{change, read_all};
use super::keys::{self, Key};
use crate::args::{self, Command};
use crate::client::Client;
use crate::report::{Common, Format};
use crate::source::{Failure, checked};
use clap::Parser;
use std::ffi::OsString;
use wire::api::{KeyChange, KeyValue};

/// Where corosync 1 and 2 had the members.
const OLD_MEMBERS: &str = "runtime.totem.pg.mrp.srp.members.";
const MEMBERS: &str = "runtime.members.";

/// Show and set keys, in the words of corosync 1
#[derive(Parser, Debug)]
#[command(
    name = "corosync-objctl",
    disable_version_flag = true,
    after_help = "Examples:\n  corosync-objctl -a                                     all keys\n  corosync-objctl | grep members                         who is in the ring\n  corosync-objctl runtime.totem.pg.mrp.srp.members\n  corosync-objctl -w my.note=text                        a key of your own, until the node stops\n  corosync-objctl -d my.note\n\nNew scripts use corosync-cmapctl."
)]
pub struct Objctl {
    /// All keys (this is also what happens without options)
    #[arg(short = 'a')]
    all: bool,
    /// Values only
    #[arg(short = 'n')]
    values: bool,
    /// Set a key of your own
    #[arg(short = 'w', value_name = "KEY=VALUE")]
    write: Vec<String>,
    /// Delete an object of your own: all keys below it
    #[arg(short = 'd', value_name = "OBJECT")]
    delete: Vec<String>,
    /// Refused: an object is there with its first key
    #[arg(short = 'c', value_name = "OBJECT")]
    create: Vec<String>,
    /// Refused: corosync-cmapctl does it
    #[arg(short = 't', value_name = "OBJECT")]
    track: Option<String>,
    /// Refused: corosync-cmapctl does it
    #[arg(short = 'p', value_name = "FILE")]
    load: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Objects and keys to show
    #[arg(value_name = "OBJECT")]
    objects: Vec<String>,
    #[command(flatten)]
    common: Common,
}

pub fn objctl(args: Vec<OsString>) -> i32 {
    args::run::<Objctl>(args)
}

impl Command for Objctl {
    const NAME: &'static str = "corosync-objctl";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        self.refuse()?;
        let client = Client::from_env();
        let set = |pair: &String| {
            let wrong = || Failure::new(1, format!("{pair}: expected KEY=VALUE"));
            let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
            let value = KeyValue::Str(checked("value", value).map_err(|f| Failure { code: 1, ..f })?);
            Ok::<_, Failure>(KeyChange::Set { name: name.to_owned(), value })
        };
        let mut changes = self.write.iter().map(set).collect::<Result<Vec<_>, _>>()?;
        for object in &self.delete {
            let keys = read_all(&client)?;
            let below = keys.iter().any(|k| is_below(&k.name, object));
            if !below {
                return Err(Failure::new(1, format!("Failed to find object {object}")));
            }
            changes.extend(
                keys.iter().filter(|k| is_below(&k.name, object)).map(|k| KeyChange::Delete { name: k.name.clone() }),
            );
        }
        if !changes.is_empty() {
            return change(&client, changes);
        }
        let keys = read_all(&client)?;
        self.show(&keys)
    }
}

impl Objctl {
    fn refuse(&self) -> Result<(), Failure> {
        let why = match (&self.create.first(), &self.track, &self.load) {
            (Some(object), ..) => {
                format!("{object}: an object is there as soon as it has a key: corosync-objctl -w {object}.KEY=VALUE")
            }
            (_, Some(object), _) => format!("follow changes with: corosync-cmapctl -T {object}."),
            (_, _, Some(file)) => format!(
                "{file}: keys are loaded from lines `KEY TYPE VALUE` with: corosync-cmapctl -p FILE; what corosync.conf \
                 says is read again with: corosync-cfgtool -R"
            ),
            _ => return Ok(()),
        };
        Err(Failure::new(1, why))
    }

    fn show(&self, keys: &[Key]) -> Result<i32, Failure> {
        let all = self.all || self.objects.is_empty();
        let wanted = |name: &str| all || self.objects.iter().any(|o| is_below(name, o) || is_below(&old(name), o));
        let shown: Vec<&Key> = keys.iter().filter(|k| wanted(&k.name)).collect();
        let line = |key: &&Key| match self.values {
            true => format!("{}\n", key.value),
            false => format!("{}={}\n", old(&key.name), key.value),
        };
        let text = match self.json || self.common.output_as == Format::Json {
            true => keys::json(&shown.iter().map(|k| Key { name: old(&k.name), ..(*k).clone() }).collect::<Vec<_>>())?,
            false => shown.iter().map(line).collect(),
        };
        self.common.write(&text)?;
        match self.objects.iter().find(|_| shown.is_empty()) {
            Some(object) => Err(Failure::new(1, format!("Failed to find object {object}"))),
            None => Ok(0),
        }
    }
}

/// The key itself, or one below it.
fn is_below(name: &str, object: &str) -> bool {
    let object = object.trim_end_matches('.');
    name.strip_prefix(object).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Scripts look for the members where they were.
fn old(name: &str) -> String {
    name.strip_prefix(MEMBERS).map_or(name.to_owned(), |rest| format!("{OLD_MEMBERS}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_where_old_guides_look_for_them() {
        assert_eq!(old("runtime.members.1.ip"), "runtime.totem.pg.mrp.srp.members.1.ip");
        assert_eq!(old("totem.token"), "totem.token");
        assert!(is_below("totem.token", "totem") && is_below("totem.token", "totem.") && is_below("totem", "totem"));
        assert!(!is_below("totems.token", "totem"));
    }

    #[test]
    fn what_is_not_done_here_names_what_does_it() {
        for (words, cure) in [
            (["-c", "my.obj"], "corosync-objctl -w my.obj.KEY=VALUE"),
            (["-t", "my.obj"], "corosync-cmapctl -T my.obj."),
            (["-p", "file"], "corosync-cmapctl -p FILE"),
        ] {
            let line = std::iter::once("corosync-objctl").chain(words);
            let why = Objctl::try_parse_from(line).expect("options").refuse().expect_err("refused");
            assert!(why.code == 1 && why.message.contains(cure), "{}", why.message);
        }
    }
}
