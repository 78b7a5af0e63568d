//! The keys that corosync.conf may hold, with their types, ranges and what they do here.
//!
//! A key that stands in no table is kept and reported; it never fails a file.

use super::grammar::{Entry, Section};
use super::settings::Findings;
use std::collections::BTreeMap;

/// What a value must look like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Text,
    Number { min: u64, max: u64 },
    YesNo,
    OnOff,
    ZeroOne,
    Choice(&'static [&'static str]),
}

/// Whether a key changes anything.
#[derive(Clone, Copy, Debug)]
pub(super) enum Effect {
    Used,
    /// Accepted; needs no word.
    Quiet,
    /// Accepted, without effect: why.
    Noted(&'static str),
    Warned(&'static str),
}

pub(super) struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub effect: Effect,
}

const U32: u64 = u32::MAX as u64;
/// Timers beyond a day are typing errors, and would overflow derived ones.
const MS: u64 = 86_400_000;

const fn key(name: &'static str, kind: Kind, effect: Effect) -> Key {
    Key { name, kind, effect }
}

const fn number(name: &'static str, min: u64, max: u64) -> Key {
    key(name, Kind::Number { min, max }, Effect::Used)
}

const NO_COMPRESSION: Effect = Effect::Noted("packets are not compressed");
const COMPRESSIONS: &[&str] = &["none", "zlib", "lz4", "lz4hc", "lzo2", "lzma", "bzip2", "zstd"];

pub(super) const TOTEM: &[Key] = &[
    number("version", 2, 2),
    key("transport", Kind::Choice(&["knet", "udpu", "udp"]), Effect::Used),
    key("cluster_name", Kind::Text, Effect::Used),
    // For pcs, which tells clusters of one name apart by it.
    key("cluster_uuid", Kind::Text, Effect::Quiet),
    number("config_version", 0, u64::MAX),
    key("secauth", Kind::OnOff, Effect::Used),
    key("crypto_model", Kind::Choice(&["nss", "openssl", "gcrypt"]), Effect::Quiet),
    key("crypto_cipher", Kind::Choice(&["none", "aes256", "aes192", "aes128", "3des"]), Effect::Used),
    key("crypto_hash", Kind::Choice(&["none", "md5", "sha1", "sha256", "sha384", "sha512"]), Effect::Used),
    key("keyfile", Kind::Text, Effect::Used),
    key("key", Kind::Text, Effect::Used),
    key("link_mode", Kind::Choice(&["passive", "active", "rr"]), Effect::Used),
    key(
        "rrp_mode",
        Kind::Choice(&["none", "active", "passive"]),
        Effect::Warned("corosync 3 has no rrp_mode: write `link_mode`; ignored"),
    ),
    key("netmtu", Kind::Number { min: 256, max: 65536 }, Effect::Noted("packet sizes are chosen by the transport")),
    key("ip_version", Kind::Choice(&["ipv4", "ipv6", "ipv4-6", "ipv6-4"]), Effect::Used),
    key("ip_dscp", Kind::Text, Effect::Noted("packets are sent unmarked")),
    number("token", 30, MS),
    number("token_coefficient", 0, MS),
    key(
        "token_warning",
        Kind::Number { min: 0, max: 100 },
        Effect::Noted("nobody waits for a token that is late: it is sent again at once"),
    ),
    number("token_retransmit", 30, MS),
    key(
        "token_retransmits_before_loss_const",
        Kind::Number { min: 1, max: 1000 },
        Effect::Noted("a token is sent again until it is acknowledged; write `token_retransmit` for how often"),
    ),
    number("hold", 14, MS),
    number("dead_after", totem::Timing::SHORTEST.as_millis() as u64, totem::Timing::USUAL.as_millis() as u64),
    number("join", 30, MS),
    key(
        "send_join",
        Kind::Number { min: 0, max: MS },
        Effect::Noted("nodes that start together do not flood each other"),
    ),
    number("consensus", 30, MS),
    key("merge", Kind::Number { min: 30, max: MS }, Effect::Noted("rings find each other by their heartbeats")),
    key(
        "downcheck",
        Kind::Number { min: 30, max: MS },
        Effect::Noted("an interface that is down is seen by its heartbeats"),
    ),
    key(
        "fail_recv_const",
        Kind::Number { min: 1, max: U32 },
        Effect::Noted("a node that cannot receive is put out by the others, by time"),
    ),
    key("seqno_unchanged_const", Kind::Number { min: 1, max: U32 }, Effect::Noted("an idle token rests at once")),
    key(
        "heartbeat_failures_allowed",
        Kind::Number { min: 0, max: U32 },
        Effect::Noted("heartbeats run on every link anyway"),
    ),
    key("max_network_delay", Kind::Number { min: 30, max: MS }, Effect::Noted("heartbeats run on every link anyway")),
    number("window_size", 1, 10_000),
    number("max_messages", 1, 1000),
    key("miss_count_const", Kind::Number { min: 1, max: 1000 }, Effect::Noted("what is missing is asked for at once")),
    number("knet_pmtud_interval", 1, 86_400),
    number("knet_mtu", 0, 65536),
    key("knet_compression_model", Kind::Choice(COMPRESSIONS), Effect::Used),
    key("knet_compression_threshold", Kind::Number { min: 0, max: U32 }, NO_COMPRESSION),
    key("knet_compression_level", Kind::Text, NO_COMPRESSION),
    key("block_unlisted_ips", Kind::YesNo, Effect::Used),
    key("cancel_token_hold_on_retransmit", Kind::YesNo, Effect::Noted("a retransmission request always ends the hold")),
    key("clear_node_high_bit", Kind::YesNo, Effect::Noted("node ids are never generated")),
    key("nodeid", Kind::Text, Effect::Warned("ignored in totem{}: set it in the nodelist")),
    key("threads", Kind::Text, Effect::Noted("a setting of corosync 1")),
];

pub(super) const INTERFACE: &[Key] = &[
    number("linknumber", 0, 7),
    key(
        "ringnumber",
        Kind::Number { min: 0, max: 7 },
        Effect::Warned("a name of corosync 1 and 2, taken as `linknumber`"),
    ),
    number("mcastport", 1, 65535),
    number("knet_link_priority", 0, 255),
    number("knet_ping_interval", totem::SHORTEST_INTERVAL.as_millis() as u64, MS),
    number("knet_ping_timeout", 1, MS),
    number("knet_pong_count", 1, 1000),
    number("knet_ping_precision", 1, U32),
    key("knet_transport", Kind::Choice(&["udp"]), Effect::Quiet),
    key("bindnetaddr", Kind::Text, Effect::Used),
    key("mcastaddr", Kind::Text, Effect::Used),
    key("broadcast", Kind::YesNo, Effect::Used),
    key("ttl", Kind::Number { min: 0, max: 255 }, Effect::Used),
];

pub(super) const QUORUM: &[Key] = &[
    key("provider", Kind::Choice(&["corosync_votequorum"]), Effect::Used),
    number("expected_votes", 1, U32),
    number("votes", 0, U32),
    key("two_node", Kind::ZeroOne, Effect::Used),
    key("wait_for_all", Kind::ZeroOne, Effect::Used),
    key("last_man_standing", Kind::ZeroOne, Effect::Used),
    number("last_man_standing_window", 1, MS),
    key("auto_tie_breaker", Kind::ZeroOne, Effect::Used),
    key("auto_tie_breaker_node", Kind::Text, Effect::Used),
    key("allow_downscale", Kind::ZeroOne, Effect::Used),
    key("expected_votes_tracking", Kind::ZeroOne, Effect::Used),
    key("ping_targets", Kind::Text, Effect::Used),
    key("leaving_timeout", Kind::Text, Effect::Noted("a setting of corosync 1")),
];

const PRIORITIES: &[&str] = &["alert", "crit", "debug", "emerg", "err", "info", "notice", "warning"];
const DEBUG: &[&str] = &["on", "off", "trace"];

pub(super) const LOGGING: &[Key] = &[
    key("timestamp", Kind::Choice(&["on", "off", "hires"]), Effect::Used),
    key("fileline", Kind::OnOff, Effect::Quiet),
    key("function_name", Kind::OnOff, Effect::Quiet),
    key("blackbox", Kind::OnOff, Effect::Quiet),
    key("to_stderr", Kind::YesNo, Effect::Used),
    key("to_syslog", Kind::YesNo, Effect::Used),
    key("to_logfile", Kind::YesNo, Effect::Used),
    key("to_file", Kind::YesNo, Effect::Warned("a name of corosync 1: write `to_logfile`; ignored")),
    key("logfile", Kind::Text, Effect::Used),
    key("logfile_priority", Kind::Choice(PRIORITIES), Effect::Used),
    key("syslog_priority", Kind::Choice(PRIORITIES), Effect::Quiet),
    key("syslog_facility", Kind::Text, Effect::Quiet),
    key("debug", Kind::Choice(DEBUG), Effect::Used),
    key("subsys", Kind::Text, Effect::Quiet),
];

pub(super) const SYSTEM: &[Key] = &[
    key(
        "qb_ipc_type",
        Kind::Choice(&["native", "shm", "socket"]),
        Effect::Noted("the local API is HTTP over a unix socket"),
    ),
    key("sched_rr", Kind::YesNo, Effect::Used),
    key("priority", Kind::Text, Effect::Quiet),
    key("move_to_root_cgroup", Kind::Choice(&["auto", "yes", "no"]), Effect::Quiet),
    key("allow_knet_handle_fallback", Kind::YesNo, Effect::Quiet),
    key("state_dir", Kind::Text, Effect::Used),
];

pub(super) const RESOURCES: &[Key] =
    &[key("watchdog_device", Kind::Text, Effect::Used), number("watchdog_timeout", 2, 120)];

/// A value of the right kind and range, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub text: String,
    pub number: u64,
    pub truth: bool,
    pub entry: Entry,
}

/// One section's known keys; the last of duplicates wins.
#[derive(Clone, Debug, Default)]
pub(super) struct Values(BTreeMap<&'static str, Value>);

impl Values {
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name).map(|v| v.number)
    }

    pub fn number_or(&self, name: &str, default: u64) -> u64 {
        self.number(name).unwrap_or(default)
    }

    pub fn truth(&self, name: &str) -> Option<bool> {
        self.get(name).map(|v| v.truth)
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(|v| v.text.as_str())
    }
}

/// Checks every entry of `section` against `table`; what is wrong goes to `findings`.
pub(super) fn read(findings: &mut Findings, section: &Section, table: &'static [Key]) -> Values {
    let mut values = Values::default();
    for entry in section.entries() {
        let Some(key) = table.iter().find(|k| k.name == entry.key) else {
            unknown(findings, section, entry, table);
            continue;
        };
        match check(entry, key.kind) {
            Ok(value) => {
                values.0.insert(key.name, value);
                match key.effect {
                    Effect::Used | Effect::Quiet => {}
                    Effect::Noted(why) => findings.note(entry.at, format!("`{}` has no effect", entry.key), why),
                    Effect::Warned(why) => findings.warn(entry.at, format!("`{}`: {why}", entry.key), ""),
                }
            }
            Err((expected, cure)) => {
                let text = format!("`{}` expected {expected}, found `{}`", entry.key, entry.value);
                findings.refuse(entry.value_at, text, cure);
            }
        }
    }
    values
}

fn unknown(findings: &mut Findings, section: &Section, entry: &Entry, table: &[Key]) {
    let near = table.iter().map(|k| k.name).find(|name| distance_at_most_two(name, &entry.key));
    let cure = near
        .map_or_else(|| "kept, without effect".to_owned(), |n| format!("kept, without effect; did you mean `{n}`?"));
    findings.warn(entry.at, format!("unknown key `{}` in {}{{}}", entry.key, section.name), cure);
}

fn check(entry: &Entry, kind: Kind) -> Result<Value, (String, String)> {
    let text = entry.value.clone();
    let mut value = Value { text: text.clone(), number: 0, truth: false, entry: entry.clone() };
    let pair = |value: &mut Value, yes: &str, no: &str| {
        value.truth = text == yes;
        if text == yes || text == no {
            Ok(())
        } else {
            Err((format!("`{yes}` or `{no}`"), format!("write `{}: {yes}` or `{}: {no}`", entry.key, entry.key)))
        }
    };
    match kind {
        Kind::Text if text.is_empty() => {
            return Err(("a value".to_owned(), "write one, or remove the line".to_owned()));
        }
        Kind::Text => {}
        Kind::YesNo => pair(&mut value, "yes", "no")?,
        Kind::OnOff => pair(&mut value, "on", "off")?,
        Kind::ZeroOne => pair(&mut value, "1", "0")?,
        Kind::Choice(words) if words.contains(&text.as_str()) => {}
        Kind::Choice(words) => {
            return Err((format!("one of {}", words.join(", ")), "choose one of them, or remove the line".to_owned()));
        }
        Kind::Number { min, max } => match decimal(&text) {
            Some(number) if (min..=max).contains(&number) => value.number = number,
            _ if min == max => return Err((format!("{min}"), format!("write `{}: {min}`", entry.key))),
            _ => {
                return Err((
                    format!("a decimal number from {min} to {max}"),
                    "correct it, or remove the line for the default".to_owned(),
                ));
            }
        },
    }
    Ok(value)
}

/// Strictly decimal: no sign, no blank, no unit.
fn decimal(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Levenshtein distance, cut off at two; keys are short.
fn distance_at_most_two(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().take(64).collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let cost = if ca == cb { corner } else { corner + 1 };
            corner = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()] <= 2
}
