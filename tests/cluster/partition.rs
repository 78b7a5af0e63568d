//! Partition and merge while clients write the CIB on both sides.

use crate::fixture::{self, Cluster, write_resource};
use crate::root::root;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wire::api::Safety;

const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// What a client was told about each of its writes.
#[derive(Default)]
struct Told {
    safe: Vec<String>,
    provisional: Vec<String>,
    /// No answer, or one that leaves it open.
    unknown: Vec<String>,
    refused: Vec<String>,
}

/// A client of one node that writes one resource after the other until told to stop.
fn client(run_dir: PathBuf, name: &'static str, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<Told> {
    std::thread::spawn(move || {
        let mut told = Told::default();
        for n in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let id = format!("w-{name}-{n}");
            match write_resource(&run_dir, &id, Duration::from_secs(20)) {
                Some(reply) if reply.code == 0 && reply.safety == Safety::Safe => told.safe.push(id),
                Some(reply) if reply.code == 0 => told.provisional.push(id),
                Some(reply) if reply.code == base::exit::crm::TIMEOUT => told.unknown.push(id),
                Some(_) => told.refused.push(id),
                None => told.unknown.push(id),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        told
    })
}

fn has(document: &str, id: &str) -> bool {
    document.contains(&format!("id=\"{id}\""))
}

fn discarded(state_dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(state_dir.join("discarded")).expect("the directory");
    entries.map(|e| std::fs::read_to_string(e.expect("an entry").path()).expect("readable")).collect()
}

/// All nodes have one and the same configuration.
async fn one_configuration(cluster: &Cluster) -> String {
    cluster
        .until("one configuration everywhere", || {
            let all: Vec<_> = NODES.iter().map(|n| cluster.configuration(n)).collect::<Option<_>>()?;
            all.iter().all(|c| c == &all[0]).then(|| all[0].0.clone())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_safe_is_lost_and_what_lost_is_kept() {
    let Some(()) = root() else { return };
    let cluster = Cluster::start(&NODES).await;
    for round in 0..3 {
        let cut = NODES[round % 3];
        let stop = Arc::new(AtomicBool::new(false));
        let names: [&'static str; 3] = [["a1", "a2", "a3"], ["b1", "b2", "b3"], ["c1", "c2", "c3"]][round];
        let clients: Vec<_> =
            NODES.iter().zip(names).map(|(n, c)| client(cluster.run_dir(n), c, stop.clone())).collect();
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.lab.unplug(cut).await.expect("unplugged");
        let rest: Vec<&str> = NODES.iter().copied().filter(|n| *n != cut).collect();
        cluster.wait_for_ring(&rest).await;
        cluster.wait_for_ring(&[cut]).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        cluster.lab.plug(cut).await.expect("plugged");
        cluster.wait_for_ring(&NODES).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.store(true, Ordering::Relaxed);
        let told: BTreeMap<&str, Told> =
            NODES.iter().copied().zip(clients.into_iter().map(|c| c.join().expect("the client ended"))).collect();
        verify(&cluster, cut, &told).await;
    }
}

async fn verify(cluster: &Cluster, cut: &str, told: &BTreeMap<&str, Told>) {
    let document = one_configuration(cluster).await;
    for (&node, told) in told {
        println!(
            "{node} (cut off: {cut}): {} safe, {} provisional, {} unknown, {} refused",
            told.safe.len(),
            told.provisional.len(),
            told.unknown.len(),
            told.refused.len()
        );
        for id in &told.safe {
            assert!(
                has(&document, id),
                "{id} was acknowledged as safe to a client of {node} and is lost\n{}",
                cluster.logs()
            );
        }
        assert!(!told.safe.is_empty(), "a client of {node} must have got something through");
        let whole = node == cut || told.provisional.is_empty();
        assert!(whole, "{node} lost its quorum because {cut} went or came back\n{}", cluster.logs());
    }
    // The side without quorum took writes, said that they are provisional, and kept them when it lost.
    let lonely = &told[cut];
    assert!(!lonely.provisional.is_empty(), "the node that was cut off takes writes, as provisional");
    let lost: Vec<&String> = lonely.provisional.iter().filter(|id| !has(&document, id)).collect();
    assert!(!lost.is_empty(), "a merge keeps the lineage that had quorum");
    let files = cluster
        .until("the discarded content is on disk", || {
            let files = discarded(&cluster.state_dir(cut));
            lost.iter().all(|id| files.iter().any(|f| has(f, id))).then_some(files)
        })
        .await;
    assert!(!files.is_empty());
    assert!(cluster.timeline(cut).events.iter().any(|e| e.kind == "discarded"), "it is announced in the timeline");
    let status = cluster.status(cut).expect("the node answers");
    assert!(
        status.warnings.iter().any(|w| w.contains("discarded")),
        "it is announced in the status: {:?}",
        status.warnings
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_holds_what_was_acknowledged() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::start(&NODES).await;
    let ids: Vec<String> = (0..10).map(|n| format!("kept-{n}")).collect();
    for id in &ids {
        let reply = write_resource(&cluster.run_dir("n2"), id, fixture::PATIENCE).expect("an answer");
        assert_eq!((reply.code, reply.safety), (0, Safety::Safe), "{reply:?}");
    }
    // The power fails everywhere at once, right after the last acknowledgement.
    for name in NODES {
        cluster.signal(name, nix::sys::signal::Signal::SIGKILL);
    }
    for name in NODES {
        cluster.daemons.get_mut(name).expect("a daemon").wait().await.expect("it ended");
        cluster.start_node(name);
    }
    cluster.wait_for_ring(&NODES).await;
    let document = one_configuration(&cluster).await;
    for id in &ids {
        assert!(has(&document, id), "{id} was acknowledged and is lost\n{}", cluster.logs());
    }
}
