//! A host that is no node of the cluster uses an address that a node holds (RFC 5227 §2.4, RFC 4862 §5.4).

use crate::fixture::{Group, other, vips};
use crate::root::root;
use kernel::addr::Link;
use kernel::inquiry::Ear;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The client's card, as its neighbours see it.
async fn card(group: &Group, host: &str) -> Link {
    let all = group.host(host).links.list().await.expect("links");
    let eth0 = all.into_iter().find(|l| l.name == "eth0").expect("eth0");
    let mac = eth0.mac.try_into().ok();
    Link { index: eth0.index, name: eth0.name, up: true, running: true, loopback: false, mtu: 1500, mac, master: None }
}

fn announce(group: &Group, link: &Link, addr: IpAddr) {
    let link = link.clone();
    let said = group.host("client").ns.run(move || kernel::announce::announce(&link, addr));
    said.expect("inside").expect("announced");
}

fn warnings(group: &Group, node: &str) -> String {
    group.command(node, &["crm_mon", "-1"]).unwrap_or_default()
}

/// Moves and starts of this cluster's own.
async fn there_and_back(group: &Group, owner: &'static str) {
    for node in [other(owner), owner] {
        group.command(owner, &["crm_resource", "--move", "-r", "director", "-N", node]).expect("moved");
        let end = std::time::Instant::now() + Duration::from_secs(30);
        while group.held(node).await != vips().len() {
            assert!(std::time::Instant::now() < end, "not on {node}\n{}", group.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(1500)).await;
        group.command(owner, &["crm_resource", "--clear", "-r", "director"]).expect("cleared");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_and_defended_against_and_the_address_stays() {
    let Some(()) = root() else { return };
    let group = Group::start_apart("fast", &[]).await;
    let owner = group.wait_for_owner().await;
    // Alert agents do not run as root.
    let alerts = group.path("alerts");
    std::fs::write(&alerts, "").expect("written");
    std::fs::set_permissions(&alerts, std::os::unix::fs::PermissionsExt::from_mode(0o666)).expect("anybody's");
    let agent = group.path("agent.sh");
    std::fs::write(
        &agent,
        format!(
            "#!/bin/sh\necho \"$CRM_alert_kind $CRM_alert_rsc $CRM_alert_rc $CRM_alert_desc\" >> {}\n",
            alerts.display()
        ),
    )
    .expect("written");
    std::fs::set_permissions(&agent, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    let path = format!("path={}", agent.display());
    group.until("an alert agent", || group.command(owner, &["pcs", "alert", "create", &path, "id=told"])).await;
    let (client, holder) = (card(&group, "client").await, card(&group, owner).await);

    there_and_back(&group, owner).await;
    assert!(!group.logs().contains("address_duplicate"), "no false alarm: {}", group.logs());

    // The client hears how the holder defends itself.
    let defended: Arc<Mutex<Vec<IpAddr>>> = Arc::default();
    let addrs: BTreeSet<IpAddr> = vips().into();
    let (link, runtime) = (client.clone(), tokio::runtime::Handle::current());
    let open = move || {
        let _guard = runtime.enter();
        Ear::open(&link, addrs)
    };
    // The bursts of the last start are over.
    tokio::time::sleep(Duration::from_millis(7000)).await;
    let ear = group.host("client").ns.run(open).expect("inside").expect("a socket").expect("neighbours");
    let (to, mac) = (defended.clone(), holder.mac.expect("a card"));
    let listening = tokio::spawn(async move {
        while let Ok(heard) = ear.heard().await {
            let own = heard.into_iter().filter(|(_, from)| *from == mac).map(|(addr, _)| addr);
            to.lock().unwrap_or_else(PoisonError::into_inner).extend(own);
        }
    });
    let used = [vips()[0], vips()[2]];
    // Advertisements come from the address itself.
    let add = format!("-6 addr add {}/128 dev eth0 nodad", used[1]);
    let mut ip = std::process::Command::new("ip");
    let added = group.host("client").ns.spawn(ip.args(add.split(' '))).map(|mut child| child.wait().expect("it ends"));
    assert!(added.expect("ip runs").success(), "ip {add}");
    for _ in 0..12 {
        used.iter().for_each(|addr| announce(&group, &client, *addr));
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    listening.abort();
    let mac: String = client.mac.expect("a card").map(|b| format!("{b:02x}")).join(":");
    for addr in used {
        let words = format!("{addr} is used by {mac}, which belongs to none of the cluster's nodes");
        group
            .until(&format!("status tells of {addr}"), || warnings(&group, owner).contains(&words).then_some(()))
            .await;
        assert!(group.logs().contains(&words), "{}", group.logs());
        group
            .until("the alert", || {
                let told = std::fs::read_to_string(&alerts).unwrap_or_default();
                told.lines()
                    .any(|l| l.starts_with("resource vip") && l.contains(" 190 ") && l.contains(&words))
                    .then_some(())
            })
            .await;
        let all = defended.lock().unwrap_or_else(PoisonError::into_inner);
        let packets = all.iter().filter(|a| **a == addr).count();
        // One announcement is a request and a reply.
        assert!((1..=2).contains(&packets), "{packets} packets against twelve within 3 s: {all:?}");
    }
    assert_eq!(group.held(owner).await, vips().len(), "never given up to a stranger");
    assert_eq!(group.held(other(owner)).await, 0);
    let other_words = format!("{} is used by", vips()[1]);
    assert!(!group.logs().contains(&other_words), "of that nobody has said anything");
}
