//! Debian's own `boothd`, unmodified, at two sites that are clusters of ours and at an arbitrator: a ticket is granted, moved, and
//! lost with its site; what depends on it runs at the site that has it and at no other.

use crate::fixture::{BASCULE, Cluster, corosync_conf};
use crate::root::root;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// Two sites, and the arbitrator.
const HOSTS: [&str; 3] = ["s1", "s2", "arb"];
const SITES: [&str; 2] = ["s1", "s2"];

/// What is loaded before boothd, made in `dir`; see the source.
pub fn netlink_end(dir: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/booth/netlink_end.c");
    let made = dir.join("netlink_end.so");
    let done = std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&made).arg(source).status();
    assert!(done.expect("a C compiler").success());
    made
}

/// A host of one site: booth's files, the commands that `bascule links` made, the node's socket; then the program.
const STAGE: &str = r#"
set -e
mount --bind "$BOOTH" /etc/booth
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/links /mnt/run
mkdir -p "$LOCK" && chmod 777 "$LOCK"
mount --bind "$LINKS" /mnt/links
[ ! -d "$RUN" ] || mount --bind "$RUN" /mnt/run
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/bascule /run/booth /run/lock
mount --bind "$LOCK" /run/booth
mount --bind /mnt/run /run/bascule
PATH="/mnt/links:$PATH"
LD_PRELOAD=/mnt/links/netlink_end.so exec "$@"
"#;

struct Geo {
    cluster: Cluster,
    booth: PathBuf,
    links: PathBuf,
    daemons: Vec<tokio::process::Child>,
}

impl Geo {
    async fn start() -> Geo {
        let mut cluster = Cluster::prepare(&HOSTS).await;
        for site in SITES {
            let whole = corosync_conf(&HOSTS);
            // The sites do not know of each other: each is a cluster of one node.
            let own = whole.split("    node {").find(|part| part.contains(&format!("name: {site}\n"))).expect("a node");
            let own = own.split_once('}').expect("its end").0;
            let text = format!(
                "totem {{\n    version: 2\n    cluster_name: {site}\n}}\nnodelist {{\n    node {{{own}}}\n}}\nquorum {{\n    \
                 provider: corosync_votequorum\n}}\n"
            );
            std::fs::write(cluster.path(&format!("{site}.conf")), text).expect("written");
            cluster.start_node(site);
            cluster.wait_for_ring(&[site]).await;
        }
        let (booth, links) = (cluster.path("booth"), cluster.path("links"));
        std::fs::create_dir_all(&booth).expect("a directory");
        let made = std::process::Command::new(BASCULE).arg("links").arg(&links).args(["--compat", "2.1"]).output();
        assert!(made.expect("links are made").status.success());
        netlink_end(&links);
        Geo { cluster, booth, links, daemons: Vec::new() }
    }

    fn command(&self, host: &str, words: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("unshare");
        command.args(["-m", "sh", "-c", STAGE, "sh"]).args(words);
        command.env("BOOTH", &self.booth).env("LINKS", &self.links).env("RUN", self.cluster.run_dir(host));
        command.env("LOCK", self.cluster.path(&format!("{host}.booth")));
        command.env_remove("BASCULE_RUN_DIR").stdin(Stdio::null());
        command
    }

    /// A command on a host: its code and what it said.
    async fn run(&self, host: &str, words: &[&str]) -> (i32, String) {
        let mut command = self.command(host, words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.cluster.lab.host(host).expect("a host").spawn(&mut command).expect("it starts");
        let out = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output())
            .await
            .expect("it ends")
            .expect("it ran");
        let said = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (out.status.code().unwrap_or(-1), said)
    }

    async fn done(&self, host: &str, words: &[&str]) -> String {
        let (code, said) = self.run(host, words).await;
        assert_eq!(code, 0, "{host}: {words:?}: {said}\n{}", self.logs());
        said
    }

    fn start_booth(&mut self, host: &'static str) {
        let log = std::fs::File::create(self.cluster.path(&format!("{host}.booth.log"))).expect("a log");
        let mut command = self.command(host, &["boothd", "daemon", "-D", "-c", "booth"]);
        command.stdout(log.try_clone().expect("a handle")).stderr(log);
        let child = self.cluster.lab.host(host).expect("a host").spawn(&mut command).expect("boothd starts");
        self.daemons.push(child);
    }

    fn logs(&self) -> String {
        let own =
            |host: &&str| std::fs::read_to_string(self.cluster.path(&format!("{host}.booth.log"))).unwrap_or_default();
        let last = |text: String| text.lines().rev().take(40).map(|l| format!("{l}\n")).collect::<Vec<_>>();
        let booth: String = HOSTS
            .iter()
            .map(|h| format!("== booth at {h}\n{}", last(own(h)).into_iter().rev().collect::<String>()))
            .collect();
        booth + &self.cluster.logs()
    }

    /// Sites where what depends on the ticket runs, by each site's own status.
    fn running(&self) -> Vec<&'static str> {
        let runs =
            |site: &str| self.cluster.command(site, &["crm_resource", "-r", "d", "-W"]).1.contains("is running on");
        SITES.into_iter().filter(|site| runs(site)).collect()
    }

    fn granted(&self) -> Vec<&'static str> {
        let has = |site: &str| {
            let (code, text, _) = self.cluster.command(site, &["crm_ticket", "-t", "T", "-G", "granted"]);
            code == 0 && text.trim() == "true"
        };
        SITES.into_iter().filter(|site| has(site)).collect()
    }

    /// Until the ticket and what depends on it are at this site; on the way there never at both.
    async fn at(&self, site: &str, within: Duration) {
        let end = std::time::Instant::now() + within;
        loop {
            let (granted, running) = (self.granted(), self.running());
            assert!(granted.len() < 2, "granted at both sites\n{}", self.logs());
            if granted == [site] && running == [site] {
                return;
            }
            assert!(
                std::time::Instant::now() < end,
                "granted {granted:?}, running {running:?}, not {site}\n{}",
                self.logs()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn debians_booth_grants_moves_and_takes_tickets_of_two_sites() {
    let Some(()) = root() else { return };
    if !Path::new("/usr/sbin/boothd").exists() || !Path::new("/etc/booth").is_dir() {
        println!("SKIPPED: boothd is missing (Debian: apt install booth-pacemaker)");
        return;
    }
    let mut geo = Geo::start().await;
    for site in SITES {
        for line in [
            "property set stonith-enabled=false",
            "resource create d ocf:pacemaker:Dummy",
            "constraint ticket add T d loss-policy=stop",
        ] {
            let words: Vec<&str> = std::iter::once("pcs").chain(line.split(' ')).collect();
            let (code, out, err) = geo.cluster.command(site, &words);
            assert_eq!(code, 0, "{line}: {out}{err}");
        }
    }
    let setup = "pcs booth setup sites 10.77.0.1 10.77.0.2 arbitrators 10.77.0.3";
    geo.done("s1", &setup.split(' ').collect::<Vec<_>>()).await;
    geo.done("s1", &["pcs", "booth", "ticket", "add", "T", "expire=10", "timeout=1", "retries=3", "renewal-freq=5"])
        .await;
    // Nothing is granted, and nothing runs.
    assert!(geo.granted().is_empty() && geo.running().is_empty());
    let (code, said) = geo.run("s1", &["pcs", "booth", "status"]).await;
    assert!(code != 0 && said.contains("is booth running here?"), "{said}");
    HOSTS.into_iter().for_each(|host| geo.start_booth(host));
    let mut told = String::new();
    for _ in 0..100 {
        told = geo.run("s1", &["pcs", "booth", "status"]).await.1;
        if told.contains("TICKETS:") && told.matches("10.77.0.").count() >= 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(
        told.contains("ticket: T") && told.contains("PEERS:") && told.contains("DAEMON STATUS:"),
        "{told}\n{}",
        geo.logs()
    );
    // Granted.
    geo.done("s1", &["pcs", "booth", "ticket", "grant", "T", "10.77.0.1"]).await;
    geo.at("s1", Duration::from_secs(40)).await;
    let told = geo.cluster.command("s1", &["crm_ticket", "-t", "T", "-q"]).1;
    for attribute in ["owner=", "expires=", "term=", "granted=\"true\""] {
        assert!(told.contains(attribute), "{attribute} is missing: {told}");
    }
    // Moved.
    geo.done("s1", &["booth", "revoke", "-s", "10.77.0.1", "T"]).await;
    geo.cluster.until("nobody has it", || (geo.granted().is_empty() && geo.running().is_empty()).then_some(())).await;
    geo.done("s1", &["booth", "grant", "-s", "10.77.0.2", "T"]).await;
    geo.at("s2", Duration::from_secs(40)).await;
    // Lost: the site that has it is cut off, gives it up when it expires, and the other takes it.
    geo.cluster.lab.unplug("s2").await.expect("cut");
    geo.at("s1", Duration::from_secs(90)).await;
    geo.cluster.lab.plug("s2").await.expect("healed");
    tokio::time::sleep(Duration::from_secs(3)).await;
    geo.at("s1", Duration::from_secs(20)).await;
}
