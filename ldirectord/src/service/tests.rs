//! The running director on the table in memory, with servers on loopback that are switched up and down.

mod edits;
mod events;
mod marks;
mod names;
mod owned;

use super::*;
use crate::config::{Environment, LogTarget, parse};
use base::ipvs::{DestEntry, Family, Protocol, Service, ServiceEntry, ServiceKey};
use kernel::ipvs::{Change, Error, Memory};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A table that the test can look at and change while the director has it.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Memory>>);

impl Shared {
    fn with<T>(&self, f: impl FnOnce(&mut Memory) -> T) -> T {
        f(&mut self.0.lock().unwrap())
    }

    /// `last byte of the address:weight` of each destination, sorted.
    fn weights(&self) -> Vec<String> {
        let entries = self.with(|t| t.services().unwrap());
        let one = |d: &DestEntry| format!("{}:{}", d.dest.key.port, d.dest.weight);
        let mut all: Vec<String> = entries.iter().flat_map(|e| e.dests.iter().map(one)).collect();
        all.sort();
        all
    }
}

impl Ipvs for Shared {
    fn info(&mut self) -> Result<base::ipvs::Info, Error> {
        self.with(|t| t.info())
    }
    fn services(&mut self) -> Result<Vec<ServiceEntry>, Error> {
        self.with(|t| t.services())
    }
    fn service(&mut self, key: &ServiceKey) -> Result<ServiceEntry, Error> {
        self.with(|t| t.service(key))
    }
    fn timeouts(&mut self) -> Result<base::ipvs::Timeouts, Error> {
        self.with(|t| t.timeouts())
    }
    fn daemons(&mut self) -> Result<Vec<base::ipvs::SyncDaemon>, Error> {
        self.with(|t| t.daemons())
    }
    fn apply(&mut self, change: &Change) -> Result<(), Error> {
        self.with(|t| t.apply(change))
    }
}

struct Nobody;

impl Environment for Nobody {
    fn resolve(&mut self, _: &str, _: Family) -> Option<IpAddr> {
        None
    }
    fn service_port(&mut self, _: &str, _: Option<Protocol>) -> Option<u16> {
        None
    }
    fn is_directory(&mut self, _: &Path) -> bool {
        true
    }
    fn can_append(&mut self, _: &Path) -> Result<(), String> {
        Ok(())
    }
}

fn config(text: &str) -> Config {
    parse(text, &mut Nobody).unwrap_or_else(|e| panic!("{e}\n{text}")).config
}

/// An HTTP server whose status can be set; 0 hangs.
struct Web {
    port: u16,
    status: Arc<AtomicU16>,
}

async fn web() -> Web {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let status = Arc::new(AtomicU16::new(200));
    let shared = status.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let status = shared.load(Ordering::Relaxed);
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 1024]).await;
                if status == 0 {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                }
                let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nalive");
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    Web { port, status }
}

impl Web {
    fn set(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }
}

/// One virtual with these servers and directives, checked each second.
fn text(webs: &[&Web], directives: &str) -> String {
    let reals: String = webs.iter().map(|w| format!("    real=127.0.0.1:{} masq 5\n", w.port)).collect();
    let body: String = directives.lines().map(|l| format!("    {l}\n")).collect();
    format!("checkinterval=1\nnegotiatetimeout=1\nvirtual=10.0.0.1:80\n{reals}{body}")
}

async fn wait_for(what: &str, mut reached: impl FnMut() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < Duration::from_secs(10), "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn weights(table: &Shared, expected: &[String]) {
    let mut expected = expected.to_vec();
    expected.sort();
    wait_for(&format!("{expected:?}, it is {:?}", table.weights()), || table.weights() == expected).await;
}

fn w(web: &Web, weight: u32) -> String {
    format!("{}:{weight}", web.port)
}

async fn start(text: &str, table: &Shared, options: Options) -> Director {
    Director::start(config(text), Box::new(table.clone()), options).await
}

#[tokio::test]
async fn servers_come_and_go_and_the_fallback_with_them() {
    let (one, two) = (web().await, web().await);
    two.set(503);
    let table = Shared::default();
    table.with(Memory::record);
    let text = text(&[&one, &two], "fallback=127.0.0.1:7 masq");
    let director = start(&text, &table, Options::default()).await;
    weights(&table, &[w(&one, 5)]).await;
    two.set(200);
    weights(&table, &[w(&one, 5), w(&two, 5)]).await;
    one.set(0);
    two.set(503);
    weights(&table, &["7:1".to_owned()]).await;
    one.set(200);
    weights(&table, &[w(&one, 5)]).await;
    // The fallback went in once and out once: it never flapped, and no server had weight before its check.
    let log = table.with(Memory::take_log);
    let fallback = log.iter().filter(|c| match c {
        Change::AddDest(_, d) | Change::EditDest(_, d) => d.key.port == 7,
        Change::DeleteDest(_, k) => k.port == 7,
        _ => false,
    });
    assert_eq!(fallback.count(), 2, "{log:?}");
    let status = director.status().await.unwrap();
    assert_eq!(status.virtuals[0].reals[0].last_answer, "200 OK");
    assert_eq!(status.virtuals[0].reals[1].weight, None);
    assert!(director.stop("TERM").await.is_empty());
    assert!(table.with(|t| t.services().unwrap()).is_empty());
}

#[tokio::test]
async fn a_hung_server_delays_nobody() {
    let (one, two) = (web().await, web().await);
    two.set(0);
    let table = Shared::default();
    let begin = Instant::now();
    let director = start(&text(&[&one, &two], "quiescent=yes"), &table, Options::default()).await;
    weights(&table, &[w(&one, 5), w(&two, 0)]).await;
    assert!(begin.elapsed() < Duration::from_millis(900), "{:?}", begin.elapsed());
    one.set(503);
    let begin = Instant::now();
    weights(&table, &[w(&one, 0), w(&two, 0)]).await;
    assert!(begin.elapsed() < Duration::from_millis(1_900), "{:?}", begin.elapsed());
    drop(director);
}

#[tokio::test]
async fn a_table_changed_by_hand_is_repaired_and_logged() {
    let one = web().await;
    let table = Shared::default();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    let logger = Logger::new(LogMode::Configured, LogTarget::File(file.clone()), "t.cf");
    let options = Options { logger: logger.clone(), ..Options::default() };
    let log = format!("logfile=\"{}\"\n{}", file.display(), text(&[&one], ""));
    let director = start(&log, &table, options).await;
    weights(&table, &[w(&one, 5)]).await;
    // One whole pass must have seen it settled, or the change could not be told from our own.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    table.with(|t| t.flush().unwrap());
    weights(&table, &[w(&one, 5)]).await;
    let foreign = ServiceKey::Fwmark { mark: 9, family: Family::IPv4 };
    table.with(|t| t.add_service(&Service::new(foreign, "rr")).unwrap());
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(director.status().await.unwrap().repairs, 1);
    director.stop("TERM").await;
    assert!(table.with(|t| t.service(&foreign).is_ok()), "services of others are left alone");
    logger.close();
    let lines = std::fs::read_to_string(file).unwrap();
    assert!(lines.contains("The table was changed by another program"), "{lines}");
    assert!(
        lines.contains(&format!("Added real server: 127.0.0.1:{} (10.0.0.1:80) (Weight set to 5)", one.port)),
        "{lines}"
    );
    assert!(lines.contains("Purged virtual server (stop): 10.0.0.1:80"), "{lines}");
}

#[tokio::test]
async fn a_reload_keeps_what_did_not_change_and_an_error_changes_nothing() {
    let (one, two) = (web().await, web().await);
    let table = Shared::default();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.cf");
    std::fs::write(&path, text(&[&one], "")).unwrap();
    let options = Options { config_path: Some(path.clone()), ..Options::default() };
    let director = start(&text(&[&one], ""), &table, options).await;
    weights(&table, &[w(&one, 5)]).await;
    table.with(Memory::record);
    std::fs::write(&path, "virtual=10.0.0.1:80\n    real=nonsense\n").unwrap();
    let error = director.reload_file().await.unwrap_err();
    assert!(error.to_string().contains("line 2"), "{error}");
    one.set(503);
    weights(&table, &[]).await;
    one.set(200);
    weights(&table, &[w(&one, 5)]).await;
    table.with(Memory::take_log);
    std::fs::write(&path, text(&[&one, &two], "scheduler=rr")).unwrap();
    director.reload_file().await.unwrap();
    weights(&table, &[w(&one, 5), w(&two, 5)]).await;
    let log = table.with(Memory::take_log);
    assert!(!log.iter().any(|c| matches!(c, Change::DeleteDest(..) | Change::DeleteService(_))), "{log:?}");
    assert!(log.iter().any(|c| matches!(c, Change::EditService(s) if s.scheduler == "rr")), "{log:?}");
    // Nothing left to serve is more often a slip than a wish: it has to be said twice.
    for nothing in ["", "virtual=10.0.0.1:80\n    scheduler=rr\n"] {
        std::fs::write(&path, nothing).unwrap();
        let error = director.reload_file().await.unwrap_err();
        assert!(error.to_string().contains("--force"), "{error}");
    }
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    weights(&table, &[w(&one, 5), w(&two, 5)]).await;
    std::fs::write(&path, "").unwrap();
    director.handle().reload_file(true).await.unwrap();
    wait_for("the service is gone", || table.with(|t| t.services().unwrap()).is_empty()).await;
    assert_eq!(director.status().await.unwrap().last_reload.unwrap().error, None);
}

#[tokio::test]
async fn autoreload_callback_and_fallbackcommand() {
    let (one, two) = (web().await, web().await);
    let table = Shared::default();
    let dir = tempfile::tempdir().unwrap();
    let (path, out) = (dir.path().join("t.cf"), dir.path().join("out"));
    let script = dir.path().join("say");
    std::fs::write(&script, format!("#!/bin/sh\necho \"$@\" >>{}\n", out.display())).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let head = format!("autoreload=yes\ncallback=\"{0}\"\nfallbackcommand={0} fb\n", script.display());
    let first = format!("{head}{}", text(&[&one], ""));
    std::fs::write(&path, &first).unwrap();
    let options = Options { config_path: Some(path.clone()), ..Options::default() };
    let director = start(&first, &table, options).await;
    weights(&table, &[w(&one, 5)]).await;
    one.set(503);
    weights(&table, &[]).await;
    one.set(200);
    weights(&table, &[w(&one, 5)]).await;
    // Empty, half written and gone for a while: nothing changes, and it is told.
    std::fs::write(&path, "").unwrap();
    let error = || async { director.status().await.unwrap().last_reload.and_then(|r| r.error) };
    while !error().await.is_some_and(|e| e.contains("--force")) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    std::fs::remove_file(&path).unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    weights(&table, &[w(&one, 5)]).await;
    let whole = format!("{head}{}", text(&[&two], ""));
    for part in 1..=3 {
        std::fs::write(&path, &whole[..whole.len() * part / 4]).unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    std::fs::write(&path, &whole).unwrap();
    weights(&table, &[w(&two, 5)]).await;
    let said = || std::fs::read_to_string(&out).unwrap_or_default();
    wait_for("callback", || said().contains(&format!("{}\n", path.display()))).await;
    let commands: Vec<String> = said().lines().filter(|l| l.starts_with("fb")).map(str::to_owned).collect();
    let start = "fb start 10.0.0.1:80 tcp".to_owned();
    let stop = "fb stop 10.0.0.1:80 tcp".to_owned();
    assert_eq!(commands[..3], [stop.clone(), start, stop]);
    drop(director);
}

#[tokio::test]
async fn a_takeover_is_warm() {
    let (one, two) = (web().await, web().await);
    two.set(503);
    let (table, spare) = (Shared::default(), Shared::default());
    let text = text(&[&one, &two], "quiescent=yes");
    let active = start(&text, &table, Options::default()).await;
    weights(&table, &[w(&one, 5), w(&two, 0)]).await;
    let known = || async { active.export_verdicts().await };
    while known().await.entries.len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The servers hang now: whatever the new director knows at once, it has from its peer.
    one.set(0);
    two.set(0);
    let options = Options { verdicts: known().await, ..Options::default() };
    let _new = start(&text, &spare, options).await;
    let mut expected = [w(&one, 5), w(&two, 0)];
    expected.sort();
    assert_eq!(spare.weights(), expected, "complete when start returns");
}

#[tokio::test]
async fn a_standby_checks_but_leaves_the_table_alone() {
    let one = web().await;
    let table = Shared::default();
    let director = start(&text(&[&one], ""), &table, Options { active: false, ..Options::default() }).await;
    while director.export_verdicts().await.entries.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(table.with(|t| t.services().unwrap()).is_empty());
    director.set_active(true).await;
    assert_eq!(table.weights(), [w(&one, 5)]);
    director.stop("TERM").await;
}

#[tokio::test]
async fn a_standby_takes_over_what_it_cannot_know_itself() {
    let (one, two) = (web().await, web().await);
    // Both hang: this standby has no verdict of its own.
    one.set(0);
    two.set(0);
    let table = Shared::default();
    let director = start(&text(&[&one, &two], ""), &table, Options { active: false, ..Options::default() }).await;
    let place = |n| Place::from(IpAddr::from([10, 0, 0, n]));
    assert_eq!(director.take_over(Verdicts::default(), Some(place(9))).await, None, "not its address");
    assert!(!director.is_settled(place(1)).await);
    let entry = |web: &Web, up| policy::VerdictEntry {
        real: policy::RealId {
            service: config(&text(&[web], "")).virtuals[0].key,
            dest: base::ipvs::DestKey { addr: [127, 0, 0, 1].into(), port: web.port },
        },
        up,
        failures: 0,
        age_ms: 1_000,
        answer: String::new(),
    };
    let verdicts = Verdicts { entries: vec![entry(&one, true), entry(&two, false)] };
    let taken = director.take_over(verdicts, Some(place(1))).await;
    assert_eq!(taken, Some(policy::TakenOver { own: 0, peer: 2, table: 0, unchecked: 0 }));
    assert_eq!(table.weights(), [w(&one, 5)], "complete when take_over returns");
    assert!(director.is_settled(place(1)).await);
    director.stop("TERM").await;
}

#[tokio::test]
async fn a_reload_cuts_nobody_off() {
    let (one, two, three) = (web().await, web().await, web().await);
    let table = Shared::default();
    let director = start(&text(&[&one, &two], ""), &table, Options::default()).await;
    weights(&table, &[w(&one, 5), w(&two, 5)]).await;
    let connections = |n: u32| {
        let mut entries = table.with(|t| t.services().unwrap());
        entries[0].dests.iter_mut().filter(|d| d.dest.key.port == two.port).for_each(|d| d.active_conns = n);
        *table.0.lock().unwrap() = Memory::with_services(entries);
    };
    connections(3);
    director.reload(config(&text(&[&one], ""))).await.unwrap();
    weights(&table, &[w(&one, 5), w(&two, 0)]).await;
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    let mut draining = [w(&one, 5), w(&two, 0)];
    draining.sort();
    assert_eq!(table.weights(), draining, "it still has clients");
    connections(0);
    weights(&table, &[w(&one, 5)]).await;
    // The one that comes is slow to answer: until then the one that goes serves on.
    three.set(0);
    director.reload(config(&text(&[&three], ""))).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(table.weights(), [w(&one, 5)]);
    three.set(200);
    weights(&table, &[w(&three, 5)]).await;
    director.stop("TERM").await;
}

#[tokio::test]
async fn a_reload_that_is_taken_back_cuts_nobody_off() {
    let (one, two, dead) = (web().await, web().await, web().await);
    dead.set(0);
    let table = Shared::default();
    let director = start(&text(&[&one, &two], ""), &table, Options::default()).await;
    weights(&table, &[w(&one, 5), w(&two, 5)]).await;
    table.with(Memory::record);
    director.reload(config(&text(&[&dead], ""))).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    director.reload(config(&text(&[&one, &two], ""))).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    weights(&table, &[w(&one, 5), w(&two, 5)]).await;
    let log = table.with(Memory::take_log);
    assert!(!log.iter().any(|c| matches!(c, Change::DeleteDest(..))), "{log:?}");
    director.stop("TERM").await;
}

#[tokio::test]
async fn a_restart_keeps_weights_until_checks_say_otherwise() {
    let one = web().await;
    one.set(0);
    let table = Shared::default();
    let text = text(&[&one], "cleanstop=no");
    let entries = crate::plan::assumed(&config(&text), true);
    *table.0.lock().unwrap() = Memory::with_services(entries);
    let director = start(&text, &table, Options::default()).await;
    assert_eq!(table.weights(), [w(&one, 5)]);
    weights(&table, &[]).await;
    one.set(200);
    weights(&table, &[w(&one, 5)]).await;
    director.stop("TERM").await;
    assert_eq!(table.weights(), [w(&one, 5)], "cleanstop=no leaves everything");
}

#[tokio::test]
async fn maintenance_directory_and_monitor_file() {
    let one = web().await;
    let table = Shared::default();
    let dir = tempfile::tempdir().unwrap();
    let (marks, monitor) = (dir.path().join("marks"), dir.path().join("monitor"));
    std::fs::create_dir(&marks).unwrap();
    let text = format!(
        "maintenancedir={}\n{}    monitorfile={}\n",
        marks.display(),
        text(&[&one], "quiescent=yes"),
        monitor.display()
    );
    let director = start(&text, &table, Options::default()).await;
    weights(&table, &[w(&one, 5)]).await;
    let mark = marks.join(format!("127.0.0.1:{}", one.port));
    std::fs::write(&mark, "").unwrap();
    weights(&table, &[w(&one, 0)]).await;
    let monitored = || std::fs::read_to_string(&monitor).unwrap_or_default();
    wait_for("a line of maintenance", || monitored().contains("[down] Server in maintenance")).await;
    assert!(monitored().contains(&format!("negotiate http tcp 127.0.0.1 {} 5 masq /  [up] 200 OK\n", one.port)));
    std::fs::remove_file(&mark).unwrap();
    weights(&table, &[w(&one, 5)]).await;
    drop(director);
}

#[tokio::test]
async fn a_table_that_refuses_is_reported_and_tried_again() {
    let one = web().await;
    let table = Shared::default();
    table.with(|t| t.refuse(Some(Error::PermissionDenied)));
    let director = start(&text(&[&one], ""), &table, Options::default()).await;
    let status = director.status().await.unwrap();
    assert!(status.table_error.is_some() || !status.refused.is_empty(), "{status:?}");
    table.with(|t| t.refuse(None));
    weights(&table, &[w(&one, 5)]).await;
    wait_for("no error any more", || true).await;
    drop(director);
}

#[tokio::test]
async fn alerts_go_out_by_smtp() {
    let (port, mut inbox) = mail_server().await;
    let one = web().await;
    let table = Shared::default();
    let directives = format!(
        "emailalert=\"ops@example.test, me@example.test\"\nsmtp=127.0.0.1:{port}\nservicename=Shop\ncomment=call Bob\nemailalertstatus=running,stopping"
    );
    let director = start(&text(&[&one], &directives), &table, Options::default()).await;
    weights(&table, &[w(&one, 5)]).await;
    // Running begins with the first pass that finds everything known and in place; what happened at start is not mailed.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    one.set(503);
    let mail = tokio::time::timeout(Duration::from_secs(10), inbox.recv()).await.unwrap().unwrap();
    let unfolded = mail.replace("\r\n\t", " ").replace("\r\n ", " ");
    assert!(mail.contains("RCPT TO:<ops@example.test>\r\nRCPT TO:<me@example.test>\r\nDATA\r\n"), "{mail}");
    assert!(
        unfolded.contains(&format!("Subject: [Shop] Deleted real server: 127.0.0.1:{} (10.0.0.1:80)", one.port)),
        "{mail}"
    );
    assert!(mail.contains("Daemon-Status: running\r\n") && mail.contains("Comment: call Bob"), "{mail}");
    // What a stop does is told as well, before the daemon may end.
    director.stop("TERM").await;
    let mail = tokio::time::timeout(Duration::from_millis(100), inbox.recv()).await.unwrap().unwrap();
    assert!(mail.contains("Daemon-Status: stopping\r\n") && mail.contains("Purged virtual server"), "{mail}");
}

/// An SMTP server that takes everything; each connection's text comes out when it ends.
async fn mail_server() -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (mails, inbox) = mpsc::channel(10);
    tokio::spawn(async move {
        while let Ok((mut s, _)) = listener.accept().await {
            let mut seen = Vec::new();
            let mut at = 0;
            let mut data = false;
            let _ = s.write_all(b"220 x\r\n").await;
            let mut chunk = [0; 2048];
            while let Ok(n @ 1..) = s.read(&mut chunk).await {
                seen.extend_from_slice(&chunk[..n]);
                while let Some(end) = seen[at..].windows(2).position(|w| w == b"\r\n") {
                    let line = &seen[at..at + end];
                    at += end + 2;
                    let reply: &[u8] = match (data, line) {
                        (true, b".") => b"250 taken\r\n",
                        (true, _) => continue,
                        (false, b"DATA") => b"354 go\r\n",
                        (false, _) => b"250 ok\r\n",
                    };
                    data = line == b"DATA";
                    let _ = s.write_all(reply).await;
                }
            }
            let _ = mails.send(String::from_utf8_lossy(&seen).into_owned()).await;
        }
    });
    (port, inbox)
}
