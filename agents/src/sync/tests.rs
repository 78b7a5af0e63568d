use super::*;
use crate::agent::{Hosted, Native};
use crate::host::Event;
use base::Operation;
use kernel::ipvs::{Ipvs, Memory};
use std::sync::{Arc, Mutex as StdMutex};

/// One table in memory that every opening shares.
#[derive(Clone)]
struct Shared(Arc<StdMutex<Memory>>);

impl Ipvs for Shared {
    fn info(&mut self) -> Result<base::ipvs::Info, Error> {
        self.0.lock().unwrap().info()
    }
    fn services(&mut self) -> Result<Vec<base::ipvs::ServiceEntry>, Error> {
        self.0.lock().unwrap().services()
    }
    fn service(&mut self, key: &base::ipvs::ServiceKey) -> Result<base::ipvs::ServiceEntry, Error> {
        self.0.lock().unwrap().service(key)
    }
    fn timeouts(&mut self) -> Result<base::ipvs::Timeouts, Error> {
        self.0.lock().unwrap().timeouts()
    }
    fn daemons(&mut self) -> Result<Vec<SyncDaemon>, Error> {
        self.0.lock().unwrap().daemons()
    }
    fn apply(&mut self, change: &kernel::ipvs::Change) -> Result<(), Error> {
        self.0.lock().unwrap().apply(change)
    }
}

struct Node {
    sync: Hosted<Sync>,
    table: Shared,
    attributes: Arc<StdMutex<BTreeMap<String, Option<String>>>>,
    directors: Directors,
}

fn node() -> Node {
    let table = Shared(Arc::new(StdMutex::new(Memory::new())));
    let attributes: Arc<StdMutex<BTreeMap<String, Option<String>>>> = Arc::default();
    let (open, seen) = (table.clone(), attributes.clone());
    let send = move |event| {
        if let Event::Attribute { name, value } = event {
            seen.lock().unwrap().insert(name, value);
        }
    };
    let data_plane: DataPlane = Arc::new(move || Ok(Box::new(open.clone())));
    let directors = Directors::new(data_plane.clone(), None, None, Arc::new(|_| {}));
    Node {
        sync: Hosted::new(Sync::new(data_plane, Attributes::new(Arc::new(send)), directors.clone())),
        table,
        attributes,
        directors,
    }
}

fn instance(id: &str, params: &[(&str, &str)]) -> Instance {
    let params = params.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Instance { id: id.into(), params, ..Instance::default() }
}

impl Node {
    async fn run(&self, resource: &str, operation: &str, params: &[(&str, &str)]) -> AgentOutcome {
        let mut all = vec![("interface", "eth1")];
        all.extend_from_slice(params);
        let instance = instance(resource, &all);
        self.sync.run(&Operation { instance, action: operation.into(), ..Operation::default() }).await
    }

    fn roles(&self) -> Vec<(SyncState, u32)> {
        let mut found: Vec<_> = self.table.clone().daemons().unwrap().iter().map(|d| (d.state, d.sync_id)).collect();
        found.sort();
        found
    }
}

#[tokio::test]
async fn roles_follow_probe_start_and_stop() {
    let node = node();
    let mut codes = Vec::new();
    for operation in ["monitor", "start", "start", "monitor", "stop", "stop", "monitor"] {
        codes.push(node.run("sync", operation, &[("syncid", "7")]).await.code.0);
        let expected = if matches!(operation, "start") { SyncState::Master } else { SyncState::Backup };
        if operation != "monitor" {
            assert_eq!(node.roles(), [(expected, 7)], "{operation}");
        }
    }
    assert_eq!(codes, [7, 0, 0, 0, 0, 0, 7]);
}

#[tokio::test]
async fn a_lost_role_is_noticed_and_taken_up_again() {
    let node = node();
    node.run("sync", "start", &[]).await;
    node.table.clone().stop_daemon(SyncState::Master, 1).unwrap();
    let outcome = node.run("sync", "monitor", &[]).await;
    assert_eq!((outcome.code, outcome.reason.contains("lost")), (OcfCode::OK, true));
    assert_eq!(node.roles(), [(SyncState::Master, 1)]);
}

#[tokio::test]
async fn a_node_that_may_hold_nothing_has_no_role() {
    let node = node();
    node.run("a", "start", &[("syncid", "1")]).await;
    node.run("b", "monitor", &[("syncid", "2")]).await;
    assert_eq!(node.roles(), [(SyncState::Master, 1), (SyncState::Backup, 2)]);
    assert_eq!(node.sync.abandon("this node was fenced").await, [] as [String; 0]);
    assert_eq!(node.roles(), []);
    assert_eq!(node.sync.abandon("once more").await, [] as [String; 0]);
}

#[tokio::test]
async fn two_groups_have_both_roles_on_one_node() {
    let node = node();
    node.run("a", "monitor", &[("syncid", "1")]).await;
    node.run("b", "monitor", &[("syncid", "2")]).await;
    assert_eq!(node.roles(), [(SyncState::Backup, 0)]);
    node.run("a", "start", &[("syncid", "1")]).await;
    assert_eq!(node.roles(), [(SyncState::Master, 1), (SyncState::Backup, 2)]);
    let clash = node.run("c", "start", &[("syncid", "2")]).await;
    assert_eq!(clash.code, OcfCode::NOT_CONFIGURED, "{}", clash.reason);
}

#[tokio::test]
async fn warm_only_after_the_delay_and_only_if_asked() {
    let node = node();
    node.run("sync", "monitor", &[]).await;
    assert!(node.attributes.lock().unwrap().is_empty());
    node.run("sync", "monitor", &[("preempt_delay", "1h")]).await;
    assert_eq!(node.attributes.lock().unwrap()["warm-sync"], None);
    node.run("sync", "monitor", &[("preempt_delay", "0")]).await;
    assert_eq!(node.attributes.lock().unwrap()["warm-sync"], Some("1".to_owned()));
    // A server that never answers: its check has no answer yet.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("l.cf");
    let port = silent.local_addr().unwrap().port();
    let service = format!(
        "checktimeout=60\ncheckinterval=60\nvirtual=192.0.2.1:80\n\treal=127.0.0.1:{port} masq\n\tservice=http\n\trequest=\"/\"\n\tprotocol=tcp\n"
    );
    std::fs::write(&file, service).unwrap();
    let director = Hosted::new(crate::director::Director(node.directors.clone()));
    let probe = instance("lvs", &[("configfile", file.to_str().unwrap())]);
    let probe = Operation { instance: probe, action: "monitor".into(), ..Operation::default() };
    assert_eq!(director.run(&probe).await.code, OcfCode::NOT_RUNNING);
    node.run("sync", "monitor", &[("preempt_delay", "0")]).await;
    assert_eq!(node.attributes.lock().unwrap()["warm-sync"], None);
}

#[test]
fn says_which_parameter_is_wrong() {
    for (name, value) in
        [("syncid", "0"), ("syncid", "256"), ("group", "10.0.0.1"), ("ttl", "x"), ("preempt_delay", "soon")]
    {
        let refused = Settings::of(&instance("s", &[("interface", "eth1"), (name, value)])).err();
        assert!(refused.is_some_and(|o| o.reason.contains(name)), "{name}={value}");
    }
}
