//! The tables: which element may hold which attributes and children. From Pacemaker Explained and the RELAX NG
//! schemas' documentation, versions 2 to 4 together.

use base::Score;
use std::sync::LazyLock;
use xml::Element;

pub struct Rule {
    pub name: &'static str,
    /// Only inside this element; empty = anywhere.
    pub parent: &'static str,
    pub attrs: &'static [Attr],
    pub children: &'static [&'static str],
    /// Attributes beyond the table are fine.
    pub any_attrs: bool,
    /// What it contains is not looked at.
    pub open: bool,
    pub text: bool,
}

pub struct Attr {
    pub name: &'static str,
    pub required: bool,
    pub kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    NonEmpty,
    /// Declares an id: unique in the configuration, an XML name.
    Id,
    /// Names an id; the list says which elements it should name, empty = any.
    IdRef(&'static [&'static str]),
    Score,
    Integer,
    Bool,
    Interval,
    OneOf(&'static [&'static str]),
}

const fn need(name: &'static str, kind: Kind) -> Attr {
    Attr { name, required: true, kind }
}

const fn may(name: &'static str, kind: Kind) -> Attr {
    Attr { name, required: false, kind }
}

const fn rule(name: &'static str, attrs: &'static [Attr], children: &'static [&'static str]) -> Rule {
    Rule { name, parent: "", attrs, children, any_attrs: false, open: false, text: false }
}

const RESOURCES: &[&str] = &["primitive", "group", "clone", "master", "bundle", "template", "tag"];
const ROLES: Kind = Kind::OneOf(&["Stopped", "Started", "Unpromoted", "Promoted", "Slave", "Master"]);
const ACTIONS: Kind = Kind::OneOf(&["start", "stop", "promote", "demote"]);
const ON_FAIL: Kind =
    Kind::OneOf(&["ignore", "block", "stop", "restart", "standby", "fence", "restart-container", "demote"]);
const ID: Attr = need("id", Kind::Id);
const ID_OR_REF: Attr = need("id", Kind::Id);
const DESCRIPTION: Attr = may("description", Kind::Text);

const SETTINGS: &[Attr] =
    &[ID_OR_REF, may("id-ref", Kind::IdRef(&[])), may("score", Kind::Score), may("name", Kind::Text), DESCRIPTION];
const SETTINGS_CHILDREN: &[&str] = &["nvpair", "rule"];
const PRIMITIVE_CHILDREN: &[&str] = &["meta_attributes", "instance_attributes", "operations", "utilization"];
const PRIMITIVE: &[Attr] = &[
    ID,
    may("class", Kind::NonEmpty),
    may("provider", Kind::NonEmpty),
    may("type", Kind::NonEmpty),
    may("template", Kind::IdRef(&["template"])),
    DESCRIPTION,
];
const SETS: &[&str] = &["meta_attributes", "instance_attributes"];
const DATES: &[Attr] = &[
    may("id", Kind::Id),
    may("seconds", Kind::Text),
    may("minutes", Kind::Text),
    may("hours", Kind::Text),
    may("days", Kind::Text),
    may("monthdays", Kind::Text),
    may("weekdays", Kind::Text),
    may("yeardays", Kind::Text),
    may("months", Kind::Text),
    may("weeks", Kind::Text),
    may("years", Kind::Text),
    may("weekyears", Kind::Text),
    may("weekdays", Kind::Text),
    may("moon", Kind::Text),
];
const CONTAINER: &[Attr] = &[
    need("image", Kind::NonEmpty),
    may("replicas", Kind::Integer),
    may("replicas-per-host", Kind::Integer),
    may("masters", Kind::Integer),
    may("promoted-max", Kind::Integer),
    may("run-command", Kind::Text),
    may("network", Kind::Text),
    may("options", Kind::Text),
];

static RULES: &[Rule] = &[
    Rule {
        any_attrs: true,
        ..rule(
            "cib",
            &[may("admin_epoch", Kind::Integer), may("epoch", Kind::Integer), may("num_updates", Kind::Integer)],
            &["configuration", "status"],
        )
    },
    rule("configuration", &[], &crate::CONFIGURATION_SECTIONS),
    Rule { open: true, any_attrs: true, ..rule("status", &[], &[]) },
    rule("crm_config", &[], &["cluster_property_set"]),
    rule("nodes", &[], &["node"]),
    rule("resources", &[], &["primitive", "group", "clone", "master", "bundle", "template"]),
    rule("constraints", &[], &["rsc_location", "rsc_colocation", "rsc_order", "rsc_ticket"]),
    rule("fencing-topology", &[], &["fencing-level"]),
    rule("acls", &[], &["acl_target", "acl_group", "acl_role"]),
    rule("tags", &[], &["tag"]),
    rule("alerts", &[], &["alert"]),
    rule("rsc_defaults", &[], &["meta_attributes"]),
    rule("op_defaults", &[], &["meta_attributes"]),
    // Sets of settings
    rule("cluster_property_set", SETTINGS, SETTINGS_CHILDREN),
    rule("meta_attributes", SETTINGS, SETTINGS_CHILDREN),
    rule("instance_attributes", SETTINGS, SETTINGS_CHILDREN),
    rule("utilization", SETTINGS, SETTINGS_CHILDREN),
    rule(
        "nvpair",
        &[ID_OR_REF, may("id-ref", Kind::IdRef(&["nvpair"])), need("name", Kind::NonEmpty), may("value", Kind::Text)],
        &[],
    ),
    rule(
        "node",
        &[
            need("id", Kind::NonEmpty),
            need("uname", Kind::NonEmpty),
            may("type", Kind::OneOf(&["normal", "member", "ping", "remote"])),
            may("score", Kind::Score),
            DESCRIPTION,
        ],
        &["instance_attributes", "utilization"],
    ),
    // Resources
    rule("primitive", PRIMITIVE, PRIMITIVE_CHILDREN),
    rule("template", PRIMITIVE, PRIMITIVE_CHILDREN),
    rule("group", &[ID, DESCRIPTION], &["meta_attributes", "instance_attributes", "primitive"]),
    rule("clone", &[ID, DESCRIPTION], &["meta_attributes", "instance_attributes", "primitive", "group"]),
    rule("master", &[ID, DESCRIPTION], &["meta_attributes", "instance_attributes", "primitive", "group"]),
    rule(
        "bundle",
        &[ID, DESCRIPTION],
        &["meta_attributes", "docker", "podman", "rkt", "network", "storage", "primitive"],
    ),
    rule("docker", CONTAINER, &[]),
    rule("podman", CONTAINER, &[]),
    rule("rkt", CONTAINER, &[]),
    rule(
        "network",
        &[
            may("ip-range-start", Kind::NonEmpty),
            may("control-port", Kind::Text),
            may("host-interface", Kind::Text),
            may("host-netmask", Kind::Text),
            may("add-host", Kind::Bool),
        ],
        &["port-mapping"],
    ),
    rule(
        "port-mapping",
        &[ID, may("port", Kind::Text), may("internal-port", Kind::Text), may("range", Kind::Text)],
        &[],
    ),
    rule("storage", &[], &["storage-mapping"]),
    rule(
        "storage-mapping",
        &[
            ID,
            may("source-dir", Kind::Text),
            may("source-dir-root", Kind::Text),
            need("target-dir", Kind::NonEmpty),
            may("options", Kind::Text),
        ],
        &[],
    ),
    rule("operations", &[may("id", Kind::Id), may("id-ref", Kind::IdRef(&["operations"]))], &["op"]),
    rule(
        "op",
        &[
            ID,
            need("name", Kind::NonEmpty),
            need("interval", Kind::Interval),
            may("timeout", Kind::Interval),
            may("start-delay", Kind::Interval),
            may("interval-origin", Kind::Text),
            may("enabled", Kind::Bool),
            may("record-pending", Kind::Bool),
            may("role", ROLES),
            may("on-fail", ON_FAIL),
            may("requires", Kind::OneOf(&["nothing", "quorum", "fencing", "unfencing"])),
            DESCRIPTION,
        ],
        SETS,
    ),
    // Constraints
    rule(
        "rsc_location",
        &[
            ID,
            may("rsc", Kind::IdRef(RESOURCES)),
            may("rsc-pattern", Kind::NonEmpty),
            may("node", Kind::NonEmpty),
            may("score", Kind::Score),
            may("role", ROLES),
            may("resource-discovery", Kind::OneOf(&["always", "never", "exclusive"])),
        ],
        &["resource_set", "rule", "lifetime"],
    ),
    rule("lifetime", &[], &["rule"]),
    rule(
        "rsc_colocation",
        &[
            ID,
            may("rsc", Kind::IdRef(RESOURCES)),
            may("with-rsc", Kind::IdRef(RESOURCES)),
            may("score", Kind::Score),
            may("score-attribute", Kind::Text),
            may("score-attribute-mangle", Kind::Text),
            may("node-attribute", Kind::Text),
            may("rsc-role", ROLES),
            may("with-rsc-role", ROLES),
            may("influence", Kind::Bool),
            may("rsc-instance", Kind::Integer),
            may("with-rsc-instance", Kind::Integer),
        ],
        &["resource_set", "rule", "lifetime"],
    ),
    rule(
        "rsc_order",
        &[
            ID,
            may("first", Kind::IdRef(RESOURCES)),
            may("then", Kind::IdRef(RESOURCES)),
            may("first-action", ACTIONS),
            may("then-action", ACTIONS),
            may("kind", Kind::OneOf(&["Mandatory", "Optional", "Serialize"])),
            may("score", Kind::Score),
            may("symmetrical", Kind::Bool),
            may("require-all", Kind::Bool),
            may("first-instance", Kind::Integer),
            may("then-instance", Kind::Integer),
        ],
        &["resource_set", "lifetime"],
    ),
    rule(
        "rsc_ticket",
        &[
            ID,
            may("rsc", Kind::IdRef(RESOURCES)),
            need("ticket", Kind::NonEmpty),
            may("rsc-role", ROLES),
            may("loss-policy", Kind::OneOf(&["stop", "demote", "fence", "freeze"])),
        ],
        &["resource_set"],
    ),
    rule(
        "resource_set",
        &[
            ID_OR_REF,
            may("id-ref", Kind::IdRef(&["resource_set"])),
            may("sequential", Kind::Bool),
            may("require-all", Kind::Bool),
            may("ordering", Kind::OneOf(&["group", "listed"])),
            may("role", ROLES),
            may("action", ACTIONS),
            may("score", Kind::Score),
            may("kind", Kind::OneOf(&["Mandatory", "Optional", "Serialize"])),
        ],
        &["resource_ref"],
    ),
    rule("resource_ref", &[need("id", Kind::IdRef(RESOURCES))], &[]),
    // Rules
    rule(
        "rule",
        &[
            ID_OR_REF,
            may("id-ref", Kind::IdRef(&["rule"])),
            may("score", Kind::Score),
            may("score-attribute", Kind::Text),
            may("boolean-op", Kind::OneOf(&["and", "or"])),
            may("role", ROLES),
        ],
        &["expression", "date_expression", "rsc_expression", "op_expression", "rule"],
    ),
    rule(
        "expression",
        &[
            ID,
            need("attribute", Kind::NonEmpty),
            need("operation", Kind::OneOf(&["lt", "gt", "lte", "gte", "eq", "ne", "defined", "not_defined"])),
            may("value", Kind::Text),
            may("type", Kind::OneOf(&["string", "integer", "number", "version"])),
            may("value-source", Kind::OneOf(&["literal", "param", "meta"])),
        ],
        &[],
    ),
    rule(
        "date_expression",
        &[
            ID,
            may("operation", Kind::OneOf(&["in_range", "gt", "lt", "date_spec", "in-range"])),
            may("start", Kind::Text),
            may("end", Kind::Text),
        ],
        &["duration", "date_spec"],
    ),
    rule("duration", DATES, &[]),
    rule("date_spec", DATES, &[]),
    rule("rsc_expression", &[ID, may("class", Kind::Text), may("provider", Kind::Text), may("type", Kind::Text)], &[]),
    rule("op_expression", &[ID, need("name", Kind::NonEmpty), may("interval", Kind::Interval)], &[]),
    // The rest
    rule(
        "fencing-level",
        &[
            ID,
            may("target", Kind::NonEmpty),
            may("target-pattern", Kind::NonEmpty),
            may("target-attribute", Kind::NonEmpty),
            may("target-value", Kind::Text),
            need("index", Kind::Integer),
            need("devices", Kind::NonEmpty),
        ],
        &[],
    ),
    rule("tag", &[ID], &["obj_ref"]),
    rule("obj_ref", &[need("id", Kind::IdRef(&[]))], &[]),
    rule("acl_target", &[ID, may("name", Kind::NonEmpty)], &["role"]),
    rule("acl_group", &[ID, may("name", Kind::NonEmpty)], &["role"]),
    rule("role", &[need("id", Kind::IdRef(&["acl_role"]))], &[]),
    rule("acl_role", &[ID, DESCRIPTION], &["acl_permission"]),
    rule(
        "acl_permission",
        &[
            ID,
            need("kind", Kind::OneOf(&["read", "write", "deny"])),
            may("xpath", Kind::NonEmpty),
            may("reference", Kind::IdRef(&[])),
            may("object-type", Kind::NonEmpty),
            may("attribute", Kind::NonEmpty),
            DESCRIPTION,
        ],
        &[],
    ),
    rule(
        "alert",
        &[ID, need("path", Kind::NonEmpty), DESCRIPTION],
        &["meta_attributes", "instance_attributes", "select", "recipient"],
    ),
    rule("recipient", &[ID, need("value", Kind::Text), DESCRIPTION], SETS),
    rule("select", &[], &["select_attributes", "select_fencing", "select_nodes", "select_resources"]),
    rule("select_attributes", &[], &["attribute"]),
    rule("select_fencing", &[], &[]),
    rule("select_nodes", &[], &[]),
    rule("select_resources", &[], &[]),
    rule("attribute", &[ID, need("name", Kind::NonEmpty)], &[]),
];

/// The rule for an element inside `parent`.
pub fn find(name: &str, parent: &str) -> Option<&'static Rule> {
    // By the length of the name: there are but a few of each, and nothing is compared that is not as long.
    static BY_LENGTH: LazyLock<Vec<Vec<&'static Rule>>> = LazyLock::new(|| {
        let longest = RULES.iter().map(|r| r.name.len()).max().unwrap_or(0);
        let of_length = |length| RULES.iter().filter(|r| r.name.len() == length).collect();
        (0..=longest).map(of_length).collect()
    });
    let fits = |r: &&&Rule| r.name == name && (r.parent.is_empty() || r.parent == parent);
    BY_LENGTH.get(name.len())?.iter().find(fits).copied()
}

/// Whether a value is of its kind; else what was expected.
pub fn value_fits(kind: Kind, value: &str) -> Result<(), String> {
    let expected = |fits: bool, what: &str| if fits { Ok(()) } else { Err(what.to_owned()) };
    match kind {
        Kind::Text | Kind::IdRef(_) => Ok(()),
        Kind::NonEmpty => expected(!value.is_empty(), "something"),
        Kind::Id => expected(is_xml_name(value), "an id: a letter or '_', then letters, digits, '-', '_' or '.'"),
        Kind::Score => {
            let fits = matches!(value.trim_start_matches(['+', '-']), "INFINITY") || Score::parse(value).is_some();
            expected(fits, "an integer, INFINITY or -INFINITY")
        }
        Kind::Integer => expected(value.trim().parse::<i64>().is_ok(), "a whole number"),
        Kind::Bool => expected(is_bool(value), "true or false"),
        Kind::Interval => expected(is_interval(value), "a time such as 10, 10s, 500ms, 2min or P1D"),
        Kind::OneOf(words) if words.contains(&value) => Ok(()),
        Kind::OneOf(words) => Err(format!("one of {}", words.join(", "))),
    }
}

pub fn is_bool(value: &str) -> bool {
    base::text::parse_bool(value).is_some()
}

/// A number with an optional unit, or an ISO 8601 duration.
pub fn is_interval(value: &str) -> bool {
    let value = value.trim();
    if let Some(duration) = value.strip_prefix('P') {
        return !duration.is_empty() && duration.chars().all(|c| c.is_ascii_digit() || "YMWDTHS.,".contains(c));
    }
    let digits = value.trim_start_matches(|c: char| c.is_ascii_digit());
    let units = ["", "s", "sec", "ms", "msec", "us", "usec", "m", "min", "h", "hr"];
    digits.len() < value.len() && units.contains(&digits.trim())
}

/// XML 1.0's NCName.
fn is_xml_name(value: &str) -> bool {
    let mut chars = value.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || "_-.".contains(c))
}

/// What an element lacks that the table cannot say.
pub fn missing_child(e: &Element) -> Option<String> {
    let has = |names: &[&str]| e.elements().any(|c| names.contains(&c.name()));
    let message = match e.name() {
        "clone" | "master" if !has(&["primitive", "group"]) => "contains neither a primitive nor a group",
        "bundle" if !has(&["docker", "podman", "rkt"]) => "has no container (docker or podman)",
        "rsc_location" if e.attr("node").is_none() && !has(&["rule", "lifetime", "resource_set"]) => {
            "names neither a node nor a rule"
        }
        _ => return None,
    };
    Some(format!("{} {message}", e.name()))
}

/// Attributes that need or exclude each other.
pub fn attribute_conflict(e: &Element) -> Option<String> {
    let has = |name: &str| e.attr(name).is_some();
    let all = |names: &[&str]| names.iter().all(|n| e.attr(n).is_some());
    let lone = e.child("resource_set").is_none();
    let message = match e.name() {
        "primitive" if !has("template") && !all(&["class", "type"]) => "needs class and type, or a template",
        "primitive" if has("template") && (has("class") || has("type")) => "has both a template and a class",
        "template" if !all(&["class", "type"]) => "needs class and type",
        "rsc_location" if lone && has("rsc") == has("rsc-pattern") => "needs either rsc or rsc-pattern",
        "rsc_location" if has("node") && !has("score") => "names a node but no score",
        "rsc_colocation" if has("score") && (has("score-attribute") || has("score-attribute-mangle")) => {
            "has both score and score-attribute"
        }
        "rsc_colocation" if lone && !all(&["rsc", "with-rsc"]) => "needs rsc and with-rsc, or resource sets",
        "rsc_order" if lone && !all(&["first", "then"]) => "needs first and then, or resource sets",
        "rsc_ticket" if lone && !has("rsc") => "needs rsc or resource sets",
        "acl_permission" if !(has("xpath") || has("reference") || has("object-type")) => {
            "needs xpath, reference or object-type"
        }
        "acl_permission" if e.attr("xpath").is_some_and(|x| crate::acl::check_expression(x).is_err()) => {
            let why = e.attr("xpath").and_then(|x| crate::acl::check_expression(x).err()).unwrap_or_default();
            return Some(format!("{} has an xpath that cannot be enforced: {why}", e.name()));
        }
        "fencing-level" if !(has("target") || has("target-pattern") || has("target-attribute")) => "needs a target",
        _ => return None,
    };
    Some(format!("{} {message}", e.name()))
}
