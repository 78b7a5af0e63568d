//! Who may ask what: the requests of `src/cib/src/acl/cases`, each over the socket, as root in a user's place and as that user
//! itself, who says in vain that it is root.

use crate::fixture::{BASCULE, Cluster, PATIENCE, cib_call, post};
use crate::root::root;
use base::exit::crm;
use case::Case;
use cib::{Op, Request, Target};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use wire::api::{CibOp, CibReply};
use xml::Element;

#[path = "../../src/cib/src/acl/cases/case.rs"]
#[allow(dead_code, reason = "the node makes its own requests")]
mod case;

const NODES: [&str; 2] = ["n1", "n2"];
const CASES: [(&str, &str); 3] = [
    ("cts", include_str!("../../src/cib/src/acl/cases/cts.txt")),
    ("explained", include_str!("../../src/cib/src/acl/cases/explained.txt")),
    ("evasions", include_str!("../../src/cib/src/acl/cases/evasions.txt")),
];
/// Numbers of users that no system has; the users of the cases are called so.
const FIRST_UID: u32 = 61_000;

/// A case as the API takes it.
fn call_of(case: &Case<'_>) -> Value {
    let mut call = call(case.operation, case.target, (!case.xml.is_empty()).then(|| case.xml.to_owned()));
    if case.operation == "steps" {
        let steps = case.payload().expect("steps");
        let step = |s: &Element| {
            let payload = s.elements().next().map(Element::to_compact);
            self::call(s.attr("op").expect("an operation"), s.attr("target").expect("a target"), payload)
        };
        call["steps"] = steps.elements().map(step).collect();
        call["xml"] = Value::Null;
    }
    call
}

fn call(operation: &str, target: &str, xml: Option<String>) -> Value {
    let op = match operation {
        "upsert" | "score" => "modify",
        "delete-all" => "delete_all",
        "steps" => "transaction",
        op => op,
    };
    let target = match target {
        "-" => json!("whole"),
        path if path.starts_with('/') => json!({"x_path": path}),
        section => json!({"section": section}),
    };
    let options = json!({"allow_create": operation == "upsert", "score": operation == "score", "force": true});
    json!({"op": op, "target": target, "xml": xml, "options": options})
}

/// What a request of root in `user`'s place is answered with.
fn ask(run_dir: &Path, user: &str, method: &str, path: &str, body: &Value) -> Value {
    let mut stream = UnixStream::connect(run_dir.join("api.sock")).expect("the node listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head = format!(
        "{method} /v1/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nbascule-user: {user}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).expect("JSON")
}

fn code(answer: &Value) -> i32 {
    answer["code"].as_i64().and_then(|c| i32::try_from(c).ok()).unwrap_or(0)
}

fn configuration(run_dir: &Path) -> String {
    let reply: CibReply =
        post(run_dir, "cib", &cib_call(CibOp::Query, "configuration", None), PATIENCE).expect("it answers");
    reply.xml.expect("a section")
}

/// The document of the cases, in place of what was there.
fn load(run_dir: &Path, document: &str) {
    let call = json!({"op": "replace", "xml": document, "options": {"force": true}});
    let answer = ask(run_dir, "root", "POST", "cib", &call);
    assert_eq!(code(&answer), 0, "{answer}");
}

/// Runs all cases; `asked` gives what one is answered with. How many there were.
fn run(
    run_dir: &Path,
    text: &str,
    name_of: &dyn Fn(&str) -> String,
    asked: &dyn Fn(&Case<'_>) -> Option<(i32, String)>,
) -> usize {
    let (document, cases) = case::read(text);
    let mut document = document.to_owned();
    for user in targets(&document) {
        let (by_id, named) =
            (format!("<acl_target id=\"{user}\">"), format!("<acl_target id=\"{user}\" name=\"{}\">", name_of(&user)));
        document = document
            .replace(&by_id, &named)
            .replace(&format!(" name=\"{user}\">"), &format!(" name=\"{}\">", name_of(&user)));
    }
    load(run_dir, &document);
    let mut count = 0;
    for case in cases {
        let before = configuration(run_dir);
        let Some((code, answer)) = asked(&case) else { continue };
        count += 1;
        assert_eq!(code, case.code, "{}\n{answer}", case.line);
        assert!(!answer.contains("s3cret") || case.user == "root", "{}\n{answer}", case.line);
        if code != 0 {
            assert_eq!(configuration(run_dir), before, "a refusal changes nothing: {}", case.line);
        } else if !case.look.is_empty() {
            let text =
                if case.operation == "query" { answer } else { format!("<cib>{}</cib>", configuration(run_dir)) };
            assert!(case::looks(&xml::parse(&text).expect("XML"), case.look), "{}\n{text}", case.line);
        }
    }
    count
}

fn targets(document: &str) -> Vec<String> {
    let root = xml::parse(document).expect("XML");
    let targets = root.descendants().filter(|e| e.name() == "acl_target");
    targets.filter_map(|t| t.attr("name").or(t.id()).map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn acls_are_held_to_whoever_asks_and_however() {
    let Some(()) = root() else { return };
    let cluster = Cluster::start(&NODES).await;
    let dir = cluster.run_dir("n2");
    let mut counts = Vec::new();
    for (name, text) in CASES {
        let in_place = |case: &Case<'_>| {
            let answer = ask(&dir, case.user, "POST", "cib", &call_of(case));
            let text = answer["xml"].as_str().or(answer["message"].as_str()).unwrap_or_default().to_owned();
            Some((code(&answer), text))
        };
        counts.push((name, run(&dir, text, &str::to_owned, &in_place)));
    }
    println!("in a user's place: {counts:?}");
    assert!(counts.iter().map(|(_, n)| n).sum::<usize>() >= 110);
    dry_runs_and_other_requests(&dir);
}

/// The last document is that of eve, who may read all but secrets.
fn dry_runs_and_other_requests(dir: &Path) {
    let mut dry = call("modify", "-", Some("<nvpair id='db-passwd' value='x'/>".to_owned()));
    dry["options"]["dry_run"] = json!(true);
    assert_eq!(code(&ask(dir, "eve", "POST", "cib", &dry)), crm::INSUFFICIENT_PRIV);
    let attribute = |user: &str, body: Value| ask(dir, user, "POST", "attribute", &body);
    let set = json!({"name": "load", "action": {"set": {"value": "1"}}});
    assert_eq!(code(&attribute("root", set.clone())), 0);
    let set = json!({"name": "load", "action": {"set": {"value": "2"}}});
    assert_eq!(code(&attribute("eve", set)), crm::INSUFFICIENT_PRIV);
    let same = json!({"name": "passwd", "action": {"set": {"value": "t0p"}}});
    assert_eq!(code(&attribute("root", same.clone())), 0);
    assert_eq!(code(&attribute("eve", same)), crm::INSUFFICIENT_PRIV, "a guess tells nothing");
    let query = |name: &str| json!({"name": name, "action": "query"});
    assert_eq!(attribute("eve", query("load"))["values"][0]["value"], json!("1"));
    assert_eq!(code(&attribute("eve", query("passwd"))), crm::NOSUCH);
    assert_eq!(code(&attribute("stranger", query("load"))), crm::INSUFFICIENT_PRIV);
    let permanent = json!({"name": "standby", "lifetime": "forever", "action": {"set": {"value": "on"}}});
    assert_eq!(code(&attribute("eve", permanent)), crm::INSUFFICIENT_PRIV);
    for (path, body) in [("shutdown", json!({})), ("shutdown", json!({"keep_resources": true}))] {
        assert_eq!(code(&ask(dir, "eve", "POST", path, &body)), crm::INSUFFICIENT_PRIV, "{path} {body}");
    }
    let fence = json!({"op": {"fence": {"target": "n1", "action": "off"}}});
    let (confirm, devices) =
        (json!({"op": {"confirm": {"target": "n1"}}}), json!({"op": {"devices": {"target": null}}}));
    for body in [fence, confirm, devices] {
        let refused = ask(dir, "eve", "POST", "fencing", &body);
        assert_eq!(code(&refused), crm::INSUFFICIENT_PRIV, "{body}: {refused}");
    }
    let history = json!({"op": {"history": {"target": null}}});
    assert_eq!(code(&ask(dir, "eve", "POST", "fencing", &history)), 0);
    assert_eq!(code(&ask(dir, "stranger", "POST", "fencing", &history)), crm::INSUFFICIENT_PRIV);
    for path in ["status", "quorum", "timeline"] {
        let refused = ask(dir, "stranger", "GET", path, &Value::Null);
        assert_eq!(code(&refused), crm::INSUFFICIENT_PRIV, "{path}: {refused}");
    }
    // A secret attribute is in the status, so the timeline is not for eve; the node's status is.
    assert_eq!(code(&ask(dir, "eve", "GET", "timeline", &Value::Null)), crm::INSUFFICIENT_PRIV);
    assert_eq!(ask(dir, "eve", "GET", "status", &Value::Null)["name"], json!("n2"));
    assert_eq!(ask(dir, "stranger", "GET", "health", &Value::Null)["ok"], json!(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn acls_are_held_to_users_who_say_that_they_are_root() {
    let Some(()) = root() else { return };
    let Ok(Some(group)) = nix::unistd::Group::from_name("haclient") else {
        return eprintln!("skipped: there is no group haclient");
    };
    let cluster = Cluster::start(&NODES).await;
    let dir = cluster.run_dir("n1");
    std::fs::set_permissions(cluster.path(""), std::fs::Permissions::from_mode(0o755)).expect("set");
    let uid = |user: &str| match user {
        "root" => 0,
        "nobody" => 65_534,
        "hacluster" => nix::unistd::User::from_name("hacluster").ok().flatten().map_or(0, |u| u.uid.as_raw()),
        other => FIRST_UID + other.bytes().fold(0, |n, b| (n * 31 + u32::from(b)) % 4000),
    };
    let name_of = |user: &str| uid(user).to_string();
    let mut counts = Vec::new();
    for (name, text) in CASES {
        let itself = |case: &Case<'_>| {
            let mut command = Command::new(BASCULE);
            command.args(case.words()?).env("BASCULE_RUN_DIR", &dir).env("CIB_user", "root");
            let done = command.uid(uid(case.user)).gid(group.gid.as_raw()).output().expect("it runs");
            let said = if done.status.success() { done.stdout } else { done.stderr };
            Some((done.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned()))
        };
        counts.push((name, run(&dir, text, &name_of, &itself)));
        if name == "explained" {
            // The documented minimum is what the tools need.
            let mut command = Command::new(BASCULE);
            command.args(["crm_mon", "-1", "--inactive"]).env("BASCULE_RUN_DIR", &dir);
            let done = command.uid(uid("alice")).gid(group.gid.as_raw()).output().expect("it runs");
            let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success() && said.contains("vip"), "{said}");
        }
    }
    // Who may not read everything edits with the shells all the same, within what is allowed.
    let pcs = |words: &[&str]| {
        let mut command = Command::new(BASCULE);
        command.arg("pcs").args(words).env("BASCULE_RUN_DIR", &dir);
        let done = command.uid(uid("eve")).gid(group.gid.as_raw()).output().expect("it runs");
        (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let role = |value: &str| {
        format!("<cib>{}</cib>", configuration(&dir)).contains(&format!("\"target-role\" value=\"{value}\""))
    };
    assert_eq!(pcs(&["resource", "meta", "db", "target-role=Slave"]), (true, String::new()));
    assert!(role("Slave") && configuration(&dir).contains("s3cret"));
    let (done, said) = pcs(&["resource", "update", "web", "x=y"]);
    assert!(!done && ["Permission denied", "may not create", "r-read"].iter().all(|w| said.contains(w)), "{said}");
    println!("as the user itself: {counts:?}");
    assert!(counts.iter().map(|(_, n)| n).sum::<usize>() >= 105);
}
