//! Four active directors behind a router, as real nodes and real BIRDs in namespaces: what is announced, what withdraws, and how soon.
//! Packets are forwarded by the embedded relay, so connections end with their director; kernel IPVS is the VM's (tests/vm/ecmp.rs).

use crate::fixture::{BASCULE, signal};
use crate::root::root;
use lab::hosts::{HostSpec, Lab};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::process::Child;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/topologies/ecmp");
const V4: &str = "203.0.113.100";
const V6: &str = "2001:db8:100::100";
const PATIENCE: Duration = Duration::from_secs(90);
const SERVER_PORTS: std::ops::RangeInclusive<u16> = 81..=86;
/// Requests of the client, each a connection of its own.
const REQUESTS: usize = 200;

struct Site {
    lab: Lab,
    nodes: Vec<Child>,
    birds: Vec<Child>,
    _others: Vec<Child>,
    dir: tempfile::TempDir,
}

/// The samples, in the lab's networks.
fn adapted(text: &str) -> String {
    let v6 = text.replace("2001:db8::fe", "fd00:77::254").replace("2001:db8::", "fd00:77::");
    // A machine that compiles other things at the same time stands still for longer than 300 ms.
    v6.replace("192.0.2.", "10.77.0.").replace("\"lan\"", "\"eth0\"").replace("interval 100 ms", "interval 300 ms")
}

impl Site {
    async fn start() -> Site {
        let mut lab = Lab::new().await.expect("a lab");
        for n in 1..=4 {
            lab.add_host(HostSpec::numbered(&format!("d{n}"), n)).await.expect("a director");
        }
        for (name, n) in [("router", 254), ("web", 60), ("client", 50)] {
            lab.add_host(HostSpec::numbered(name, n)).await.expect("a host");
        }
        let dir = tempfile::tempdir().expect("a directory");
        let mut site = Site { lab, nodes: Vec::new(), birds: Vec::new(), _others: Vec::new(), dir };
        site.files();
        for path in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.fib_multipath_hash_policy"] {
            site.shell("router", &format!("sysctl -qw {path}=1"));
        }
        site.shell("router", "sysctl -qw net.ipv6.fib_multipath_hash_policy=1 net.ipv4.conf.eth0.send_redirects=0");
        site.shell("client", &format!("ip route add {V4} via 10.77.0.254; ip -6 route add {V6} via fd00:77::254"));
        let listen: String =
            SERVER_PORTS.map(|p| format!(" --listen 10.77.0.60:{p} --listen [fd00:77::60]:{p}")).collect();
        // It ends with its input.
        let web = site.spawn("web", &format!("sleep 100000 | exec {BASCULE} lab-web --name web{listen}"));
        let router = site.bird("router", "bird-router.conf");
        site._others = vec![web, router];
        for n in 1..=4 {
            let name = format!("d{n}");
            let host = site.lab.host(&name).expect("a director");
            // Pairs, since not every kernel has dummies.
            for (link, peer) in [("bascule-up", "up-peer"), ("bascule-drain", "drain-peer")] {
                host.links.add_veth(link, peer).await.expect("a pair");
                host.links.up(link).await.expect("up");
                host.links.up(peer).await.expect("up");
            }
            let bird = site.bird(&name, "bird-director.conf");
            let node = site.spawn(
                &name,
                &format!(
                    "mkdir -p $D/{name} && cd $D/{name} && exec {BASCULE} node --node {name} --data-plane relay --config $D/corosync.conf --authkey $D/authkey \
                     --state-dir $D/{name}.state --run-dir $D/{name}.run >$D/{name}.log 2>&1"
                ),
            );
            site.birds.push(bird);
            site.nodes.push(node);
        }
        let load = "cibadmin -R -o configuration -x $D/cib.xml";
        site.until("the configuration is accepted", || site.ask(1, load).is_some().then_some(())).await;
        site
    }

    fn files(&self) {
        let path = |name: &str| self.dir.path().join(name);
        for name in ["bird-router.conf", "bird-director.conf", "corosync.conf"] {
            let text = std::fs::read_to_string(format!("{SAMPLES}/{name}")).expect("a sample");
            std::fs::write(path(name), adapted(&text)).expect("written");
        }
        let cib = std::fs::read_to_string(format!("{SAMPLES}/cib.xml")).expect("a sample");
        let file = path("ldirectord.cf").display().to_string();
        // Relative, so that each node asks the BIRD of its own directory.
        let socket =
            "<nvpair id=\"announce-socket\" name=\"socket\" value=\"bird.ctl\"/><nvpair id=\"announce-daemon\"";
        let cib = cib.replace("/etc/ha.d/ldirectord.cf", &file).replace("<nvpair id=\"announce-daemon\"", socket);
        std::fs::write(path("cib.xml"), cib).expect("written");
        let service = |vip: &str, web: &str, six: &str| {
            let reals: String = SERVER_PORTS.map(|p| format!("    real{six} = {web}:{p} masq\n")).collect();
            format!(
                "virtual{six} = {vip}:80\n{reals}    checktype = connect\n    scheduler = sh\n    schedflags = sh-port,sh-fallback\n"
            )
        };
        let head = "checktimeout = 3\ncheckinterval = 1\nquiescent = yes\n".to_owned();
        let text = head + &service(V4, "10.77.0.60", "") + &service(&format!("[{V6}]"), "[fd00:77::60]", "6");
        std::fs::write(path("ldirectord.cf"), text).expect("written");
        self.shell("router", &format!("{BASCULE} corosync-keygen -k $D/authkey"));
    }

    fn command(&self, words: &str) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("sh");
        command.args(["-c", words]).env("D", self.dir.path());
        command
    }

    fn spawn(&self, host: &str, words: &str) -> Child {
        self.lab.host(host).expect("a host").spawn(&mut self.command(words)).expect("started")
    }

    fn bird(&self, host: &str, file: &str) -> Child {
        let start =
            format!("mkdir -p $D/{host} && exec bird -f -c $D/{file} -s $D/{host}/bird.ctl 2>$D/{host}-bird.log");
        self.spawn(host, &start)
    }

    fn shell(&self, host: &str, words: &str) -> String {
        let (words, dir) = (words.to_owned(), self.dir.path().to_owned());
        let run = move || Command::new("sh").args(["-c", &words]).env("D", dir).output().expect("a shell");
        let out = self.lab.host(host).expect("a host").ns.run_net(run).expect("inside");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    fn ask(&self, n: usize, words: &str) -> Option<String> {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{BASCULE} {words}")]).env("D", self.dir.path());
        let out = command.env("BASCULE_RUN_DIR", self.path(&format!("d{n}.run"))).output().expect("the binary runs");
        out.status.success().then(|| String::from_utf8_lossy(&out.stdout).into_owned())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Next hops of the router, by the last digit of each: IPv4 and IPv6.
    fn hops(&self) -> (String, String) {
        let ends = |text: String| {
            let ours = |w: &&str| w.starts_with("10.77.0.") || w.starts_with("fd00:77::");
            let mut all: Vec<String> = text
                .split_whitespace()
                .filter(ours)
                .filter_map(|w| Some(w.rsplit(['.', ':']).next()?.to_owned()))
                .collect();
            all.sort_unstable();
            all.concat()
        };
        (
            ends(self.shell("router", &format!("ip route show {V4}"))),
            ends(self.shell("router", &format!("ip -6 route show {V6}"))),
        )
    }

    /// How long it takes until the router sends to exactly these.
    async fn settles(&self, what: &str, wanted: &str) -> Duration {
        let began = Instant::now();
        self.until(&format!("{what}: the router sends to {wanted}"), || {
            (self.hops() == (wanted.to_owned(), wanted.to_owned())).then_some(())
        })
        .await;
        let took = began.elapsed();
        println!("{what:45} router sends to {wanted:4} after {:5} ms", took.as_millis());
        took
    }

    async fn until<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            assert!(Instant::now() < end, "did not happen: {what}; now {:?}\n{}", self.hops(), self.logs());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Connections that were accepted in a director's namespace so far.
    fn accepted(&self, n: usize) -> u64 {
        let pid = self.nodes[n - 1].id().expect("the node runs");
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/snmp")).unwrap_or_default();
        let mut tcp = text.lines().filter(|l| l.starts_with("Tcp:"));
        let (names, values) = (tcp.next().unwrap_or_default(), tcp.next().unwrap_or_default());
        let at = names.split(' ').position(|w| w == "PassiveOpens");
        at.and_then(|at| values.split(' ').nth(at)?.parse().ok()).unwrap_or(0)
    }

    fn logs(&self) -> String {
        let status = self.ask(1, "crm_mon -1rfA").unwrap_or_default();
        let protocols = self.shell("router", "birdc -s $D/router/bird.ctl show protocols; ip route; ip -6 route");
        let logs = self.shell("router", "for f in $D/*.log; do echo \"== $f\"; tail -n 30 $f; done");
        format!("{status}\n{protocols}\n{logs}")
    }

    fn pid(&self, child: &Child) -> Pid {
        Pid::from_raw(child.id().expect("it runs") as i32)
    }
}

#[tokio::test]
async fn four_directors_announce_drain_and_withdraw() {
    let Some(()) = root() else { return };
    if Command::new("bird").arg("--version").output().is_err() {
        println!("SKIPPED: package bird2 is not installed: no addresses are announced");
        return;
    }
    let site = Site::start().await;
    site.settles("configuration loaded", "1234").await;

    // Spread by the router.
    let before: Vec<u64> = (1..=4).map(|n| site.accepted(n)).collect();
    let fetch = format!(
        "i=0; while [ $i -lt {} ]; do curl -s -m 20 http://{V4}/ http://[{V6}]/; i=$((i+1)); done",
        REQUESTS / 2
    );
    let answers = site.shell("client", &fetch).matches("web").count();
    let shares: Vec<u64> = (1..=4).map(|n| site.accepted(n) - before[n - 1]).collect();
    println!("{answers} of {REQUESTS} requests answered, by director: {shares:?}");
    assert!(answers * 100 >= REQUESTS * 95, "{}", site.logs());
    assert!(shares.iter().all(|n| *n * 12 > REQUESTS as u64), "not spread: {shares:?}");

    // Drained: the community first, then nothing.
    site.ask(1, "pcs node standby d4").expect("standby");
    site.until("the drained director carries GRACEFUL_SHUTDOWN", || {
        let route = site.shell("router", &format!("birdc -s $D/router/bird.ctl show route all {V4}/32 protocol d4_v4"));
        (route.contains("(65535,0)") && route.contains("local_pref: 0")).then_some(())
    })
    .await;
    site.settles("drained (the community)", "123").await;
    site.until("the drained director's route goes", || {
        let route = site.shell("router", &format!("birdc -s $D/router/bird.ctl show route {V4}/32 protocol d4_v4"));
        (!route.contains(V4)).then_some(())
    })
    .await;
    site.ask(1, "pcs node unstandby d4").expect("unstandby");
    site.settles("back from standby", "1234").await;

    // No real server any more, and servers again: nobody is drawn to directors that can serve nobody.
    site.shell("web", "ip addr del 10.77.0.60/24 dev eth0; ip -6 addr del fd00:77::60/64 dev eth0");
    site.settles("all servers gone (checks every second)", "").await;
    site.shell("web", "ip addr add 10.77.0.60/24 dev eth0; ip -6 addr add fd00:77::60/64 dev eth0 nodad");
    site.settles("servers back (settle=2s)", "1234").await;

    // What kills, from the mildest on. The guard, the session and BFD see to it.
    signal(site.pid(&site.nodes[0]), Signal::SIGKILL);
    site.settles("node daemon of d1 killed (guard)", "234").await;
    signal(site.pid(&site.birds[1]), Signal::SIGKILL);
    site.settles("BIRD of d2 killed (session)", "34").await;
    signal(site.pid(&site.birds[2]), Signal::SIGSTOP);
    site.settles("BIRD of d3 hangs (BFD 3 x 300 ms)", "4").await;
    site.lab.unplug("d4").await.expect("the port changes");
    site.settles("cable of d4 pulled (BFD 3 x 300 ms)", "").await;
    signal(site.pid(&site.birds[2]), Signal::SIGCONT);
}
