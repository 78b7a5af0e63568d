//! `corosync-cmapctl`: what runs, and what scripts have set on this node, as keys.

use super::keys::{self, Key};
use super::track::{self, What};
use super::{error, refused};
use crate::args::{self, Command};
use crate::client::Client;
use crate::report::{Common, Format};
use crate::source::{Failure, checked};
use clap::Parser;
use std::ffi::OsString;
use std::io::Read;
use std::str::FromStr;
use wire::api::{
    Done, KeyChange, KeyValue, Keys, KeysCall, KeysReply, MAX_BINARY_BYTES, NodeStatus, QuorumStatus, VotesCall,
};

/// Show, change and follow the running configuration as keys
#[derive(Parser, Debug)]
#[command(
    name = "corosync-cmapctl",
    disable_version_flag = true,
    after_help = "Examples:\n  corosync-cmapctl                      all keys\n  corosync-cmapctl | grep members       who is in the ring\n  corosync-cmapctl -g totem.cluster_name\n  corosync-cmapctl -m stats             what every link has carried\n  corosync-cmapctl -s quorum.cancel_wait_for_all u8 1\n  corosync-cmapctl -s my.note str text  a key of your own, until the node stops\n  corosync-cmapctl -T runtime.members   follow changes; end with q"
)]
pub struct Cmapctl {
    /// Show these keys only
    #[arg(short = 'g', value_name = "KEY", num_args = 1..)]
    get: Vec<String>,
    /// Set a key of your own, or quorum.cancel_wait_for_all, or quorum.expected_votes. TYPE: [i|u][8|16|32|64], flt, dbl, str, bin (VALUE is a file then, - for standard input)
    #[arg(short = 's', value_names = ["KEY", "TYPE", "VALUE"], num_args = 3, allow_hyphen_values = true)]
    set: Vec<String>,
    /// Delete keys of your own
    #[arg(short = 'd', value_name = "KEY", num_args = 1..)]
    delete: Vec<String>,
    /// Delete keys of your own that start so
    #[arg(short = 'D', value_name = "PREFIX", num_args = 1..)]
    delete_prefix: Vec<String>,
    /// Set and delete as a file says: lines `KEY TYPE VALUE`, `^KEY` (delete), `^^PREFIX` (delete all that start so)
    #[arg(short = 'p', value_name = "FILE")]
    load: Option<std::path::PathBuf>,
    /// Follow a key until q is typed
    #[arg(short = 't', value_name = "KEY")]
    track: Option<String>,
    /// Follow all keys that start so
    #[arg(short = 'T', value_name = "PREFIX")]
    track_prefix: Option<String>,
    /// Refused: counters are not cleared
    #[arg(short = 'C', value_name = "WHAT", value_parser = ["knet", "ipc", "totem", "schedmiss", "all"])]
    clear: Option<String>,
    /// Which map: icmap or stats
    #[arg(short = 'm', value_name = "MAP", default_value = "icmap", value_parser = ["default", "icmap", "stats"])]
    map: String,
    /// Show binary values
    #[arg(short = 'b')]
    binary: bool,
    /// Show the values only
    #[arg(short = 'q')]
    quiet: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Show the keys that start so
    #[arg(value_name = "PREFIX")]
    prefixes: Vec<String>,
    #[command(flatten)]
    common: Common,
}

pub fn cmapctl(args: Vec<OsString>) -> i32 {
    args::run::<Cmapctl>(args)
}

impl Command for Cmapctl {
    const NAME: &'static str = "corosync-cmapctl";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        let client = Client::from_env();
        if self.clear.is_some() {
            let why = "counters are not cleared, since monitoring counts on them: compare two readings (-m stats)";
            return Err(Failure::new(1, why));
        }
        if let [key, kind, value] = self.set.as_slice() {
            return set(&client, key, kind, value);
        }
        let delete = |name: &String| KeyChange::Delete { name: name.clone() };
        let delete_prefix = |prefix: &String| KeyChange::DeletePrefix { prefix: prefix.clone() };
        let deletions: Vec<KeyChange> =
            self.delete.iter().map(delete).chain(self.delete_prefix.iter().map(delete_prefix)).collect();
        match &self.load {
            Some(path) => return change(&client, load(path)?),
            None if !deletions.is_empty() => return change(&client, deletions),
            None => {}
        }
        let what = self.track.clone().map(What::Key).or(self.track_prefix.clone().map(What::Prefix));
        match what {
            Some(what) => track::follow(&what, self.binary, |after| self.read(&client, after)),
            None => self.show(&client),
        }
    }
}

impl Cmapctl {
    /// The keys of the map, and what scripts have set.
    fn read(&self, client: &Client, after: u64) -> Result<(Vec<Key>, Keys), Failure> {
        if self.map == "stats" {
            let status: NodeStatus = client.get("/v1/status").map_err(error)?;
            return Ok((keys::stats(&status), Keys::default()));
        }
        read_icmap(client, after)
    }

    fn show(&self, client: &Client) -> Result<i32, Failure> {
        let mut keys = with_own(self.read(client, u64::MAX)?);
        let all = self.get.is_empty() && self.prefixes.is_empty();
        if let Some(missing) = self.get.iter().find(|g| keys.iter().all(|k| k.name != **g)) {
            return Err(Failure::new(1, format!("Can't get key {missing}. Error CS_ERR_NOT_EXIST")));
        }
        keys.retain(|k| {
            all || self.get.contains(&k.name) || self.prefixes.iter().any(|p| k.name.starts_with(p.as_str()))
        });
        let json = self.json || self.common.output_as == Format::Json;
        let line = |key: &Key| {
            let (text, plain) = (key.line(self.binary), format!("{} ({}) = ", key.name, key.kind));
            if self.quiet { text.strip_prefix(&plain).unwrap_or_default().to_owned() } else { text }
        };
        let shown = if json { keys::json(&keys)? } else { keys.iter().map(|k| line(k) + "\n").collect() };
        self.common.write(&shown)?;
        Ok(i32::from(keys.is_empty()))
    }
}

fn read_icmap(client: &Client, after: u64) -> Result<(Vec<Key>, Keys), Failure> {
    let status: NodeStatus = client.get("/v1/status").map_err(error)?;
    let quorum: QuorumStatus = client.get("/v1/quorum").map_err(error)?;
    let own: Keys = client.get(&format!("/v1/keys?after={after}")).map_err(error)?;
    Ok((keys::icmap(&status, &quorum), own))
}

/// All keys of the node, sorted.
pub(super) fn read_all(client: &Client) -> Result<Vec<Key>, Failure> {
    read_icmap(client, u64::MAX).map(with_own)
}

fn with_own((mut keys, own): (Vec<Key>, Keys)) -> Vec<Key> {
    keys.extend(own.keys.iter().map(|(name, value)| Key::own(name, value)));
    keys.sort();
    keys
}

/// What means something to the node is carried out; of all else the node says whether it may be a key of one's own.
fn set(client: &Client, key: &str, kind: &str, value: &str) -> Result<i32, Failure> {
    let call = match (key, value.parse::<u32>()) {
        ("quorum.cancel_wait_for_all", Ok(1)) => VotesCall::CancelWaitForAll,
        ("quorum.cancel_wait_for_all", Ok(0)) => return Ok(0),
        ("runtime.blackbox.dump_flight_data" | "runtime.blackbox.dump_state", _) => return dump(client),
        ("quorum.expected_votes", Ok(votes)) => VotesCall::Expected(votes),
        ("quorum.cancel_wait_for_all" | "quorum.expected_votes", Err(_)) => {
            return Err(Failure::new(1, format!("{value} is not valid {kind} type value: expected a number")));
        }
        _ => return change(client, vec![KeyChange::Set { name: key.to_owned(), value: parse(kind, value)? }]),
    };
    let done: Done = client.post("/v1/votes", &call).map_err(error)?;
    if done.code == 0 { Ok(0) } else { Err(refused(failed_to_set(key, "CS_ERR_INVALID_PARAM"), &done)) }
}

fn failed_to_set(key: &str, error: &str) -> String {
    format!("Failed to set key {key}. Error {error}")
}

/// What `corosync-blackbox` of the original sets; the node writes both into one file.
fn dump(client: &Client) -> Result<i32, Failure> {
    let reply: wire::api::BlackboxReply =
        client.post("/v1/blackbox", &wire::api::BlackboxCall::default()).map_err(error)?;
    match (reply.file, reply.problem) {
        (Some(_), _) => Ok(0),
        (None, problem) => Err(Failure::new(1, problem.unwrap_or_default())),
    }
}

pub(super) fn change(client: &Client, changes: Vec<KeyChange>) -> Result<i32, Failure> {
    let call = KeysCall { changes };
    let reply: KeysReply = client.post("/v1/keys", &call).map_err(error)?;
    let Some(refused) = reply.refused else { return Ok(0) };
    let error = refused.error.word();
    let text = match call.changes.get(refused.change) {
        Some(KeyChange::Set { name, .. }) => failed_to_set(name, error),
        Some(KeyChange::Delete { name } | KeyChange::DeletePrefix { prefix: name }) => {
            format!("Can't delete key {name}. Error {error}")
        }
        None => format!("Error {error}"),
    };
    let text = format!("{text}\n{}", refused.message);
    Err(Failure::new(1, if call.changes.len() > 1 { text + "\nnothing has changed" } else { text }))
}

/// A value of the type; `bin` names a file.
fn parse(kind: &str, value: &str) -> Result<KeyValue, Failure> {
    fn number<T: FromStr>(kind: &str, value: &str, make: fn(T) -> KeyValue) -> Result<KeyValue, Failure> {
        let wrong = |word: &str| Failure::new(1, format!("{value} is not valid {kind} {word}"));
        value.parse().map(make).map_err(|_| wrong(if value.parse::<i128>().is_ok() { "integer" } else { "type value" }))
    }
    match kind {
        "i8" => number(kind, value, KeyValue::I8),
        "u8" => number(kind, value, KeyValue::U8),
        "i16" => number(kind, value, KeyValue::I16),
        "u16" => number(kind, value, KeyValue::U16),
        "i32" => number(kind, value, KeyValue::I32),
        "u32" => number(kind, value, KeyValue::U32),
        "i64" => number(kind, value, KeyValue::I64),
        "u64" => number(kind, value, KeyValue::U64),
        "flt" | "dbl" if value.parse::<f64>().is_ok_and(|n| !n.is_finite()) => {
            Err(Failure::new(1, format!("{value} is not valid {kind} type value: expected a finite number")))
        }
        "flt" => number(kind, value, KeyValue::Flt),
        "dbl" => number(kind, value, KeyValue::Dbl),
        "str" => checked("value", value).map(KeyValue::Str).map_err(|failure| Failure { code: 1, ..failure }),
        "bin" => binary(value),
        _ => Err(Failure::new(1, format!("Unknown type {kind}"))),
    }
}

fn binary(path: &str) -> Result<KeyValue, Failure> {
    let (mut bytes, most) = (Vec::new(), MAX_BINARY_BYTES as u64 + 1);
    let read = match path {
        "-" => std::io::stdin().take(most).read_to_end(&mut bytes),
        path => std::fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)),
    };
    read.map_err(|e| Failure::new(1, format!("Can't open input file: {e}")))?;
    if bytes.len() > MAX_BINARY_BYTES {
        return Err(Failure::new(1, format!("{path}: a value has at most {MAX_BINARY_BYTES} bytes")));
    }
    Ok(KeyValue::Bin(bytes))
}

/// A mistake in any line is told before anything changes.
fn load(path: &std::path::Path) -> Result<Vec<KeyChange>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::new(1, format!("Couldn't open file {}: {e}", path.display())))?;
    let mut changes = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let at = |failure: Failure| Failure {
            message: format!("{}:{}: {}", path.display(), number + 1, failure.message),
            ..failure
        };
        let mut words = line.split_ascii_whitespace();
        let Some(first) = words.next() else { continue };
        if let Some(prefix) = first.strip_prefix("^^") {
            changes.push(KeyChange::DeletePrefix { prefix: prefix.to_owned() });
        } else if let Some(name) = first.strip_prefix('^') {
            changes.push(KeyChange::Delete { name: name.to_owned() });
        } else if let (Some(kind), Some(value)) = (words.next(), words.next()) {
            // A text may have several words.
            let value = if kind == "str" { rest(line, 2) } else { value };
            changes.push(KeyChange::Set { name: first.to_owned(), value: parse(kind, value).map_err(at)? });
        } else {
            return Err(at(Failure::new(1, format!("Both type and value for key {first} are required"))));
        }
    }
    Ok(changes)
}

/// The line after so many words.
fn rest(line: &str, words: usize) -> &str {
    (0..words).fold(line.trim(), |rest, _| {
        rest.split_once(|c: char| c.is_ascii_whitespace()).map_or("", |(_, r)| r.trim_start())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(result: Result<KeyValue, Failure>) -> String {
        result.expect_err("refused").message
    }

    #[test]
    fn values_are_of_their_type() {
        assert_eq!(parse("i8", "-5").unwrap(), KeyValue::I8(-5));
        assert_eq!(parse("u64", "18446744073709551615").unwrap(), KeyValue::U64(u64::MAX));
        assert_eq!(parse("flt", "1.5").unwrap(), KeyValue::Flt(1.5));
        assert_eq!(told(parse("i8", "500")), "500 is not valid i8 integer");
        assert_eq!(told(parse("i8", "abc")), "abc is not valid i8 type value");
        assert_eq!(told(parse("foo", "abc")), "Unknown type foo");
        assert!(told(parse("dbl", "inf")).contains("finite"));
        assert!(parse("str", "a\x1bb").is_err());
    }

    #[test]
    fn a_file_is_read_whole_or_refused_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        std::fs::write(&path, "l.a u8 7\n\n l.b  str some  words \n^my.key\n^^my.i\n").unwrap();
        let text = KeyValue::Str(base::Value::checked("some  words").unwrap());
        let expected = [
            KeyChange::Set { name: "l.a".to_owned(), value: KeyValue::U8(7) },
            KeyChange::Set { name: "l.b".to_owned(), value: text },
            KeyChange::Delete { name: "my.key".to_owned() },
            KeyChange::DeletePrefix { prefix: "my.i".to_owned() },
        ];
        assert_eq!(load(&path).unwrap(), expected);
        for (line, words) in
            [("bad", "Both type and value for key bad are required"), ("l.a u8 x", "x is not valid u8")]
        {
            std::fs::write(&path, format!("l.b u8 1\n{line}\n")).unwrap();
            let why = load(&path).expect_err("refused").message;
            assert!(why.contains(":2: ") && why.contains(words), "{why}");
        }
    }
}
