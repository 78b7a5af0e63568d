//! What is told of servers: by the log and by mail, from verdicts, with the reason; nothing of what did not change.

use super::*;

fn logging(dir: &Path, body: &str) -> (String, Options) {
    let file = dir.join("log");
    let logger = Logger::new(LogMode::Configured, LogTarget::File(file.clone()), "t.cf");
    (format!("logfile=\"{}\"\n{body}", file.display()), Options { logger, ..Options::default() })
}

fn log(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("log")).unwrap_or_default()
}

/// A server that is down at its first check leaves a line and a mail with the reason; healthy ones are no news at a start.
#[tokio::test]
async fn the_first_check_counts() {
    for quiescent in ["yes", "no"] {
        let (port, mut inbox) = mail_server().await;
        let (good, bad) = (web().await, web().await);
        bad.set(503);
        let (table, dir) = (Shared::default(), tempfile::tempdir().unwrap());
        let directives = format!("emailalert=\"ops@example.test\"\nsmtp=127.0.0.1:{port}\nquiescent={quiescent}");
        let (text, options) = logging(dir.path(), &text(&[&good, &bad], &directives));
        let director = start(&text, &table, options).await;
        let mail = tokio::time::timeout(Duration::from_secs(10), inbox.recv()).await.unwrap().unwrap();
        let word = if quiescent == "yes" { "Quiescent real server" } else { "Deleted real server" };
        let server = format!("127.0.0.1:{}", bad.port);
        assert!(
            mail.contains(word) && mail.contains(&server) && mail.contains("Reason: 503 Service Unavailable: alive"),
            "{mail}"
        );
        let line = format!("Real server down: {server} (10.0.0.1:80): 503 Service Unavailable: alive");
        wait_for("a line of it", || log(dir.path()).contains(&line)).await;
        // Nothing more is said of either, also not after a reload.
        director.reload(config(&text)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        assert!(inbox.try_recv().is_err(), "a second mail");
        assert_eq!(log(dir.path()).matches("Real server ").count(), 1, "{}", log(dir.path()));
        bad.set(200);
        let mail = tokio::time::timeout(Duration::from_secs(10), inbox.recv()).await.unwrap().unwrap();
        assert!(mail.contains(&server) && mail.contains("Reason: 200 OK"), "{mail}");
        drop(director);
    }
}

/// What stood in the table at a restart and is still well is no news; what is ill by now is.
#[tokio::test]
async fn a_restart_tells_only_what_has_changed() {
    let (good, bad) = (web().await, web().await);
    bad.set(404);
    let (table, dir) = (Shared::default(), tempfile::tempdir().unwrap());
    let (text, options) = logging(dir.path(), &text(&[&good, &bad], ""));
    *table.0.lock().unwrap() = Memory::with_services(crate::plan::assumed(&config(&text), true));
    let director = start(&text, &table, options).await;
    weights(&table, &[w(&good, 5)]).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let log = log(dir.path());
    assert_eq!(log.matches("Real server ").count(), 1, "{log}");
    assert!(
        log.contains(&format!("Real server down: 127.0.0.1:{} (10.0.0.1:80): 404 Not Found: alive", bad.port)),
        "{log}"
    );
    drop(director);
}

/// An answer cannot write lines of its own into the log.
#[tokio::test]
async fn answers_are_cleaned() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut s, _)) = listener.accept().await {
                let _ = s.read(&mut [0; 1024]).await;
                let _ = s.write_all("HTTP/1.1 503 No\r\n\r\na\n[forged] line\u{1b}[31m\u{202e}x".as_bytes()).await;
            }
        });
        port
    };
    let (table, dir) = (Shared::default(), tempfile::tempdir().unwrap());
    let body = format!("checkinterval=1\nvirtual=10.0.0.1:80\n    real=127.0.0.1:{port} masq\n");
    let (text, options) = logging(dir.path(), &body);
    let director = start(&text, &table, options).await;
    wait_for("a line of it", || log(dir.path()).contains("Real server down")).await;
    let log = log(dir.path());
    assert!(log.contains("503 Service Unavailable: a [forged] line [31m x"), "{log:?}");
    drop(director);
}

/// A mail server that is away for a moment: the mail is tried again.
#[tokio::test]
async fn mails_are_tried_again_within_bounds() {
    let closed = crate::testing::refusing_port();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    let logger = Logger::new(LogMode::Configured, LogTarget::File(file.clone()), "t.cf");
    let alerts = crate::service::alerts::Alerts::with(logger.clone(), Duration::from_millis(10));
    let body =
        format!("virtual=10.0.0.1:80\n    real=10.0.0.2:80 masq\n    emailalert=a@b\n    smtp=127.0.0.1:{closed}\n");
    let v = config(&body).virtuals.remove(0);
    alerts.tell(&v, None, crate::service::alerts::Phase::Running, "Deleted real server", Some("why"));
    wait_for("the last try", || std::fs::read_to_string(&file).is_ok_and(|log| log.contains("given up"))).await;
    logger.close();
    let log = std::fs::read_to_string(&file).unwrap();
    for wait in [10, 20, 40, 80, 160] {
        assert_eq!(log.matches(&format!("again in {wait}ms")).count(), 1, "{log}");
    }
    assert_eq!(log.matches("given up").count(), 1, "{log}");
}
