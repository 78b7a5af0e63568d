//! Likely mistakes in a configuration that is valid: what `check` warns of.

use super::problem::{Deviation, Problem, Severity};
use super::types::*;
use std::collections::BTreeMap;
use std::path::Path;

/// What to say of Oracle's protocol, for which no free client library exists.
pub const NO_ORACLE_CHECK: &str =
    "there is no check for service = oracle: use checktype = external with a command that logs in, or connect";

pub fn lint(config: &Config) -> Vec<Problem> {
    let mut found = Vec::new();
    for v in &config.virtuals {
        checks(v, &mut found);
        cannot_fail_or_succeed(v, &mut found);
        receive(v, &mut found);
        reals(v, &mut found);
        ports(v, &mut found);
        tls(v, &mut found);
        requests(v, &mut found);
    }
    found
}

fn warn(found: &mut Vec<Problem>, line: u32, deviation: Option<Deviation>, what: String, expected: &str, cure: &str) {
    found.push(Problem {
        severity: Severity::Warning,
        line,
        column: 1,
        found: what,
        expected: expected.to_owned(),
        cure: cure.to_owned(),
        deviation,
    });
}

fn negotiates(v: &Virtual) -> bool {
    matches!(v.check_type, CheckType::Negotiate | CheckType::Combined(_))
}

fn checks(v: &Virtual, found: &mut Vec<Problem>) {
    let id = service_id(&v.key);
    if negotiates(v) && v.service == ServiceProtocol::Oracle {
        let what = format!("{id}: service = oracle");
        warn(found, v.line_of("service"), None, what, "its real servers stay down", NO_ORACLE_CHECK);
    }
    if negotiates(v) {
        sql(v, found);
    }
    if v.sql_tls && !matches!(v.service, ServiceProtocol::Mysql | ServiceProtocol::Pgsql) {
        let what = format!("{id}: sqltls with service = {}", v.service.name());
        warn(found, v.line_of("sqltls"), None, what, "it acts with mysql and pgsql only", "");
    }
    if let Some(source) = v.source_addr
        && let Some(real) = v.reals.iter().find(|r| r.addr.is_ipv4() != source.is_ipv4())
    {
        let what = format!("{id}: sourceaddress = {source}");
        warn(found, real.line, None, what, "an address of the real server's family; it stays down", "");
    }
    if negotiates(v) && v.service == ServiceProtocol::None {
        warn(
            found,
            v.line_of("service"),
            None,
            format!("{id}: service = none"),
            "every real server counts as up without a check",
            "set service= or checktype = connect",
        );
    }
    let needs_port = matches!(v.check_type, CheckType::Connect | CheckType::Combined(_))
        || negotiates(v) && v.service != ServiceProtocol::None;
    if needs_port && let Some(real) = v.reals.iter().find(|r| v.port_to_check(r) == 0) {
        let cure = "give the real a port, or set checkport";
        warn(
            found,
            real.line,
            Some(Deviation::CheckNeedsPort),
            format!("{id}: {} has no port to check", real.addr),
            "it stays down",
            cure,
        );
    }
    if v.service == ServiceProtocol::HttpProxy
        && v.virtual_host.is_none()
        && v.reals.iter().any(|r| absolute_url(&r.request).is_none())
        && negotiates(v)
    {
        warn(
            found,
            v.line_of("request"),
            None,
            format!("{id}: request is not an absolute URL"),
            "a proxy needs one",
            "write request = \"http://HOST/PATH\", or name the host in virtualhost",
        );
    }
    if v.check_timeout_ms >= v.check_interval_ms.saturating_mul(6) {
        warn(
            found,
            v.line_of("checktimeout"),
            None,
            format!("{id}: checktimeout {:?}", std::time::Duration::from_millis(v.check_timeout_ms.into())),
            "a hung server is noticed only after it",
            "",
        );
    }
    if v.reals.is_empty() {
        warn(found, v.line, None, format!("{id} has no real server"), "only a fallback can answer", "");
    }
}

/// Checks whose verdict does not depend on the server.
fn cannot_fail_or_succeed(v: &Virtual, found: &mut Vec<Problem>) {
    let id = service_id(&v.key);
    let external = matches!(v.check_type, CheckType::External | CheckType::ExternalPerl);
    if external && v.check_command == "/bin/true" {
        let (what, line) = (format!("{id}: checktype = {} without a command", v.check_type), v.line_of("checktype"));
        warn(found, line, None, what, "every real server counts as up, whatever happens", "set checkcommand");
    } else if external {
        let whole = Path::new(&v.check_command);
        let first = v.check_command.split_whitespace().next().map(Path::new);
        let there = whole.exists() || first.is_some_and(|program| !program.is_absolute() || program.exists());
        if !there {
            let what = format!("{id}: checkcommand = {}", v.check_command);
            warn(found, v.line_of("checkcommand"), None, what, "there is no such file: the real servers stay down", "");
        }
    }
    if negotiates(v) && v.service == ServiceProtocol::Radius && v.secret.is_empty() {
        let what = format!("{id}: service = radius without secret");
        warn(
            found,
            v.line_of("service"),
            None,
            what,
            "no server answers it: the real servers stay down",
            "set secret, login, passwd",
        );
    }
    let http = matches!(v.service, ServiceProtocol::Http | ServiceProtocol::Https);
    let mut said = false;
    for real in v.reals.iter().filter(|_| http && negotiates(v)) {
        let Some(url) = absolute_url(&real.request) else { continue };
        let tls = url.starts_with("https://");
        let named = url.split_once("://").map(|(_, rest)| rest.split(['/', '?']).next().unwrap_or_default());
        let port = named.and_then(|n| n.rsplit_once(':')).and_then(|(_, port)| port.parse::<u16>().ok());
        let standard = if tls { 443 } else { 80 };
        let (checked, other_scheme) = (v.port_to_check(real), tls != (v.service == ServiceProtocol::Https));
        if !said && (port.is_some_and(|p| p != checked) || other_scheme && port.is_none() && checked != standard) {
            said = true;
            let what = format!("{id}: request = \"{url}\"");
            let scheme = if tls { "with TLS" } else { "without TLS" };
            let expected = format!("it gives path and Host; asked is {}:{checked}, {scheme}", bracketed(real.addr));
            warn(found, real.line.max(v.line_of("request")), None, what, &expected, "set checkport for another port");
        }
    }
}

/// A database is asked by a login for a row; what the row says does not matter.
fn sql(v: &Virtual, found: &mut Vec<Problem>) {
    if !matches!(v.service, ServiceProtocol::Mysql | ServiceProtocol::Pgsql) {
        return;
    }
    let what = format!("{}: service = {}", service_id(&v.key), v.service.name());
    if v.login.is_empty() || v.reals.iter().any(|r| r.request == "/") {
        let cure = "set login, passwd, database and a request such as \"SELECT 1\"";
        warn(found, v.line, None, what, "a login and a request; without them the real servers stay down", cure);
    } else if v.reals.iter().any(|r| !r.receive.is_empty()) {
        warn(found, v.line, None, what, "receive is not looked at: any row will do", "let the request select by it");
    }
}

/// `receive` is matched on the body of an HTTP answer, never on its status line or headers.
fn receive(v: &Virtual, found: &mut Vec<Problem>) {
    let http = matches!(v.service, ServiceProtocol::Http | ServiceProtocol::Https | ServiceProtocol::HttpProxy);
    if !http || !negotiates(v) {
        return;
    }
    let mut said = None;
    for real in &v.reals {
        if said.as_ref() != Some(&real.receive) && only_in_header(&real.receive) {
            let what = format!("{}: receive = \"{}\"", service_id(&v.key), real.receive);
            let cure = "remove receive (status 2xx is required anyway) or give text of the page";
            warn(
                found,
                real.line,
                None,
                what,
                "looks for a status line or header, but only the body is searched: the servers will be down",
                cure,
            );
            said = Some(real.receive.clone());
        }
        if v.http_method == HttpMethod::Head && !real.receive.is_empty() && said.as_ref() != Some(&real.receive) {
            warn(
                found,
                real.line,
                None,
                format!("{}: receive with httpmethod = HEAD", service_id(&v.key)),
                "HEAD has no body to match",
                "use GET",
            );
            said = Some(real.receive.clone());
        }
    }
}

fn only_in_header(receive: &str) -> bool {
    let text = receive.trim_start_matches('^').to_ascii_lowercase();
    let status = text.starts_with("http/") && text.len() < 40;
    let header = ["server:", "content-type:", "content-length:", "location:", "date:", "connection:", "set-cookie:"];
    status || header.iter().any(|h| text.starts_with(h))
}

fn reals(v: &Virtual, found: &mut Vec<Problem>) {
    let mut seen = BTreeMap::new();
    for real in &v.reals {
        let key = v.dest_key(real.addr, real.port, real.forward);
        if let Some(first) = seen.insert(key, real.line) {
            let what = format!("{}: {} again (first on line {first})", service_id(&v.key), service_label_of(key));
            warn(
                found,
                real.line,
                Some(Deviation::DuplicateReal),
                what,
                "one destination of the table",
                "the last line counts",
            );
        }
        if v.is_itself(&key) {
            let what = format!("{}: {} is the service itself", service_id(&v.key), service_label_of(key));
            let expected = "a server's own address; checks and clients' packets go round in circles";
            warn(found, real.line, None, what, expected, "");
        }
        if v.protocol().is_some() && real.forward != Method::Masq && real.port != 0 && real.port != v.port() {
            let what = format!("{}: port {} of {}", service_id(&v.key), real.port, real.addr);
            warn(
                found,
                real.line,
                None,
                what,
                "gate and ipip cannot change the port: the virtual's is used",
                "use masq to change ports",
            );
        }
    }
}

/// Ports on which nobody is, or somebody else.
fn ports(v: &Virtual, found: &mut Vec<Problem>) {
    let id = service_id(&v.key);
    if v.protocol().is_some() && v.port() == 0 && v.persistent_s.is_none() {
        let expected = "a port: the kernel serves all ports only with persistence, and no packet comes here";
        warn(found, v.line, None, format!("{id}: port 0"), expected, "set persistent, or use fwm marks");
    }
    let standard = match v.service {
        ServiceProtocol::Http => (443, "https"),
        ServiceProtocol::Https => (80, "http"),
        _ => return,
    };
    if negotiates(v)
        && let Some(real) = v.reals.iter().find(|r| v.port_to_check(r) == standard.0)
    {
        let what = format!("{id}: service = {} at port {} of {}", v.service.name(), standard.0, real.addr);
        let cure = format!("service = {}, or checkport", standard.1);
        warn(found, v.line_of("service").max(v.line), None, what, "the other protocol is usual there", &cure);
    }
    if let Some(fallback) = v.fallback.as_ref().filter(|f| v.is_itself(&v.dest_key(f.addr, f.port, f.forward))) {
        let what = format!("{id}: fallback = {}", bracketed(fallback.addr));
        let expected = "another address: it is the service itself, and clients' packets go round in circles";
        warn(found, v.line_of("fallback"), None, what, expected, "");
    }
}

/// What certificates are to be verified by is looked at where a check speaks TLS.
fn tls(v: &Virtual, found: &mut Vec<Problem>) {
    use ServiceProtocol as S;
    let id = service_id(&v.key);
    let speaks = match v.service {
        S::Https | S::Http2 | S::HttpProxy | S::Imaps | S::Ldaps | S::Pops => true,
        S::Mysql | S::Pgsql => v.sql_tls,
        // By a URL in the request, or where a redirect leads.
        S::Http => true,
        _ => false,
    };
    if v.tls_verify && !(negotiates(v) && speaks) {
        let what = format!("{id}: tlsverify with service = {}", v.service.name());
        warn(found, v.line_of("tlsverify"), None, what, "this check speaks no TLS: nothing is verified", "");
    }
    if let Some(file) = v.tls_ca_file.as_ref().filter(|f| !f.exists()) {
        let what = format!("{id}: tlscafile = {}", file.display());
        warn(found, v.line_of("tlscafile"), None, what, "there is no such file: the real servers stay down", "");
    }
}

/// A request is a path or a URL, not a line of the protocol.
fn requests(v: &Virtual, found: &mut Vec<Problem>) {
    let http = matches!(v.service, ServiceProtocol::Http | ServiceProtocol::Https | ServiceProtocol::Http2);
    let typed = |r: &&Real| ["GET ", "HEAD ", "POST "].iter().any(|m| r.request.trim_start_matches('/').starts_with(m));
    if http
        && negotiates(v)
        && let Some(real) = v.reals.iter().find(typed)
    {
        let (what, line) = (format!("{}: request = \"{}\"", service_id(&v.key), real.request), v.line_of("request"));
        warn(found, line.max(real.line), None, what, "a path such as \"/alive.html\"", "httpmethod sets the method");
    }
}

fn service_label_of(key: base::ipvs::DestKey) -> String {
    format!("{}:{}", bracketed(key.addr), key.port)
}
