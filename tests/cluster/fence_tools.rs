//! The operator's commands for fencing on real nodes: `stonith_admin`, `pcs stonith`, `crm_mon`, and the alerts of it.

use crate::fixture::{self, Cluster, cib_call, post};
use crate::root::root;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use wire::api::{CibOp, CibReply};

const NODES: [&str; 3] = ["n1", "n2", "n3"];
/// Says that it has done what it was asked for, or with `how=fail` that it cannot; who is told that it was fenced ends by itself.
const AGENT: &str = r#"#!/bin/sh
if [ "$1 $2" = "-o metadata" ]; then
    echo '<?xml version="1.0" ?><resource-agent name="fence_tools"><parameters><parameter name="port"/></parameters>'
    echo '<actions><action name="on"/><action name="off"/><action name="reboot"/><action name="monitor"/><action name="list"/></actions></resource-agent>'
    exit 0
fi
while IFS='=' read -r name value; do
    case "$name" in action | nodename | how) eval "$name=\$value" ;; esac
done
case "$action" in
    monitor | status) [ "$how" != fail ] ;;
    on | off | reboot) [ "$how" != fail ] || { echo "no power switch" >&2; exit 1; } ;;
    *) exit 3 ;;
esac
"#;
const ALERT: &str = "#!/bin/sh\necho \"$CRM_alert_kind $CRM_alert_node $CRM_alert_task $CRM_alert_rc $CRM_alert_desc\" >> \"$CRM_alert_recipient.$PCMK_node_name\"\n";
const CONFIG: &str = r#"<configuration><crm_config><cluster_property_set id="o">
    <nvpair id="o-f" name="stonith-enabled" value="true"/><nvpair id="o-m" name="fencing-max-attempts" value="1"/></cluster_property_set></crm_config>
    <nodes/><resources>
    <primitive id="switch" class="stonith" type="fence_tools"><instance_attributes id="s-i">
        <nvpair id="s-l" name="pcmk_host_list" value="n1 n3"/></instance_attributes></primitive>
    <primitive id="broken" class="stonith" type="fence_tools"><instance_attributes id="b-i">
        <nvpair id="b-l" name="pcmk_host_list" value="n2"/><nvpair id="b-h" name="how" value="fail"/></instance_attributes>
        <meta_attributes id="b-m"><nvpair id="b-t" name="is-managed" value="false"/></meta_attributes></primitive>
    </resources><constraints/><alerts><alert id="a" path="ALERT"><select><select_fencing/></select>
        <recipient id="a-r" value="TOLD"/></alert></alerts></configuration>"#;

fn script(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("set");
}

async fn start(alerts: &Path) -> Cluster {
    let mut cluster = Cluster::prepare(&NODES).await;
    script(&cluster.path("agents/fence_tools"), AGENT);
    script(&alerts.join("alert"), ALERT);
    cluster.env.insert("BASCULE_FENCE_AGENTS", cluster.path("agents").display().to_string());
    for node in NODES {
        cluster.start_node(node);
    }
    cluster.wait_for_ring(&NODES).await;
    let config = CONFIG
        .replace("ALERT", &alerts.join("alert").display().to_string())
        .replace("TOLD", &alerts.join("told").display().to_string());
    let call = cib_call(CibOp::Replace, "configuration", Some(config));
    let reply: CibReply = post(&cluster.run_dir("n1"), "cib", &call, fixture::PATIENCE).expect("an answer");
    assert_eq!(reply.code, 0, "{reply:?}");
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_fences_looks_and_confirms() {
    let Some(()) = root() else { return };
    let place = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o777)).expect("set");
    let mut cluster = start(place.path()).await;
    let run = |cluster: &Cluster, words: &str| cluster.command("n1", &words.split(' ').collect::<Vec<_>>());
    let good = |cluster: &Cluster, words: &str| {
        let (code, out, error) = run(cluster, words);
        assert_eq!(code, 0, "{words}: {out}{error}\n{}", cluster.logs());
        out
    };

    let devices = good(&cluster, "stonith_admin -L");
    let mut lines: Vec<&str> = devices.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["2 fence devices found", "broken", "switch"]);
    assert_eq!(good(&cluster, "stonith_admin --list n3"), "switch\n1 fence device found\n");
    assert_eq!(good(&cluster, "stonith_admin --list-targets switch"), "n1\nn3\n2 fence targets found\n");
    good(&cluster, "stonith_admin --query switch");
    assert_ne!(run(&cluster, "stonith_admin --query broken").0, 0, "its monitor fails");
    assert_ne!(run(&cluster, "stonith_admin --query nothing").0, 0);
    assert_eq!(good(&cluster, "stonith_admin --history *"), "0 events found\n");
    assert_eq!(good(&cluster, "stonith_admin --last n3"), "Node n3 has never been fenced\n");
    assert_ne!(run(&cluster, "stonith_admin --fence n9").0, 0, "no such node");

    good(&cluster, "stonith_admin --fence n3 --tag test");
    let ended = tokio::time::timeout(fixture::PATIENCE, cluster.daemons.get_mut("n3").expect("a daemon").wait()).await;
    assert!(ended.is_ok(), "who was fenced ends: {}", cluster.logs());
    let history = good(&cluster, "stonith_admin -V --history n3");
    assert!(history.starts_with("turning off of n3 successful: delegate="), "{history}");
    assert!(history.contains("client=stonith_admin.") && history.contains("origin=n1, completed='"), "{history}");
    assert!(good(&cluster, "stonith_admin --last n3").starts_with("Node n3 last fenced at: "));
    let number = cluster.status("n1").expect("an answer").nodes.iter().find(|n| n.name == "n3").expect("listed").id;
    assert!(good(&cluster, &format!("stonith_admin --last {number} --as-node-id")).contains("last fenced at: "));
    let quiet = good(&cluster, "stonith_admin -q --history n3");
    assert!(quiet.trim().parse::<i64>().is_ok_and(|at| at > 1_700_000_000), "{quiet}");
    let xml = good(&cluster, "stonith_admin -V --history n3 --output-as=xml");
    assert!(xml.contains("<list name=\"Fencing history\" count=\"1\">") && xml.contains("status=\"success\""), "{xml}");

    let (code, _, error) = run(&cluster, "stonith_admin --reboot n2 --timeout 5");
    assert_ne!(code, 0);
    assert!(error.starts_with("stonith_admin: Couldn't fence n2: "), "{error}");
    let shown = |cluster: &Cluster, words: &str, what: &str| good(cluster, words).contains(what).then_some(());
    let failed = "Failed Fencing Actions:\n  * reboot of n2 by ";
    cluster.until("the failure is shown", || shown(&cluster, "crm_mon -1", failed)).await;
    assert!(shown(&cluster, "crm_mon -1", "Fencing History").is_none(), "successes only where asked for");
    assert!(shown(&cluster, "crm_mon -1 -m", "Fencing History:\n  * turning off of n3 by ").is_some());
    assert!(shown(&cluster, "crm_mon -1 -m 0", "Fencing").is_none());
    let xml = good(&cluster, "crm_mon --output-as=xml");
    assert!(xml.contains("<fence_history status=\"0\">") && xml.contains("exit-reason="), "{xml}");
    assert!(good(&cluster, "pcs stonith history").contains("reboot of n2 failed"));

    let told = |node: &str, what: &str| {
        let text = std::fs::read_to_string(place.path().join(format!("told.{node}"))).unwrap_or_default();
        text.lines().any(|l| l.starts_with(what)).then_some(())
    };
    for node in ["n1", "n2"] {
        let done = || told(node, "fencing n3 off 0 Operation off of n3 by ");
        cluster.until("each node tells of the success", done).await;
        let failed = || told(node, "fencing n2 reboot 1 Operation reboot of n2 by ");
        cluster.until("and of the failure", failed).await;
    }

    assert_eq!(good(&cluster, "stonith_admin --history * --cleanup"), "cleaning up fencing-history for node *\n");
    cluster.until("it is forgotten", || shown(&cluster, "stonith_admin -V --history *", "0 events found")).await;
    good(&cluster, "stonith_admin --confirm n3");
    let human = || shown(&cluster, "stonith_admin -V --history n3", "delegate=a human");
    cluster.until("the confirmation is history", human).await;
    good(&cluster, "pcs stonith confirm n3 --force");
}
