//! Kernel settings (sysctls) that directors and their real servers need: what is wanted, when, and what breaks without it.
//!
//! [`SETTINGS`] is the one table. The agent `director-settings` sets and audits it, `bascule doctor` looks for it, and the
//! documentation is written from it; nothing else decides about values. [`Tree`] reads and writes `/proc/sys`.

mod table;
#[cfg(test)]
mod tests;
mod tree;

pub use table::{CONN_TAB_BITS, ConnTabBits, SETTINGS};
pub use tree::{Key, Tree};

/// Where a setting belongs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Host {
    Director,
    RealServer,
}

/// How packets reach the real servers; a director can do several at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Topology {
    /// Direct routing (`gate`).
    Direct,
    /// Tunnelling (`ipip`, gue, gre).
    Tunnel,
    /// Masquerading (`masq`).
    Nat,
    /// Services by firewall mark.
    Fwmark,
    /// A director is a real server itself.
    Local,
}

impl Topology {
    pub const ALL: [Topology; 5] =
        [Topology::Direct, Topology::Tunnel, Topology::Nat, Topology::Fwmark, Topology::Local];

    /// As written in agents' parameters.
    pub fn name(self) -> &'static str {
        match self {
            Topology::Direct => "direct",
            Topology::Tunnel => "tunnel",
            Topology::Nat => "nat",
            Topology::Fwmark => "fwmark",
            Topology::Local => "local",
        }
    }

    /// The inverse of [`Topology::name`].
    pub fn named(name: &str) -> Option<Topology> {
        Topology::ALL.into_iter().find(|t| t.name() == name)
    }
}

/// Values that will do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// Numbers separated by blanks.
    Exactly(&'static str),
    /// Any of these; the first is the one to set.
    OneOf(&'static [&'static str]),
    AtLeast(u64),
}

impl Wanted {
    /// The value to set.
    pub fn value(self) -> String {
        match self {
            Wanted::Exactly(value) => value.to_owned(),
            Wanted::OneOf(values) => values.first().copied().unwrap_or_default().to_owned(),
            Wanted::AtLeast(least) => least.to_string(),
        }
    }

    pub fn accepts(self, found: &str) -> bool {
        match self {
            Wanted::Exactly(value) => same(value, found),
            Wanted::OneOf(values) => values.iter().any(|v| same(v, found)),
            Wanted::AtLeast(least) => found.trim().parse::<u64>().is_ok_and(|n| n >= least),
        }
    }
}

/// `sync_threshold` is written with a blank and read with a tab.
fn same(a: &str, b: &str) -> bool {
    a.split_whitespace().eq(b.split_whitespace())
}

/// One line of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setting {
    /// With dots. A component `*` stands for `all`, `default` and every interface: the kernel takes the larger value of
    /// `all` and the interface, so one that is left out undoes the others.
    pub name: &'static str,
    pub wanted: Wanted,
    pub host: Host,
    /// Empty: whatever the topology.
    pub when: &'static [Topology],
    /// Whether the value of before may be put back when the director stops on this node.
    pub restore: bool,
    /// What breaks without it.
    pub reason: &'static str,
}

impl Setting {
    pub fn applies(&self, host: Host, topologies: &[Topology]) -> bool {
        self.host == host && (self.when.is_empty() || self.when.iter().any(|t| topologies.contains(t)))
    }
}

/// Lines of the table for a host in these topologies.
pub fn settings_for(host: Host, topologies: &[Topology]) -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(move |s| s.applies(host, topologies))
}

/// A setting that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deviation {
    pub setting: &'static Setting,
    /// The very file, with `*` replaced.
    pub key: Key,
    pub wanted: String,
    /// `None`: the kernel has no such setting, for instance because `ip_vs` is not loaded.
    pub found: Option<String>,
}

impl std::fmt::Display for Deviation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.found {
            Some(found) => write!(f, "{}={found} (wanted {})", self.key, self.wanted),
            None => write!(f, "{} is missing", self.key),
        }
    }
}

/// Compares what is with what is wanted.
pub fn audit(tree: &Tree, host: Host, topologies: &[Topology]) -> Vec<Deviation> {
    let mut deviations = Vec::new();
    for setting in settings_for(host, topologies) {
        for key in tree.expand(setting.name) {
            let found = tree.read(&key).ok();
            if !found.as_deref().is_some_and(|f| setting.wanted.accepts(f)) {
                deviations.push(Deviation { setting, key, wanted: setting.wanted.value(), found });
            }
        }
    }
    deviations
}

/// `conn_tab_bits` of the loaded `ip_vs`, if the kernel shows it; to be compared with [`CONN_TAB_BITS`].
pub fn conn_tab_bits() -> Option<u32> {
    tree::conn_tab_bits()
}
