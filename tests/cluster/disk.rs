//! State directories on disks that hang, are full, or are read-only: real file systems on loop devices and tmpfs.

use crate::fixture::{self, Cluster, cib_call};
use crate::root::root;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use wire::api::{
    AttributeAction, AttributeCall, AttributeReply, CibOp, CibReply, Lifetime, NodeStatus, Safety, StorageTrouble,
};

const NODES: [&str; 3] = ["n1", "n2", "n3"];
/// Requests of each kind whose latency is measured.
const SAMPLES: usize = 100;
/// What hangs would hang until the disk thaws; anything else is done long before.
const HUNG: Duration = Duration::from_secs(15);

/// A file system of its own for one state directory, made before the hosts, so that they have it too.
pub struct Volume {
    pub dir: PathBuf,
    image: Option<PathBuf>,
}

impl Volume {
    /// ext4 on a loop device; `None` where there is none.
    pub fn ext4(name: &str) -> Option<Volume> {
        let dir = fresh(name);
        let image = dir.with_extension("img");
        std::fs::File::create(&image).and_then(|f| f.set_len(64 << 20)).expect("an image");
        let volume = Volume { dir, image: Some(image.clone()) };
        let made = run("mkfs.ext4", &["-q", "-F", path(&image)])
            && run("mount", &["-o", "loop", path(&image), path(&volume.dir)]);
        if !made {
            println!("skipped: no ext4 on a loop device here");
        }
        made.then_some(volume)
    }

    pub fn tmpfs(name: &str, kib: u32) -> Volume {
        let volume = Volume { dir: fresh(name), image: None };
        let size = format!("size={kib}k");
        assert!(run("mount", &["-t", "tmpfs", "-o", &size, "bascule-test", path(&volume.dir)]), "a tmpfs");
        volume
    }

    /// Takes all room that is left.
    pub fn fill(&self) {
        use std::io::Write;
        let mut ballast = std::fs::File::create(self.dir.join("ballast")).expect("a file");
        for size in [65536, 4096, 1] {
            while ballast.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    pub fn make_room(&self) {
        std::fs::remove_file(self.dir.join("ballast")).expect("removed");
    }

    fn remount(&self, mode: &str) {
        assert!(run("mount", &["-o", &format!("remount,{mode}"), path(&self.dir)]), "remounted {mode}");
    }

    fn leftovers(&self) -> Vec<String> {
        let names =
            std::fs::read_dir(&self.dir).expect("a directory").filter_map(|e| e.ok()?.file_name().into_string().ok());
        names.filter(|n| n.ends_with(".tmp")).collect()
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        run("umount", &["-l", path(&self.dir)]);
        let _ = std::fs::remove_dir(&self.dir);
        self.image.iter().for_each(|i| drop(std::fs::remove_file(i)));
    }
}

/// A frozen file system; thawed at the end in any case, since processes that wait for it cannot even be killed.
pub struct Frozen(PathBuf);

pub fn freeze(volume: &Volume) -> Frozen {
    assert!(run("fsfreeze", &["-f", path(&volume.dir)]), "frozen");
    Frozen(volume.dir.clone())
}

impl Drop for Frozen {
    fn drop(&mut self) {
        run("fsfreeze", &["-u", path(&self.0)]);
    }
}

fn fresh(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("bascule-disk-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    dir
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn run(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).stderr(std::process::Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Median and worst, in milliseconds.
fn measure(mut one: impl FnMut(usize)) -> (f64, f64) {
    let mut all: Vec<f64> = (0..SAMPLES)
        .map(|n| {
            let at = Instant::now();
            one(n);
            at.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    all.sort_by(f64::total_cmp);
    (all[SAMPLES / 2], all[SAMPLES - 1])
}

/// Reads, transient attributes, status and a helper command on one node; the worst of all.
fn latencies(cluster: &Cluster, node: &str, what: &str) -> f64 {
    let dir = cluster.run_dir(node);
    let read = measure(|_| {
        let reply: CibReply =
            fixture::post(&dir, "cib", &cib_call(CibOp::Query, "configuration", None), HUNG).expect("a read");
        assert_eq!(reply.code, 0);
    });
    let attribute = measure(|n| {
        let call = AttributeCall {
            name: base::Word::cleaned("speed"),
            node: None,
            action: AttributeAction::Set { value: base::outside::Value::cleaned(&format!("{what}{n}")) },
            lifetime: Lifetime::Reboot,
            dampen_ms: None,
            private: false,
        };
        let reply: AttributeReply = fixture::post(&dir, "attribute", &call, HUNG).expect("an attribute");
        assert_eq!(reply.code, 0, "{reply:?}");
    });
    let status = measure(|_| drop(fixture::get::<NodeStatus>(&dir, "status").expect("a status")));
    let helper = {
        let at = Instant::now();
        assert_eq!(cluster.command(node, &["attrd_updater", "-n", "helped", "-U", what]).0, 0);
        at.elapsed().as_secs_f64() * 1000.0
    };
    println!(
        "{what}: ms (median, worst): read {:.1} {:.1}, attribute {:.1} {:.1}, status {:.1} {:.1}; attrd_updater {helper:.0}",
        read.0, read.1, attribute.0, attribute.1, status.0, status.1
    );
    [read.1, attribute.1, status.1, helper].into_iter().fold(0.0, f64::max)
}

fn storage(cluster: &Cluster, asked: &str) -> Vec<StorageTrouble> {
    cluster.status(asked).map(|s| s.storage).unwrap_or_default()
}

async fn names(cluster: &Cluster, asked: &str, troubled: &[&str]) {
    cluster
        .until(&format!("{asked} names {troubled:?}"), || {
            let mut nodes: Vec<String> = storage(cluster, asked).into_iter().map(|t| t.node).collect();
            nodes.sort();
            (nodes == troubled).then_some(())
        })
        .await;
}

fn on_disk(dir: &Path, word: &str) -> Option<()> {
    std::fs::read_to_string(dir.join("cib.xml")).ok()?.contains(word).then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_disk_delays_its_own_write_alone() {
    let Some(()) = root() else { return };
    let (Some(two), Some(three)) = (Volume::ext4("f2"), Volume::ext4("f3")) else { return };
    let mut cluster = Cluster::prepare(&NODES).await;
    cluster.state_dirs.extend([("n2", two.dir.clone()), ("n3", three.dir.clone())]);
    // Its log hangs as well.
    let log = three.dir.join("log");
    cluster.node_words.insert("n3", vec!["--log-file".into(), path(&log).into()]);
    NODES.iter().for_each(|n| cluster.start_node(n));
    cluster.wait_for_ring(&NODES).await;
    cluster.until("all is stored", || storage(&cluster, "n1").is_empty().then_some(())).await;
    let healthy = latencies(&cluster, "n3", "healthy");
    let frozen = freeze(&three);
    let worst = latencies(&cluster, "n3", "frozen");
    assert!(worst < HUNG.as_secs_f64() * 1000.0, "healthy {healthy} ms, frozen {worst} ms");
    // Two disks of three hold it.
    let reply = fixture::write_resource(&cluster.run_dir("n3"), "one", HUNG).expect("an answer");
    assert_eq!((reply.code, reply.safety), (0, Safety::Safe), "{reply:?}");
    names(&cluster, "n1", &["n3"]).await;
    let (_, shown, _) = cluster.command("n1", &["crm_mon", "-1"]);
    assert!(shown.contains("Warnings:") && shown.contains("n3"), "{shown}");
    // With two that hang, only one holds it.
    let both = freeze(&two);
    let at = Instant::now();
    let reply = fixture::write_resource(&cluster.run_dir("n3"), "two", fixture::PATIENCE).expect("an answer");
    println!("a change with two of three disks frozen: provisional after {:.1} s", at.elapsed().as_secs_f64());
    assert_eq!((reply.code, reply.safety), (0, Safety::Provisional), "{reply:?}");
    assert!(at.elapsed() >= Duration::from_secs(4), "it waits for the disks: {:?}", at.elapsed());
    let worst = latencies(&cluster, "n3", "two frozen");
    assert!(worst < HUNG.as_secs_f64() * 1000.0);
    drop(both);
    drop(frozen);
    cluster.until("n3 has written it", || on_disk(&three.dir, "\"two\"")).await;
    cluster.until("n2 has written it", || on_disk(&two.dir, "\"two\"")).await;
    cluster.until("all is stored", || storage(&cluster, "n1").is_empty().then_some(())).await;
    // A slow disk: it stands still for most of the time.
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let slow = {
        let (stop, dir) = (stop.clone(), three.dir.clone());
        std::thread::spawn(move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                run("fsfreeze", &["-f", path(&dir)]);
                std::thread::sleep(Duration::from_millis(400));
                run("fsfreeze", &["-u", path(&dir)]);
                std::thread::sleep(Duration::from_millis(50));
            }
        })
    };
    let worst = latencies(&cluster, "n3", "slow");
    let reply = fixture::write_resource(&cluster.run_dir("n3"), "three", HUNG);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    slow.join().expect("it ends");
    assert_eq!(reply.map(|r| (r.code, r.safety)), Some((0, Safety::Safe)));
    assert!(worst < HUNG.as_secs_f64() * 1000.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_written_once_there_is_room() {
    let Some(()) = root() else { return };
    let volumes = NODES.map(|n| Volume::tmpfs(&format!("full-{n}"), 512));
    let mut cluster = Cluster::prepare(&NODES).await;
    cluster.state_dirs.extend(NODES.into_iter().zip(volumes.iter().map(|v| v.dir.clone())));
    NODES.iter().for_each(|n| cluster.start_node(n));
    cluster.wait_for_ring(&NODES).await;
    volumes.iter().for_each(Volume::fill);
    let forever = ["crm_attribute", "-n", "colour", "-v", "red", "-t", "nodes", "-N", "n1"];
    let (code, _, told) = cluster.command("n1", &forever);
    assert!(code == 0 && told.contains("not safe"), "crm_attribute: {code} {told}");
    let (code, _, told) = cluster.command("n2", &["pcs", "property", "set", "stop-all-resources=true"]);
    assert!(code == 0 && told.contains("not safe"), "pcs: {code} {told}");
    names(&cluster, "n1", &NODES).await;
    let (_, shown, _) = cluster.command("n2", &["crm_mon", "-1"]);
    assert!(shown.contains("Warnings:") && shown.contains("No space left"), "{shown}");
    // Transient state is on no disk, and nothing is said of it.
    let (code, _, told) = cluster.command("n3", &["attrd_updater", "-n", "pingd", "-U", "5"]);
    assert_eq!((code, told.as_str()), (0, ""));
    assert!(volumes.iter().all(|v| on_disk(&v.dir, "\"red\"").is_none()), "there was room after all");
    volumes.iter().for_each(|v| assert_eq!(v.leftovers(), Vec::<String>::new()));
    volumes.iter().for_each(Volume::make_room);
    for volume in &volumes {
        cluster.until("the value is on disk", || on_disk(&volume.dir, "\"red\"")).await;
    }
    names(&cluster, "n1", &[]).await;
    for node in NODES {
        cluster.kill(node).await;
    }
    NODES.iter().for_each(|n| cluster.start_node(n));
    cluster.wait_for_ring(&NODES).await;
    // Another view may be on its way on a busy machine; a node that is in between says so.
    let kept = cluster.until("an answer", || cluster.configuration("n3")).await.0;
    assert!(kept.contains("\"red\""), "lost by a crash: {kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_on_a_full_and_on_a_read_only_disk() {
    let Some(()) = root() else { return };
    let (full, closed) = (Volume::tmpfs("start-full", 512), Volume::tmpfs("start-ro", 512));
    let mut cluster = Cluster::prepare(&NODES).await;
    cluster.state_dirs.extend([("n2", full.dir.clone()), ("n3", closed.dir.clone())]);
    full.fill();
    closed.remount("ro");
    NODES.iter().for_each(|n| cluster.start_node(n));
    cluster.wait_for_ring(&NODES).await;
    names(&cluster, "n1", &["n2", "n3"]).await;
    for node in ["n2", "n3"] {
        let warnings = cluster.status(node).expect("an answer").warnings;
        assert!(warnings.iter().any(|w| w.contains("state directory")), "{node}: {warnings:?}");
    }
    assert!(cluster.logs().contains("takes no ring numbers"), "{}", cluster.logs());
    closed.remount("rw");
    full.make_room();
    for volume in [&full, &closed] {
        cluster.until("a CIB is on disk", || on_disk(&volume.dir, "<cib")).await;
        cluster.until("and ring numbers", || volume.dir.join("ring_seq").exists().then_some(())).await;
    }
    names(&cluster, "n1", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_everything_says_so_and_wins_nothing() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::start(&NODES).await;
    let reply = fixture::write_resource(&cluster.run_dir("n1"), "kept", HUNG).expect("an answer");
    assert_eq!(reply.safety, Safety::Safe);
    for node in NODES {
        cluster.until("stored", || on_disk(&cluster.state_dir(node), "\"kept\"")).await;
    }
    for node in NODES {
        cluster.kill(node).await;
    }
    // Two of three have nothing, and are a majority.
    for node in ["n1", "n2"] {
        let dir = cluster.state_dir(node);
        for entry in std::fs::read_dir(&dir).expect("a directory").filter_map(Result::ok) {
            if entry.path().extension().is_some_and(|e| e == "xml") {
                std::fs::write(entry.path(), "<cib>not as it was").expect("damaged");
            }
        }
        std::fs::write(dir.join("ring_seq"), u64::MAX.to_string()).expect("damaged");
        cluster.start_node(node);
    }
    cluster.wait_for_ring(&["n1", "n2"]).await;
    let status = cluster.status("n1").expect("an answer");
    assert!(status.quorate);
    let said = |words: &str| status.warnings.iter().any(|w| w.contains(words));
    assert!(said("was lost") && said("ring_seq"), "{:?}", status.warnings);
    let (_, shown, _) = cluster.command("n2", &["crm_mon", "-1"]);
    assert!(shown.contains("was lost"), "{shown}");
    cluster.start_node("n3");
    cluster.wait_for_ring(&NODES).await;
    for node in NODES {
        cluster
            .until("the one who has it has given it", || {
                cluster.configuration(node)?.0.contains("\"kept\"").then_some(())
            })
            .await;
        cluster.until("no warning is left", || storage(&cluster, node).is_empty().then_some(())).await;
    }
}
