//! What comes in: text of every kind, requests of every size, connections that only wait. Whatever it is, the cluster goes on,
//! and a node that starts anew reads what the others hold.

use crate::fixture::{self, BASCULE, Cluster, cib_call, post};
use crate::root::root;
use base::exit::crm;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use wire::api::{CibCall, CibOp, CibReply};

const NODES: [&str; 2] = ["n1", "n2"];

fn run(run_dir: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(BASCULE);
    command.args(words).env("BASCULE_RUN_DIR", run_dir).env_remove("CIB_file").output().expect("it starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// One HTTP request of raw bytes; status and body.
fn raw(run_dir: &Path, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = UnixStream::connect(run_dir.join("api.sock")).expect("the node listens");
    stream.set_read_timeout(Some(fixture::PATIENCE)).expect("set");
    let head =
        format!("POST /v1/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).expect("sent");
    stream.write_all(body).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let at = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
    let status = String::from_utf8_lossy(&answer[..at]).split(' ').nth(1).and_then(|s| s.parse().ok());
    (status.expect("a status"), answer.split_off(at + 4))
}

/// Restarts a node the hard way: it joins, and both hold the same.
async fn restart(cluster: &mut Cluster, node: &'static str) {
    cluster.signal(node, nix::sys::signal::Signal::SIGKILL);
    cluster.daemons.get_mut(node).expect("a daemon").wait().await.expect("it ended");
    cluster.start_node(node);
    cluster.wait_for_ring(&NODES).await;
    cluster
        .until("both hold the same configuration", || {
            let all: Vec<_> = NODES.iter().map(|n| cluster.configuration(n)).collect::<Option<_>>()?;
            (all[0] == all[1] && xml::parse(&all[0].0).is_ok()).then_some(())
        })
        .await;
    for name in NODES {
        assert!(run(&cluster.run_dir(name), &["cibadmin", "-Q"]).status.success(), "{}", cluster.logs());
    }
}

/// Strings that go through a text field: every character in turn would be a million requests, so many in each.
fn texts(bound: usize) -> Vec<String> {
    let all: Vec<char> = (0..=u32::from(char::MAX)).filter_map(char::from_u32).collect();
    let mut texts: Vec<String> = (0..0x40u8).chain(0x7f..0xa2).map(|b| format!("a{}b", char::from(b))).collect();
    texts.extend(
        ["", "\u{fffe}", "\u{ffff}", "]]>", "<!--", "&#1;", "' or '1'='1", "\"/>", "{\"a\":1}"].map(str::to_owned),
    );
    texts.push("x".repeat(20_000));
    texts.push("é".repeat(4096));
    texts.extend(all.chunks(200).step_by(all.len().div_ceil(200).div_ceil(bound).max(1)).map(String::from_iter));
    texts
}

/// Bodies with the text in each field in turn.
fn bodies(text: &str) -> Vec<(&'static str, Value)> {
    let pair = json!({"op": "modify", "target": {"section": "crm_config"}, "options": {"allow_create": true},
        "xml": format!("<crm_config><cluster_property_set id=\"f\"><nvpair id=\"f-1\" name=\"n\" value=\"{text}\"/></cluster_property_set></crm_config>")});
    let client = json!({"op": "bump", "options": {"client": text}});
    vec![
        ("attribute", json!({"name": text, "action": {"set": {"value": "1"}}})),
        ("attribute", json!({"name": "v", "action": {"set": {"value": text}}})),
        ("attribute", json!({"name": "v", "node": text, "action": {"set": {"value": "1"}}})),
        ("attribute", json!({"name": text, "lifetime": "forever", "action": {"set": {"value": text}}})),
        ("attribute", json!({"name": text, "lifetime": "forever", "action": "delete"})),
        ("cleanup", json!({"resource": text, "node": null, "operation": text})),
        ("cleanup", json!({"node": text})),
        ("cib", json!({"op": "query", "target": {"section": text}})),
        ("cib", json!({"op": "delete", "target": {"x_path": text}})),
        ("cib", client),
        ("cib", pair),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_text_comes_in_all_nodes_can_read_what_is_held() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::start(&NODES).await;
    let long = std::env::var_os("BASCULE_LONG").is_some();
    let dir = cluster.run_dir("n1");
    let (mut sent, mut taken) = (0, 0);
    for (at, text) in texts(if long { 6000 } else { 40 }).iter().enumerate() {
        for (which, (path, body)) in bodies(text).into_iter().enumerate() {
            // A text that is one byte goes through every field, the long ones through one in turn.
            if !long && text.len() > 4 && (at + which) % 11 != 0 {
                continue;
            }
            let (status, answer) = raw(&dir, path, body.to_string().as_bytes());
            let answer: Value = serde_json::from_slice(&answer).expect("an answer in JSON");
            assert!(status < 500, "{body}: {status} {answer}");
            sent += 1;
            taken += u32::from(status == 200 && answer["code"] == 0);
        }
    }
    let mut noise = 1u64;
    for n in 0..if long { 20_000 } else { 300 } {
        let bytes: Vec<u8> = (0..n % 97)
            .map(|_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (noise >> 56) as u8
            })
            .collect();
        let (status, _) = raw(&dir, ["attribute", "cib", "cleanup"][n % 3], &bytes);
        assert_eq!(status, 400, "{bytes:?}");
    }
    println!("{sent} requests, {taken} taken");
    assert!(taken > 100, "what can be held is taken: {taken} of {sent}");
    restart(&mut cluster, "n2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_character_is_refused_with_its_place_and_harms_nobody() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::start(&NODES).await;
    let dir = cluster.run_dir("n1");
    for words in [["attrd_updater", "-n", "x", "-U", "a\u{1}b"], ["attrd_updater", "-n", "x\u{1b}", "-U", "1"]] {
        let refused = run(&dir, &words);
        assert_eq!(refused.status.code(), Some(crm::DATAERR), "{}", said(&refused));
        assert!(said(&refused).contains("character 2 is U+00"), "{}", said(&refused));
    }
    let body = br#"{"name":"x","action":{"set":{"value":"a\u0001b"}}}"#;
    let (status, answer) = raw(&dir, "attribute", body);
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!((status, &answer["code"]), (400, &json!(crm::DATAERR)), "{answer}");
    assert!(answer["message"].as_str().is_some_and(|m| m.contains("character 2 is U+0001")), "{answer}");
    let escaped = "<nodes><node id=\"7\" uname=\"a&#1;b\"/></nodes>";
    let refused = run(&dir, &["cibadmin", "-M", "-c", "-o", "nodes", "-X", escaped]);
    assert_eq!(refused.status.code(), Some(crm::DATAERR), "{}", said(&refused));
    assert!(run(&dir, &["attrd_updater", "-n", "x", "-U", "a\tb"]).status.success());
    restart(&mut cluster, "n2").await;
}

fn pairs(count: usize, value: &str) -> String {
    let mut text = "<crm_config><cluster_property_set id=\"big\">".to_owned();
    for n in 0..count {
        text.push_str(&format!("<nvpair id=\"big-{n}\" name=\"p{n}\" value=\"{value}\"/>"));
    }
    text + "</cluster_property_set></crm_config>"
}

fn create(xml: String) -> CibCall {
    let mut call = cib_call(CibOp::Modify, "crm_config", Some(xml));
    call.options.allow_create = true;
    call
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_costs_too_much_is_refused_before_it_is_ordered() {
    let Some(()) = root() else { return };
    let cluster = Cluster::start(&NODES).await;
    let dir = cluster.run_dir("n1");
    let view = cluster.status("n1").expect("an answer").view;
    // 50 MB in one request, then as many elements in a small one, then as many as are accepted.
    for (count, value, found) in [(50_000, "x".repeat(960), "bytes"), (120_001, String::new(), "elements")] {
        let body = serde_json::to_vec(&create(pairs(count, &value))).expect("JSON");
        let begun = Instant::now();
        let (_, answer) = raw(&dir, "cib", &body);
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        println!("{} bytes refused after {:?}: {}", body.len(), begun.elapsed(), answer["message"]);
        assert_eq!(answer["code"], json!(crm::DATAERR), "{answer}");
        let message = answer["message"].as_str().expect("a message");
        assert!(message.starts_with("Too large: the request") && message.contains(found), "{message}");
        assert!(message.contains("are accepted; split it"), "the cure is told: {message}");
    }
    let begun = Instant::now();
    let large = create(pairs(30_000, &"y".repeat(20)));
    println!("{} bytes to be taken", large.xml.as_ref().map_or(0, String::len));
    let reply: CibReply = post(&dir, "cib", &large, Duration::from_secs(60)).expect("an answer");
    println!("taken after {:?}", begun.elapsed());
    assert_eq!(reply.code, 0, "{reply:?}");
    for node in NODES {
        let status = cluster.status(node).expect("the node answers");
        assert_eq!(status.view, view, "nobody left the ring\n{}", cluster.logs());
        let late = cluster.timeline(node).events.into_iter().find(|e| e.text.contains("has not ticked"));
        assert!(late.is_none(), "{late:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_block_nobody_and_end() {
    let Some(()) = root() else { return };
    let cluster = Cluster::start(&NODES).await;
    let dir = cluster.run_dir("n1");
    let idle: Vec<UnixStream> = (0..600).map_while(|_| UnixStream::connect(dir.join("api.sock")).ok()).collect();
    assert_eq!(idle.len(), 600);
    for words in [&["crm_mon", "-1"][..], &["cibadmin", "-Q"], &["attrd_updater", "-n", "x", "-U", "1"]] {
        let done = run(&dir, words);
        assert!(done.status.success(), "{words:?}: {}", said(&done));
    }
    // Half a head, then nothing.
    let mut slow = UnixStream::connect(dir.join("api.sock")).expect("connected");
    slow.write_all(b"GET /v1/status HTTP/1.1\r\nhost:").expect("sent");
    slow.set_read_timeout(Some(fixture::PATIENCE)).expect("set");
    let mut rest = Vec::new();
    let ended = slow.read_to_end(&mut rest);
    assert!(ended.is_ok() || ended.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset), "it was ended");
    drop(idle);
}
