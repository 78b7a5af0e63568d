//! The command `ldirectord` as real processes on a table in a file; and the sample configurations.

use ldirectord::config::{self, Environment, System, lint};
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A scratch directory with a configuration; a daemon that a failed test leaves behind is stopped.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(config: &str) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { dir };
        place.write(config);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, config: &str) {
        let log = self.path("log");
        std::fs::write(self.path("t.cf"), format!("logfile=\"{}\"\n{config}", log.display())).unwrap();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bascule"));
        command.arg("ldirectord").arg("--run-dir").arg(self.dir.path()).arg("--table").arg(self.path("table.json"));
        command.arg("--state-dir").arg(self.dir.path().join("state"));
        command.arg(self.path("t.cf")).args(words).output().unwrap()
    }

    fn code(&self, words: &[&str]) -> i32 {
        let output = self.run(words);
        println!("{words:?}: {:?} {}", output.status, String::from_utf8_lossy(&output.stderr));
        output.status.code().unwrap()
    }

    fn pid_file(&self) -> PathBuf {
        self.path("ldirectord.t.cf.pid")
    }

    fn table(&self) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_bascule"))
            .args(["ipvsadm", "--table"])
            .arg(self.path("table.json"))
            .arg("-Sn")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn wait(&self, what: &str, reached: impl Fn() -> bool) {
        let start = Instant::now();
        while !reached() {
            assert!(start.elapsed() < Duration::from_secs(15), "never: {what}\n{}\n{}", self.table(), self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.run(&["stop"]);
    }
}

/// Accepts connections until dropped.
struct Server {
    listener: TcpListener,
}

impl Server {
    fn start() -> Server {
        Server { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    fn real(&self) -> String {
        format!("127.0.0.1:{}", self.listener.local_addr().unwrap().port())
    }
}

fn config(servers: &[&Server]) -> String {
    let reals: String = servers.iter().map(|s| format!("    real={} masq 4\n", s.real())).collect();
    format!("checkinterval=1\nvirtual=10.0.0.1:80\n{reals}    checktype=connect\n")
}

#[test]
fn a_daemons_life() {
    let (one, two) = (Server::start(), Server::start());
    let place = Place::new(&config(&[&one]));
    assert_eq!(place.code(&["status"]), 3);
    assert_eq!(place.code(&["reload"]), 1);
    assert_eq!(place.code(&["stop"]), 0);
    assert_eq!(place.code(&["try-restart"]), 0);
    assert!(!place.pid_file().exists());
    assert_eq!(place.code(&["start"]), 0);
    let output = place.run(&["status"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is running with pid: "));
    let pid = std::fs::read_to_string(place.pid_file()).unwrap();
    assert_eq!(place.code(&["start"]), 0);
    assert_eq!(std::fs::read_to_string(place.pid_file()).unwrap(), pid, "a second start does nothing");
    place.wait("first server", || place.table().contains(&format!("{} -m -w 4", one.real())));

    place.write("virtual=10.0.0.1\n");
    assert_eq!(place.code(&["reload"]), 2);
    assert_eq!(place.code(&["restart"]), 2);
    assert_eq!(place.code(&["start"]), 2);
    assert_eq!(place.code(&["status"]), 0, "a broken file does not hide a running daemon");
    assert_eq!(std::fs::read_to_string(place.pid_file()).unwrap(), pid);

    place.write(&config(&[&one, &two]));
    assert_eq!(place.code(&["reload"]), 0);
    place.wait("second server", || place.table().contains(&format!("{} -m -w 4", two.real())));
    assert_eq!(place.code(&["restart"]), 0);
    assert_ne!(std::fs::read_to_string(place.pid_file()).unwrap(), pid);
    place.wait("both again", || place.table().matches(" -w 4").count() == 2);
    place.write("nonsense\n");
    assert_eq!(place.code(&["stop"]), 0, "a broken file does not keep a daemon from stopping");
    assert_eq!(place.table(), "");
    assert!(!place.pid_file().exists());
    assert!(place.log().contains("Purged virtual server (stop): 10.0.0.1:80"), "{}", place.log());
}

/// In place of the file there is a pipe, which nobody ever writes to, and the log is one that nobody reads.
#[test]
fn pipes_in_place_of_files_hold_nothing_up() {
    let (one, two) = (Server::start(), Server::start());
    let place = Place::new(&format!("autoreload=yes\n{}", config(&[&one])));
    assert_eq!(place.code(&["start"]), 0);
    place.wait("first server", || place.table().contains(&one.real()));
    std::fs::remove_file(place.path("t.cf")).unwrap();
    let made = Command::new("mkfifo").arg(place.path("t.cf")).status().unwrap();
    assert!(made.success());
    place.wait("what is there is no file", || place.log().contains("is gone"));
    std::fs::remove_file(place.path("t.cf")).unwrap();
    place.write(&format!("autoreload=yes\n{}", config(&[&two])));
    place.wait("the file that is back", || place.table().contains(&two.real()));
    std::fs::rename(place.path("log"), place.path("old")).unwrap();
    assert!(Command::new("mkfifo").arg(place.path("log")).status().unwrap().success());
    assert_eq!(place.code(&["status"]), 0);
    assert_eq!(place.code(&["stop"]), 0);
    assert_eq!((place.table().as_str(), place.pid_file().exists()), ("", false));
}

#[test]
fn a_stale_pid_file_and_bad_usage() {
    let place = Place::new("virtual=10.0.0.1:80\n    checktype=on\n    real=10.0.1.1 gate\n");
    // No process has this number: pid_max is at most 2^22.
    std::fs::write(place.pid_file(), "4194305\n").unwrap();
    let output = place.run(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("stale pid file"));
    assert_eq!(place.code(&["start"]), 0, "a stale pid file is no daemon");
    assert!(place.table().contains("10.0.1.1:80 -g -w 1"), "{}", place.table());
    assert_eq!(place.code(&["stop"]), 0);
    assert_eq!(place.code(&["dance"]), 255);
    assert_eq!(place.code(&[]), 255);
    let missing = Command::new(env!("CARGO_BIN_EXE_bascule")).args(["ldirectord", "/nowhere/x.cf", "start"]).status();
    assert_eq!(missing.unwrap().code(), Some(1));
}

#[test]
fn check_finds_what_guides_get_wrong() {
    let guide = "quiescent=yes\nvirtual=192.168.1.100:80\nreal=192.168.1.11:80 gate\nreal=192.168.1.12:80 gate\nfallback=127.0.0.1:80\n\
        service=http\nrequest=\"index.html\"\nreceive=\"HTTP/1.1 200 OK\"\nscheduler=rr\nprotocol=tcp\nchecktype=negotiate\n";
    let place = Place::new(guide);
    let output = place.run(&["check"]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("only the body is searched") && said.contains("without indent"), "{said}");
    let table = place.run(&["check", "--assume", "down"]);
    let table = String::from_utf8_lossy(&table.stdout);
    assert!(table.contains("TCP  192.168.1.100:80 rr\n"), "{table}");
    assert!(table.contains("  -> 192.168.1.11:80              Route   0      0          0"), "{table}");
    assert!(table.contains("  -> 127.0.0.1:80                 Route   1      0          0"), "{table}");
    assert!(!said.contains("Perl"), "{said}");
    let json = place.run(&["check", "--json", "--assume", "up"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["valid"], true);
    assert_eq!(json["table"][0]["dests"].as_array().unwrap().len(), 2);
    place.write(&format!("rise=2\n{guide}fall=3\n"));
    let said = String::from_utf8_lossy(&place.run(&["check"]).stderr).into_owned();
    assert!(said.contains("the Perl ldirectord would refuse the file: fall (line 14), rise (line 2)"), "{said}");
    // A password in a file that everybody can read, and a file that serves nothing.
    place.write(&format!("{guide}passwd=\"hunter2\"\n"));
    let readable = |mode: u32| {
        std::fs::set_permissions(place.path("t.cf"), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let said = String::from_utf8_lossy(&place.run(&["check"]).stderr).into_owned();
        said.contains("everybody can read: others need not read it; chmod o-r ")
    };
    assert_eq!((readable(0o644), readable(0o640)), (true, false));
    place.write("quiescent=yes\n");
    let output = place.run(&["check"]);
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stderr).contains("nothing is served"),
        "{output:?}"
    );
    place.write("virtual=10.0.0.1\n    real=x\n");
    assert_eq!(place.code(&["check"]), 2);
    let json = place.run(&["check", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["valid"], &json["errors"][0]["line"]), (&false.into(), &2.into()));
}

#[test]
fn check_refuses_what_the_table_refuses() {
    let place =
        Place::new("virtual=10.2.0.2:80\n    real=127.0.0.1:8 masq\n    checktype=on\n    scheduler=roundrobin\n");
    let output = place.run(&["check", "--assume", "up"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("at line 5") && said.contains("roundrobin"), "{said}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("10.2.0.2"));
    // It starts, as with the original, and status shows what the table really holds.
    assert_eq!(place.code(&["start"]), 0);
    let status = place.run(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let refused = status["refused"].as_array().unwrap();
    assert!(refused.iter().any(|r| r.as_str().is_some_and(|r| r.contains("roundrobin"))), "{status}");
    assert!(status["virtuals"][0]["reals"][0]["weight"].is_null(), "{status}");
}

#[test]
fn a_file_that_is_empty_or_gone_takes_nothing_down() {
    let one = Server::start();
    let place = Place::new(&config(&[&one]));
    assert_eq!(place.code(&["start"]), 0);
    place.wait("the server", || place.table().contains(&format!("{} -m -w 4", one.real())));
    place.write("");
    assert_eq!(place.code(&["reload"]), 0);
    place.wait("a refusal", || place.log().contains("reload --force"));
    assert!(place.table().contains(" -w 4"));
    assert_eq!(place.code(&["reload", "--force"]), 0);
    place.wait("an empty table", || place.table().is_empty());
    place.write(&config(&[&one]));
    assert_eq!(place.code(&["reload"]), 0);
    place.wait("the server again", || place.table().contains(" -w 4"));
    std::fs::remove_file(place.path("t.cf")).unwrap();
    assert_eq!(place.code(&["status"]), 0);
    assert_eq!(place.code(&["stop"]), 0, "also without the file");
    assert_eq!(place.table(), "");
    assert!(!place.pid_file().exists());
}

#[test]
fn servers_are_taken_out_and_in_by_command() {
    let (one, two) = (Server::start(), Server::start());
    let place = Place::new(&config(&[&one, &two]));
    let json = |words: &[&str]| -> serde_json::Value {
        let output = place.run(words);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
    };
    assert_eq!(place.code(&["status", "--json"]), 3);
    assert_eq!((place.code(&["status", "--long"]), place.code(&["top"])), (3, 3));
    assert_eq!(place.code(&["drain", &one.real()]), 1);
    assert_eq!(place.code(&["start"]), 0);
    place.wait("both servers", || place.table().matches(" -w 4").count() == 2);
    let status = json(&["status", "--json"]);
    assert_eq!((&status["running"], &status["virtuals"][0]["id"]), (&true.into(), &"tcp:10.0.0.1:80".into()));
    let real = &status["virtuals"][0]["reals"][0];
    assert_eq!((&real["standing"], &real["last_answer"]), (&"up".into(), &"connected".into()), "{real}");
    assert!(real["latency_us"].as_u64() > Some(0) && real["since_ms"].is_u64() && real["check"].is_string());

    let drained = json(&["drain", &one.real(), "--deadline", "5", "--json"]);
    assert_eq!((&drained["marked"][0]["changed"], &drained["left"]), (&true.into(), &serde_json::json!([])));
    assert!(place.table().contains(&format!("{} -m -w 0", one.real())), "{}", place.table());
    assert_eq!(place.code(&["maintenance", &two.real(), "on"]), 0);
    place.wait("maintenance", || !place.table().contains(&two.real()));
    assert_eq!(place.code(&["restart"]), 0);
    place.wait("the drained one alone", || place.table().contains(&format!("{} -m -w 0", one.real())));
    assert!(!place.table().contains(&two.real()), "a restart forgets neither: {}", place.table());
    let text = String::from_utf8(place.run(&["status", "--long"]).stdout).unwrap();
    assert!(text.contains("drained") && text.contains("maintenance (command)"), "{text}");
    let top = String::from_utf8(place.run(&["top", "--rounds", "2"]).stdout).unwrap();
    assert_eq!(top.matches("maintenance (command)").count(), 2, "{top}");
    assert_eq!(place.code(&["maintenance", &two.real(), "off"]), 0);
    assert_eq!(place.code(&["undrain", &one.real(), "--virtual", "10.0.0.1:80"]), 0);
    place.wait("both again", || place.table().matches(" -w 4").count() == 2);
    assert_eq!(place.code(&["drain", "10.9.9.9"]), 1);
    assert_eq!(place.code(&["undrain", &one.real(), "--virtual", "7"]), 1);
    for bad in [&["drain"][..], &["maintenance", "10.0.0.1"], &["maintenance", "10.0.0.1", "maybe"], &["status", "now"]]
    {
        assert_eq!(place.code(bad), 255, "{bad:?}");
    }
    assert_eq!(place.code(&["stop"]), 0);
    let sockets = std::fs::read_dir(place.dir.path()).unwrap().flatten();
    assert_eq!(sockets.filter(|e| e.path().extension().is_some_and(|x| x == "sock")).count(), 0);
}

#[test]
fn servers_are_changed_against_the_file_by_command() {
    let (one, two, more) = (Server::start(), Server::start(), Server::start());
    let place = Place::new(&config(&[&one, &two]));
    let said = |words: &[&str]| {
        let output = place.run(words);
        let text = [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned()).concat();
        (output.status.code().unwrap(), text)
    };
    assert_eq!(place.code(&["real", "list"]), 1, "nobody runs");
    assert_eq!(place.code(&["start"]), 0);
    place.wait("both servers", || place.table().matches(" -w 4").count() == 2);
    assert_eq!(said(&["real", "list"]), (0, "All servers are as the file says\n".to_owned()));
    assert_eq!(place.code(&["real", "add", &more.real(), "2"]), 0);
    place.wait("the new one, once checked", || place.table().contains(&format!("{} -m -w 2", more.real())));
    let (code, text) = said(&["real", "weight", &one.real(), "9"]);
    assert!(code == 0 && text.contains("weight 9, the file says 4 (line 4)"), "{text}");
    assert_eq!(place.code(&["real", "remove", &two.real(), "--virtual", "10.0.0.1:80"]), 0);
    place.wait("the table as asked", || {
        let table = place.table();
        table.contains(&format!("{} -m -w 9", one.real())) && !table.contains(&two.real())
    });
    // Whoever checks the file sees what it does not say, with the director and without it.
    let differs = |code: i32| {
        let (found, text) = said(&["check"]);
        assert!(found == code && text.matches("by command, against the file").count() == 3, "{text}");
    };
    differs(0);
    assert_eq!(place.code(&["restart"]), 0);
    place.wait("all of it after a restart", || {
        let table = place.table();
        table.contains(" -w 9") && table.contains(" -w 2") && !table.contains(&two.real())
    });
    let text = said(&["status", "--long"]).1;
    assert!(text.contains("removed (line 5)") && text.contains("added, weight 2"), "{text}");
    for (words, why) in [
        (&["real", "add", "224.0.0.1:80"][..], "the table would refuse"),
        (&["real", "add", "web1"], "by its address"),
        (&["real", "add", &one.real(), "3"], "already"),
        (&["real", "weight", "10.9.9.9", "3"], "no real server"),
        (&["real", "add", "10.0.0.9:80", "--virtual", "10.0.0.2:80"], "no virtual service"),
        (&["real", "remove", "127.0.0.1"], "--force"),
    ] {
        let (code, text) = said(words);
        assert!(code == 1 && text.contains(why), "{words:?}: {text}");
    }
    for bad in [&["real"][..], &["real", "add"], &["real", "weight", "x", "many"], &["real", "dance", "x"]] {
        assert_eq!(place.code(bad), 255, "{bad:?}");
    }
    let output = place.run(&["real", "reset", "all", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((json["marked"].as_array().map(Vec::len), &json["differences"]), (Some(3), &serde_json::json!([])));
    place.wait("the file's table", || place.table().matches(" -w 4").count() == 2);
    assert_eq!(place.code(&["stop"]), 0);
    differs_not(&place);
}

fn differs_not(place: &Place) {
    let output = place.run(&["check"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("by command"), "{output:?}");
}

/// Two directories may each have a `t.cf`: whoever asks for one never gets the other.
#[test]
fn each_of_two_files_of_one_name_is_told_from_the_other() {
    let (one, two) = (Server::start(), Server::start());
    let (a, b) = (Place::new(&config(&[&one])), Place::new(&config(&[&two])));
    // In the foreground, where the one pid file of the name is in nobody's way; sockets and marks in the same directories.
    let ask = |place: &Place, words: &[&str]| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bascule"));
        command.args(["ldirectord", "--run-dir"]).arg(a.dir.path()).arg("--state-dir").arg(a.path("state"));
        command.arg("--table").arg(place.path("table.json"));
        command.arg(place.path("t.cf")).args(words).output().unwrap()
    };
    let start = |place: &Place| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bascule"));
        command.args(["ldirectord", "-d", "--run-dir"]).arg(a.dir.path()).arg("--state-dir").arg(a.path("state"));
        command.arg("--table").arg(place.path("table.json")).arg(place.path("t.cf")).arg("start");
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
    };
    let mut running = [start(&a), start(&b)];
    for (place, server) in [(&a, &one), (&b, &two)] {
        place.wait("its server", || place.table().contains(&format!("{} -m -w 4", server.real())));
        let status: serde_json::Value = serde_json::from_slice(&ask(place, &["status", "--json"]).stdout).unwrap();
        assert_eq!(status["config"].as_str(), place.path("t.cf").to_str());
        assert_eq!(status["virtuals"][0]["reals"][0]["server"].as_str(), Some(server.real().as_str()));
    }
    assert_eq!(ask(&b, &["drain", &one.real()]).status.code(), Some(1), "it is the other's server");
    assert_eq!(ask(&b, &["drain", &two.real()]).status.code(), Some(0));
    assert!(b.table().contains(&format!("{} -m -w 0", two.real())) && a.table().contains(" -w 4"));
    // By a link the file has yet another name.
    let link = a.path("link.cf");
    std::os::unix::fs::symlink(b.path("t.cf"), &link).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bascule"));
    let by_link = command.args(["ldirectord", "--run-dir"]).arg(a.dir.path()).arg(&link).args(["undrain", &two.real()]);
    assert!(by_link.output().unwrap().status.success());
    b.wait("weight again", || b.table().contains(&format!("{} -m -w 4", two.real())));
    assert_eq!(ask(&b, &["status"]).status.code(), Some(3), "in the foreground there is no pid file");
    let kept = std::fs::read_dir(a.path("state")).unwrap().map(|e| e.unwrap().path());
    let marks = kept.filter(|p| p.extension().is_none_or(|e| e != "owned")).count();
    assert_eq!(marks, 1, "the one without a command has no file");
    for child in &mut running {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGTERM)
            .unwrap();
        assert!(child.wait().unwrap().success());
    }
}

/// Daemons share the pid file's name: the second is refused in plain words, and nobody stops the other's daemon.
#[test]
fn a_daemon_of_another_file_of_this_name_is_left_alone() {
    let server = Server::start();
    let (a, b) = (Place::new(&config(&[&server])), Place::new(&config(&[&server])));
    let of_b = |words: &[&str]| -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bascule"));
        command.args(["ldirectord", "--run-dir"]).arg(a.dir.path()).arg("--state-dir").arg(a.path("state"));
        let output = command.arg("--table").arg(b.path("table.json")).arg(b.path("t.cf")).args(words).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(a.code(&["start"]), 0);
    let pid = std::fs::read_to_string(a.pid_file()).unwrap();
    let (code, said) = of_b(&["start"]);
    assert!(code == 1 && said.contains(pid.trim()) && said.contains("another name"), "{code} {said}");
    let (code, said) = of_b(&["status"]);
    assert!(code == 3 && said.contains(a.path("t.cf").to_str().unwrap()), "{code} {said}");
    assert_eq!((of_b(&["stop"]).0, of_b(&["reload"]).0, of_b(&["drain", &server.real()]).0), (0, 1, 1));
    assert_eq!((a.code(&["status"]), std::fs::read_to_string(a.pid_file()).unwrap()), (0, pid));
}

#[test]
fn other_instances_start_reload_and_stop_with_this_one() {
    let (one, two) = (Server::start(), Server::start());
    let place = Place::new("");
    let other = place.path("other.cf");
    let of = |server: &Server, virtual_port: u16| {
        format!("virtual=10.0.0.1:{virtual_port}\n    real={} masq 4\n    checktype=connect\n", server.real())
    };
    std::fs::write(&other, format!("logfile=\"{}\"\n{}", place.path("log2").display(), of(&two, 81))).unwrap();
    place.write(&format!("execute={}\n{}", other.display(), of(&one, 80)));
    assert_eq!(place.code(&["start"]), 0);
    place.wait("both services", || place.table().matches(" -w 4").count() == 2);
    let said = String::from_utf8(place.run(&["status"]).stderr).unwrap();
    assert_eq!(said.matches("is running with pid: ").count(), 2, "{said}");
    assert!(
        place.log().contains("Invoking ldirectord invoked as: ") && place.log().contains("Starting Linux Director")
    );
    // Without the line it is stopped at the reload.
    place.write(&of(&one, 80));
    assert_eq!(place.code(&["reload"]), 0);
    place.wait("the other is gone", || {
        !place.path("ldirectord.other.cf.pid").exists() && !place.table().contains(":81")
    });
    place.write(&format!("execute={}\n{}", other.display(), of(&one, 80)));
    assert_eq!(place.code(&["reload"]), 0);
    place.wait("the other is back", || place.table().matches(" -w 4").count() == 2);
    assert_eq!(place.code(&["stop"]), 0);
    place.wait("nothing is left", || place.table().is_empty() && !place.path("ldirectord.other.cf.pid").exists());
}

#[test]
fn debug_shows_each_check_and_supervised_stays_in_front() {
    let one = Server::start();
    let place = Place::new(&config(&[&one]));
    let run = |place: &Place, words: &[&str]| -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bascule"))
            .args(["ldirectord", "--run-dir"])
            .arg(place.dir.path())
            .arg("--state-dir")
            .arg(place.path("state"))
            .arg("--table")
            .arg(place.path("table.json"))
            .args(words)
            .arg(place.path("t.cf"))
            .arg("start")
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        place.wait("the server", || place.table().contains(" -w 4"));
        std::thread::sleep(Duration::from_millis(1_500));
        assert!(child.try_wait().unwrap().is_none() && !place.pid_file().exists());
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGTERM)
            .unwrap();
        child.wait_with_output().unwrap()
    };
    let debug = run(&place, &["-d"]);
    let said = String::from_utf8_lossy(&debug.stderr);
    assert!(said.matches(&format!("check connect {}: up: connected (", one.real())).count() >= 2, "{said}");
    assert!(debug.status.success() && place.table().is_empty());
    place.write(&format!("supervised=yes\nfork=yes\n{}", config(&[&one])));
    let supervised = run(&place, &[]);
    let said = String::from_utf8_lossy(&supervised.stdout);
    assert!(said.contains("Added real server") && said.contains("terminated on signal: TERM"), "{said}");
    assert_eq!(said.matches("fork = yes: accepted without meaning").count(), 1, "{said}");
}

/// Samples name files and directories that a test machine lacks.
struct AnyMachine;

impl Environment for AnyMachine {
    fn resolve(&mut self, _: &str, family: base::ipvs::Family) -> Option<IpAddr> {
        (family == base::ipvs::Family::IPv4).then(|| [10, 0, 0, 51].into())
    }
    fn service_port(&mut self, name: &str, protocol: Option<base::ipvs::Protocol>) -> Option<u16> {
        System::default().service_port(name, protocol)
    }
    fn is_directory(&mut self, _: &Path) -> bool {
        true
    }
    fn can_append(&mut self, _: &Path) -> Result<(), String> {
        Ok(())
    }
}

#[test]
fn samples_are_accepted_without_a_warning() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/ldirectord");
    let mut count = 0;
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let accepted = config::parse(&text, &mut AnyMachine).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut warnings = accepted.warnings;
        // The command of a sample is the reader's own.
        warnings.extend(lint(&accepted.config).into_iter().filter(|w| !w.expected.contains("there is no such file")));
        assert!(
            warnings.iter().all(|w| w.deviation == Some(config::Deviation::HashInQuotes)),
            "{}: {warnings:?}",
            path.display()
        );
        assert!(!accepted.config.virtuals.is_empty());
        let own: std::collections::BTreeSet<&str> = accepted.own_directives.iter().map(|o| o.name.as_str()).collect();
        if path.ends_with("beyond.cf") {
            assert_eq!(
                own,
                config::OWN_DIRECTIVES.iter().map(|(name, ..)| *name).collect(),
                "the sample shows all of them"
            );
            let tuning = &accepted.config.virtuals[2].tuning;
            assert_eq!((accepted.config.virtuals[0].failure_count, tuning.rise, tuning.slow_start_s), (3, 2, 30));
        }
        count += 1;
    }
    assert!(count >= 8);
}
