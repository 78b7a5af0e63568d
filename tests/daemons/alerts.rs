//! E-mail alerts of a running director, taken by a real mail server.

use crate::fixture::Daemon;
use kernel::ipvs::Memory;
use ldirectord::config::{System, parse};
use ldirectord::service::{Director, Options};
use std::path::Path;
use std::time::{Duration, Instant};

/// Start and stop of a director with one server, which is down: a mail of each arrives, whole.
pub fn arrive(mail: &Daemon, port: u16) {
    let text = format!(
        "emailalertfrom=Director <director@example.test>\nvirtual=192.0.2.1:80\n    real=127.0.0.1:9 masq 5\n    checktype=connect\n    service=http\n\
         \x20   emailalert=\"ops@example.test, Bob <bob@example.test>\"\n    smtp=127.0.0.1:{port}\n    servicename=Läden\n    comment=.dot\n"
    );
    let config = parse(&text, &mut System::default()).unwrap_or_else(|e| panic!("{e}")).config;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let director = Director::start(config, Box::new(Memory::default()), Options::default()).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(director.stop("TERM").await.is_empty());
    });
    let new = mail.path("mail/box/new");
    let deadline = Instant::now() + Duration::from_secs(30);
    let found = loop {
        let found = messages(&new);
        let has = |sign: &str| found.iter().any(|m| m.contains(sign));
        if has("Daemon-Status: starting") && has("Daemon-Status: stopping") {
            break found;
        }
        assert!(Instant::now() < deadline, "{found:#?}\n{}", mail.logs());
        std::thread::sleep(Duration::from_millis(100));
    };
    let added = found.iter().find(|m| m.contains("Daemon-Status: starting")).expect("found");
    for part in ["From: \"Director\" <director@example.test>", "<bob@example.test>", "Comment: .dot", "127.0.0.1:9"] {
        assert!(added.contains(part), "{part}: {added}");
    }
    println!("CONFIRMED by the same: e-mail alerts ({} mails)", found.len());
}

fn messages(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    files.map(|f| String::from_utf8_lossy(&std::fs::read(f.path()).unwrap_or_default()).into_owned()).collect()
}
