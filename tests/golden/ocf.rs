//! Native agents as OCF executables, beside the stock agents' meta-data.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

const BASCULE: &str = env!("CARGO_BIN_EXE_bascule");
const STOCK: &str = "/usr/lib/ocf/resource.d/heartbeat";

fn ocf(agent: &str, action: &str, params: &[(&str, &str)]) -> Output {
    let mut command = Command::new(BASCULE);
    command.args(["ocf", agent, action]);
    command.envs(params.iter().map(|(n, v)| (format!("OCF_RESKEY_{n}"), *v)));
    command.output().expect("the binary runs")
}

/// Default of each parameter, and the attributes of each action.
type Described = (BTreeMap<String, String>, BTreeMap<String, Vec<(String, String)>>);

fn described(document: &[u8]) -> Described {
    let text = String::from_utf8_lossy(document);
    // Stock agents put a DOCTYPE before their root.
    let root = text.find("<resource-agent").map(|at| &text[at..]).unwrap_or_default();
    let root = xml::parse(root).expect("meta-data is XML");
    let (mut params, mut actions) = (BTreeMap::new(), BTreeMap::new());
    for e in root.descendants() {
        let name = e.attr("name").unwrap_or_default().to_owned();
        match e.name() {
            "parameter" => {
                let default = e.child("content").and_then(|c| c.attr("default")).unwrap_or_default();
                params.insert(name, default.to_owned());
            }
            "action" => {
                let seconds = |v: &str| v.trim_end_matches('s').to_owned();
                let of = |key: &str| e.attr(key).map(|v| (key.to_owned(), seconds(v)));
                actions.insert(name, ["timeout", "interval", "depth"].into_iter().filter_map(of).collect());
            }
            _ => {}
        }
    }
    (params, actions)
}

fn stock(agent: &str) -> Option<Described> {
    let file = Path::new(STOCK).join(agent);
    if !file.exists() {
        println!("SKIPPED: {} is not installed", file.display());
        return None;
    }
    let out = Command::new(&file).arg("meta-data").env("OCF_ROOT", "/usr/lib/ocf").output().expect("it runs");
    Some(described(&out.stdout))
}

#[test]
fn parameters_and_actions_of_the_stock_agents_are_known() {
    let ours = |agent: &str| described(&ocf(agent, "meta-data", &[]).stdout);
    if let Some((params, actions)) = stock("ldirectord") {
        let (mine, my_actions) = ours("ldirectord");
        for (name, default) in params {
            assert_eq!(mine.get(&name), Some(&default), "ldirectord: {name}");
        }
        assert_eq!(actions, my_actions);
    }
    if let Some((params, _)) = stock("IPaddr2") {
        let mine = ours("IPaddr2").0;
        let missing: Vec<&String> = params.keys().filter(|name| !mine.contains_key(*name)).collect();
        assert_eq!(missing, Vec::<&String>::new());
    }
}

#[test]
fn validate_all_validates() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("l.cf");
    let path = file.to_str().expect("UTF-8");
    std::fs::write(&file, "checkinterval=5\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 teleport\n\tprotocol=tcp\n")
        .expect("written");
    let bad = ocf("ldirectord", "validate-all", &[("configfile", path)]);
    let said = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert_eq!(bad.status.code(), Some(6), "{said}");
    assert!(said.contains("ocf-exit-reason:") && said.contains("l.cf") && said.contains('3'), "{said}");
    let none = ocf("ldirectord", "validate-all", &[("configfile", "/nonexistent/l.cf")]);
    assert_eq!(none.status.code(), Some(5));
    std::fs::write(&file, "checkinterval=5\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\tprotocol=tcp\n")
        .expect("written");
    assert_eq!(ocf("ldirectord", "validate-all", &[("configfile", path)]).status.code(), Some(0));
    assert_eq!(ocf("ldirectord", "monitor", &[("configfile", path)]).status.code(), Some(7));
    assert_eq!(ocf("ldirectord", "stop", &[("configfile", path)]).status.code(), Some(0));
    assert_eq!(ocf("ldirectord", "stop", &[("configfile", "/nonexistent/l.cf")]).status.code(), Some(0));
    assert_eq!(ocf("ldirectord", "promote", &[("configfile", path)]).status.code(), Some(3));
}
