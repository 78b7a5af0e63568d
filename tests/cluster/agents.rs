//! Stock-like agents on real nodes: what they are told, and the helper commands that they call.

use crate::fixture::{self, Cluster, cib_call, post};
use crate::root::root;
use std::os::unix::fs::PermissionsExt;
use wire::api::{CibOp, CibReply};

const NODES: [&str; 2] = ["n1", "n2"];
/// A promotable agent that sets its own promotion score, as stock ones do, and writes down what it is told at a notification.
const AGENT: &str = r#"#!/bin/sh
state="${HA_VARRUN%%/}/$OCF_RESOURCE_INSTANCE.role"
score() { "${HA_SBIN_DIR}/crm_attribute" --promotion -v "$1" || exit 1; }
case "$1" in
    start) echo Unpromoted > "$state"; score 5 ;;
    promote) echo Promoted > "$state"; score 10 ;;
    demote) echo Unpromoted > "$state"; score 5 ;;
    stop) "${HA_SBIN_DIR}/crm_attribute" --promotion -D; rm -f "$state" ;;
    monitor)
        case "$(cat "$state" 2>/dev/null)" in
            Promoted) exit 8 ;;
            Unpromoted) exit 0 ;;
            *) exit 7 ;;
        esac ;;
    notify) { echo "== $1"; env | sort; } >> "${HA_VARRUN%%/}/notified" ;;
    *) exit 3 ;;
esac
"#;
const CONFIG: &str = r#"<configuration><crm_config><cluster_property_set id="o">
    <nvpair id="o-f" name="stonith-enabled" value="false"/><nvpair id="o-q" name="no-quorum-policy" value="ignore"/>
    </cluster_property_set></crm_config><nodes/><resources>
    <clone id="ms"><meta_attributes id="ms-m"><nvpair id="ms-p" name="promotable" value="true"/>
        <nvpair id="ms-n" name="notify" value="true"/></meta_attributes>
        <primitive id="st" class="ocf" provider="PROVIDER" type="TYPE"><operations>
            <op id="st-m1" name="monitor" interval="5s" role="Promoted"/>
            <op id="st-m2" name="monitor" interval="6s" role="Unpromoted"/></operations></primitive></clone>
    <primitive id="vd" class="ocf" provider="pacemaker" type="Dummy"/></resources>
    <constraints><rsc_colocation id="c" rsc="vd" with-rsc="ms" with-rsc-role="Promoted" score="INFINITY"/>
        <rsc_order id="o1" first="ms" first-action="promote" then="vd" then-action="start"/></constraints></configuration>"#;

/// `Promoted` or `Unpromoted`, as our agent and the stock one write it.
fn role(cluster: &Cluster, node: &str) -> String {
    let read = |name: &str| std::fs::read_to_string(cluster.var_dir(node).join(name));
    let role = read("st.role").or_else(|_| read("Stateful-st.state")).unwrap_or_default();
    role.trim().to_owned()
}

fn has_dependent(cluster: &Cluster, node: &str) -> bool {
    cluster.run_dir(node).join("agents/Dummy-vd.state").exists()
}

/// The only one promoted, which has what depends on it.
async fn promoted(cluster: &Cluster, among: &[&'static str]) -> &'static str {
    cluster
        .until(&format!("exactly one of {among:?} is promoted"), || {
            let all: Vec<&'static str> = among.iter().copied().filter(|n| role(cluster, n) == "Promoted").collect();
            (all.len() == 1 && has_dependent(cluster, all[0])).then(|| all[0])
        })
        .await
}

/// Two nodes with the promotable clone configured.
async fn start(cluster: &mut Cluster, provider: &str, agent: &str) {
    for node in NODES {
        cluster.start_node(node);
    }
    cluster.wait_for_ring(&NODES).await;
    let config = CONFIG.replace("PROVIDER", provider).replace("TYPE", agent);
    let call = cib_call(CibOp::Replace, "configuration", Some(config));
    let reply: CibReply = post(&cluster.run_dir("n1"), "cib", &call, fixture::PATIENCE).expect("an answer");
    assert_eq!(reply.code, 0, "{reply:?}");
}

/// `ocf:pacemaker:Stateful` as its package has it; `OCF_ROOT` may say where that is.
#[tokio::test(flavor = "multi_thread")]
async fn the_stock_stateful_agent_is_promoted() {
    let Some(()) = root() else { return };
    let stock = std::env::var("OCF_ROOT").unwrap_or_else(|_| "/usr/lib/ocf".to_owned());
    if !std::path::Path::new(&stock).join("resource.d/pacemaker/Stateful").exists() {
        println!("SKIPPED: ocf:pacemaker:Stateful is not installed");
        return;
    }
    let mut cluster = Cluster::prepare(&NODES).await;
    cluster.env.insert("OCF_ROOT", stock);
    start(&mut cluster, "pacemaker", "Stateful").await;
    let first = promoted(&cluster, &NODES).await;
    let other = NODES.into_iter().find(|n| *n != first).expect("two nodes");
    cluster.until("the other one runs unpromoted", || (role(&cluster, other) == "Unpromoted").then_some(())).await;
    cluster.kill(first).await;
    assert_eq!(promoted(&cluster, &[other]).await, other);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_promotes_itself_by_its_helper_command() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::prepare(&NODES).await;
    let dir = cluster.path("ocf").join("resource.d/test");
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::write(dir.join("Promotable"), AGENT).expect("written");
    std::fs::set_permissions(dir.join("Promotable"), PermissionsExt::from_mode(0o755)).expect("set");
    start(&mut cluster, "test", "Promotable").await;
    let first = promoted(&cluster, &NODES).await;
    let other = NODES.into_iter().find(|n| *n != first).expect("two nodes");
    cluster.until("the other one runs unpromoted", || (role(&cluster, other) == "Unpromoted").then_some(())).await;
    let told = cluster
        .until("the promotion is told before and after", || {
            let told = std::fs::read_to_string(cluster.var_dir(other).join("notified")).ok()?;
            let line = |l: &str| told.lines().any(|told| told == l);
            (line("OCF_RESKEY_CRM_meta_notify_type=pre") && line("OCF_RESKEY_CRM_meta_notify_type=post"))
                .then_some(told)
        })
        .await;
    for line in [
        "OCF_RESKEY_CRM_meta_notify_operation=promote".to_owned(),
        format!("OCF_RESKEY_CRM_meta_notify_promote_uname={first}"),
        format!("OCF_RESKEY_CRM_meta_on_node={other}"),
        "OCF_RESKEY_CRM_meta_promoted_max=1".to_owned(),
        "OCF_RESOURCE_PROVIDER=test".to_owned(),
        "LC_ALL=C".to_owned(),
        format!("PCMK_node_name={other}"),
    ] {
        let has = told.lines().any(|l| l.trim_end() == line);
        assert!(has, "{line} is not in:\n{told}");
    }
    cluster.kill(first).await;
    assert_eq!(promoted(&cluster, &[other]).await, other);
}
