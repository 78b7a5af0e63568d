use super::*;
use std::time::Duration;

fn nothing<T>() -> Found<T> {
    Found { answer: Err("not there".to_owned()), took: Duration::from_millis(1500) }
}

fn facts() -> Facts {
    Facts { status: nothing(), quorum: nothing(), held: nothing(), directors: nothing(), table: nothing() }
}

#[test]
fn what_does_not_answer_is_told_and_takes_nothing_from_the_rest() {
    let mut facts = facts();
    facts.directors = Found { answer: Ok(Vec::new()), took: Duration::ZERO };
    let text = text(&facts);
    assert!(text.contains("ha_cluster_scrape_success{collector=\"node\"} 0.0\n"), "{text}");
    assert!(text.contains("ha_cluster_scrape_success{collector=\"director\"} 1.0\n"), "{text}");
    assert!(text.contains("ha_cluster_scrape_duration_seconds{collector=\"ipvs\"} 1.5\n"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn text_from_outside_stays_within_its_label() {
    let mut out = Exposition::default();
    out.gauge("bascule_test", "Test").set([("value", "a\"} 1\nbascule_forged 1\\")], 1.0);
    let text = out.text();
    assert!(text.contains("bascule_test{value=\"a\\\"} 1\\nbascule_forged 1\\\\\"} 1.0\n"), "{text}");
    assert!(!text.lines().any(|l| l.starts_with("bascule_forged")), "{text}");
}

/// Each resource once for each status and node, with what it is part of.
#[test]
fn nodes_and_resources_are_told_as_the_exporter_does() {
    let cib = "<cib admin_epoch='0' epoch='7' num_updates='2' have-quorum='1' dc-uuid='1' validate-with='pacemaker-4.0' \
         cib-last-written='Fri Nov 20 12:00:00 2026'><configuration><crm_config/><nodes><node id='1' uname='d1'/><node id='2' \
         uname='d2'/></nodes><resources><group id='web'><primitive id='vip' class='ocf' provider='heartbeat' type='IPaddr2'/>\
         </group></resources><constraints><rsc_location id='l' rsc='web' node='d1' score='INFINITY'/></constraints>\
         </configuration><status><node_state id='1' uname='d1' in_ccm='true' crmd='online' join='member' expected='member'><lrm id='1'>\
         <lrm_resources><lrm_resource id='vip' class='ocf' provider='heartbeat' type='IPaddr2'><lrm_rsc_op id='vip_last_0' \
         operation='start' interval='0' rc-code='0' op-status='0' call-id='5' crm_feature_set='3.19.0' transition-key=\
         '1:1:0:12345678-1234-1234-1234-123456789012' transition-magic='0:0;1:1:0:12345678-1234-1234-1234-123456789012'/>\
         </lrm_resource></lrm_resources></lrm></node_state></status></cib>";
    let cib = xml::parse(cib).expect("a document");
    let cluster = crate::cluster::read(&cib, base::WallTime::from_secs(1_795_176_100)).expect("it can be read");
    let mut facts = facts();
    facts.held = Found { answer: Ok(gather::Held { cib, cluster }), took: Duration::ZERO };
    let text = text(&facts);
    for line in [
        "ha_cluster_pacemaker_nodes{node=\"d1\",type=\"member\",status=\"online\"} 1.0",
        "ha_cluster_pacemaker_nodes{node=\"d2\",type=\"member\",status=\"offline\"} 1.0",
        "ha_cluster_pacemaker_resources{node=\"d1\",resource=\"vip\",role=\"started\",managed=\"true\",status=\"active\",\
         agent=\"ocf:heartbeat:IPaddr2\",group=\"web\",clone=\"\"} 1.0",
        "ha_cluster_pacemaker_location_constraints{constraint=\"l\",node=\"d1\",resource=\"web\",role=\"\"} inf",
        "bascule_cib_version{part=\"epoch\"} 7.0",
        "ha_cluster_pacemaker_config_last_change 1795176000.0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\nnot in\n{text}");
    }
}

#[test]
fn places_to_listen_on_are_checked() {
    let place = |text: &str| text.parse::<serve::Place>();
    assert!(place("127.0.0.1:9664").is_ok() && place("[::1]:9664").is_ok() && place("unix:/run/x.sock").is_ok());
    for wrong in ["9664", "localhost:9664", "unix:relative", "127.0.0.1"] {
        assert!(place(wrong).is_err(), "{wrong}");
    }
}

fn status() -> serde_json::Value {
    serde_json::json!({
        "version": "1", "me": 1, "name": "d1", "cluster_name": "c", "started": 0, "members": [1, 2], "dc": 1, "dc_name": "d1",
        "nodes": [{"id": 1, "name": "d1", "addresses": [], "votes": 1, "member": true},
                  {"id": 2, "name": "d2", "addresses": [], "votes": 1, "member": false}],
        "quorate": true, "view": {"rep": 1, "seq": 8}, "controller": "idle", "data_plane": "kernel", "authenticated": true,
        "links": [{"peer": 2, "link": 0, "local": "a", "remote": "192.0.2.2:5405", "up": false, "rtt_us": 250, "idle_ms": 5}],
        "counters": [{"name": "totem.retransmits", "value": 3}], "realtime": true, "memory_locked": true, "warnings": ["w"],
        "storage": [{"node": "d2", "text": "full"}],
        "fencing": [{"target": "d2", "action": "off", "state": "failed", "completed_ms": 5000}],
    })
}

fn quorum() -> serde_json::Value {
    serde_json::json!({
        "now": 0, "provider": "corosync_votequorum", "me": 1, "ring": null, "quorate": true, "expected_votes": 3,
        "highest_expected": 3, "total_votes": 2, "quorum": 2, "flags": [],
        "members": [{"id": 1, "name": "d1", "votes": 1, "local": true}],
        "device": {"votes": 1, "registered": true, "alive": true, "cast": true, "undecided": false, "cluster_name": "c",
            "config_version": null, "host": "arb", "port": 5403, "force_ip_version": 0, "algorithm": "ffsplit", "tie_breaker": "1",
            "keep_active_partition": "", "timeout_ms": 1, "sync_timeout_ms": 1, "connect_timeout_ms": 1, "heartbeat_ms": 1,
            "tls": "off", "tls_active": false, "state": "Connected", "trouble": null, "heuristics_mode": "", "heuristics": "",
            "heuristics_regular": "", "heuristics_membership": "", "heuristics_connect": "", "connected_since": null,
            "echoed": null, "polled": null},
    })
}

fn director() -> serde_json::Value {
    serde_json::json!({
        "pid": 1, "uptime_ms": 1, "config": "/etc/ha.d/w.cf", "active": true, "last_reload": {"age_ms": 1, "error": "line 3"},
        "table_error": null, "refused": [], "repairs": 2,
        "virtuals": [{"id": "tcp:192.0.2.10:80", "scheduler": "wlc", "all_down": false, "fallback_active": false, "reals": [
            {"server": "10.0.0.1:80", "standing": "up", "source": "check", "maintenance": false, "weight": 1,
             "configured_weight": 1, "failures": 0, "since_ms": 1, "last_check_age_ms": 5, "last_answer": "200",
             "latency_us": 1500, "check": "http", "active_conns": 4, "inactive_conns": 2}]}],
    })
}

fn table() -> serde_json::Value {
    serde_json::json!([{
        "service": {"key": {"address": {"protocol": "tcp", "addr": "192.0.2.10", "port": 80}}, "scheduler": "wlc", "flags": 0,
            "timeout_s": 0, "netmask": 0, "pe": null},
        "stats": {"conns": 9, "inpkts": 1, "outpkts": 1, "inbytes": 7, "outbytes": 1, "cps": 0, "inpps": 0, "outpps": 0,
            "inbps": 0, "outbps": 0},
        "dests": [{"dest": {"key": {"addr": "10.0.0.1", "port": 80}, "forward": "masq", "weight": 1, "tunnel": "Ipip",
            "u_threshold": 0, "l_threshold": 0}, "active_conns": 4, "inactive_conns": 2, "persistent_conns": 0,
            "stats": {"conns": 9, "inpkts": 1, "outpkts": 1, "inbytes": 7, "outbytes": 1, "cps": 0, "inpps": 0, "outpps": 0,
                "inbps": 0, "outbps": 0}}],
    }])
}

fn cluster() -> scheduler::status::Cluster {
    scheduler::status::Cluster {
        tickets: vec![scheduler::status::Ticket { id: "t".to_owned(), ..Default::default() }],
        nodes: vec![scheduler::status::Node {
            name: "d1".to_owned(),
            attributes: [("a".to_owned(), "b".to_owned())].into(),
            fail_counts: [("vip".to_owned(), base::Score::INFINITY.value())].into(),
            ..Default::default()
        }],
        resources: vec![scheduler::status::Resource {
            id: "vip".to_owned(),
            name: "vip".to_owned(),
            kind: scheduler::status::ResourceKind::Primitive {
                class: "lsb".into(),
                provider: None,
                agent: "vip".into(),
            },
            role: scheduler::status::Role::Stopped,
            target_role: None,
            managed: true,
            maintenance: false,
            failed: true,
            failure_ignored: false,
            blocked: false,
            removed: false,
            disabled: false,
            pending: None,
            pending_on: None,
            active_on: Vec::new(),
            locked_to: None,
            description: None,
            children: Vec::new(),
        }],
        ..Default::default()
    }
}

/// Facts in which every family has something to say.
fn everything() -> Facts {
    let cib = xml::parse("<cib epoch='1' cib-last-written='Fri Nov 20 12:00:00 2026'/>").expect("XML");
    fn found<T>(answer: T) -> Found<T> {
        Found { answer: Ok(answer), took: Duration::ZERO }
    }
    Facts {
        status: found(serde_json::from_value(status()).expect("a status")),
        quorum: found(serde_json::from_value(quorum()).expect("a quorum")),
        held: found(gather::Held { cib, cluster: cluster() }),
        directors: found(vec![serde_json::from_value(director()).expect("a director")]),
        table: found(Some(serde_json::from_value(table()).expect("a table"))),
    }
}

#[test]
fn tables_and_servers_are_told() {
    let text = text(&everything());
    for line in [
        "ha_cluster_corosync_rings{ring_id=\"1.8\",node_id=\"2\",number=\"0\",address=\"192.0.2.2:5405\"} 0.0",
        "ha_cluster_pacemaker_fail_count{node=\"d1\",resource=\"vip\"} inf",
        "bascule_events_total{name=\"totem.retransmits\"} 3.0",
        "bascule_real_server_up{config=\"/etc/ha.d/w.cf\",service=\"tcp:192.0.2.10:80\",server=\"10.0.0.1:80\"} 1.0",
        "node_ipvs_connections_total 9.0",
        "node_ipvs_backend_connections_active{local_address=\"192.0.2.10\",local_port=\"80\",remote_address=\"10.0.0.1\",\
         remote_port=\"80\",proto=\"TCP\",local_mark=\"\"} 4.0",
        "bascule_fencing_last_seconds{target=\"d2\",action=\"off\",outcome=\"failed\"} 5.0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\nnot in\n{text}");
    }
}

/// What rules and dashboard ask for is told; a name that is spelt otherwise there would never fire.
#[test]
fn rules_and_dashboard_know_the_names() {
    let text = text(&everything());
    let told: std::collections::BTreeSet<&str> =
        text.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split(['{', ' ']).next()).collect();
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/monitoring");
    let name = regex::Regex::new(r"\b(?:ha_cluster|bascule|node_ipvs)_[a-z_]+").expect("a pattern");
    let mut asked = 0;
    for file in ["rules.yml", "grafana.json"] {
        let content = std::fs::read_to_string(dir.join(file)).expect("it is there");
        for found in name.find_iter(&content) {
            asked += 1;
            assert!(told.contains(found.as_str()), "{file}: {} is told by nothing", found.as_str());
        }
    }
    assert!(asked > 20, "{asked}");
}
