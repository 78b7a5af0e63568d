//! Records: what this node started, as it started it, for as long as that may be in place.
//!
//! ```text
//! start asked --written--> kept --stop confirmed, or a probe found nothing, or deleted--> gone
//!                           | ^
//!                           '-' reload: new parameters
//! ```
//!
//! Whatever ends or checks an instance takes the record; the configuration only says what shall be. The daemon keeps each record as a
//! file, written before the start runs, so that records outlive it. A record also says what the history needs to tell a change that
//! asks for a restart from one that a reload takes over: [`digests`].

use crate::digest;
use crate::message::Exec;
use base::{Instance, Operation};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One instance as it was started (or found running).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    pub instance: Instance,
    /// What the cluster told the agent at that time.
    pub meta: BTreeMap<String, String>,
    /// `op-digest` of that operation.
    pub digest: String,
    /// Counts up: what was started later is stopped earlier.
    pub order: u64,
}

impl Record {
    /// Of what `operation` is about to start (or has found).
    pub fn of(operation: &Operation, own: &[String], order: u64) -> Record {
        let mut instance = operation.instance.clone();
        instance.params.retain(|name, _| !own.contains(name));
        let digest = digest::of(&counted(operation));
        Record { instance, meta: operation.meta.clone(), digest, order }
    }
}

/// Which agent: class, provider, name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct AgentName {
    pub class: String,
    pub provider: Option<String>,
    pub agent: String,
}

impl AgentName {
    pub fn of(instance: &Instance) -> AgentName {
        let Instance { class, provider, agent, .. } = instance.clone();
        AgentName { class, provider, agent }
    }
}

/// What an agent's meta-data say of its parameters.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AgentFacts {
    pub params: Vec<ParamFacts>,
    /// How it takes over changed parameters while it runs, if it can.
    pub reload: Option<Reload>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ParamFacts {
    pub name: String,
    pub unique: bool,
    pub reloadable: bool,
    pub private: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reload {
    /// `reload-agent` (OCF 1.1): for parameters marked `reloadable`.
    Agent,
    /// `reload` of older agents: for parameters that are not `unique`.
    Legacy,
}

impl Reload {
    pub fn action(self) -> &'static str {
        match self {
            Reload::Agent => "reload-agent",
            Reload::Legacy => "reload",
        }
    }
}

/// Private unless the meta-data mark any parameter as that.
const SECRETS: [&str; 3] = ["passwd", "password", "user"];

impl AgentFacts {
    /// Parameters whose change needs a restart; `None` if any change does.
    fn restarting(&self) -> Option<Vec<&str>> {
        let needs = |p: &&ParamFacts| match self.reload {
            Some(Reload::Agent) => !p.reloadable,
            _ => p.unique,
        };
        self.reload?;
        Some(self.params.iter().filter(needs).map(|p| p.name.as_str()).collect())
    }

    fn private(&self) -> Vec<&str> {
        let marked = self.params.iter().any(|p| p.private);
        let is_private = |p: &&ParamFacts| if marked { p.private } else { SECRETS.contains(&p.name.as_str()) };
        self.params.iter().filter(is_private).map(|p| p.name.as_str()).collect()
    }
}

/// Parameters of an operation that its digest counts.
fn counted(operation: &Operation) -> BTreeMap<String, String> {
    let mut all = operation.instance.params.clone();
    if let Some(timeout) = operation.meta.get("timeout").filter(|_| operation.interval_ms > 0) {
        all.insert("CRM_meta_timeout".to_owned(), timeout.clone());
    }
    digest::counted(&all, operation.interval_ms)
}

/// What the history entry of `operation` says of its parameters: `op-digest`, and further attributes.
pub fn digests(operation: &Operation, facts: Option<&AgentFacts>) -> (String, Vec<(String, String)>) {
    let all = counted(operation);
    let mut extra = Vec::new();
    let only = |keep: &dyn Fn(&str) -> bool| {
        let kept = all.iter().filter(|(name, _)| keep(name.as_str())).map(|(n, v)| (n.clone(), v.clone()));
        digest::of(&kept.collect())
    };
    let mut add = |name: &str, value: String| extra.push((name.to_owned(), value));
    if let Some(restarting) = facts.and_then(AgentFacts::restarting).filter(|_| operation.interval_ms == 0) {
        add("op-force-restart", list(&restarting));
        add("op-restart-digest", only(&|name| restarting.contains(&name)));
    }
    let private = facts.map(AgentFacts::private).unwrap_or_default();
    if !private.is_empty() {
        add("op-secure-params", list(&private));
        add("op-secure-digest", only(&|name| !private.contains(&name)));
    }
    (digest::of(&all), extra)
}

/// Between spaces, as histories have lists.
fn list(names: &[&str]) -> String {
    if names.is_empty() { String::new() } else { format!(" {} ", names.join(" ")) }
}

/// Operations that take parameters from the configuration; all others are about what is in place.
pub fn is_new(operation: &Operation) -> bool {
    match operation.action.as_str() {
        "start" | "migrate_from" | "validate-all" => true,
        "monitor" => operation.interval_ms == 0,
        _ => false,
    }
}

/// `exec`'s operation as it is to be run on the instance of `record`.
pub fn on_record(exec: &Exec, record: &Record, facts: Option<&AgentFacts>) -> Operation {
    let mut operation = exec.operation.clone();
    let wanted = std::mem::replace(&mut operation.instance, record.instance.clone());
    if matches!(operation.action.as_str(), "reload" | "reload-agent") {
        operation.instance.params = wanted.params;
        if let Some(reload) = facts.and_then(|f| f.reload) {
            operation.action = reload.action().to_owned();
        }
        return operation;
    }
    let own = wanted.params.into_iter().filter(|(name, _)| exec.own.contains(name));
    operation.instance.params.extend(own);
    operation
}

/// Whether a start of `exec` would leave what `record` says in place beside it.
pub fn differs(exec: &Exec, record: &Record) -> bool {
    let mut wanted = exec.operation.instance.clone();
    wanted.params.retain(|name, _| !exec.own.contains(name));
    wanted != record.instance
}

/// The key under which a resource is known: its own name, or its other one (`x` before it became an instance `x:0`, and the
/// other way round).
pub fn key_of<'a, T>(known: &'a BTreeMap<String, T>, resource: &str) -> Option<&'a String> {
    let exact = |name: &str| known.get_key_value(name).map(|(key, _)| key);
    let whole = || exact(resource.rsplit_once(':').filter(|(_, rest)| is_number(rest))?.0);
    let instance = || {
        let first = format!("{resource}:");
        let near = known.range(first.clone()..).map(|(key, _)| key);
        near.take_while(|key| key.starts_with(&first)).find(|key| is_number(&key[first.len()..]))
    };
    exact(resource).or_else(whole).or_else(instance)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(action: &str, interval_ms: u64, params: &[(&str, &str)]) -> Operation {
        let params = params.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let instance = Instance { id: "x".into(), params, ..Instance::default() };
        Operation { instance, action: action.into(), interval_ms, ..Operation::default() }
    }

    fn facts(reload: Option<Reload>) -> AgentFacts {
        let param =
            |name: &str, unique, reloadable| ParamFacts { name: name.into(), unique, reloadable, private: false };
        AgentFacts {
            params: vec![param("state", true, false), param("fake", false, true), param("passwd", false, false)],
            reload,
        }
    }

    #[test]
    fn a_reloadable_change_leaves_the_restart_digest() {
        let start =
            |fake: &str, state: &str| operation("start", 0, &[("fake", fake), ("state", state), ("passwd", "p")]);
        let (all, extra) = digests(&start("one", "/a"), Some(&facts(Some(Reload::Agent))));
        let get =
            |extra: &[(String, String)], name: &str| extra.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        assert_eq!(get(&extra, "op-force-restart").as_deref(), Some(" state passwd "));
        assert_eq!(get(&extra, "op-secure-params").as_deref(), Some(" passwd "));
        let (changed, reloaded) = digests(&start("two", "/a"), Some(&facts(Some(Reload::Agent))));
        assert_ne!(all, changed);
        assert_eq!(get(&extra, "op-restart-digest"), get(&reloaded, "op-restart-digest"));
        let (_, restarted) = digests(&start("one", "/b"), Some(&facts(Some(Reload::Agent))));
        assert_ne!(get(&extra, "op-restart-digest"), get(&restarted, "op-restart-digest"));
        let (_, legacy) = digests(&start("one", "/a"), Some(&facts(Some(Reload::Legacy))));
        assert_eq!(get(&legacy, "op-force-restart").as_deref(), Some(" state "));
        let (_, none) = digests(&start("one", "/a"), Some(&facts(None)));
        assert_eq!(get(&none, "op-force-restart"), None);
        let recurring = operation("monitor", 1000, &[("fake", "one")]);
        assert_eq!(get(&digests(&recurring, Some(&facts(Some(Reload::Agent)))).1, "op-restart-digest"), None);
    }

    #[test]
    fn names_of_one_resource() {
        for (a, b, same) in [
            ("x", "x", true),
            ("x:0", "x", true),
            ("x", "x:12", true),
            ("x:0", "x:1", false),
            ("x", "xy", false),
            ("x:a", "x", false),
        ] {
            let known = BTreeMap::from([(a.to_owned(), ()), ("w".to_owned(), ()), ("z".to_owned(), ())]);
            assert_eq!(key_of(&known, b).is_some_and(|key| key == a), same, "{a} {b}");
        }
    }
}
