//! E-mail alerts: off the check path, by SMTP to the configured host or by the local mailer.
//!
//! Messages are composed and sent by a library; here is who is told what, when, and for how long a mail server is waited for.

use super::log::Logger;
use crate::config::{Alert, AlertStatus, Virtual};
use mail_send::SmtpClient;
use mail_send::mail_builder::MessageBuilder;
use mail_send::mail_builder::headers::address::Address;
use mail_send::smtp::AssertReply;
use mail_send::smtp::message::Parameters;
use std::collections::VecDeque;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Alerts that wait to be sent; more are dropped with a log line.
const MAX_QUEUE: usize = 1_000;
const DEADLINE: Duration = Duration::from_secs(30);
/// A mail is tried so often, after pauses that double: 10 s, 20 s, 40 s, 80 s, 160 s.
const MAX_TRIES: u32 = 6;
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// How long a stop waits for mails about it.
const FAREWELL: Duration = Duration::from_secs(3);

/// What the daemon is doing, for `emailalertstatus`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    Starting,
    Running,
    Stopping,
    Reloading,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Running => "running",
            Phase::Stopping => "stopping",
            Phase::Reloading => "reloading",
        }
    }

    fn selected(self, when: AlertStatus) -> bool {
        match self {
            Phase::Starting => when.starting,
            Phase::Running => when.running,
            Phase::Stopping => when.stopping,
            Phase::Reloading => when.reloading,
        }
    }
}

struct Mail {
    alert: Alert,
    from: Option<String>,
    subject: String,
    body: String,
    /// How often it was tried to send it.
    tries: u32,
}

/// Why a mail was not sent.
struct Unsent {
    why: String,
    /// The mail server has refused it for good (5xx).
    refused: bool,
}

pub struct Alerts {
    queue: mpsc::Sender<Mail>,
    logger: Logger,
    sender: JoinHandle<()>,
}

impl Alerts {
    pub fn start(logger: Logger) -> Alerts {
        Alerts::with(logger, FIRST_WAIT)
    }

    /// With another pause before the second try.
    pub(super) fn with(logger: Logger, first_wait: Duration) -> Alerts {
        let (queue, mails) = mpsc::channel::<Mail>(MAX_QUEUE);
        let sender = tokio::spawn(deliver(mails, logger.clone(), first_wait));
        Alerts { queue, logger, sender }
    }

    /// Tells the recipients of a virtual service what happened, if they want to know in this phase.
    pub fn tell(&self, v: &Virtual, from: Option<&str>, phase: Phase, text: &str, reason: Option<&str>) {
        if v.alert.to.is_empty() || !phase.selected(v.alert.when) {
            return;
        }
        self.logger.log(&format!("emailalert: {text}"));
        let subject = match &v.service_name {
            Some(name) => format!("[{name}] {text}"),
            None => text.to_owned(),
        };
        let mut body =
            format!("ldirectord host: {}\nLog-Message: {subject}\nDaemon-Status: {}\n", host(), phase.name());
        if let Some(reason) = reason.filter(|r| !r.is_empty()) {
            body.push_str(&format!("Reason: {reason}\n"));
        }
        if let Some(name) = &v.service_name {
            body.push_str(&format!("\nService name: {name}\n"));
        }
        if let Some(comment) = &v.comment {
            body.push_str(&format!("Comment: {comment}\n"));
        }
        let mail = Mail { alert: v.alert.clone(), from: from.map(str::to_owned), subject, body, tries: 0 };
        if self.queue.try_send(mail).is_err() {
            self.logger.log("failed to send email message: too many wait");
        }
    }

    /// Sends what waits, for as long as a stop may take.
    pub async fn finish(self) {
        drop(self.queue);
        if tokio::time::timeout(FAREWELL, self.sender).await.is_err() {
            self.logger.log(&format!("failed to send email messages within {} s of the stop", FAREWELL.as_secs()));
        }
    }
}

fn host() -> String {
    nix::unistd::gethostname().ok().and_then(|h| h.into_string().ok()).unwrap_or_else(|| "localhost".to_owned())
}

/// Sends one mail after the other. One that fails waits for its next try without keeping others from theirs.
async fn deliver(mut mails: mpsc::Receiver<Mail>, log: Logger, first_wait: Duration) {
    let mut later: VecDeque<(Instant, Mail)> = VecDeque::new();
    loop {
        // All wait for the same mail server or for one that is as ill: the first in the row is due first, or little later.
        let due = later.front().map(|(at, _)| *at);
        let mut mail = tokio::select! {
            mail = mails.recv() => match (mail, later.pop_front()) {
                (Some(mail), first) => {
                    if let Some(first) = first {
                        later.push_front(first);
                    }
                    mail
                }
                // The director stops: each gets a last try.
                (None, Some((_, mail))) => Mail { tries: MAX_TRIES - 1, ..mail },
                (None, None) => return,
            },
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                match later.pop_front() {
                    Some((_, mail)) => mail,
                    None => continue,
                }
            }
        };
        let unsent = match tokio::time::timeout(DEADLINE, send(&mail)).await {
            Ok(Ok(())) => continue,
            Ok(Err(unsent)) => unsent,
            Err(_) => Unsent { why: format!("not done within {} s", DEADLINE.as_secs()), refused: false },
        };
        mail.tries += 1;
        let wait = first_wait * 2u32.pow(mail.tries.min(16) - 1);
        if unsent.refused || mail.tries >= MAX_TRIES || later.len() >= MAX_QUEUE {
            log.log(&format!("failed to send email message: {}: given up: {}", unsent.why, mail.subject));
        } else {
            log.log(&format!("failed to send email message: {}: again in {wait:?}", unsent.why));
            later.push_back((Instant::now() + wait, mail));
        }
    }
}

async fn send(mail: &Mail) -> Result<(), Unsent> {
    let from = mail.from.clone().unwrap_or_else(|| format!("root@{}", host()));
    let to: Vec<&str> = mail.alert.to.split(',').map(str::trim).filter(|t| !t.is_empty()).collect();
    let text = message(&from, &to, &mail.subject, &mail.body);
    let text = text.map_err(|e| Unsent { why: e.to_string(), refused: true })?;
    match &mail.alert.smtp_host {
        Some(server) => smtp(server, address(&from), &to, &text).await.map_err(|e| Unsent {
            refused: matches!(&e, mail_send::Error::UnexpectedReply(reply) if reply.code >= 500),
            why: format!("{server}: {e}"),
        }),
        None => local_mailer(address(&from), &text).await.map_err(|why| Unsent { why, refused: false }),
    }
}

/// A mail server by name or address, on port 25 unless it says `HOST:PORT`; no TLS and no login, as the original.
async fn smtp(server: &str, from: &str, to: &[&str], text: &[u8]) -> mail_send::Result<()> {
    let stream = TcpStream::connect(endpoint(server)).await?;
    let mut client = SmtpClient { stream, timeout: DEADLINE };
    client.read().await?.assert_positive_completion()?;
    if client.ehlo(&host()).await.is_err() {
        client.cmd(format!("HELO {}\r\n", host())).await?.assert_positive_completion()?;
    }
    client.mail_from(from, &Parameters::default()).await?;
    for recipient in to {
        client.rcpt_to(address(recipient), &Parameters::default()).await?;
    }
    client.data(text).await?;
    // The message is theirs now.
    let _ = client.quit().await;
    Ok(())
}

fn endpoint(server: &str) -> (&str, u16) {
    match server.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
        // A bare IPv6 address has colons, but no port.
        Some((host, Ok(port))) if !host.contains(':') || host.ends_with(']') => {
            (host.trim_start_matches('[').trim_end_matches(']'), port)
        }
        _ => (server.trim_start_matches('[').trim_end_matches(']'), 25),
    }
}

/// sendmail's interface: recipients from the headers, a dot is no end.
async fn local_mailer(from: &str, text: &[u8]) -> Result<(), String> {
    let mut command = Command::new("/usr/sbin/sendmail");
    command.args(["-i", "-t", "-f", from]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.kill_on_drop(true).spawn().map_err(|e| format!("/usr/sbin/sendmail: {e}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // What goes through a pipe has the lines of this system.
        let lines = String::from_utf8_lossy(text).replace("\r\n", "\n");
        stdin.write_all(lines.as_bytes()).await.map_err(|e| format!("/usr/sbin/sendmail: {e}"))?;
    }
    match child.wait().await {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("/usr/sbin/sendmail: {status}")),
        Err(e) => Err(format!("/usr/sbin/sendmail: {e}")),
    }
}

/// The address within `Name <address>`.
fn address(text: &str) -> &str {
    match text.rsplit_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or(rest).trim(),
        None => text.trim(),
    }
}

/// The name in front of `<address>`.
fn name(text: &str) -> Option<&str> {
    let name = text.rsplit_once('<')?.0.trim().trim_matches('"');
    Some(name).filter(|n| !n.is_empty())
}

/// RFC 5322 with MIME; lines end in CR LF.
fn message(from: &str, to: &[&str], subject: &str, body: &str) -> std::io::Result<Vec<u8>> {
    let one_line = |text: &str| text.replace(['\r', '\n'], " ");
    let mailbox = |text: &str| Address::new_address(name(text).map(one_line), one_line(address(text)));
    MessageBuilder::new()
        .from(mailbox(from))
        .to(Address::new_list(to.iter().map(|t| mailbox(t)).collect()))
        .subject(one_line(subject))
        .text_body(body)
        .write_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_stay_headers() {
        let text = message("A <a@b>", &["c@d", "e@f"], "gr\u{fc}n\nBcc: x", "one\n.two\n").unwrap();
        let text = String::from_utf8(text).unwrap();
        let (headers, body) = text.split_once("\r\n\r\n").unwrap();
        let unfolded = headers.replace("\r\n\t", " ").replace("\r\n ", " ");
        let find = |name: &str| unfolded.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(find("From: "), "\"A\" <a@b>");
        assert_eq!(find("To: "), "<c@d>, <e@f>");
        assert!(find("Subject: ").starts_with("=?utf-8?"), "{text}");
        assert!(!unfolded.lines().any(|l| l.starts_with("Bcc")), "{text}");
        assert!(find("Date: ").len() > 20 && find("Message-ID: ").contains('@'));
        assert_eq!(body.trim_end(), "one\r\n.two");
        assert_eq!(
            (address("A <a@b>"), address(" c@d "), name("A <a@b>"), name("c@d")),
            ("a@b", "c@d", Some("A"), None)
        );
    }

    #[test]
    fn mail_servers_by_name_and_address() {
        assert_eq!(endpoint("mail"), ("mail", 25));
        assert_eq!(endpoint("mail:2525"), ("mail", 2525));
        assert_eq!(endpoint("2001:db8::25"), ("2001:db8::25", 25));
        assert_eq!(endpoint("[2001:db8::25]:26"), ("2001:db8::25", 26));
    }
}
