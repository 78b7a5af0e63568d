//! The track, what daemons say, and the agent beside a real BIRD in a network namespace of its own (needs root and bird2).

use super::routing::{Daemon, RoutingError};
use super::track::{Place, Track};
use super::*;
use crate::{Agents, Options};
use base::{Names, Operation};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

const PATIENCE: Duration = Duration::from_secs(60);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn what_is_not_fit_goes_at_once_and_comes_back_when_it_stays_fit() {
    let (mut track, settle) = (Track::default(), ms(2_000));
    let unfit = Err("the table is not kept".to_owned());
    assert_eq!(track.step(&unfit, settle, ms(0)), None, "it is not announced");
    assert_eq!(track.step(&Ok(()), settle, ms(100)), None);
    assert_eq!(track.step(&Ok(()), settle, ms(2_099)), None);
    assert_eq!(track.step(&Ok(()), settle, ms(2_100)), Some(true));
    assert_eq!(track.step(&Ok(()), settle, ms(2_200)), Some(true), "until it is there");
    track.placed(Place::Up, true);
    assert_eq!((track.step(&Ok(()), settle, ms(2_300)), track.is_announced(), track.why_not()), (None, true, None));
    assert_eq!(track.step(&unfit, settle, ms(2_400)), Some(false));
    track.placed(Place::Up, false);
    assert_eq!(track.why_not(), Some("the table is not kept"));
    // Fit for a moment only: the time begins anew.
    track.step(&Ok(()), settle, ms(3_000));
    track.step(&unfit, settle, ms(4_000));
    assert_eq!(track.step(&Ok(()), settle, ms(5_500)), None);
    assert_eq!(track.step(&Ok(()), settle, ms(7_500)), Some(true));
}

#[test]
fn one_look_that_misses_it_is_not_a_loss_yet() {
    let mut track = Track::default();
    track.placed(Place::Up, true);
    assert!(!track.missed(false) && track.is_announced(), "a stop that is on its way finds it to be drained");
    assert!(!track.missed(true) && !track.missed(false) && track.missed(false));
    track.lapsed();
    assert!(track.has_lapsed() && !track.is_announced());
    track.placed(Place::Up, true);
    assert!(!track.has_lapsed());
}

/// A control socket that answers each question in turn.
fn pretend(dir: &Path, answers: &'static [&'static str]) -> Daemon {
    let socket = dir.join("bird.ctl");
    let _ = std::fs::remove_file(&socket);
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        for answer in answers {
            stream.write_all(answer.as_bytes()).expect("written");
            let _ = stream.read(&mut [0; 512]);
        }
    });
    Daemon::Bird { socket }
}

#[tokio::test]
async fn bird_is_understood_and_refusals_name_their_cure() {
    let dir = tempfile::tempdir().expect("a directory");
    let asked = ["203.0.113.100", "2001:db8:100::100"].map(|a| a.parse().expect("an address"));
    let good = pretend(
        dir.path(),
        &[
            "0001 BIRD 2.0.12 ready.\n",
            "2002-Name       Proto      Table      State  Since         Info\n1002-device1    Device     ---        up     19:51:46.285  \n \
             r4         BGP        ---        up     19:51:47.315  Established   \n r6         BGP        ---        start  19:51:46.285  Active\n0000 \n",
            "1007-Table master4:\n 203.0.113.100/32     unicast [bascule 19:52:04.489] * (240)\n \tdev bascule-up\n0000 \n",
            "8001 Network not found\n",
        ],
    );
    let view = good.view(&asked).await.expect("understood");
    assert_eq!((view.sessions, view.carried), (1, [asked[0]].into()));

    for (answers, word) in [
        (&["HTTP/1.1 400 Bad Request\n"][..], "no BIRD"),
        (&["0001 BIRD 2.0.12 ready.\n", "9001 There is no such thing\n"][..], "no such thing"),
        (&["0001 BIRD 2.0.12"][..], "did not answer"),
        (&["+++++\n12x4 no\n"][..], "no BIRD"),
    ] {
        let why = pretend(dir.path(), answers).view(&asked).await.expect_err("refused").to_string();
        assert!(why.contains(word), "{why}");
    }
    let gone = Daemon::Bird { socket: dir.path().join("none.ctl") };
    let why = gone.view(&[]).await.expect_err("nobody");
    assert!(matches!(why, RoutingError::NoSocket(_)) && why.to_string().contains("systemctl start bird"), "{why}");
    let frr = Daemon::Frr { vtysh: dir.path().join("vtysh"), sockets: None, pathspace: None };
    let why = frr.view(&[]).await.expect_err("no command");
    assert_eq!(why.code(), OcfCode::NOT_INSTALLED);
    assert!(why.to_string().contains("install the package frr"), "{why}");
}

#[tokio::test]
async fn frr_is_understood() {
    let dir = tempfile::tempdir().expect("a directory");
    let vtysh = dir.path().join("vtysh");
    let script = "#!/bin/sh\ncase \"$*\" in\n\
        *'-d zebra -c show version'*) echo FRRouting;;\n\
        *summary*) echo '{\"ipv4Unicast\":{\"peers\":{\"192.0.2.254\":{\"state\":\"Established\"},\"192.0.2.253\":{\"state\":\"Active\"}}},\
        \"ipv6Unicast\":{\"peers\":{\"192.0.2.254\":{\"state\":\"Established\"}}}}';;\n\
        *203.0.113.100/32*) echo '{\"paths\":[{\"sourced\":true,\"peer\":{\"peerId\":\"0.0.0.0\"}}]}';;\n\
        *203.0.113.101/32*) echo '{\"paths\":[{\"peer\":{\"peerId\":\"192.0.2.254\"}}]}';;\n\
        *ipv6*) echo '{}';;\n*) echo 'failed to connect to any daemons.' >&2; exit 1;;\nesac\n";
    std::fs::write(&vtysh, script).expect("written");
    std::fs::set_permissions(&vtysh, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    let frr = Daemon::Frr { vtysh: vtysh.clone(), sockets: None, pathspace: Some("x".into()) };
    let asked = ["203.0.113.100", "203.0.113.101", "2001:db8:100::100"].map(|a| a.parse().expect("an address"));
    let view = frr.view(&asked).await.expect("understood");
    assert_eq!((view.sessions, view.carried), (1, [asked[0]].into()), "learned from a neighbour is not ours");
    std::fs::write(&vtysh, "#!/bin/sh\necho 'Exiting: failed to connect to any daemons.' >&2; exit 1\n")
        .expect("written");
    let why = frr.view(&[]).await.expect_err("refused").to_string();
    assert!(why.contains("failed to connect") && why.contains("zebra"), "{why}");
    // bgpd alone announces what it heard last, for ever.
    std::fs::write(&vtysh, script.replace("-d zebra", "-d another")).expect("written");
    let why = frr.view(&asked).await.expect_err("no zebra").to_string();
    assert!(why.contains("zebra does not answer"), "{why}");
}

fn operation(agent: &str, id: &str, action: &str, params: &[(&str, &str)]) -> Operation {
    Operation {
        instance: Instance {
            id: id.to_owned(),
            class: "ocf".into(),
            provider: Some("bascule".into()),
            agent: agent.to_owned(),
            params: params.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        },
        action: action.to_owned(),
        ..Operation::default()
    }
}

#[tokio::test]
async fn parameters_that_mean_nothing_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let agents = Agents::start(Options::standalone(dir.path().to_owned())).expect("agents");
    let good = [("ip", "203.0.113.100"), ("daemon", "bird")];
    for (name, value) in [
        ("ip", "203.0.113.1x"),
        ("ip", "224.0.0.1"),
        ("ip", "127.0.0.1"),
        ("daemon", "quagga"),
        ("drain", "soon"),
        ("drain", "2h"),
        ("interface", "a/b"),
        ("interface", "bascule-drain"),
        ("without_quorum", "maybe"),
    ] {
        let params: Vec<_> = good.iter().filter(|(n, _)| *n != name).copied().chain([(name, value)]).collect();
        let outcome = agents.run(&operation("announce", "a", "start", &params)).await;
        assert_eq!(outcome.code, OcfCode::NOT_CONFIGURED, "{name}={value}: {}", outcome.reason);
    }
}

/// A routing daemon with the sample's configuration, its files in a directory.
#[derive(Clone, Copy)]
struct Beside {
    name: &'static str,
    package: &'static str,
    probe: &'static str,
    /// Shell commands; `$D` is the directory, `$C` that of the samples.
    start: &'static str,
    stop: &'static str,
    /// What it knows of prefix `$P`, with the interface; `$F` is `ip` or `ipv6`.
    look: &'static str,
    socket: &'static str,
}

const BIRD: Beside = Beside {
    name: "bird",
    package: "bird2",
    probe: "bird --version",
    start: "bird -c $C/bird-director.conf -s $D/bird.ctl -P $D/bird.pid",
    stop: "kill $(cat $D/bird.pid)",
    look: "birdc -s $D/bird.ctl show route $P",
    socket: "bird.ctl",
};

const FRR: Beside = Beside {
    name: "frr",
    package: "frr",
    probe: "test -x /usr/lib/frr/bgpd",
    start: "cp $C/frr-director.conf $D/frr.conf && chmod 755 $D && chown -R frr:frr $D && \
            for d in zebra bgpd; do /usr/lib/frr/$d -d -f $D/frr.conf -i $D/$d.pid -z $D/zserv.api --vty_socket $D || exit 1; done",
    stop: "kill $(cat $D/zebra.pid $D/bgpd.pid)",
    look: "vtysh --vty_socket $D -d zebra -c \"show $F route $P\"",
    socket: "",
};

impl Beside {
    fn shell(&self, dir: &Path, command: &str, prefix: &str) -> (bool, String) {
        let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/topologies/ecmp");
        let family = if prefix.contains(':') { "ipv6" } else { "ip" };
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).env("D", dir).env("C", samples).env("P", prefix).env("F", family);
        let out = shell.output().expect("a shell");
        (
            out.status.success(),
            String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr),
        )
    }

    /// Runs it in a network namespace with the two interfaces (pairs: not every kernel has dummies).
    fn run(self, work: impl AsyncFnOnce(&Path) + Send + 'static) {
        let dir = tempfile::tempdir().expect("a directory");
        if !self.shell(dir.path(), self.probe, "").0 {
            return eprintln!(
                "SKIPPED: package {} is not installed: nothing is announced to the real daemon",
                self.package
            );
        }
        let thread = std::thread::spawn(move || {
            if let Err(e) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
                return eprintln!("SKIPPED: needs root to make a network namespace: {e}");
            }
            let links = "set -e; ip link set lo up; for l in bascule-up bascule-drain eth0; do \
                         ip link add name $l type veth peer name p$l; ip link set $l up; ip link set p$l up; done; \
                         ip addr add 192.0.2.1/24 dev eth0";
            for command in [links, self.start] {
                let (good, said) = self.shell(dir.path(), command, "");
                assert!(good, "{command}: {said}");
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(work(dir.path()));
            self.shell(dir.path(), self.stop, "");
        });
        thread.join().expect("no panic");
    }

    /// On which of the interfaces it sees the addresses.
    async fn sees(&self, dir: &Path, what: &str) {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let seen = ["203.0.113.100/32", "2001:db8:100::100/128"].map(|prefix| {
                let (_, text) = self.shell(dir, self.look, prefix);
                let places = ["bascule-up", "bascule-drain"].into_iter().filter(|p| text.contains(p));
                places.collect::<Vec<_>>().join(" ")
            });
            if seen.iter().all(|s| s == what) {
                return;
            }
            assert!(std::time::Instant::now() < end, "{} sees {seen:?}, expected '{what}'", self.name);
            tokio::time::sleep(ms(50)).await;
        }
    }
}

#[test]
fn addresses_come_drain_and_go_beside_bird() {
    BIRD.run(async |dir| come_drain_and_go(BIRD, dir).await);
}

#[test]
fn addresses_come_drain_and_go_beside_frr() {
    FRR.run(async |dir| come_drain_and_go(FRR, dir).await);
}

/// A director and what announces for it, beside a routing daemon.
struct Scene {
    daemon: Beside,
    dir: std::path::PathBuf,
    agents: Agents,
    permit: lease::Permit,
    director: String,
    socket: String,
}

impl Scene {
    fn new(daemon: Beside, dir: &Path) -> Scene {
        let table = kernel::ipvs::Memory::new();
        let permit = lease::Permit::default();
        permit.set_until(boottime() + Duration::from_secs(3600));
        let agents = Agents::start(Options {
            data_plane: Arc::new(move || Ok(Box::new(table.clone()))),
            permit: permit.clone(),
            leases: true,
            on_event: Arc::new(|_| {}),
            ..Options::standalone(dir.to_owned())
        })
        .expect("agents");
        let (socket, director) =
            (dir.join(daemon.socket).display().to_string(), dir.join("l.cf").display().to_string());
        let scene = Scene { daemon, dir: dir.to_owned(), agents, permit, director, socket };
        scene.servers("on");
        scene
    }

    /// Its servers are taken for well, or for ill.
    fn servers(&self, state: &str) {
        let text = format!(
            "quiescent=no\nvirtual=203.0.113.100:80\n real=10.0.0.1:80 gate\n checktype={state}\n\
                 virtual6=[2001:db8:100::100]:80\n real6=[fd00::1]:80 gate\n checktype={state}\n"
        );
        std::fs::write(&self.director, text).expect("written");
    }

    fn operation(&self, agent: &str, action: &str) -> Operation {
        let announce = [
            ("ip", "203.0.113.100 2001:db8:100::100"),
            ("daemon", self.daemon.name),
            ("socket", self.socket.as_str()),
            // Long enough to be seen on a busy machine.
            ("drain", "10s"),
            ("settle", "200ms"),
        ];
        let director = [("configfile", self.director.as_str())];
        operation(agent, agent, action, if agent == "announce" { &announce } else { &director })
    }

    async fn run(&self, agent: &str, action: &str) -> String {
        let outcome = self.agents.run(&self.operation(agent, action)).await;
        assert_eq!(outcome.code, OcfCode::OK, "{agent} {action}: {}", outcome.reason);
        outcome.reason
    }

    async fn sees(&self, what: &str) {
        self.daemon.sees(&self.dir, what).await;
    }
}

async fn come_drain_and_go(daemon: Beside, dir: &Path) {
    let scene = Scene::new(daemon, dir);
    // Without a director there is nothing to announce, and that is no failure.
    let said = scene.run("announce", "start").await;
    assert!(said.contains("0 of 2") && said.contains("no active director"), "{said}");
    scene.sees("").await;
    scene.run("ldirectord", "start").await;
    scene.sees("bascule-up").await;
    let said = scene.run("announce", "monitor").await;
    assert!(said.contains("2 of 2") && said.contains("no session"), "nobody listens here, and that is told: {said}");

    // No quorum, and quorum again.
    scene.agents.set_quorate(false);
    scene.sees("").await;
    scene.agents.set_quorate(true);
    scene.sees("bascule-up").await;

    // Nothing to send clients to.
    scene.servers("off");
    scene.run("ldirectord", "stop").await;
    scene.run("ldirectord", "start").await;
    scene.sees("").await;
    scene.servers("on");
    scene.run("ldirectord", "stop").await;
    scene.run("ldirectord", "start").await;
    scene.sees("bascule-up").await;

    // A stop drains: the other interface first, then nothing.
    let (stopped, ()) = tokio::join!(scene.run("announce", "stop"), scene.sees("bascule-drain"));
    assert_eq!(stopped, "");
    scene.sees("").await;
    let outcome = scene.agents.run(&scene.operation("announce", "monitor")).await;
    assert_eq!(outcome.code, OcfCode::NOT_RUNNING, "{}", outcome.reason);
    lapse_and_come_back(&scene).await;
}

/// From a stopped announcement on.
async fn lapse_and_come_back(scene: &Scene) {
    // The permit ends, as when the cluster's loop hangs: the lease takes the route along. With the permit it comes back.
    scene.run("announce", "start").await;
    scene.sees("bascule-up").await;
    scene.permit.revoke();
    scene.sees("").await;
    // Before the agent has noticed.
    let said = scene.run("announce", "monitor").await;
    assert!(said.contains("0 of 2") && said.contains("has lapsed"), "{said}");
    scene.permit.set_until(boottime() + Duration::from_secs(3600));
    scene.sees("bascule-up").await;

    // With the word to stop, the cluster's state names no owner any more: it drains all the same.
    let disowned = async {
        scene.agents.set_owners(Default::default()).await;
        scene.run("announce", "stop").await
    };
    tokio::join!(disowned, scene.sees("bascule-drain"));
    scene.sees("").await;
    scene.agents.set_owners(Names::from_iter(["announce"])).await;
    scene.run("announce", "start").await;
    scene.sees("bascule-up").await;

    // Not any more once the cluster gives it to nobody here.
    scene.agents.set_owners(Default::default()).await;
    scene.sees("").await;
    tokio::time::sleep(ms(1_000)).await;
    scene.sees("").await;
    scene.run("announce", "stop").await;
}
