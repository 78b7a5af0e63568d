use super::*;
use base::NodeId;
use quorum::qnet::{Algorithm, TieBreaker, Tls};
use std::net::IpAddr;

const NODES: &str = "nodelist {\n node {\n  ring0_addr: 10.0.0.1\n  name: a\n  nodeid: 1\n }\n node {\n  ring0_addr: 10.0.0.2\n  name: b\n  nodeid: 2\n }\n}\nquorum {\n provider: corosync_votequorum\n two_node: 1\n}\n";

fn conf(totem: &str) -> String {
    format!("totem {{\n version: 2\n cluster_name: t\n{totem}}}\n{NODES}")
}

fn reading(text: &str) -> Reading {
    read("c.conf", text.as_bytes(), Allow::default())
}

fn refusals(text: &str) -> Vec<String> {
    reading(text).findings.iter().filter(|f| f.severity == Severity::Refused).map(Finding::to_string).collect()
}

fn warnings(text: &str) -> Vec<String> {
    reading(text).findings.iter().filter(|f| f.severity == Severity::Warning).map(Finding::to_string).collect()
}

fn only_syntax_error(text: &str) -> String {
    let reading = reading(text);
    assert!(reading.config.is_none());
    assert_eq!(reading.findings.len(), 1);
    reading.findings[0].to_string()
}

#[test]
fn grammar_errors_name_line_and_column() {
    assert_eq!(
        only_syntax_error("totem {\n  version 2\n}\n"),
        "c.conf:2:3: refused: expected `section {`, `key: value` or `}`, found `version 2`; is a colon missing?"
    );
    assert_eq!(
        only_syntax_error("totem {\n  a: 1\n"),
        "c.conf:3:1: refused: expected `}`, found the end of the file within section `totem` opened in line 1; add the missing `}`"
    );
    assert_eq!(
        only_syntax_error("}\n"),
        "c.conf:1:1: refused: expected a section, a key or the end of the file, found `}` without a section that it closes; remove it, or add the missing `name {` above"
    );
    assert_eq!(
        only_syntax_error("totem { version: 2\n"),
        "c.conf:1:8: refused: expected the end of the line after `{`, found `version: 2`; put it on a line of its own"
    );
    assert_eq!(
        only_syntax_error(" {\n"),
        "c.conf:1:2: refused: expected a section name before `{`, found none; write `name {`"
    );
    assert_eq!(
        only_syntax_error(": x\n"),
        "c.conf:1:1: refused: expected a key before `:`, found none; write `key: value`"
    );
    assert_eq!(
        only_syntax_error("totem {\n} }\n"),
        "c.conf:2:1: refused: expected `}` alone on its line, found `} }`; put `}` on a line of its own"
    );
    let long = format!("totem {{\n  a: {}\n}}\n", "x".repeat(600));
    assert!(only_syntax_error(&long).starts_with("c.conf:2:511: refused: expected a line of at most 510 bytes"));
}

#[test]
fn carriage_returns_tabs_hashes_and_unknown_keys_are_kept() {
    let text = conf(" token: 2000\r\n\ttokne: 7\n\u{a0}# note\n odd.key: v # no comment\n");
    let config = reading(&text).config.unwrap();
    assert_eq!(config.totem.token_ms, Some(2000));
    assert_eq!(config.kept["totem.tokne"], "7");
    assert_eq!(config.kept["totem.odd.key"], "v # no comment");
    assert_eq!(config.kept["nodelist.node.1.name"], "b");
    let warnings = warnings(&text);
    assert_eq!(
        warnings[0],
        "c.conf:5:2: warning: unknown key `tokne` in totem{}; kept, without effect; did you mean `token`?"
    );
}

#[test]
fn the_last_of_duplicates_wins_and_ranges_hold() {
    assert_eq!(reading(&conf(" token: 1000\n token: 1500\n")).config.unwrap().totem.token_ms, Some(1500));
    assert_eq!(
        refusals(&conf(" token: 29\n")),
        [
            "c.conf:4:9: refused: `token` expected a decimal number from 30 to 86400000, found `29`; correct it, or remove the line for the default"
        ]
    );
    assert_eq!(refusals(&conf(" token: 0x10\n")).len(), 1);
    assert_eq!(refusals(&conf(" token: +50\n")).len(), 1);
    assert_eq!(
        refusals(&conf(" link_mode: fast\n")),
        [
            "c.conf:4:13: refused: `link_mode` expected one of passive, active, rr, found `fast`; choose one of them, or remove the line"
        ]
    );
    assert_eq!(
        refusals(&conf(" join: 5000\n"))[0],
        "c.conf:4:2: refused: totem.join expected at most consensus (3600 ms), found 5000 ms; lower `join`, or raise `consensus` or `token`"
    );
}

#[test]
fn what_is_no_text_is_refused_where_it_stands() {
    let at = |name: &[u8]| {
        let mut text =
            b"# G\xfcnter, \x1b, \0\ntotem {\n version: 2\n cluster_name: t\n}\nnodelist {\n node {\n  name: ".to_vec();
        text.extend(name);
        text.extend(b"\n  ring0_addr: 10.0.0.1\n  nodeid: 1\n }\n}\n");
        let found: Vec<String> = read("c.conf", &text, Allow::default())
            .findings
            .iter()
            .filter(|f| f.severity == Severity::Refused)
            .map(Finding::to_string)
            .collect();
        found.join(";")
    };
    assert_eq!(at("d\u{e9}".as_bytes()), "", "UTF-8 is text, and a comment may be anything");
    assert_eq!(
        at(b"a\0b"),
        "c.conf:8:10: refused: expected printable text, found the control character U+0000; remove it"
    );
    assert_eq!(
        at(b"\x1b[31md"),
        "c.conf:8:9: refused: expected printable text, found the control character U+001B; remove it"
    );
    assert_eq!(at(b"d\xe9"), "c.conf:8:10: refused: expected UTF-8, found byte 0xe9; write the file as UTF-8");
}

#[test]
fn timers_and_votes_that_do_not_go_together_are_warned_of() {
    let low = warnings(&conf(" token: 1000\n consensus: 1100\n"));
    assert_eq!(
        low,
        [
            "c.conf:5:2: warning: totem.consensus should be at least 1.2 × token (1200 ms with token 1000 ms), found 1100 ms; raise it, or remove the line for the derived value"
        ]
    );
    assert!(warnings(&conf(" token: 1000\n consensus: 1200\n")).is_empty());
    let three = conf("").replace(" two_node: 1", " two_node: 1\n expected_votes: 3");
    assert_eq!(warnings(&three).len(), 1);
    assert!(warnings(&three)[0].contains("two_node expected 2 votes, found `expected_votes: 3`"), "{three}");
    assert!(warnings(&three.replace("votes: 3", "votes: 2")).is_empty());
}

#[test]
fn one_fault_is_told_once() {
    let bad_id = conf("").replace("nodeid: 2", "nodeid: two");
    assert_eq!((refusals(&bad_id).len(), warnings(&bad_id)), (1, Vec::new()), "the other node is still listed");
    let bad_token = conf(" token: 12 s\n consensus: 100\n join: 3000\n");
    assert_eq!((refusals(&bad_token).len(), warnings(&bad_token)), (1, Vec::new()), "no rule with a default for token");
}

#[test]
fn every_wrong_line_is_reported_at_once() {
    assert_eq!(refusals(&conf(" token: x\n hold: 1\n secauth: maybe\n")).len(), 3);
}

#[test]
fn timers_are_derived_as_the_manual_says() {
    let two = reading(&conf(" token: 1000\n")).config.unwrap();
    let timers = Timers::of(&two.totem, 2);
    assert_eq!(
        (timers.token_ms, timers.token_retransmit_ms, timers.hold_ms, timers.consensus_ms),
        (1000, 238, 180, 1200)
    );
    let default = reading(&conf("")).config.unwrap().totem;
    assert_eq!([2, 3, 4, 8, 32].map(|n| Timers::of(&default, n).token_ms), [3000, 3650, 4300, 6900, 22500]);
    assert!(!Timers::of(&default, 2).token_explicit);
}

#[test]
fn pcs_style_is_refused_with_commands_and_runs_when_allowed() {
    let text = "totem {\n version: 2\n cluster_name: mycluster\n secauth: off\n transport: udpu\n}\nnodelist {\n node {\n ring0_addr: n1\n nodeid: 1\n }\n node {\n ring0_addr: n2\n nodeid: 2\n }\n}\nquorum {\n provider: corosync_votequorum\n two_node: 1\n}\nlogging {\n to_logfile: yes\n logfile: /var/log/cluster/corosync.log\n to_syslog: yes\n}\n";
    let refused = refusals(text);
    assert_eq!(refused.len(), 2);
    assert!(refused[0].starts_with("c.conf:4:2: refused: `secauth: off`"), "{}", refused[0]);
    assert!(refused[0].contains("sed -i 's/^\\([[:space:]]*secauth:\\).*/\\1 on/' c.conf"));
    assert!(
        refused[1].contains("c.conf:5:2")
            && refused[1].contains("1 knet/' c.conf")
            && refused[1].contains("corosync-keygen")
    );
    let allowed = read("c.conf", text.as_bytes(), Allow { unauthenticated: true });
    assert!(!allowed.refused());
    let config = allowed.config.unwrap();
    assert!(!config.totem.authenticated);
    assert_eq!(config.nodes.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(), ["n1", "n2"]);
    assert!(allowed.findings.iter().filter(|f| f.severity == Severity::Warning).count() >= 2);
}

#[test]
fn hand_written_v2_works_with_warnings() {
    let text = "totem {\n version: 2\n crypto_cipher: aes128\n crypto_hash: md5\n interface {\n  ringnumber: 0\n  bindnetaddr: 172.16.0.0\n  mcastaddr: 239.255.101.11\n  mcastport: 5407\n  ttl: 1\n }\n}\nlogging {\n fileline: off\n to_stderr: no\n logger_subsys {\n  subsys: QUORUM\n  debug: off\n }\n}\nnodelist {\n node {\n  ring0_addr: n1.example.org\n  nodeid: 1\n }\n}\nquorum {\n provider: corosync_votequorum\n}\n";
    assert_eq!(refusals(text), Vec::<String>::new());
    let config = reading(text).config.unwrap();
    assert!(config.totem.authenticated);
    assert_eq!(config.links[0].port, 5407);
    assert_eq!(config.kept["logging.logger_subsys.QUORUM.debug"], "off");
    assert!(!config.logging.to_stderr);
    let lines: Vec<u32> =
        reading(text).findings.iter().filter(|f| f.severity == Severity::Warning).map(|f| f.at.line).collect();
    assert_eq!(lines, [3, 4, 6, 7, 8, 10]);
}

#[test]
fn v1_leftovers_are_refused_or_mapped_by_line() {
    let text = "totem {\n version: 2\n secauth: on\n interface {\n  ringnumber: 0\n  bindnetaddr: 192.168.2.0\n }\n}\nservice {\n var: 0\n name: pacemaker\n}\naisexec {\n user: root\n group: root\n}\n";
    let refused = refusals(text);
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].starts_with("c.conf:6:3: refused: `bindnetaddr: 192.168.2.0` expected a nodelist{} beside it"));
    assert!(refused[0].contains("ring0_addr: ADDRESS"));
    let with_nodes = format!("{text}{NODES}");
    assert_eq!(refusals(&with_nodes), Vec::<String>::new());
    let warned: Vec<u32> =
        reading(&with_nodes).findings.iter().filter(|f| f.severity == Severity::Warning).map(|f| f.at.line).collect();
    assert_eq!(warned, [5, 6, 9, 10, 13]);
    let other = format!("{}service {{\n name: openais_lck\n}}\naisexec {{\n user: ais\n}}\n", conf(""));
    assert_eq!(refusals(&other).len(), 2);
}

#[test]
fn no_nodelist_no_version_no_totem() {
    assert!(refusals("totem {\n version: 2\n}\n")[0].contains("expected a nodelist{}, found none"));
    assert!(refusals(NODES)[0].contains("expected a section totem{}, found none"));
    assert!(refusals(&format!("totem {{\n}}\n{NODES}"))[0].contains("expected `version: 2`, found no version"));
    assert!(refusals(&format!("totem {{\n version: 1\n}}\n{NODES}"))[0].contains("`version` expected 2, found `1`"));
}

#[test]
fn nodes_need_an_id_an_address_and_uniqueness() {
    let list = |nodes: &str| {
        format!("totem {{\n version: 2\n}}\nnodelist {{\n{nodes}}}\nquorum {{\n provider: corosync_votequorum\n}}\n")
    };
    assert!(
        refusals(&list(" node {\n ring0_addr: x\n }\n"))[0]
            .starts_with("c.conf:5:2: refused: node{} `x` expected `nodeid`, found none")
    );
    assert!(refusals(&list(" node {\n nodeid: 1\n }\n"))[0].contains("expected `ring0_addr`"));
    assert!(refusals(&list(" node {\n ring0_addr: x\n nodeid: 0\n }\n"))[0].contains("from 1 to 65535"));
    let twice = list(" node {\n ring0_addr: x\n nodeid: 1\n }\n node {\n ring0_addr: x\n nodeid: 1\n }\n");
    assert_eq!(refusals(&twice).len(), 3);
    let gap = list(" node {\n ring0_addr: x\n ring2_addr: z\n nodeid: 1\n }\n");
    assert!(refusals(&gap)[0].contains("ring2_addr expected ring1_addr beside it"));
    let uneven = list(
        " node {\n ring0_addr: x\n ring1_addr: xx\n name: x\n nodeid: 1\n }\n node {\n ring0_addr: y\n nodeid: 2\n }\n",
    );
    assert!(refusals(&uneven)[0].contains("expected 2 links as node `x` has, found 1 on `y`"));
}

#[test]
fn a_quorum_device_is_read_and_what_cannot_be_is_refused_with_its_cure() {
    let of = |inner: &str| {
        let device = format!(" device {{\n{inner} }}\n");
        format!("totem {{\n version: 2\n cluster_name: web\n}}\n{}", NODES.replace(" two_node: 1\n", &device))
    };
    let net = |lines: &str| of(&format!("  model: net\n  net {{\n   host: arbiter\n{lines}  }}\n"));
    let read = |text: &str| reading(text).config.unwrap().quorum.device.unwrap();
    let usual = read(&net(""));
    assert_eq!((usual.votes, usual.port, usual.host.as_str()), (1, 5403, "arbiter"));
    assert_eq!((usual.algorithm, usual.tie_breaker), (Algorithm::Ffsplit, TieBreaker::Lowest));
    assert_eq!((usual.tls, usual.keep_active_partition, usual.connect_timeout_ms), (Tls::Supported, true, 8000));
    assert_eq!((usual.heartbeat_ms, usual.long_heartbeat_ms), (1500, 8000));
    let all = "   algorithm: lms\n   tls: required\n   tie_breaker: 2\n   port: 5404\n   connect_timeout: 900\n   \
               force_ip_version: 6\n   keep_active_partition_tie_breaker: off\n";
    let lms = read(&net(all));
    assert_eq!((lms.algorithm, lms.tie_breaker, lms.tls), (Algorithm::Lms, TieBreaker::Node(2), Tls::Required));
    assert_eq!((lms.votes, lms.port, lms.connect_timeout_ms, lms.ip_version), (1, 5404, 900, 6));
    let own = read(&of("  model: net\n  timeout: 2000\n  net {\n   host: a\n  }\n  heuristics {\n   mode: on\n   \
         exec_ping: /bin/ping -c 1 \"10.0.0.1\"\n  }\n"));
    assert_eq!((own.heartbeat_ms, own.long_heartbeat_ms), (1600, 1600), "the operator's own patience");
    assert_eq!((own.heuristics.timeout.as_millis(), own.heuristics.interval.as_millis()), (1000, 6000));
    assert_eq!(own.heuristics.programs[0].1, ["/bin/ping", "-c", "1", "10.0.0.1"]);
    for (text, said) in [
        (of("  votes: 1\n"), "expected `model: net`"),
        (of("  model: disk\n"), "expected one of net"),
        (of("  model: net\n"), "expected a section net{}"),
        (of("  model: net\n  net {\n  }\n"), "expected `host`"),
        (of("  model: net\n  votes: 2\n  net {\n   host: a\n  }\n"), "`ffsplit` expected `votes: 1`, found 2"),
        (of("  model: net\n  timeout: 1000\n  net {\n   host: a\n  }\n"), "a heartbeat of 800 ms"),
        (net("   tie_breaker: 7\n"), "expected a node of the nodelist, found 7"),
        (net("   tie_breaker: me\n"), "expected `lowest`, `highest` or a nodeid"),
        (net("").replace(" device {", " two_node: 1\n device {"), "`two_node` and device{} exclude each other"),
        (net("").replace(" cluster_name: web\n", ""), "expected `cluster_name`"),
    ] {
        assert!(refusals(&text).iter().any(|r| r.contains(said)), "{said}: {:?}", refusals(&text));
    }
}

#[test]
fn two_node_needs_two() {
    let text = format!("{}nodelist {{\n node {{\n ring0_addr: 10.0.0.3\n name: c\n nodeid: 3\n }}\n}}\n", conf(""));
    assert!(!reading(&text).config.unwrap().quorum.two_node);
    assert!(warnings(&text)[0].contains("two_node is for two nodes, the nodelist has 3"));
}

#[test]
fn logging_to_a_file_needs_its_name() {
    assert!(refusals(&format!("{}logging {{\n to_logfile: yes\n}}\n", conf("")))[0].contains("expected `logfile`"));
}

fn local(hostname: &str, addresses: &[&str], chosen: Option<&str>) -> Local {
    Local {
        hostname: hostname.into(),
        addresses: addresses.iter().map(|a| a.parse::<IpAddr>().unwrap()).collect(),
        chosen: chosen.map(str::to_owned),
    }
}

#[test]
fn the_local_node_is_found_by_name_then_address() {
    let config = reading(&conf("")).config.unwrap();
    let me = |l: Local| resolve(&config, &l).map(|r| r.me);
    assert_eq!(me(local("b", &["10.0.0.2"], None)), Ok(NodeId(2)));
    assert_eq!(me(local("b.example.org", &["10.0.0.1", "10.0.0.2"], None)), Ok(NodeId(2)));
    assert_eq!(me(local("elsewhere", &["10.0.0.1"], None)), Ok(NodeId(1)));
    assert_eq!(me(local("b", &["10.0.0.1"], Some("a"))), Ok(NodeId(1)));
    assert_eq!(me(local("x", &["10.0.0.2"], Some("2"))), Ok(NodeId(2)));
    let error = me(local("x", &["10.9.9.9"], None)).unwrap_err();
    assert_eq!(
        error[0].to_string(),
        "c.conf:6:2: refused: expected this host (host name `x`, 1 addresses) in the nodelist, found only a, b; add a node{} with its ring0_addr, nodeid and name, or name an entry with --node NAME"
    );
    let short = reading(&conf("").replace("name: a", "name: a.example.org")).config.unwrap();
    assert_eq!(resolve(&short, &local("a.other.net", &["10.0.0.1"], None)).unwrap().me, NodeId(1));
}

#[test]
fn a_host_without_any_address_of_its_entry_is_refused_with_the_cure() {
    let config = reading(&conf("")).config.unwrap();
    for (local, by) in [
        (local("x", &["127.0.0.1", "10.0.0.9"], Some("b")), "--node b"),
        (local("x", &["127.0.0.1", "10.0.0.9"], Some("2")), "--node 2"),
        (local("b", &["10.0.0.9"], None), "the host name `b`"),
    ] {
        let findings = resolve(&config, &local).unwrap_err();
        let text = findings[0].to_string();
        assert_eq!((findings.len(), findings[0].severity), (1, Severity::Absent));
        let said = format!(
            "refused: 10.0.0.2 of node b is not an address of this host, which is that node by {by}; its addresses are 10.0.0.9; "
        );
        assert!(text.contains(&said) && text.contains("ring0_addr"), "{text}");
    }
    let two = reading(
        &conf("")
            .replace("ring0_addr: 10.0.0.2", "ring0_addr: 10.0.0.2\n ring1_addr: 10.1.0.2")
            .replace("ring0_addr: 10.0.0.1", "ring0_addr: 10.0.0.1\n ring1_addr: 10.1.0.1"),
    )
    .config
    .unwrap();
    assert!(resolve(&two, &local("b", &["10.1.0.2"], None)).is_ok(), "the other interface may come up later");
    let loopback = reading(&conf("").replace("10.0.0.", "127.0.9.")).config.unwrap();
    assert!(resolve(&loopback, &local("b", &["127.0.0.1"], None)).is_ok());
}

#[test]
fn families_may_not_be_mixed_on_a_link() {
    let config = reading(&conf("").replace("10.0.0.2", "fd00::2")).config.unwrap();
    let error = resolve(&config, &local("a", &[], None)).unwrap_err();
    assert!(error[0].text.contains("expected the same address family"), "{}", error[0]);
}

#[test]
fn keys_have_a_length_and_a_mode() {
    use std::os::unix::fs::PermissionsExt;
    let dir = std::env::temp_dir().join(format!("bascule-key-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let config = reading(&conf("")).config.unwrap();
    let file = dir.join("authkey");
    let write = |bytes: usize, mode: u32| {
        std::fs::write(&file, vec![7u8; bytes]).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        read_key(&config, Some(&file))
    };
    assert!(matches!(write(128, 0o400), Ok((_, None))));
    for mode in [0o644, 0o604, 0o402] {
        let refused = write(256, mode).unwrap_err();
        assert!(refused.to_string().contains(&format!("found mode {mode:04o}")), "{refused}");
        assert!(refused.to_string().contains(&format!("`chmod 0400 {}`", file.display())), "the cure: {refused}");
    }
    assert!(matches!(write(256, 0o440), Ok((_, Some(_)))), "root's own group");
    assert!(matches!(write(127, 0o600), Err(KeyError::Length { found: 127, .. })));
    assert!(matches!(write(4097, 0o600), Err(KeyError::Length { found: 4097, .. })));
    assert!(matches!(read_key(&config, Some(&dir.join("none"))), Err(KeyError::Read { .. })));
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn what_pcs_writes_of_its_own_needs_no_word() {
    assert_eq!(reading(&conf(" cluster_uuid: 0123456789abcdef0123456789abcdef\n")).findings, []);
}

#[test]
fn our_samples_need_no_word() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/corosync");
    let mut seen = 0;
    for file in std::fs::read_dir(dir).unwrap() {
        let reading = load(&file.unwrap().path(), Allow::default());
        assert_eq!(reading.findings, []);
        assert!(reading.config.is_some_and(|c| c.nodes.len() >= 2));
        seen += 1;
    }
    assert!(seen >= 3);
}

#[test]
fn no_input_panics() {
    let mut seed = 1u64;
    for _ in 0..2000 {
        let bytes: Vec<u8> = (0..60)
            .map(|_| {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let alphabet = b"totem{}:#\n\r \t\xa0\xff09node.";
                alphabet[(seed >> 33) as usize % alphabet.len()]
            })
            .collect();
        let _ = read("f", &bytes, Allow::default());
    }
}

#[test]
fn ping_targets_are_addresses_of_other_hosts_for_a_pair() {
    let with = |line: &str| conf("").replace("two_node: 1\n", &format!("two_node: 1\n {line}\n"));
    let good = reading(&with("ping_targets: 192.0.2.1 2001:db8::1"));
    let targets: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    assert_eq!((good.refused(), good.config.unwrap().quorum.ping_targets), (false, targets));
    for bad in ["router.example", "192.0.2.1,192.0.2.2", "127.0.0.1", "0.0.0.0", "224.0.0.1", "192.0.2.300"] {
        let told = refusals(&with(&format!("ping_targets: {bad}")));
        assert!(told.len() == 1 && told[0].contains("ping_targets expected IP addresses"), "{bad}: {told:?}");
    }
    let many = refusals(&with(&format!("ping_targets: {}", "192.0.2.1 ".repeat(9))));
    assert!(many[0].contains("1 to 8"), "{many:?}");
    let alone = conf("").replace("two_node: 1\n", "ping_targets: 192.0.2.1\n");
    assert!(warnings(&alone).iter().any(|w| w.contains("ping_targets has a meaning with `two_node: 1` alone")));
}

#[test]
fn ping_times_that_cannot_be_kept_are_refused_or_said_as_they_are_taken() {
    let pings = |interval: u64, timeout: u64| {
        conf(&format!(" interface {{\n  knet_ping_interval: {interval}\n  knet_ping_timeout: {timeout}\n }}\n"))
    };
    assert_eq!(
        refusals(&pings(500, 200)),
        [
            "c.conf:6:3: refused: knet_ping_timeout expected at least knet_ping_interval (500 ms), found 200 ms; write 1000 or \
          more: else the link is down between two heartbeats"
        ]
    );
    let told = warnings(&pings(500, 700));
    assert!(told.iter().any(|w| w.contains("knet_ping_interval 500 ms is taken as 1000 ms")), "{told:?}");
    assert!(refusals(&pings(500, 700)).is_empty());
    assert!(!warnings(&pings(500, 1000)).iter().any(|w| w.contains("knet_ping")));
    assert!(refusals(&pings(1, 1000))[0].contains("`knet_ping_interval` expected a decimal number from 5"));
}
