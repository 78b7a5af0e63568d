//! Cluster properties with their defaults and old names.

use super::basics::{INFINITY, Str};
use super::map::Map;
use base::text::{is_true, parse_bool, parse_int, parse_interval_ms};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NoQuorum {
    #[default]
    Stop,
    Freeze,
    Ignore,
    Demote,
    Fence,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Placement {
    #[default]
    Default,
    Utilization,
    Minimal,
    Balanced,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Health {
    #[default]
    None,
    MigrateOnRed,
    OnlyGreen,
    Progressive,
    Custom,
}

/// Typed cluster properties; `raw` keeps what was configured.
#[derive(Clone, Debug, Default)]
pub struct ClusterOptions {
    pub raw: Map,
    pub no_quorum: NoQuorum,
    pub fencing_enabled: bool,
    pub fence_action: Str2,
    pub concurrent_fencing: bool,
    pub startup_fencing: bool,
    pub priority_fencing_ms: u64,
    pub stop_all: bool,
    pub symmetric: bool,
    pub stop_removed_resources: bool,
    pub cancel_removed_actions: bool,
    pub maintenance: bool,
    pub start_failure_fatal: bool,
    pub probe: bool,
    pub placement: Placement,
    pub shutdown_lock: bool,
    pub shutdown_lock_ms: u64,
    pub node_pending_ms: u64,
    pub fence_remote_no_quorum: bool,
    pub health: Health,
    pub health_base: i32,
    pub have_watchdog: bool,
    /// Record capacities and use of them for display.
    pub show_utilization: bool,
    red: i32,
    yellow: i32,
    green: i32,
}

/// A string that is empty by default.
pub type Str2 = String;

#[derive(Clone, Copy)]
enum Check {
    Any,
    Bool,
    Time,
    Score,
    Int,
    OneOf(&'static [&'static str]),
}

/// Name, old name, default, check. Names with an empty default have none.
const OPTIONS: &[(&str, &str, &str, Check)] = &[
    ("no-quorum-policy", "", "stop", Check::OneOf(&["stop", "freeze", "ignore", "demote", "fence", "suicide"])),
    ("shutdown-lock", "", "false", Check::Bool),
    ("shutdown-lock-limit", "", "0", Check::Time),
    ("symmetric-cluster", "", "true", Check::Bool),
    ("maintenance-mode", "", "false", Check::Bool),
    ("start-failure-is-fatal", "", "true", Check::Bool),
    ("enable-startup-probes", "", "true", Check::Bool),
    ("fence-remote-without-quorum", "", "false", Check::Bool),
    ("fencing-enabled", "stonith-enabled", "true", Check::Bool),
    ("fencing-action", "stonith-action", "reboot", Check::OneOf(&["reboot", "off"])),
    ("fencing-timeout", "stonith-timeout", "60s", Check::Time),
    ("have-watchdog", "", "false", Check::Bool),
    ("concurrent-fencing", "", "true", Check::Bool),
    ("startup-fencing", "", "true", Check::Bool),
    ("priority-fencing-delay", "", "0", Check::Time),
    ("node-pending-timeout", "", "0", Check::Time),
    ("cluster-delay", "", "60s", Check::Time),
    ("batch-limit", "", "0", Check::Int),
    ("migration-limit", "", "-1", Check::Int),
    ("stop-all-resources", "", "false", Check::Bool),
    ("stop-removed-resources", "stop-orphan-resources", "true", Check::Bool),
    ("cancel-removed-actions", "stop-orphan-actions", "true", Check::Bool),
    (
        "node-health-strategy",
        "",
        "none",
        Check::OneOf(&["none", "migrate-on-red", "only-green", "progressive", "custom"]),
    ),
    ("node-health-base", "", "0", Check::Score),
    ("node-health-green", "", "0", Check::Score),
    ("node-health-yellow", "", "0", Check::Score),
    ("node-health-red", "", "-INFINITY", Check::Score),
    ("placement-strategy", "", "default", Check::OneOf(&["default", "utilization", "minimal", "balanced"])),
    ("cluster-name", "", "", Check::Any),
];

impl Check {
    fn holds(self, value: &str) -> bool {
        match self {
            Check::Any => true,
            Check::Bool => parse_bool(value).is_some(),
            Check::Time => parse_interval_ms(value).is_some(),
            Check::Int => {
                parse_int(value).is_some()
                    || value.eq_ignore_ascii_case("infinity")
                    || value.eq_ignore_ascii_case("-infinity")
            }
            Check::Score => parse_score(value, [0; 3]).is_some(),
            Check::OneOf(words) => words.iter().any(|w| w.eq_ignore_ascii_case(value)),
        }
    }
}

/// A score as written; `colours` are the values of red, yellow and green.
fn parse_score(text: &str, colours: [i32; 3]) -> Option<i32> {
    match text {
        "-INFINITY" => return Some(-INFINITY),
        "INFINITY" | "+INFINITY" => return Some(INFINITY),
        _ => {}
    }
    for (word, value) in ["red", "yellow", "green"].iter().zip(colours) {
        if text.eq_ignore_ascii_case(word) {
            return Some(value);
        }
    }
    parse_int(text).map(|v| v.clamp(-i64::from(INFINITY), i64::from(INFINITY)) as i32)
}

impl ClusterOptions {
    /// Reads the properties; `problems` takes what is wrong with them.
    pub fn read(raw: Map, quorate: bool, panic_without_quorum: bool, problems: &mut Vec<String>) -> ClusterOptions {
        let mut o = ClusterOptions { raw, ..Default::default() };
        for (name, _, default, check) in OPTIONS {
            if let Some(value) = o.configured(name).filter(|v| !check.holds(v)) {
                problems.push(format!(
                    "Using default value '{default}' for cluster option '{name}' because '{value}' is invalid"
                ));
            }
        }
        let flag = |name: &str| is_true(&o.text(name));
        let ms = |name: &str| parse_interval_ms(&o.text(name)).unwrap_or(0);
        let mut n = ClusterOptions {
            fencing_enabled: flag("fencing-enabled"),
            fence_action: o.text("fencing-action"),
            concurrent_fencing: flag("concurrent-fencing"),
            priority_fencing_ms: ms("priority-fencing-delay"),
            stop_all: flag("stop-all-resources"),
            symmetric: flag("symmetric-cluster"),
            stop_removed_resources: flag("stop-removed-resources"),
            cancel_removed_actions: flag("cancel-removed-actions"),
            maintenance: flag("maintenance-mode"),
            start_failure_fatal: flag("start-failure-is-fatal"),
            probe: flag("enable-startup-probes"),
            shutdown_lock: flag("shutdown-lock"),
            shutdown_lock_ms: ms("shutdown-lock-limit"),
            node_pending_ms: ms("node-pending-timeout"),
            fence_remote_no_quorum: flag("fence-remote-without-quorum"),
            have_watchdog: flag("have-watchdog"),
            ..Default::default()
        };
        n.startup_fencing = n.fencing_enabled && flag("startup-fencing");
        n.no_quorum = match o.text("no-quorum-policy").to_ascii_lowercase().as_str() {
            "ignore" => NoQuorum::Ignore,
            "freeze" => NoQuorum::Freeze,
            "demote" => NoQuorum::Demote,
            "fence" | "suicide" if n.fencing_enabled && (panic_without_quorum || quorate) => NoQuorum::Fence,
            "fence" | "suicide" if !n.fencing_enabled => {
                problems.push("Resetting no-quorum-policy to 'stop' because fencing is disabled".into());
                NoQuorum::Stop
            }
            _ => NoQuorum::Stop,
        };
        n.placement = match o.text("placement-strategy").to_ascii_lowercase().as_str() {
            "utilization" => Placement::Utilization,
            "minimal" => Placement::Minimal,
            "balanced" => Placement::Balanced,
            _ => Placement::Default,
        };
        n.health = match o.text("node-health-strategy").to_ascii_lowercase().as_str() {
            "migrate-on-red" => Health::MigrateOnRed,
            "only-green" => Health::OnlyGreen,
            "progressive" => Health::Progressive,
            "custom" => Health::Custom,
            _ => Health::None,
        };
        let score = |name: &str| parse_score(&o.text(name), [0; 3]).unwrap_or(0);
        [n.red, n.yellow, n.green] = match n.health {
            Health::None => [0; 3],
            Health::MigrateOnRed => [-INFINITY, 0, 0],
            Health::OnlyGreen => [-INFINITY, -INFINITY, 0],
            Health::Progressive | Health::Custom => {
                [score("node-health-red"), score("node-health-yellow"), score("node-health-green")]
            }
        };
        n.health_base = if n.health == Health::Progressive { score("node-health-base") } else { 0 };
        n.raw = std::mem::take(&mut o.raw);
        n
    }

    fn configured(&self, name: &str) -> Option<&Str> {
        let old = OPTIONS.iter().find(|o| o.0 == name).map_or("", |o| o.1);
        self.raw.get(name).or_else(|| self.raw.get(old))
    }

    /// The valid configured value, else the default; empty if there is neither.
    pub fn text(&self, name: &str) -> String {
        let Some((_, _, default, check)) = OPTIONS.iter().find(|o| o.0 == name) else { return String::new() };
        self.configured(name).filter(|v| check.holds(v)).map_or_else(|| (*default).to_owned(), |v| v.to_string())
    }

    /// A score, with red, yellow and green as the health strategy defines them.
    pub fn score(&self, text: &str) -> Option<i32> {
        parse_score(text, [self.red, self.yellow, self.green])
    }

    pub fn red(&self) -> i32 {
        self.red
    }

    pub fn yellow(&self) -> i32 {
        self.yellow
    }

    pub fn green(&self) -> i32 {
        self.green
    }
}
