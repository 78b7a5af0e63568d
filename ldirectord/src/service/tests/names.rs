//! Names that stand for several servers, as their answers change.

use super::*;
use crate::names::tests::{Zone, a, server};

/// A file that is reloaded while no name server answers keeps what it knows; and what has nothing to do with names is taken.
#[tokio::test]
async fn a_reload_without_a_name_server() {
    let zone = Zone::default();
    let resolvers = Some(server(zone.clone()).await);
    let (table, dir) = (Shared::default(), tempfile::tempdir().unwrap());
    let path = dir.path().join("t.cf");
    let text = |weight: u32| {
        format!(
            "virtual=10.0.0.1:80\n    real=web.invalid:80 masq 5\n    real=10.0.1.9:80 masq {weight}\n    checktype=on\n    resolve=all\n"
        )
    };
    let config = parse(&text(1), &mut One).unwrap_or_else(|e| panic!("{e}")).config;
    let options = Options { resolvers, config_path: Some(path.clone()), ..Options::default() };
    let director = Director::start(config, Box::new(table.clone()), options).await;
    wait_for("both are there", || table.weights() == ["80:1", "80:5"]).await;
    std::fs::write(&path, text(7)).unwrap();
    director.reload_file().await.unwrap();
    wait_for("the weight is taken", || table.weights() == ["80:5", "80:7"]).await;
    assert_eq!(servers(&table), ["10.0.1.1", "10.0.1.9"]);
    drop(director);
}

/// What names stood for is kept beside the state, and counts where a start has no answer.
#[tokio::test]
async fn a_start_without_a_name_server() {
    let (table, dir) = (Shared::default(), tempfile::tempdir().unwrap());
    let (path, state) = (dir.path().join("t.cf"), dir.path().join("state/ldirectord.t.json"));
    // No name server anywhere knows this domain (RFC 6761).
    let text = "virtual=10.0.0.1:80\n    real=web.invalid:80 masq\n    checktype=on\n    resolve=all\n";
    std::fs::write(&path, text).unwrap();
    let config = parse(text, &mut One).unwrap_or_else(|e| panic!("{e}")).config;
    let director =
        Director::start(config, Box::new(table), Options { state: Some(state.clone()), ..Options::default() }).await;
    wait_for("it is written down", || state.with_extension("names").exists()).await;
    drop(director);
    let loaded = tokio::task::spawn_blocking(move || load_remembering(&path, Some(&state))).await.unwrap();
    let reals: Vec<IpAddr> = loaded.unwrap().config.virtuals[0].reals.iter().map(|r| r.addr).collect();
    assert_eq!(reals, [IpAddr::from([10, 0, 1, 1])]);
}

struct One;

impl Environment for One {
    fn resolve(&mut self, _: &str, _: Family) -> Option<IpAddr> {
        Some([10, 0, 1, 1].into())
    }
    fn service_port(&mut self, _: &str, _: Option<Protocol>) -> Option<u16> {
        None
    }
    fn is_directory(&mut self, _: &Path) -> bool {
        true
    }
    fn can_append(&mut self, _: &Path) -> Result<(), String> {
        Ok(())
    }
}

fn servers(table: &Shared) -> Vec<String> {
    let entries = table.with(|t| t.services().unwrap());
    let dests = entries.iter().flat_map(|e| e.dests.iter().map(|d| d.dest.key.addr.to_string()));
    let mut servers: Vec<String> = dests.collect();
    servers.sort();
    servers
}

#[tokio::test]
async fn a_name_is_asked_again_and_its_silence_changes_nothing() {
    let zone = Zone::default();
    zone.lock().unwrap().insert("web.example.test", (1, vec![a("10.0.1.1"), a("10.0.1.2")]));
    let resolvers = Some(server(zone.clone()).await);
    let table = Shared::default();
    let text = "virtual=10.0.0.1:80\n    real=web.example.test:80 masq 5\n    real=10.0.1.9:80 masq\n    checktype=on\n    resolve=all\n";
    let config = parse(text, &mut One).unwrap_or_else(|e| panic!("{e}")).config;
    let director = Director::start(config, Box::new(table.clone()), Options { resolvers, ..Options::default() }).await;
    let reached = async |expected: &[&str]| {
        wait_for(&format!("{expected:?}"), || servers(&table) == expected).await;
    };
    reached(&["10.0.1.1", "10.0.1.2", "10.0.1.9"]).await;
    // An operator's change of one of them stays with it.
    let request = RealRequest {
        wish: RealWish::Weight { weight: 7 },
        real: "10.0.1.2:80".to_owned(),
        virtual_service: None,
        force: false,
    };
    director.handle().real(request).await.unwrap();
    zone.lock().unwrap().insert("web.example.test", (1, vec![a("10.0.1.2"), a("10.0.1.3")]));
    reached(&["10.0.1.2", "10.0.1.3", "10.0.1.9"]).await;
    assert_eq!(table.weights(), ["80:1", "80:5", "80:7"]);
    // What no packet can be sent to is no answer, and nothing beside one.
    zone.lock()
        .unwrap()
        .insert("web.example.test", (1, vec![a("0.0.0.0"), a("224.0.0.1"), a("10.0.1.2"), a("10.0.1.5")]));
    reached(&["10.0.1.2", "10.0.1.5", "10.0.1.9"]).await;
    // No such name any more: its servers stay, and that is told.
    zone.lock().unwrap().remove("web.example.test");
    zone.lock().unwrap().insert("else.example.test", (1, Vec::new()));
    let started = Instant::now();
    while director.status().await.unwrap().unresolved.is_empty() {
        assert!(started.elapsed() < Duration::from_secs(20), "never told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(director.status().await.unwrap().unresolved[0].contains("there is no `web.example.test`"));
    assert_eq!(servers(&table), ["10.0.1.2", "10.0.1.5", "10.0.1.9"]);
    drop(director);
}
