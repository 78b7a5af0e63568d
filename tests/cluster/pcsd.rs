//! A cluster built over the network: bare hosts with `bascule pcsd`, and what is typed on one of them.

use crate::fixture::{BASCULE, PATIENCE};
use crate::root::root;
use lab::hosts::{HostSpec, Lab, vip_v4};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;
use tokio::process::{Child, Command};

pub const PASSWORD: &str = "correct horse";

/// Hosts that know nothing of each other.
pub struct Site {
    pub lab: Lab,
    names: Vec<&'static str>,
    daemons: BTreeMap<&'static str, Child>,
    pub dir: tempfile::TempDir,
    /// Of every command and daemon, beside what tells the hosts apart.
    pub more: Vec<(&'static str, &'static str)>,
}

pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Site {
    async fn start(names: &[&'static str]) -> Site {
        Site::start_with(names, Vec::new()).await
    }

    pub async fn start_with(names: &[&'static str], more: Vec<(&'static str, &'static str)>) -> Site {
        let mut lab = Lab::new().await.expect("a lab");
        for (n, name) in (1..).zip(names) {
            lab.add_host(HostSpec::numbered(name, n)).await.expect("a host");
        }
        let dir = tempfile::tempdir().expect("a directory");
        let mut site = Site { lab, names: names.to_vec(), daemons: BTreeMap::new(), dir, more };
        site.accounts();
        for name in names {
            for part in ["etc", "state", "run", "var"] {
                std::fs::create_dir_all(site.path(name, part)).expect("a directory");
            }
            site.daemon(name).await;
        }
        site
    }

    pub fn path(&self, host: &str, part: &str) -> PathBuf {
        self.dir.path().join(format!("{host}.{part}"))
    }

    /// The user hacluster with a password, and a PAM service: for these processes alone.
    fn accounts(&self) {
        let hash = std::process::Command::new("openssl").args(["passwd", "-6", PASSWORD]).output().expect("openssl");
        let hash = String::from_utf8(hash.stdout).expect("text");
        let write = |name: &str, text: String| std::fs::write(self.dir.path().join(name), text).expect("written");
        let passwd = std::fs::read_to_string("/etc/passwd").expect("read");
        let others: String =
            passwd.lines().filter(|l| !l.starts_with("hacluster:")).map(|l| format!("{l}\n")).collect();
        write("passwd", others + "hacluster:x:189:189::/:/usr/sbin/nologin\n");
        write("shadow", format!("root:*:19000::::::\nhacluster:{}:19000:0:99999:7:::\n", hash.trim()));
        std::fs::create_dir_all(self.dir.path().join("pam.d")).expect("a directory");
        write("pam.d/bascule", "auth required pam_unix.so nodelay\naccount required pam_unix.so\n".to_owned());
    }

    pub fn command(&self, host: &str, words: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        let line = "cd \"$1\" && for f in passwd shadow; do mount --bind $f /etc/$f; done && mount --bind pam.d /etc/pam.d \
                    && { [ ! -e \"$2.full\" ] || mount -t tmpfs -o size=16k none \"$2.etc\"; } \
                    && { [ ! -e \"$2.full\" ] || head -c 100000 /dev/zero > \"$2.etc/fill\" 2>/dev/null || true; } \
                    && hostname \"$2\" && shift 2 && exec \"$@\"";
        command.args(["-m", "-u", "sh", "-c", line, "sh"]).arg(self.dir.path()).arg(host).arg(BASCULE).args(words);
        let etc = self.path(host, "etc");
        command.env("COROSYNC_MAIN_CONFIG_FILE", etc.join("corosync.conf"));
        command.env("COROSYNC_TOTEM_AUTHKEY_FILE", etc.join("authkey"));
        command.env("BASCULE_STATE_DIR", self.path(host, "state")).env("BASCULE_RUN_DIR", self.path(host, "run"));
        command.env("HA_VARRUN", self.path(host, "var")).env("HA_RSCTMP", self.path(host, "var"));
        command.env("BASCULE_HA_DIR", &etc);
        command.env("BASCULE_SERVICES", "direct").envs(self.more.iter().copied()).stdin(Stdio::null());
        command
    }

    async fn daemon(&mut self, host: &'static str) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path(host, "log")).expect("a log");
        let mut command = self.command(host, &["pcsd"]);
        command.stderr(log.try_clone().expect("a handle")).stdout(log);
        let before = self.log(host).matches("listening on").count();
        let child = self.lab.host(host).expect("a host").spawn(&mut command).expect("it starts");
        self.daemons.insert(host, child);
        let end = Instant::now() + PATIENCE;
        while self.log(host).matches("listening on").count() == before {
            assert!(Instant::now() < end, "{}", self.log(host));
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    async fn stop_daemon(&mut self, host: &str) {
        let mut child = self.daemons.remove(host).expect("a daemon");
        child.kill().await.expect("killed");
    }

    pub fn log(&self, host: &str) -> String {
        std::fs::read_to_string(self.path(host, "log")).unwrap_or_default()
    }

    pub async fn run(&self, host: &str, words: &[&str]) -> Said {
        let mut command = self.command(host, words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.lab.host(host).expect("a host").spawn(&mut command).expect("it starts");
        let out = child.wait_with_output().await.expect("it ends");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Said { code: out.status.code().unwrap_or(-1), out: text(out.stdout), err: text(out.stderr) }
    }

    pub async fn good(&self, host: &str, line: &str) -> Said {
        let said = self.run(host, &line.split(' ').collect::<Vec<_>>()).await;
        let logs: String = self.names.iter().map(|n| format!("== {n}\n{}", self.log(n))).collect();
        assert_eq!(said.code, 0, "{host}: {line}: {}{}\n{logs}", said.out, said.err);
        said
    }

    pub async fn bad(&self, host: &str, line: &str, why: &str) -> Said {
        let said = self.run(host, &line.split(' ').collect::<Vec<_>>()).await;
        assert!(said.code != 0 && said.err.contains(why), "{host}: {line}: {}: {}{}", said.code, said.out, said.err);
        said
    }

    /// As typed on one host, with the password.
    async fn auth(&self, on: &str, hosts: &[&str]) -> Said {
        let named: Vec<String> = hosts.iter().map(|h| format!("{h} addr={}", self.address(h))).collect();
        let line = format!("pcs host auth {} -u hacluster -p", named.join(" "));
        let words: Vec<&str> = line.split(' ').chain([PASSWORD]).collect();
        self.run(on, &words).await
    }

    pub fn address(&self, host: &str) -> String {
        let at = self.names.iter().position(|n| *n == host).expect("a host");
        vip_v4(u8::try_from(at + 1).expect("few")).to_string()
    }

    /// What there is of a cluster's files.
    pub fn files(&self, host: &str) -> Vec<String> {
        let all = std::fs::read_dir(self.path(host, "etc")).expect("a directory");
        let mut all: Vec<String> = all.map(|e| e.expect("one").file_name().to_string_lossy().into_owned()).collect();
        all.sort();
        all
    }

    pub fn nothing_changed(&self) {
        for name in &self.names {
            assert!(self.files(name).is_empty(), "{name}: {:?}", self.files(name));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for name in &self.names {
            let service = kernel::service::Service {
                systemd: false,
                program: BASCULE.into(),
                words: Vec::new(),
                socket: self.path(name, "run").join("api.sock"),
                log: self.path(name, "log"),
                mark: self.path(name, "mark"),
            };
            let _ = service.kill();
        }
    }
}

/// From nothing to a cluster, a node more, a node less, and back to nothing.
#[tokio::test(flavor = "multi_thread")]
async fn bare_hosts_become_a_cluster_and_bare_again() {
    let Some(()) = root() else { return };
    let mut site = Site::start(&["n1", "n2", "n3", "n4"]).await;
    let said = site.auth("n1", &["n1", "n2", "n3"]).await;
    assert_eq!((said.code, said.err.matches(": Authorized").count()), (0, 3), "{}", said.err);
    let began = Instant::now();
    let said = site.good("n1", "pcs cluster setup web n1 n2 n3 --start --enable --wait").await;
    println!("setup --start --enable --wait of three: {} ms", began.elapsed().as_millis());
    assert!(
        said.err.contains("Cluster has been successfully set up.") && said.err.contains("n3: Started"),
        "{}",
        said.err
    );
    let dir = site.dir.path().to_owned();
    let conf = |host: &str| std::fs::read(dir.join(format!("{host}.etc/corosync.conf"))).expect("a file");
    let key = |host: &str| std::fs::read(dir.join(format!("{host}.etc/authkey"))).expect("a key");
    assert!(conf("n1") == conf("n2") && conf("n1") == conf("n3") && key("n1") == key("n3") && key("n1").len() == 256);
    assert_eq!(site.files("n2"), ["authkey", "corosync.conf"]);

    // Whoever is in the cluster knows the others now, and is known to them.
    let said = site.good("n3", "pcs pcsd status").await;
    assert_eq!(said.out, "  n1: Online\n  n2: Online\n  n3: Online\n");
    let said = site.good("n2", "pcs status").await;
    assert!(said.out.contains("Online: [ n1 n2 n3 ]"), "{}", said.out);
    site.bad("n2", "pcs cluster setup other n1 n2 n3", "The host seems to be in a cluster already").await;

    // A further node, from a host that has not set up the cluster.
    let said = site.auth("n2", &["n4"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    let said = site.good("n2", "pcs cluster node add n4 --start --wait").await;
    assert!(said.err.contains("Corosync configuration reloaded"), "{}", said.err);
    let said = site.good("n4", "pcs status nodes corosync").await;
    assert!(said.out.contains(" Online: n1 n2 n3 n4"), "{}", said.out);
    assert_eq!((conf("n4") == conf("n1"), key("n4") == key("n1")), (true, true));
    site.good("n4", "pcs cluster sync").await;

    // What changes the file is carried to all, and taken over while they run.
    let (old, old_key) = (conf("n1"), key("n1"));
    site.good("n2", "pcs cluster config update totem token=2000").await;
    assert!(conf("n1") != old && conf("n1") == conf("n2") && conf("n1") == conf("n4"));
    let said = site.good("n3", "pcs cluster corosync n1").await;
    assert!(said.out.contains("token: 2000"), "{}", said.out);
    site.good("n3", "pcs cluster authkey corosync").await;
    assert!(key("n1") != old_key && key("n1") == key("n4"));
    site.good("n3", "pcs cluster reload corosync").await;
    let said = site.good("n1", "pcs status nodes corosync").await;
    assert!(said.out.contains(" Online: n1 n2 n3 n4"), "{}", said.out);

    // Enabled, and without systemd: the node comes back with pcsd.
    site.good("n2", "pcs cluster kill").await;
    site.stop_daemon("n2").await;
    site.daemon("n2").await;
    let end = Instant::now() + PATIENCE;
    while !site.run("n2", &["pcs", "status", "nodes", "corosync"]).await.out.contains(" Online: n1 n2 n3 n4") {
        assert!(Instant::now() < end, "n2 does not come back:\n{}", site.log("n2"));
    }
    site.bad("n1", "pcs cluster stop n2 n3", "loss of the quorum").await;
    site.good("n1", "pcs cluster stop n3").await;
    let said = site.good("n1", "pcs status nodes corosync").await;
    assert!(said.out.contains(" Offline: n3"), "{}", said.out);
    site.good("n3", "pcs cluster start --wait=60").await;
    site.good("n1", "pcs cluster node remove n4").await;
    assert!(site.files("n4").is_empty(), "{:?}", site.files("n4"));
    site.bad("n4", "pcs pcsd status n1", "").await;
    let said = site.good("n1", "pcs status nodes").await;
    assert!(said.out.contains(" Online: n1 n2 n3\n"), "{}", said.out);

    site.good("n2", "pcs cluster stop --all").await;
    let said = site.bad("n1", "pcs status", "node daemon is not running").await;
    assert!(said.out.is_empty());
    site.good("n1", "pcs cluster destroy --all").await;
    site.nothing_changed();
    assert!(!site.path("n1", "state").join("pcsd/enabled").exists());
    let audit = std::fs::read_to_string(site.path("n3", "state").join("pcsd/audit.log")).expect("a log");
    assert!(audit.contains("\"ask\":\"stage\"") && audit.contains("Destroy") && !audit.contains(PASSWORD), "{audit}");
}

/// Nothing is set up half.
#[tokio::test(flavor = "multi_thread")]
async fn one_host_that_cannot_means_that_none_is_changed() {
    let Some(()) = root() else { return };
    let mut site = Site::start(&["n1", "n2", "n3"]).await;
    let all = "pcs cluster setup web n1 n2 n3";
    site.bad("n1", all, "are not known to pcs").await;
    assert_eq!(site.auth("n1", &["n1", "n2", "n3"]).await.code, 0);

    // One does not answer.
    site.stop_daemon("n3").await;
    site.bad("n1", all, "Unable to connect to n3").await;
    site.nothing_changed();
    let said = site.run("n1", &["pcs", "pcsd", "status", "n1", "n3"]).await;
    assert_eq!((said.code, said.out.as_str()), (2, "  n1: Online\n  n3: Offline\n"), "{}", said.err);

    // One has no room on its disk.
    std::fs::write(site.path("n3", "full"), "").expect("written");
    site.daemon("n3").await;
    let said = site.bad("n1", all, "nothing was changed on any host").await;
    assert!(said.err.contains("n3: ") && said.err.contains("No space left on device"), "{}", said.err);
    site.nothing_changed();
    site.stop_daemon("n3").await;
    std::fs::remove_file(site.path("n3", "full")).expect("removed");
    site.daemon("n3").await;

    // One is in a cluster.
    std::fs::write(site.path("n2", "etc").join("corosync.conf"), "totem {\n}\n").expect("written");
    let said = site.bad("n1", all, "n2: The host seems to be in a cluster already").await;
    assert!(said.err.contains("use --force to override"), "{}", said.err);
    assert!(site.files("n1").is_empty() && site.files("n3").is_empty() && site.files("n2") == ["corosync.conf"]);
    let said = site.good("n1", "pcs cluster setup --name web n1 n2 n3 --force").await;
    assert!(said.err.contains("Deprecation Warning: '--name NAME'"), "{}", said.err);
    assert_eq!(site.files("n2"), ["authkey", "corosync.conf"]);

    // Somebody in between: another key at the address of n2.
    site.stop_daemon("n2").await;
    for file in ["key.pem", "cert.pem"] {
        std::fs::remove_file(site.path("n2", "state").join("pcsd").join(file)).expect("removed");
    }
    site.daemon("n2").await;
    let said = site.bad("n1", "pcs cluster sync", "n2: its key has changed").await;
    assert!(said.err.contains("Nothing was sent to it"), "{}", said.err);
    let said = site.auth("n1", &["n2"]).await;
    assert!(said.code != 0 && said.err.contains("its key has changed"), "{}", said.err);
    let log = site.log("n2");
    let since = log.rsplit("listening on").next().unwrap_or_default();
    assert!(!since.contains("Login"), "no password was sent:\n{since}");
    site.good("n1", "pcs host deauth n2").await;
    assert_eq!(site.auth("n1", &["n2"]).await.code, 0);
}

/// Staged everywhere, and one is lost before it has committed: it is named, with the cure, and the others go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_lost_between_is_named_with_the_cure() {
    let Some(()) = root() else { return };
    let mut site = Site::start(&["n1", "n2", "n3"]).await;
    site.stop_daemon("n3").await;
    let mut command = Command::new("python3");
    command
        .args(["-c", include_str!("pcsd_fake.py")])
        .stdout(std::fs::File::create(site.path("n3", "fake")).expect("a file"));
    let mut fake = site.lab.host("n3").expect("a host").spawn(&mut command).expect("python3");
    let asked = || std::fs::read_to_string(site.path("n3", "fake")).unwrap_or_default();
    let end = Instant::now() + PATIENCE;
    while !asked().contains("ready") {
        assert!(Instant::now() < end, "the fake host does not answer");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(site.auth("n1", &["n1", "n2", "n3"]).await.code, 0);
    let said =
        site.bad("n1", "pcs cluster setup web n1 n2 n3", "'n3' did not take the change over, all others have").await;
    assert!(said.err.contains("run 'pcs cluster sync'"), "{}", said.err);
    assert_eq!(asked().matches("/v1/commit").count(), 3, "asked again: {}", asked());
    assert!(site.files("n1") == ["authkey", "corosync.conf"] && site.files("n2") == site.files("n1"));
    // It comes back as what it was before it was replaced by the fake: another key, so it has to log in anew.
    fake.kill().await.expect("killed");
    site.daemon("n3").await;
    site.bad("n1", "pcs cluster sync", "n3: its key has changed").await;
    site.good("n1", "pcs host deauth n3").await;
    assert_eq!(site.auth("n1", &["n3"]).await.code, 0);
    site.good("n1", "pcs cluster sync").await;
    assert_eq!(site.files("n3"), site.files("n1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_shows_neither_password_nor_token_stays_out() {
    let Some(()) = root() else { return };
    let site = Site::start(&["n1", "n2", "n3"]).await;
    let to = |host: &str| format!("pcs host auth {host} addr={}", site.address(host));
    let said = site
        .bad("n1", &format!("{} -u hacluster -p wrong", to("n2")), "n2: Username and/or password is incorrect")
        .await;
    assert!(!said.err.contains("Authorized"), "{}", said.err);
    site.bad("n1", &format!("{} -u root -p wrong", to("n2")), "is incorrect").await;
    site.bad("n1", "pcs pcsd status n2", "").await;

    let token = |said: Said| {
        let path = site.dir.path().join("token");
        std::fs::write(&path, said.out).expect("written");
        path.display().to_string()
    };
    let file = token(site.good("n3", "pcsd token").await);
    site.bad("n1", &format!("{} --token {file}", to("n2")), "the token was made by another host").await;
    let file = token(site.good("n2", "pcsd token").await);
    let said = site.good("n1", &format!("{} --token {file}", to("n2"))).await;
    assert!(said.err.contains("n2: Authorized"), "{}", said.err);
    site.bad("n3", &format!("{} --token {file}", to("n2")), "is incorrect").await;
    let said = site.good("n1", "pcs pcsd status n2").await;
    assert_eq!(said.out, "  n2: Online\n");

    // n2 does not want it any more: at once.
    site.good("n2", "pcs pcsd deauth").await;
    let said = site.run("n1", &["pcs", "pcsd", "status", "n2"]).await;
    assert_eq!(said.out, "  n2: Unable to authenticate\n", "{}", said.err);

    // Guessing is slow, also for whoever guesses right in the end.
    for _ in 0..8 {
        site.run("n3", &format!("{} -u hacluster -p guess", to("n2")).split(' ').collect::<Vec<_>>()).await;
    }
    let said = site.auth("n3", &["n2"]).await;
    assert!(said.code != 0 && said.err.contains("too many failed log-ins"), "{}", said.err);
    assert_eq!(site.auth("n1", &["n2"]).await.code, 0, "others go on");
}

/// What a stranger on the network can send.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_are_refused_and_the_daemon_goes_on() {
    let Some(()) = root() else { return };
    let site = Site::start(&["n1", "n2"]).await;
    let script = include_str!("pcsd_hostile.py");
    let mut command = Command::new("python3");
    command.args(["-c", script, &site.address("n2")]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = site.lab.host("n1").expect("a host").spawn(&mut command).expect("python3");
    let out = child.wait_with_output().await.expect("it ends");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
    for (what, status) in [
        ("no key", "401"),
        ("own key", "401"),
        ("unknown path", "404"),
        ("GET", "405"),
        ("auth without a key", "400"),
        ("auth malformed", "400"),
        ("auth too large", "413"),
        ("auth chunked too large", "413"),
        ("head too large", "431"),
        ("name that leads elsewhere", "400"),
        ("after all", "401"),
    ] {
        assert!(text.lines().any(|l| l == format!("{what}: {status}")), "{what}: {status}:\n{text}");
    }
    assert_eq!(site.auth("n1", &["n2"]).await.code, 0, "{}", site.log("n2"));
    site.nothing_changed();
}

/// The same in crmsh's words: one host begins, the next joins.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_joins_by_the_words_of_crmsh() {
    let Some(()) = root() else { return };
    let site = Site::start(&["n1", "n2"]).await;
    let at = |host: &str| site.address(host);
    site.good("n1", &format!("crm cluster init -n web -i {} -y", at("n1"))).await;
    let join = format!("crm cluster join -c {} -i {} -p", at("n1"), at("n2"));
    let said = site.bad("n2", &format!("{join} wrong"), "is incorrect").await;
    assert!(site.files("n2").is_empty(), "{}", said.err);
    let said = site.run("n2", &join.split(' ').chain([PASSWORD]).collect::<Vec<_>>()).await;
    assert_eq!(said.code, 0, "{}{}\n{}", said.err, site.log("n1"), site.log("n2"));
    let said = site.good("n2", "pcs status nodes corosync").await;
    assert!(said.out.contains(" Online: n1 n2"), "{}", said.out);
    assert!(site.path("n2", "state").join("pcsd/enabled").exists());
    site.bad("n2", "crm cluster health", "invalid cib").await;
    site.good("n1", "pcs property set stonith-enabled=false").await;
    let said = site.good("n2", "crm cluster health").await;
    assert!(said.out.contains("n1: Online") && said.out.contains("n2: Online"), "{}", said.out);
    site.good("n1", "crm cluster remove n2").await;
    assert!(site.files("n2").is_empty(), "{:?}", site.files("n2"));
    let said = site.good("n1", "crm cluster status").await;
    assert!(said.out.contains("active/enabled"), "{}", said.out);
}
