//! The options that `ipvsadm` takes, and how a command line is cut into them.
//!
//! The rules are popt's, which the original uses and scripts rely on: clusters of short options (`-Ln`), a value glued to its
//! option (`-w5`, `-w=5`) or behind it, `--name=value`, no abbreviations, `--` ends options, and what is not an option
//! is left over for the command. Error messages quote the word last taken.

/// One table of variants and the names that messages use gives the enum, its list and its names.
macro_rules! options {
    ($($variant:ident $name:literal,)+) => {
        /// Options in the order of the original's tables, which decides which of two errors is reported.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Opt { $($variant),+ }

        impl Opt {
            pub const ALL: &[Opt] = &[$(Opt::$variant),+];

            /// The name that messages use.
            pub fn name(self) -> &'static str {
                match self { $(Opt::$variant => $name),+ }
            }
        }
    };
}

options! {
    Numeric "numeric",
    Connection "connection",
    ServiceAddress "service-address",
    Scheduler "scheduler",
    Persistent "persistent",
    Netmask "netmask",
    RealServer "real-server",
    ForwardingMethod "forwarding-method",
    Weight "weight",
    UThreshold "u-threshold",
    LThreshold "l-threshold",
    McastInterface "mcast-interface",
    Timeout "timeout",
    Daemon "daemon",
    Stats "stats",
    Rate "rate",
    Thresholds "thresholds",
    PersistentConn "persistent-conn",
    NoSort "nosort",
    SyncId "syncid",
    Exact "exact",
    Ops "ops",
    Pe "pe",
    SchedFlags "sched-flags",
    McastGroup "mcast-group",
    McastPort "mcast-port",
    McastTtl "mcast-ttl",
    SyncMaxlen "sync-maxlen",
    TunInfo "tun-info",
    TunType "tun-type",
    TunPort "tun-port",
    TunNocsum "tun-nocsum",
    TunCsum "tun-csum",
    TunRemcsum "tun-remcsum",
    // From here on: not in the original.
    Json "json",
    Check "check",
    Replace "replace",
    Keep "keep",
    Classic "classic",
    Full "full",
}

/// The set of options given, to refuse repetition and wrong company.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub struct Given(u64);

impl Given {
    /// False if it was given before.
    pub fn add(&mut self, opt: Opt) -> bool {
        let fresh = !self.has(opt);
        self.0 |= 1 << opt as u64;
        fresh
    }

    pub fn has(self, opt: Opt) -> bool {
        self.0 & (1 << opt as u64) != 0
    }

    pub fn any(self, opts: &[Opt]) -> bool {
        opts.iter().any(|o| self.has(*o))
    }
}

/// What an option of the command line means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tag {
    Add,
    Edit,
    Delete,
    Clear,
    List,
    Zero,
    AddServer,
    EditServer,
    DeleteServer,
    Set,
    Help,
    Version,
    Restore,
    Save,
    StartDaemon,
    StopDaemon,
    Tcp,
    Udp,
    Sctp,
    Fwmark,
    Masq,
    Ipip,
    Gate,
    Sort,
    Ipv6,
    Plain(Opt),
}

/// Whether an option takes a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Value {
    None,
    Needed,
    /// Taken from the next word unless that begins with `-`.
    Optional,
}

type Spec = (&'static str, Option<char>, Value, Tag);

const TABLE: &[Spec] = &[
    ("add-service", Some('A'), Value::None, Tag::Add),
    ("edit-service", Some('E'), Value::None, Tag::Edit),
    ("delete-service", Some('D'), Value::None, Tag::Delete),
    ("clear", Some('C'), Value::None, Tag::Clear),
    ("list", Some('L'), Value::None, Tag::List),
    ("list", Some('l'), Value::None, Tag::List),
    ("zero", Some('Z'), Value::None, Tag::Zero),
    ("add-server", Some('a'), Value::None, Tag::AddServer),
    ("edit-server", Some('e'), Value::None, Tag::EditServer),
    ("delete-server", Some('d'), Value::None, Tag::DeleteServer),
    ("set", None, Value::None, Tag::Set),
    ("help", Some('h'), Value::None, Tag::Help),
    ("version", Some('v'), Value::None, Tag::Version),
    ("restore", Some('R'), Value::None, Tag::Restore),
    ("save", Some('S'), Value::None, Tag::Save),
    ("start-daemon", None, Value::Needed, Tag::StartDaemon),
    ("stop-daemon", None, Value::Needed, Tag::StopDaemon),
    ("tcp-service", Some('t'), Value::Needed, Tag::Tcp),
    ("udp-service", Some('u'), Value::Needed, Tag::Udp),
    ("sctp-service", None, Value::Needed, Tag::Sctp),
    ("fwmark-service", Some('f'), Value::Needed, Tag::Fwmark),
    ("masquerading", Some('m'), Value::None, Tag::Masq),
    ("ipip", Some('i'), Value::None, Tag::Ipip),
    ("gatewaying", Some('g'), Value::None, Tag::Gate),
    ("sort", None, Value::None, Tag::Sort),
    ("ipv6", Some('6'), Value::None, Tag::Ipv6),
    ("scheduler", Some('s'), Value::Needed, Tag::Plain(Opt::Scheduler)),
    ("persistent", Some('p'), Value::Optional, Tag::Plain(Opt::Persistent)),
    ("netmask", Some('M'), Value::Needed, Tag::Plain(Opt::Netmask)),
    ("real-server", Some('r'), Value::Needed, Tag::Plain(Opt::RealServer)),
    ("weight", Some('w'), Value::Needed, Tag::Plain(Opt::Weight)),
    ("u-threshold", Some('x'), Value::Needed, Tag::Plain(Opt::UThreshold)),
    ("l-threshold", Some('y'), Value::Needed, Tag::Plain(Opt::LThreshold)),
    ("numeric", Some('n'), Value::None, Tag::Plain(Opt::Numeric)),
    ("connection", Some('c'), Value::None, Tag::Plain(Opt::Connection)),
    ("mcast-interface", None, Value::Needed, Tag::Plain(Opt::McastInterface)),
    ("syncid", None, Value::Needed, Tag::Plain(Opt::SyncId)),
    ("timeout", None, Value::None, Tag::Plain(Opt::Timeout)),
    ("daemon", None, Value::None, Tag::Plain(Opt::Daemon)),
    ("stats", None, Value::None, Tag::Plain(Opt::Stats)),
    ("rate", None, Value::None, Tag::Plain(Opt::Rate)),
    ("thresholds", None, Value::None, Tag::Plain(Opt::Thresholds)),
    ("persistent-conn", None, Value::None, Tag::Plain(Opt::PersistentConn)),
    ("nosort", None, Value::None, Tag::Plain(Opt::NoSort)),
    ("exact", Some('X'), Value::None, Tag::Plain(Opt::Exact)),
    ("ops", Some('o'), Value::None, Tag::Plain(Opt::Ops)),
    ("pe", None, Value::Needed, Tag::Plain(Opt::Pe)),
    ("sched-flags", Some('b'), Value::Needed, Tag::Plain(Opt::SchedFlags)),
    ("mcast-group", None, Value::Needed, Tag::Plain(Opt::McastGroup)),
    ("mcast-port", None, Value::Needed, Tag::Plain(Opt::McastPort)),
    ("mcast-ttl", None, Value::Needed, Tag::Plain(Opt::McastTtl)),
    ("sync-maxlen", None, Value::Needed, Tag::Plain(Opt::SyncMaxlen)),
    ("tun-info", None, Value::None, Tag::Plain(Opt::TunInfo)),
    ("tun-type", None, Value::Needed, Tag::Plain(Opt::TunType)),
    ("tun-port", None, Value::Needed, Tag::Plain(Opt::TunPort)),
    ("tun-nocsum", None, Value::None, Tag::Plain(Opt::TunNocsum)),
    ("tun-csum", None, Value::None, Tag::Plain(Opt::TunCsum)),
    ("tun-remcsum", None, Value::None, Tag::Plain(Opt::TunRemcsum)),
    ("json", None, Value::None, Tag::Plain(Opt::Json)),
    ("check", None, Value::None, Tag::Plain(Opt::Check)),
    ("replace", None, Value::None, Tag::Plain(Opt::Replace)),
    ("keep", None, Value::None, Tag::Plain(Opt::Keep)),
    ("classic", None, Value::None, Tag::Plain(Opt::Classic)),
    ("full", None, Value::None, Tag::Plain(Opt::Full)),
];

/// Long names of all options, for tests.
pub fn long_names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, ..)| *name)
}

/// The options as arguments of a tree, for completion and man page; the tree never parses anything.
pub fn arguments() -> Vec<clap::Arg> {
    let mut args: Vec<clap::Arg> = Vec::new();
    for (name, letter, value, _) in TABLE {
        // `-L` and `-l` are two lines of the table.
        if let Some(same) = args.iter_mut().find(|a| a.get_id() == name) {
            *same = letter.iter().fold(same.clone(), |arg, c| arg.visible_short_alias(*c));
            continue;
        }
        let arg = letter.iter().fold(clap::Arg::new(name).long(name), |arg, c| arg.short(*c));
        args.push(match value {
            Value::None => arg.action(clap::ArgAction::SetTrue),
            Value::Needed => arg.value_name("VALUE"),
            Value::Optional => arg.value_name("VALUE").num_args(0..=1),
        });
    }
    args
}

/// Why a word could not be taken as an option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WordError {
    Unknown,
    MissingValue,
    UnwantedValue,
}

impl WordError {
    pub fn text(self) -> &'static str {
        match self {
            WordError::Unknown => "unknown option",
            WordError::MissingValue => "missing argument",
            WordError::UnwantedValue => "option does not take an argument",
        }
    }
}

/// Cuts the words of a command line (without the program's name).
pub struct Words<'a> {
    words: &'a [String],
    next: usize,
    /// What is left of a cluster of short options.
    cluster: Option<&'a str>,
    only_rest: bool,
    rest: Vec<&'a str>,
}

impl<'a> Words<'a> {
    pub fn new(words: &'a [String]) -> Words<'a> {
        Words { words, next: 0, cluster: None, only_rest: false, rest: Vec::new() }
    }

    /// The next option and its value; `None` at the end.
    pub fn next_option(&mut self) -> Result<Option<(Tag, Option<&'a str>)>, WordError> {
        if let Some(cluster) = self.cluster.take() {
            return self.short(cluster).map(Some);
        }
        while let Some(word) = self.words.get(self.next) {
            self.next += 1;
            match word.strip_prefix('-') {
                Some("-") if !self.only_rest => self.only_rest = true,
                Some(body) if !self.only_rest && !body.is_empty() => {
                    return match body.strip_prefix('-') {
                        Some(long) => self.long(long),
                        None => self.short(body),
                    }
                    .map(Some);
                }
                _ => self.rest.push(word),
            }
        }
        Ok(None)
    }

    fn long(&mut self, body: &'a str) -> Result<(Tag, Option<&'a str>), WordError> {
        let (name, glued) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        let (_, _, value, tag) = *TABLE.iter().find(|(n, ..)| *n == name).ok_or(WordError::Unknown)?;
        Ok((tag, self.value(value, glued)?))
    }

    fn short(&mut self, cluster: &'a str) -> Result<(Tag, Option<&'a str>), WordError> {
        let mut chars = cluster.chars();
        let letter = chars.next().ok_or(WordError::Unknown)?;
        let after = Some(chars.as_str()).filter(|a| !a.is_empty());
        let (_, _, value, tag) = *TABLE.iter().find(|(_, c, ..)| *c == Some(letter)).ok_or(WordError::Unknown)?;
        if value == Value::None {
            if after.is_some_and(|a| a.starts_with('=')) {
                return Err(WordError::UnwantedValue);
            }
            self.cluster = after;
            return Ok((tag, None));
        }
        let glued = after.map(|a| a.strip_prefix('=').unwrap_or(a));
        Ok((tag, self.value(value, glued)?))
    }

    fn value(&mut self, value: Value, glued: Option<&'a str>) -> Result<Option<&'a str>, WordError> {
        match (value, glued) {
            (Value::None, Some(_)) => Err(WordError::UnwantedValue),
            (Value::None, None) => Ok(None),
            (_, Some(glued)) => Ok(Some(glued)),
            (_, None) => {
                let word = self.words.get(self.next).map(String::as_str);
                let taken = word.filter(|w| value == Value::Needed || !w.starts_with('-'));
                if taken.is_some() {
                    self.next += 1;
                }
                if taken.is_none() && value == Value::Needed { Err(WordError::MissingValue) } else { Ok(taken) }
            }
        }
    }

    /// The word taken last, which messages quote.
    pub fn last_word(&self) -> &'a str {
        self.next.checked_sub(1).and_then(|i| self.words.get(i)).map(String::as_str).unwrap_or_default()
    }

    /// Words that were no options, in order.
    pub fn rest(self) -> Vec<&'a str> {
        self.rest
    }
}
