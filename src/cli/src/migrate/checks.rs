//! Keepalived's checkers, as directives of a `virtual`.

use super::blocks::Stmt;
use super::report::Report;
use crate::appliance::cf;

/// What a checker becomes; the first of a virtual's servers decides, others have to agree with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    pub lines: Vec<(&'static str, String)>,
}

/// Values of the virtual server that its checkers start from.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    pub retry: Option<u32>,
    pub timeout: Option<String>,
    pub virtual_host: Option<String>,
}

const DEFAULT_TIMEOUT_S: &str = "5";
/// Of no use here: checks are spread by themselves, and every failure is in the log.
const SPREAD: [&str; 4] = ["warmup", "log_all_failures", "fast_recovery", "alpha"];

/// Whether this is a checker.
pub fn is(keyword: &str) -> bool {
    keyword.ends_with("_CHECK") || matches!(keyword, "HTTP_GET" | "SSL_GET")
}

/// Seconds with a fraction, as a director's file has them; `None` where it is no time.
pub fn seconds(text: &str) -> Option<String> {
    let ms = (text.parse::<f64>().ok()?.clamp(0.0, 1e6) * 1000.0).round() as u64;
    Some(match ms {
        0 => "1".to_owned(),
        ms if ms % 1000 == 0 => (ms / 1000).to_string(),
        ms => format!("{}ms", ms.max(100)),
    })
}

pub fn check(stmt: &Stmt, defaults: &Defaults, report: &mut Report) -> Option<Check> {
    let mut check = Check::default();
    let known = match stmt.keyword() {
        "TCP_CHECK" => {
            check.set("checktype", "connect");
            report.maps(&stmt.at, &stmt.shown(), "checktype = connect");
            true
        }
        "PING_CHECK" => {
            check.set("checktype", "ping");
            report.maps(&stmt.at, &stmt.shown(), "checktype = ping");
            true
        }
        "HTTP_GET" | "SSL_GET" => http(stmt, defaults, &mut check, report),
        "SMTP_CHECK" => {
            check.negotiate("smtp");
            report.maps(&stmt.at, &stmt.shown(), "checktype = negotiate, service = smtp");
            true
        }
        "DNS_CHECK" => dns(stmt, &mut check, report),
        "MISC_CHECK" => misc(stmt, &mut check, report),
        "UDP_CHECK" => {
            check.set("checktype", "ping");
            let why = "checktype = ping: whether the host answers; for the service itself write a program and use checktype = external";
            report.differs(&stmt.at, &stmt.shown(), why);
            true
        }
        other => {
            let why = match other {
                "BFD_CHECK" => "there is no check by BFD: use checktype = ping or connect",
                "FILE_CHECK" => "there is no check by a file: use checktype = external, or agentport for weights",
                _ => "not known as a checker",
            };
            report.cannot(&stmt.at, &stmt.shown(), why);
            false
        }
    };
    known.then(|| {
        common(stmt, defaults, &mut check, report);
        check
    })
}

impl Check {
    fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.lines.push((name, value.into()));
    }

    fn negotiate(&mut self, service: &str) {
        self.set("checktype", "negotiate");
        self.set("service", service);
    }

    fn has(&self, name: &str) -> bool {
        self.lines.iter().any(|(n, _)| *n == name)
    }
}

/// Options that most checkers have, and those that were read by the checker's own reader.
fn common(stmt: &Stmt, defaults: &Defaults, check: &mut Check, report: &mut Report) {
    let mut retry = defaults.retry;
    let mut timeout = defaults.timeout.clone();
    // SMTP_CHECK of older files has the place to connect to in a block of its own.
    let hosts: Vec<&Stmt> = stmt.children("host").collect();
    if hosts.len() > 1 {
        report.cannot(&hosts[1].at, &hosts[1].shown(), "one place is checked: the first");
    }
    for s in stmt.body().iter().chain(hosts.iter().flat_map(|h| h.body())) {
        let shown = s.shown();
        match s.keyword() {
            "connect_port" if !check.has("checkport") => {
                check.set("checkport", s.value());
                report.maps(&s.at, &shown, format!("checkport = {}", s.value()));
            }
            "bindto" => {
                check.set("sourceaddress", s.value());
                report.maps(&s.at, &shown, format!("sourceaddress = {}", s.value()));
            }
            "connect_timeout" | "misc_timeout" => match seconds(s.value()) {
                Some(value) => {
                    report.maps(&s.at, &shown, format!("checktimeout = {value}"));
                    timeout = Some(value);
                }
                None => report.cannot(&s.at, &shown, "expected seconds"),
            },
            "nb_get_retry" if !matches!(stmt.keyword(), "HTTP_GET" | "SSL_GET") => {
                report.differs(
                    &s.at,
                    &shown,
                    "left out: keepalived knows it in HTTP_GET and SSL_GET only, and ignores it here as well",
                );
            }
            "retry" | "nb_get_retry" => match s.value().parse() {
                Ok(n) => {
                    retry = Some(n);
                    let why = format!(
                        "failurecount = {}: failed checks in a row, each checkinterval apart",
                        n.saturating_add(1)
                    );
                    report.differs(&s.at, &shown, why);
                }
                Err(_) => report.cannot(&s.at, &shown, "expected a number"),
            },
            "delay_before_retry" => report.differs(&s.at, &shown, "left out: the next check comes after checkinterval"),
            "delay_loop" => report.differs(&s.at, &shown, "left out: the interval is the virtual service's"),
            "connect_ip" => report.cannot(
                &s.at,
                &shown,
                "checks go to the server itself: use checktype = external for another address",
            ),
            "bind_port" | "bind_if" | "fwmark" => {
                report.cannot(&s.at, &shown, "checks come from a free port, without a mark")
            }
            "helo_name" => report.differs(&s.at, &shown, "left out: the check greets with the host's own name"),
            name if SPREAD.contains(&name) => {
                report.differs(&s.at, &shown, "left out: checks are spread and logged anyway")
            }
            "host" | "url" | "type" | "name" | "misc_path" | "user" | "misc_dynamic" | "virtualhost"
            | "http_protocol" | "enable_sni" | "payload" | "require_reply" | "min_reply_length"
            | "max_reply_length" | "connect_port" => {}
            _ => report.cannot(&s.at, &shown, "not known within this checker"),
        }
    }
    finish(stmt, retry, timeout, check, report);
}

/// What stands whether it was said or not.
fn finish(stmt: &Stmt, retry: Option<u32>, timeout: Option<String>, check: &mut Check, report: &mut Report) {
    if stmt.keyword() == "UDP_CHECK" {
        for s in stmt.body().iter().filter(|s| s.keyword().contains("reply") || s.keyword() == "payload") {
            report.cannot(&s.at, &s.shown(), "needs a program of yours (checktype = external)");
        }
    }
    let retry = retry.unwrap_or(match stmt.keyword() {
        "MISC_CHECK" => 0,
        "DNS_CHECK" => 3,
        _ => 1,
    });
    let timeout = timeout.unwrap_or_else(|| DEFAULT_TIMEOUT_S.to_owned());
    if check.lines.iter().any(|(n, v)| *n == "checktype" && v == "negotiate") {
        check.set("negotiatetimeout", &timeout);
    }
    check.set("checktimeout", timeout);
    check.set("failurecount", retry.saturating_add(1).to_string());
}

fn http(stmt: &Stmt, defaults: &Defaults, check: &mut Check, report: &mut Report) -> bool {
    let service = if stmt.keyword() == "SSL_GET" { "https" } else { "http" };
    check.negotiate(service);
    report.maps(&stmt.at, &stmt.shown(), format!("checktype = negotiate, service = {service}"));
    let mut host = defaults.virtual_host.clone();
    for s in stmt.body() {
        match s.keyword() {
            "virtualhost" => {
                host = Some(s.value().to_owned());
                report.maps(&s.at, &s.shown(), "virtualhost");
            }
            "enable_sni" => report.maps(&s.at, &s.shown(), "the name is always sent"),
            "http_protocol" => report.differs(&s.at, &s.shown(), "left out: checks speak HTTP/1.1"),
            _ => {}
        }
    }
    let mut urls = stmt.children("url");
    let Some(first) = urls.next() else {
        report.differs(&stmt.at, &stmt.shown(), "no url: the request is /");
        check.set("request", "\"/\"");
        finish_host(check, host);
        return true;
    };
    for more in urls {
        report.cannot(
            &more.at,
            &more.child("path").map_or_else(|| more.shown(), Stmt::shown),
            "one request for each virtual service: the first url",
        );
    }
    url(first, check, &mut host, report);
    finish_host(check, host);
    true
}

fn finish_host(check: &mut Check, host: Option<String>) {
    check.lines.extend(host.map(|h| ("virtualhost", h)));
}

fn url(url: &Stmt, check: &mut Check, host: &mut Option<String>, report: &mut Report) {
    report.maps(&url.at, &url.shown(), "request, receive");
    if url.child("path").is_none() {
        check.set("request", "\"/\"");
    }
    for s in url.body() {
        let shown = s.shown();
        match s.keyword() {
            "path" => match cf::quoted(s.value()).filter(|_| !s.value().is_empty()) {
                Some(path) => {
                    report.maps(&s.at, &shown, format!("request = {path}"));
                    check.set("request", path);
                }
                None => report.cannot(&s.at, &shown, "no path that a file can hold in quotes"),
            },
            "status_code" => status(s, report),
            "digest" => report.cannot(&s.at, &shown, "a page is told by a pattern in it: receive = \"…\""),
            "virtualhost" => {
                *host = Some(s.value().to_owned());
                report.maps(&s.at, &shown, format!("virtualhost = {}", s.value()));
            }
            "regex" if url.child("regex_no_match").is_some() => {
                report.cannot(
                    &s.at,
                    &shown,
                    "a pattern that must not be found: (?!…) patterns, or checktype = external",
                );
            }
            "regex" => match cf::quoted(s.value()) {
                Some(text) => {
                    report.maps(&s.at, &shown, format!("receive = {text}"));
                    check.set("receive", text);
                }
                None => report.cannot(&s.at, &shown, "no pattern that a file can hold in quotes"),
            },
            "regex_no_match" => report.cannot(&s.at, &shown, "see regex"),
            "regex_options" | "regex_stack" | "regex_min_offset" | "regex_max_offset" => {
                report.cannot(&s.at, &shown, "options stand in the pattern itself, like (?i)");
            }
            _ => report.cannot(&s.at, &shown, "not known within url"),
        }
    }
}

/// Good is 2xx.
fn status(stmt: &Stmt, report: &mut Report) {
    let good = |word: &String| {
        let (low, high) = word.split_once('-').unwrap_or((word, word));
        [low, high].iter().all(|w| w.parse::<u16>().is_ok_and(|code| (200..300).contains(&code)))
    };
    match stmt.rest() {
        [one] if one == "200-299" => report.maps(&stmt.at, &stmt.shown(), "any status of 2xx is good"),
        all if !all.is_empty() && all.iter().all(good) => {
            report.differs(&stmt.at, &stmt.shown(), "any status of 2xx is good");
        }
        _ => report.cannot(
            &stmt.at,
            &stmt.shown(),
            "good is a status of 2xx (redirects = accept takes redirects as well)",
        ),
    }
}

fn dns(stmt: &Stmt, check: &mut Check, report: &mut Report) -> bool {
    check.negotiate("dns");
    report.maps(&stmt.at, &stmt.shown(), "checktype = negotiate, service = dns");
    let kind = stmt.child("type").map(|s| s.value().to_uppercase());
    let name = stmt.child("name").map(Stmt::value).filter(|n| *n != ".");
    match name {
        Some(name) => {
            check.set("request", cf::quoted(name).unwrap_or_default());
            if let Some(s) = stmt.child("name") {
                report.maps(&s.at, &s.shown(), format!("request = \"{name}\""));
            }
            match kind.as_deref() {
                Some("A" | "AAAA") => {}
                _ => {
                    let at = stmt.child("type").unwrap_or(stmt);
                    report.differs(&at.at, &at.shown(), "the name is asked for its A and AAAA records");
                }
            }
        }
        None => report.differs(&stmt.at, &stmt.shown(), "without a name the root's name servers (NS) are asked for"),
    }
    true
}

/// Its arguments are ours, then what keepalived has not: address and port of the service and of the server.
fn misc(stmt: &Stmt, check: &mut Check, report: &mut Report) -> bool {
    let Some(path) = stmt.child("misc_path") else {
        report.cannot(&stmt.at, &stmt.shown(), "without misc_path there is nothing to run");
        return false;
    };
    let command = path.rest().join(" ");
    let Some(quoted) = cf::quoted(&command).filter(|_| !command.is_empty()) else {
        report.cannot(&path.at, &path.shown(), "no command that a file can hold in quotes: put it into a script");
        return false;
    };
    check.set("checktype", "external");
    check.set("checkcommand", quoted);
    let why = "checktype = external: behind its arguments come the service's address and port and the server's; exit code 0 is up";
    report.differs(&path.at, &path.shown(), why);
    for s in stmt.body() {
        match s.keyword() {
            "misc_dynamic" => {
                report.cannot(&s.at, &s.shown(), "weights by exit code: let the server tell them (agentport)")
            }
            "user" => report.cannot(&s.at, &s.shown(), "checks run as root: change the user in the script"),
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_keepalived_are_times_of_a_director() {
        for (text, is) in [("3", "3"), ("0.5", "500ms"), ("2.5", "2500ms"), ("0", "1"), ("0.01", "100ms")] {
            assert_eq!(seconds(text).as_deref(), Some(is));
        }
        assert_eq!(seconds("x"), None);
    }
}
