//! Every native agent with nothing, nonsense and hostility for parameters: stop is ok, a probe says that it does not run.

use super::*;
use base::Instance;

fn agents(dir: &std::path::Path, leases: bool) -> Agents {
    let table: DataPlane = Arc::new(|| Ok(Box::new(kernel::ipvs::Memory::new())));
    let options =
        Options { data_plane: table, leases, on_event: Arc::new(|_| {}), ..Options::standalone(dir.to_owned()) };
    Agents::start(options).expect("agents")
}

fn operation(meta: &Meta, id: &str, action: &str, params: &BTreeMap<String, String>) -> Operation {
    Operation {
        instance: Instance {
            id: id.to_owned(),
            class: "ocf".into(),
            provider: Some(meta.providers[0].to_owned()),
            agent: meta.name.to_owned(),
            params: params.clone(),
        },
        action: action.to_owned(),
        ..Operation::default()
    }
}

/// Values that no parameter takes, or that mean something to a shell, a path, a parser.
fn hostile() -> Vec<String> {
    let words = [
        "",
        " ",
        "0",
        "-1",
        "x",
        "true",
        "192.168.1.1O0",
        "0.0.0.0",
        "224.0.0.1",
        "::",
        "192.0.2.1/33",
        "99999999999999999999",
        "../../nobody/has/this",
        "/dev/null/x",
        "/",
        "a\0b",
        "\u{1b}[31m",
        "é🦀",
        "$(reboot)",
        "; reboot",
        "%s%n",
        "eth0:eth0:eth0",
    ];
    words.iter().map(|w| (*w).to_owned()).chain(["x".repeat(70_000)]).collect()
}

#[tokio::test]
async fn stop_and_probe_never_fail_by_configuration() {
    let dir = tempfile::tempdir().expect("a directory");
    for leases in [false, true] {
        let agents = agents(dir.path(), leases);
        for meta in ALL {
            let mut cases = vec![BTreeMap::new()];
            for value in hostile() {
                cases.push(meta.params.iter().map(|p| (p.name.to_owned(), value.clone())).collect());
                // Each parameter alone: the others do not hide its complaint.
                cases.extend(meta.params.iter().map(|p| BTreeMap::from([(p.name.to_owned(), value.clone())])));
            }
            // They would only make the test slow.
            cases.retain(|c| c.get("op_sleep").is_none_or(|v| v.parse::<u64>().is_err()));
            for params in cases {
                let shown: String = format!("{params:?}").chars().take(200).collect();
                for action in ["monitor", "stop", "monitor"] {
                    let outcome = agents.run(&operation(meta, "res:0", action, &params)).await;
                    let expected = if action == "stop" { 0 } else { 7 };
                    assert_eq!(outcome.code.0, expected, "{} {action} {shown}: {}", meta.name, outcome.reason);
                }
            }
        }
    }
}

#[tokio::test]
async fn what_was_started_well_is_stopped_whatever_the_configuration_says_now() {
    let dir = tempfile::tempdir().expect("a directory");
    let agents = agents(dir.path(), false);
    let state = dir.path().join("p.state");
    let pairs = |all: &[(&str, &str)]| all.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let good: BTreeMap<String, String> = pairs(&[
        ("host_list", "127.0.0.1"),
        ("pidfile", state.to_str().expect("UTF-8")),
        ("attempts", "1"),
        ("timeout", "100ms"),
    ]);
    for bad in [pairs(&[]), pairs(&[("host_list", "127.0.0.1"), ("attempts", "many")])] {
        assert_eq!(agents.run(&operation(&ping::META, "p", "start", &good)).await.code.0, 0);
        assert!(state.exists());
        assert_eq!(agents.run(&operation(&ping::META, "p", "monitor", &bad)).await.code.0, 0, "it runs");
        assert_eq!(agents.run(&operation(&ping::META, "p", "stop", &bad)).await.code.0, 0);
        assert!(!state.exists());
        assert_eq!(agents.run(&operation(&ping::META, "p", "monitor", &bad)).await.code.0, 7);
    }
    let refused = agents.run(&operation(&ping::META, "p", "start", &pairs(&[]))).await;
    assert_eq!((refused.code, refused.reason.contains("host_list")), (OcfCode::NOT_CONFIGURED, true));
}

/// No IPVS in the kernel: what the monitor would find, the start says.
#[tokio::test]
async fn a_director_without_a_table_does_not_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("l.cf");
    std::fs::write(&file, "virtual=192.0.2.1:80\n\treal=127.0.0.1:9 masq\n\tchecktype=connect\n\tprotocol=tcp\n")
        .expect("written");
    let none: DataPlane = Arc::new(|| Err(kernel::ipvs::Error::NoIpvs { hint: "as a test wants it".into() }));
    let options =
        Options { data_plane: none, on_event: Arc::new(|_| {}), ..Options::standalone(dir.path().to_owned()) };
    let agents = Agents::start(options).expect("agents");
    let params = BTreeMap::from([("configfile".to_owned(), file.display().to_string())]);
    let codes = async |action: &str| {
        let outcome = agents.run(&operation(&director::META, "lvs", action, &params)).await;
        (outcome.code.0, outcome.reason.contains("no IPVS"))
    };
    assert_eq!(codes("monitor").await, (7, false));
    assert_eq!(codes("start").await, (5, true));
    assert_eq!(codes("monitor").await, (7, false));
    assert_eq!(codes("stop").await, (0, false));
}

#[test]
fn every_agent_is_described_and_found() {
    for described in ALL {
        let xml = described.xml();
        for action in ["start", "stop", "monitor", "meta-data", "validate-all"] {
            assert!(xml.contains(&format!("<action name=\"{action}\"")), "{} {action}", described.name);
        }
        let reloads = described.params.iter().any(|p| p.reloadable);
        assert_eq!(reloads, described.has_action("reload-agent"), "{}", described.name);
        for provider in described.providers {
            assert_eq!(meta(provider, described.name).map(|m| m.name), Some(described.name));
        }
        assert!(meta("elsewhere", described.name).is_none());
    }
    assert!(meta("heartbeat", "Filesystem").is_none());
}
