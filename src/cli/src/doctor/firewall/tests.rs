use super::*;

fn ring(source: &str) -> Packet {
    Packet {
        hook: Hook::Input,
        protocol: "udp",
        source: source.parse().ok(),
        destination: "10.0.0.1".parse().unwrap(),
        port: 5405,
        link: Some("eth0".into()),
    }
}

fn iptables_with(rules: &str) -> Firewall {
    let text = format!(
        "# Generated\n*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:ring - [0:0]\n{rules}COMMIT\n"
    );
    Firewall::Rules(iptables::read(&text, false))
}

#[test]
fn iptables_rules_decide() {
    let policy = "the policy of chain iptables filter INPUT".to_owned();
    for (rules, fate) in [
        ("", Fate::Dropped(policy.clone())),
        ("-A INPUT -p udp -m udp --dport 5405:5412 -j ACCEPT\n", Fate::Accepted),
        ("-A INPUT -p tcp -m tcp --dport 5405 -j ACCEPT\n", Fate::Dropped(policy.clone())),
        (
            "-A INPUT -s 10.0.0.0/24 -p udp -m multiport --dports 1,5405 -m comment --comment \"the ring\" -j ACCEPT\n",
            Fate::Accepted,
        ),
        ("-A INPUT ! -s 10.0.0.0/24 -j ACCEPT\n", Fate::Dropped(policy.clone())),
        ("-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n", Fate::Dropped(policy.clone())),
        ("-A INPUT -j ring\n-A ring -i eth+ -p udp -j ACCEPT\n", Fate::Accepted),
        ("-A INPUT -g ring\n-A INPUT -j ACCEPT\n", Fate::Dropped(policy.clone())),
        (
            "-A INPUT -j LOG\n-A INPUT -j REJECT --reject-with icmp-port-unreachable\n",
            Fate::Dropped("rule 2 of chain iptables filter INPUT".into()),
        ),
        ("-A INPUT -m recent --name x -j DROP\n", Fate::Dropped("rule 1 of chain iptables filter INPUT".into())),
    ] {
        assert_eq!(iptables_with(rules).fate(&ring("10.0.0.2")), fate, "{rules}");
    }
    let unsure = iptables_with("-A INPUT -m recent --name x -j ACCEPT\n").fate(&ring("10.0.0.2"));
    assert!(matches!(unsure, Fate::Unknown(_)), "{unsure:?}");
    let v6 = Packet { destination: "fd00::1".parse().unwrap(), source: None, ..ring("") };
    assert_eq!(iptables_with("").fate(&v6), Fate::Accepted, "the other family's chains do not count");
}

fn nft_with(rules: &str) -> Firewall {
    let text = format!(
        r#"{{"nftables":[{{"metainfo":{{"version":"1.0.6"}}}},{{"table":{{"family":"inet","name":"f"}}}},
        {{"chain":{{"family":"inet","table":"f","name":"in","type":"filter","hook":"input","prio":0,"policy":"drop"}}}},
        {{"set":{{"family":"inet","table":"f","name":"peers","type":"ipv4_addr","elem":["10.0.0.2",{{"prefix":{{"addr":"10.1.0.0","len":16}}}}]}}}}
        {rules}]}}"#
    );
    Firewall::Rules(nft::read(&text).unwrap())
}

fn nft_rule(expr: &str) -> String {
    format!(r#",{{"rule":{{"family":"inet","table":"f","chain":"in","expr":[{expr}]}}}}"#)
}

#[test]
fn nft_rules_decide() {
    let port = r#"{"match":{"op":"==","left":{"payload":{"protocol":"udp","field":"dport"}},"right":{"set":[53,{"range":[5404,5410]}]}}}"#;
    let peers = r#"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":"@peers"}}"#;
    let udp = r#"{"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":"udp"}}"#;
    let states = r#"{"vmap":{"key":{"ct":{"key":"state"}},"data":{"set":[["established",{"accept":null}],["new",{"accept":null}]]}}}"#;
    let accept = r#"{"counter":{"packets":1,"bytes":2}},{"accept":null}"#;
    let dropped = Fate::Dropped("the policy of chain inet f in".into());
    for (expr, fate) in [
        (format!("{port},{accept}"), Fate::Accepted),
        (format!("{udp},{peers},{accept}"), Fate::Accepted),
        (states.to_owned(), Fate::Accepted),
        (format!("{udp},{accept}").replace("udp", "tcp"), dropped.clone()),
        (format!("{peers},{accept}").replace("==", "!="), dropped.clone()),
        (format!("{port},{{\"log\":null}}"), dropped.clone()),
    ] {
        assert_eq!(nft_with(&nft_rule(&expr)).fate(&ring("10.0.0.2")), fate, "{expr}");
    }
    let limited = format!(r#"{{"limit":{{"rate":5,"per":"second"}}}},{accept}"#);
    assert!(matches!(nft_with(&nft_rule(&limited)).fate(&ring("10.0.0.2")), Fate::Unknown(_)));
    assert_eq!(nft_with(&nft_rule(&format!("{peers},{accept}"))).fate(&ring("10.2.0.1")), dropped);
    assert!(nft::read("[]").is_err() && nft::read("no JSON").is_err());
}

#[test]
fn chains_that_jump_in_a_circle_end() {
    let text = "-A INPUT -j ring\n-A ring -j ring\n-A ring -j ring\n";
    assert_ne!(iptables_with(text).fate(&ring("10.0.0.2")), Fate::Accepted);
}
