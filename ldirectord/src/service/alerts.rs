//! E-mail alerts: off the check path, by SMTP to the configured host or by the local mailer.

use super::log::Logger;
use crate::checks::send_mail;
use crate::config::{Alert, AlertStatus, Virtual};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::mpsc;

/// Alerts that wait to be sent; more are dropped with a log line.
const MAX_QUEUE: usize = 1_000;
const DEADLINE: Duration = Duration::from_secs(30);

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
}

pub struct Alerts {
    queue: mpsc::Sender<Mail>,
    logger: Logger,
}

impl Alerts {
    pub fn start(logger: Logger) -> Alerts {
        let (queue, mut mails) = mpsc::channel::<Mail>(MAX_QUEUE);
        let log = logger.clone();
        tokio::spawn(async move {
            while let Some(mail) = mails.recv().await {
                let sent = tokio::time::timeout(DEADLINE, send(&mail)).await;
                let why = match sent {
                    Ok(Ok(())) => continue,
                    Ok(Err(why)) => why,
                    Err(_) => format!("not done within {} s", DEADLINE.as_secs()),
                };
                log.log(&format!("failed to send email message: {why}"));
            }
        });
        Alerts { queue, logger }
    }

    /// Tells the recipients of a virtual service what happened, if they want to know in this phase.
    pub fn tell(&self, v: &Virtual, from: Option<&str>, phase: Phase, text: &str) {
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
        if let Some(name) = &v.service_name {
            body.push_str(&format!("\nService name: {name}\n"));
        }
        if let Some(comment) = &v.comment {
            body.push_str(&format!("Comment: {comment}\n"));
        }
        let mail = Mail { alert: v.alert.clone(), from: from.map(str::to_owned), subject, body };
        if self.queue.try_send(mail).is_err() {
            self.logger.log("failed to send email message: too many wait");
        }
    }
}

fn host() -> String {
    nix::unistd::gethostname().ok().and_then(|h| h.into_string().ok()).unwrap_or_else(|| "localhost".to_owned())
}

async fn send(mail: &Mail) -> Result<(), String> {
    let from = mail.from.clone().unwrap_or_else(|| format!("root@{}", host()));
    let to: Vec<&str> = mail.alert.to.split(',').map(str::trim).filter(|t| !t.is_empty()).collect();
    let text = message(&from, &to, &mail.subject, &mail.body);
    match &mail.alert.smtp_host {
        Some(smtp) => {
            let recipients: Vec<&str> = to.iter().map(|t| address(t)).collect();
            send_mail(smtp, &host(), address(&from), &recipients, &text).await.map_err(|e| format!("{smtp}: {e}"))
        }
        None => local_mailer(address(&from), &text).await,
    }
}

/// sendmail's interface: recipients from the headers, a dot is no end.
async fn local_mailer(from: &str, text: &str) -> Result<(), String> {
    let mut command = Command::new("/usr/sbin/sendmail");
    command.args(["-i", "-t", "-f", from]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.kill_on_drop(true).spawn().map_err(|e| format!("/usr/sbin/sendmail: {e}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(text.as_bytes()).await.map_err(|e| format!("/usr/sbin/sendmail: {e}"))?;
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

/// RFC 5322, in UTF-8; a line break cannot get into a header.
fn message(from: &str, to: &[&str], subject: &str, body: &str) -> String {
    let one_line = |text: &str| text.replace(['\r', '\n'], " ");
    let date = jiff::Zoned::now().strftime("%a, %d %b %Y %H:%M:%S %z");
    format!(
        "Date: {date}\r\nFrom: {}\r\nTo: {}\r\nSubject: {}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\n{}",
        one_line(from),
        one_line(&to.join(", ")),
        encoded(&one_line(subject)),
        body.replace("\r\n", "\n").replace('\n', "\r\n")
    )
}

/// RFC 2047 for a subject that is not plain ASCII.
fn encoded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".,:/()[]".contains(&b);
    let words = text.split(' ').map(|word| {
        if word.is_ascii() {
            return word.to_owned();
        }
        let bytes = word.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("={b:02X}") });
        format!("=?UTF-8?Q?{}?=", bytes.collect::<String>())
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_stay_headers() {
        let text = message("A <a@b>", &["c@d", "e@f"], "gr\u{fc}n\nBcc: x", "one\ntwo\n");
        assert!(text.contains("\r\nTo: c@d, e@f\r\nSubject: =?UTF-8?Q?gr=C3=BCn?= Bcc: x\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\none\r\ntwo\r\n"));
        assert_eq!((address("A <a@b>"), address(" c@d ")), ("a@b", "c@d"));
    }
}
