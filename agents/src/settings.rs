//! `ocf:bascule:director-settings`: kernel settings of a director, set at start, audited at each monitor, put back at stop.
//!
//! What is wanted and why is `kernel::settings`' table; a parameter named like the last part of a setting's name gives
//! another value, or `keep` to leave it alone. A monitor puts `ok`, or the settings that somebody has changed, into
//! the node attribute `director-settings`. At stop a value of before comes back only where the table says that it is safe,
//! no other resource on this node wants it, and nobody has changed it since.
//!
//! The values of before are kept in a file below the run directory, so that a new daemon knows them.

use crate::agent::Agent;
use crate::attributes::Attributes;
use crate::meta::{Meta, param};
use crate::outcome::{AgentOutcome, Parameters};
use base::Instance;
use base::exit::OcfCode;
use kernel::settings::{self, Host, Key, Setting, Topology, Tree};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use tokio::sync::Mutex;

const FILE: &str = "director-settings.json";
const DEFAULT_ATTRIBUTE: &str = "director-settings";
/// Longest attribute value; the log has all.
const MAX_SHOWN_CHARS: usize = 500;

pub(crate) const META: Meta = Meta {
    name: "director-settings",
    providers: &["bascule", "heartbeat"],
    about: "Kernel settings of a director: set, audited, put back; a value of 'keep' leaves a setting alone",
    params: &[
        param(
            "topology",
            "string",
            Some("direct"),
            "How packets reach the real servers, separated by blanks: direct tunnel nat fwmark local",
        ),
        param(
            "audit",
            "string",
            Some("report"),
            "What a monitor does about a changed setting: report (node attribute, log), repair (set it again), fail",
        ),
        param("on_stop", "string", Some("restore"), "restore the values of before where that is safe, or keep ours"),
        param("attribute", "string", Some(DEFAULT_ATTRIBUTE), "Node attribute with 'ok' or what has been changed"),
        param(
            "conn_tab_bits",
            "integer",
            None,
            "Least size of the connection table (a module parameter: only reported)",
        ),
        param("expire_nodest_conn", "string", None, "Instead of 1"),
        param("expire_quiescent_template", "string", None, "Instead of 1"),
        param("sloppy_tcp", "string", None, "Instead of 1"),
        param("sync_threshold", "string", None, "Instead of '3 0'"),
        param("sync_refresh_period", "string", None, "Instead of 10 (seconds)"),
        param("sync_retries", "string", None, "Instead of 2"),
        param("conn_reuse_mode", "string", None, "Instead of 1"),
        param(
            "conntrack",
            "string",
            None,
            "Instead of 0; 1 where firewall rules look at states of balanced connections",
        ),
        param("pmtu_disc", "string", None, "Instead of 1 (tunnel); 0 fragments for clients deaf to 'too large'"),
        param("ip_forward", "string", None, "Instead of 1 (nat, fwmark)"),
        param("forwarding", "string", None, "Instead of 1 (IPv6; nat, fwmark)"),
        param("send_redirects", "string", None, "Instead of 0"),
        param("arp_ignore", "string", None, "Instead of 1 (local)"),
        param("arp_announce", "string", None, "Instead of 2 (local)"),
        param("promote_secondaries", "string", None, "Instead of 1"),
        param("backup_only", "string", None, "Instead of 0"),
    ],
    actions: &[
        ("start", 20, None),
        ("stop", 20, None),
        ("monitor", 20, Some(30)),
        ("validate-all", 5, None),
        ("meta-data", 5, None),
    ],
};

/// What this node's resources have set.
#[derive(Default, Serialize, Deserialize)]
struct Record {
    /// Value before the first of us wrote, by setting.
    before: BTreeMap<String, String>,
    /// What each resource has set.
    holders: BTreeMap<String, BTreeMap<String, String>>,
}

pub(crate) struct DirectorSettings {
    tree: Tree,
    file: PathBuf,
    attributes: Attributes,
    /// One call at a time changes file and settings.
    turn: Mutex<()>,
}

/// What one resource wants, read from its parameters.
#[derive(Clone)]
pub(crate) struct Wanted {
    topologies: Vec<Topology>,
    audit: Audit,
    restore: bool,
    attribute: String,
    conn_tab_bits: u64,
    /// Other values, by the last part of the setting's name.
    others: BTreeMap<String, String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Audit {
    Report,
    Repair,
    Fail,
}

impl Wanted {
    fn of(instance: &Instance) -> Result<Wanted, AgentOutcome> {
        let audit = match instance.param("audit").unwrap_or("report") {
            "report" => Audit::Report,
            "repair" => Audit::Repair,
            "fail" => Audit::Fail,
            other => {
                return Err(AgentOutcome::not_configured(format!("audit='{other}' is none of report, repair, fail")));
            }
        };
        let lasts = settings::SETTINGS.iter().filter_map(|s| s.name.rsplit('.').next());
        let others = lasts.filter_map(|last| Some((last.to_owned(), instance.param(last)?.to_owned()))).collect();
        Ok(Wanted {
            topologies: topologies(instance)?,
            audit,
            restore: instance.param("on_stop").unwrap_or("restore") == "restore",
            attribute: instance.param("attribute").unwrap_or(DEFAULT_ATTRIBUTE).to_owned(),
            conn_tab_bits: instance.number("conn_tab_bits", 0)?,
            others,
        })
    }
}

/// One setting as this resource wants it.
struct Line {
    setting: &'static Setting,
    key: Key,
    /// From a parameter.
    other: Option<String>,
}

impl Line {
    fn value(&self) -> String {
        self.other.clone().unwrap_or_else(|| self.setting.wanted.value())
    }

    fn accepts(&self, found: &str) -> bool {
        match &self.other {
            Some(value) => value.split_whitespace().eq(found.split_whitespace()),
            None => self.setting.wanted.accepts(found),
        }
    }
}

impl DirectorSettings {
    pub fn new(run_dir: &Path, attributes: Attributes) -> DirectorSettings {
        DirectorSettings::with_tree(Tree::system(), run_dir, attributes)
    }

    fn with_tree(tree: Tree, run_dir: &Path, attributes: Attributes) -> DirectorSettings {
        DirectorSettings { tree, file: run_dir.join("agents").join(FILE), attributes, turn: Mutex::default() }
    }

    fn lines(&self, wanted: &Wanted) -> Vec<Line> {
        let mut lines = Vec::new();
        for setting in settings::settings_for(Host::Director, &wanted.topologies) {
            let other = setting.name.rsplit('.').next().and_then(|last| wanted.others.get(last));
            if other.is_some_and(|o| o == "keep") {
                continue;
            }
            let keys = self.tree.expand(setting.name).into_iter();
            lines.extend(keys.map(|key| Line { setting, key, other: other.cloned() }));
        }
        lines
    }

    fn set(&self, id: &str, wanted: &Wanted) -> io::Result<()> {
        let mut record = self.record();
        let mine = record.holders.entry(id.to_owned()).or_default();
        let mut changes = Vec::new();
        for line in self.lines(wanted) {
            // What the kernel does not have (an older one, no IPv6) is the audit's to report.
            let Ok(found) = self.tree.read(&line.key) else { continue };
            mine.insert(line.key.to_string(), line.value());
            if !line.accepts(&found) {
                record.before.entry(line.key.to_string()).or_insert(found);
                changes.push(line);
            }
        }
        // First the file: a crash in between must not lose what was before.
        self.keep(&record)?;
        for line in changes {
            self.write(&line.key, &line.value())?;
        }
        Ok(())
    }

    /// Of who holds nothing here nothing is put back.
    fn put_back(&self, id: &str, restore: bool) -> io::Result<()> {
        let mut record = self.record();
        let Some(mine) = record.holders.remove(id) else { return Ok(()) };
        let mut problem = None;
        for (name, ours) in mine {
            if record.holders.values().any(|other| other.contains_key(&name)) {
                continue;
            }
            let Some(before) = record.before.remove(&name) else { continue };
            let key = Key::new(&name);
            let untouched = self.tree.read(&key).is_ok_and(|now| now.split_whitespace().eq(ours.split_whitespace()));
            if restore && untouched && may_be_restored(&name) {
                problem = self.write(&key, &before).err().or(problem);
            }
        }
        self.keep(&record)?;
        problem.map_or(Ok(()), Err)
    }

    /// Looks, puts right if that is asked for, and tells the attribute.
    fn audit(&self, id: &str, wanted: &Wanted) -> io::Result<AgentOutcome> {
        let mut found = self.deviations(wanted);
        if wanted.audit == Audit::Repair && !found.is_empty() {
            tracing::warn!(resource = id, "kernel settings changed, set again: {}", found.join("; "));
            self.set(id, wanted)?;
            found = self.deviations(wanted);
        }
        if !found.is_empty() {
            tracing::warn!(resource = id, "kernel settings: {}", found.join("; "));
        }
        self.attributes.set(&wanted.attribute, Some(&shown(&found)));
        Ok(match wanted.audit {
            Audit::Fail if !found.is_empty() => AgentOutcome::error(shown(&found)),
            _ => AgentOutcome::new(OcfCode::OK, if found.is_empty() { String::new() } else { shown(&found) }),
        })
    }

    fn deviations(&self, wanted: &Wanted) -> Vec<String> {
        let mut found = Vec::new();
        for line in self.lines(wanted) {
            match self.tree.read(&line.key) {
                Ok(value) if line.accepts(&value) => {}
                Ok(value) => found.push(format!("{}={value} (wanted {})", line.key, line.value())),
                Err(_) => found.push(format!("{} is missing", line.key)),
            }
        }
        let least = wanted.conn_tab_bits;
        if let Some(bits) = settings::conn_tab_bits()
            && u64::from(bits) < least
        {
            found.push(format!("conn_tab_bits={bits} (wanted {least}: options ip_vs conn_tab_bits={least})"));
        }
        found
    }

    fn write(&self, key: &Key, value: &str) -> io::Result<()> {
        self.tree.write(key, value).map_err(|e| io::Error::new(e.kind(), format!("{key}={value}: {e}")))
    }

    fn record(&self) -> Record {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn keep(&self, record: &Record) -> io::Result<()> {
        if let Some(dir) = self.file.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let new = self.file.with_extension("new");
        std::fs::write(&new, serde_json::to_string_pretty(record)?)?;
        std::fs::rename(new, &self.file)
    }
}

impl Agent for DirectorSettings {
    type Settings = Wanted;

    fn meta(&self) -> &'static Meta {
        &META
    }

    fn settings(&self, instance: &Instance) -> Result<Wanted, AgentOutcome> {
        Wanted::of(instance)
    }

    async fn start(&self, id: &str, wanted: &Wanted) -> AgentOutcome {
        let _turn = self.turn.lock().await;
        load_ipvs(&self.tree).await;
        self.set(id, wanted).and_then(|()| self.audit(id, wanted)).unwrap_or_else(failed)
    }

    async fn stop(&self, id: &str, placed: Option<&Wanted>) -> AgentOutcome {
        let _turn = self.turn.lock().await;
        self.attributes.set(placed.map_or(DEFAULT_ATTRIBUTE, |w| &w.attribute), None);
        self.put_back(id, placed.is_none_or(|w| w.restore)).map_or_else(failed, |()| AgentOutcome::ok())
    }

    async fn monitor(&self, id: &str, wanted: &Wanted) -> AgentOutcome {
        let _turn = self.turn.lock().await;
        match self.record().holders.contains_key(id) {
            true => self.audit(id, wanted).unwrap_or_else(failed),
            false => AgentOutcome::not_running(),
        }
    }

    async fn is_placed(&self, id: &str) -> bool {
        self.record().holders.contains_key(id)
    }
}

fn failed(error: io::Error) -> AgentOutcome {
    AgentOutcome::error(error.to_string())
}

/// Settings of IPVS are there once its module is.
async fn load_ipvs(tree: &Tree) {
    let key = Key::new("net.ipv4.vs.expire_nodest_conn");
    if tree.read(&key).is_err() {
        let _ = tokio::task::spawn_blocking(|| kernel::ipvs::Kernel::new().probe()).await;
    }
}

/// By the table's line that the key belongs to.
fn may_be_restored(key: &str) -> bool {
    let parts: Vec<&str> = key.split('.').collect();
    let of = |setting: &Setting| {
        let pattern: Vec<&str> = setting.name.split('.').collect();
        pattern.len() == parts.len() && pattern.iter().zip(&parts).all(|(p, k)| *p == "*" || p == k)
    };
    settings::SETTINGS.iter().any(|s| s.host == Host::Director && s.restore && of(s))
}

fn shown(found: &[String]) -> String {
    if found.is_empty() { "ok".to_owned() } else { found.join("; ").chars().take(MAX_SHOWN_CHARS).collect() }
}

fn topologies(instance: &Instance) -> Result<Vec<Topology>, AgentOutcome> {
    let words = instance.param("topology").unwrap_or("direct").split([' ', ',', '\t']).filter(|w| !w.is_empty());
    words
        .map(|word| {
            let names = Topology::ALL.map(Topology::name).join(", ");
            Topology::named(word)
                .ok_or_else(|| AgentOutcome::not_configured(format!("topology='{word}' is none of {names}")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{Hosted, Native};
    use base::Operation;
    use std::sync::{Arc, Mutex as StdMutex};

    struct Fixture {
        dir: tempfile::TempDir,
        agent: Hosted<DirectorSettings>,
        attribute: Arc<StdMutex<Option<String>>>,
    }

    fn fixture(files: &[(&str, &str)]) -> Fixture {
        let dir = tempfile::tempdir().expect("temporary directory");
        for (path, value) in files {
            let path = dir.path().join("sys").join(path);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("directory");
            std::fs::write(path, value).expect("file");
        }
        let attribute: Arc<StdMutex<Option<String>>> = Arc::default();
        let to = attribute.clone();
        let send = move |event| {
            if let crate::host::Event::Attribute { value, .. } = event {
                *to.lock().expect("lock") = value;
            }
        };
        let tree = Tree::at(dir.path().join("sys"));
        let agent = DirectorSettings::with_tree(tree, dir.path(), Attributes::new(Arc::new(send)));
        Fixture { dir, agent: Hosted::new(agent), attribute }
    }

    impl Fixture {
        async fn run(&self, resource: &str, operation: &str, params: &[(&str, &str)]) -> AgentOutcome {
            let params = params.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            let instance = Instance { id: resource.into(), params, ..Instance::default() };
            self.agent.run(&Operation { instance, action: operation.into(), ..Operation::default() }).await
        }

        fn value(&self, path: &str) -> String {
            std::fs::read_to_string(self.dir.path().join("sys").join(path)).expect("setting").trim().to_owned()
        }

        fn set(&self, path: &str, value: &str) {
            std::fs::write(self.dir.path().join("sys").join(path), value).expect("setting");
        }

        fn shown(&self) -> String {
            self.attribute.lock().expect("lock").clone().unwrap_or_default()
        }
    }

    const FORWARD: &str = "net/ipv4/ip_forward";
    const NODEST: &str = "net/ipv4/vs/expire_nodest_conn";
    const SLOPPY: &str = "net/ipv4/vs/sloppy_tcp";
    const REDIRECTS: &str = "net/ipv4/conf/br0.10/send_redirects";

    #[tokio::test]
    async fn sets_audits_and_puts_back_what_nobody_else_has_changed() {
        let f = fixture(&[(FORWARD, "0"), (NODEST, "0"), (SLOPPY, "0"), (REDIRECTS, "1")]);
        let nat = [("topology", "nat"), ("sloppy_tcp", "keep")];
        assert_eq!(f.run("s", "monitor", &nat).await.code.0, 7);
        assert_eq!(f.run("s", "start", &nat).await.code.0, 0);
        assert_eq!([f.value(FORWARD), f.value(NODEST), f.value(SLOPPY), f.value(REDIRECTS)], ["1", "1", "0", "0"]);
        f.set(NODEST, "0");
        let seen = f.run("s", "monitor", &nat).await;
        assert_eq!(seen.code.0, 0);
        assert!(f.shown().contains("expire_nodest_conn=0 (wanted 1)"), "{}", f.shown());
        assert_eq!(f.run("s", "monitor", &[("topology", "nat"), ("audit", "fail")]).await.code.0, 1);
        f.set(NODEST, "7");
        assert_eq!(f.run("s", "stop", &nat).await.code.0, 0);
        // Changed by somebody: left. Redirects are not put back, since the addresses may still be in caches.
        assert_eq!([f.value(FORWARD), f.value(NODEST), f.value(REDIRECTS)], ["0", "7", "0"]);
        assert_eq!(f.run("s", "monitor", &nat).await.code.0, 7);
        assert_eq!(f.run("s", "stop", &nat).await.code.0, 0);
    }

    #[tokio::test]
    async fn repairs_if_asked_and_waits_for_the_last_holder() {
        let f = fixture(&[(FORWARD, "0")]);
        let nat = [("topology", "direct,nat"), ("audit", "repair")];
        f.run("a", "start", &nat).await;
        f.run("b", "start", &nat).await;
        f.set(FORWARD, "0");
        f.run("a", "monitor", &nat).await;
        assert_eq!(f.value(FORWARD), "1");
        f.run("a", "stop", &nat).await;
        assert_eq!(f.value(FORWARD), "1");
        f.run("b", "stop", &nat).await;
        assert_eq!(f.value(FORWARD), "0");
        assert_eq!(f.run("a", "start", &[("topology", "routed")]).await.code, OcfCode::NOT_CONFIGURED);
    }

    #[test]
    fn every_override_is_a_parameter_and_the_reverse() {
        let lasts: std::collections::BTreeSet<&str> = settings::SETTINGS
            .iter()
            .filter(|s| s.host == Host::Director)
            .filter_map(|s| s.name.rsplit('.').next())
            .collect();
        let own = ["topology", "audit", "on_stop", "attribute", "conn_tab_bits"];
        let params: std::collections::BTreeSet<&str> =
            META.params.iter().map(|p| p.name).filter(|n| !own.contains(n)).collect();
        assert_eq!(lasts, params);
    }
}
