//! The rows: what a server does, which verdict is right, and why the original's is not where it differs.

use super::Row;
use super::servers::{Step, a_record, asked, dns, dns_cut_off_over_udp, drip, pieces, record, say, tcp, udp};
use crate::fixture::{Daemon, V4, certificates, free_port};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

/// For servers that never finish.
const SOON: &str = "\nnegotiatetimeout=3\nchecktimeout=3";

pub fn rows(d: &mut Daemon) -> Vec<Row> {
    let mut rows = http_answers();
    rows.extend(http_places());
    rows.extend(https(d));
    rows.extend(mail());
    rows.extend(files_and_news());
    rows.extend(simple_dialogues());
    rows.extend(datagrams());
    rows.extend(connections_and_scripts(d));
    rows
}

fn row(what: &'static str, port: u16, directives: impl Into<String>, up: bool) -> Row {
    Row { what, port, directives: directives.into(), up, differs: "" }
}

impl Row {
    fn differs(self, why: &'static str) -> Row {
        Row { differs: why, ..self }
    }
}

const ALIVE: &str = "service=http\nrequest=\"/\"\nreceive=\"alive\"";

/// A server that answers a request by these bytes.
fn answers(bytes: impl AsRef<[u8]>) -> u16 {
    tcp(vec![Step::HearRequest, say(bytes)])
}

fn ok(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}")
}

fn http_answers() -> Vec<Row> {
    let headers: String = (0..120).map(|n| format!("X-{n}: {n}\r\n")).collect();
    let plain = |what, bytes: &str, up| row(what, answers(bytes), ALIVE, up);
    let no_pattern = |what, bytes: &str, up| row(what, answers(bytes), "service=http\nrequest=\"/\"", up);
    let held = |what, steps: Vec<Step>, up| row(what, tcp(steps), format!("{ALIVE}{SOON}"), up);
    vec![
        plain("http: a plain answer", &ok("Content-Length: 5\r\n", "alive"), true),
        plain("http: no length", &ok("", "alive"), true),
        plain("http: body shorter than announced", &ok("Content-Length: 500\r\n", "alive"), true),
        plain("http: body longer than announced", &ok("Content-Length: 5\r\n", "alive and more"), true),
        plain("http: pattern behind the announced length", &ok("Content-Length: 2\r\n", "x alive"), false),
        plain("http: chunks", &ok("Transfer-Encoding: chunked\r\n", "2\r\nal\r\n3\r\nive\r\n0\r\n\r\n"), true),
        plain("http: chunks break off behind the pattern", &ok("Transfer-Encoding: chunked\r\n", "ff\r\nalive"), true),
        plain("http: no chunk size", &ok("Transfer-Encoding: chunked\r\n", "zz\r\nalive\r\n0\r\n\r\n"), false),
        plain("http: 120 header lines", &ok(&headers, "alive"), true),
        plain("http: a folded header", &ok("X: a\r\n\tb\r\n", "alive"), true),
        plain("http: a header line without colon", &ok("nothing\r\n", "alive"), true),
        plain("http: line ends without CR", "HTTP/1.1 200 OK\n\nalive", true),
        plain("http: HTTP/2.0 in the status line", "HTTP/2.0 200 OK\r\n\r\nalive", true),
        plain("http: no reason", "HTTP/1.1 200\r\n\r\nalive", true),
        plain("http: 100 Continue first", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nalive", true),
        plain("http: 103 Early Hints first", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\nalive", true)
            .differs("every browser and curl read on to the final answer"),
        plain("http: HTTP/0.9", "<html>alive</html>", false)
            .differs("any text of any service would be an answer of HTTP/0.9; no web server sends it"),
        plain("http: a mail server that says alive", "220 alive ESMTP\r\n", false)
            .differs("no answer of HTTP at all: another service listens there"),
        plain("http: 401", "HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\nalive", false),
        plain("http: 404 with the pattern", "HTTP/1.1 404 Not Found\r\n\r\nalive", false),
        plain("http: 503 with the pattern", "HTTP/1.1 503 Busy\r\n\r\nalive", false),
        plain("http: another body", &ok("", "dead"), false),
        plain("http: the pattern in a header only", &ok("X: alive\r\n", "dead"), false),
        plain("http: nothing", "", false),
        no_pattern("http: 204", "HTTP/1.1 204 No Content\r\n\r\n", true),
        no_pattern("http: an announced body never came", &ok("Content-Length: 5\r\n", ""), false)
            .differs("a server that promises a body and hangs up has failed while it answered"),
        row("http: a line end in the body", answers(ok("", "one\ntwo")), "service=http\nreceive=\"one.*two\"", false),
        row("http: the pattern looks ahead", answers(ok("", "alive")), "service=http\nreceive=\"al(?=ive)\"", true),
        row("http: HEAD", answers(ok("Content-Length: 5\r\n", "")), "service=http\nhttpmethod=HEAD", true),
        row("http: 3 MB, the pattern last", answers(ok("", &format!("{}alive", "x".repeat(3 << 20)))), ALIVE, false)
            .differs("an answer is read up to 1 MiB, so that thousands of checks fit into memory; the verdict says so"),
        held("http: the connection breaks", vec![Step::HearRequest, Step::Reset], false),
        held(
            "http: an answer byte by byte",
            [vec![Step::HearRequest], drip(&ok("", "alive"), Duration::from_millis(20))].concat(),
            true,
        ),
        held(
            "http: headers, then silence",
            vec![Step::HearRequest, say(ok("Content-Length: 5\r\n", "")), Step::Hold],
            false,
        ),
        held("http: silence", vec![Step::Hold], false),
        held("http: an answer before the question", vec![say(ok("Content-Length: 5\r\n", "alive"))], true),
        held(
            "http: kept alive, whole by its length",
            vec![Step::HearRequest, say(ok("Content-Length: 5\r\n", "alive")), Step::Hold],
            true,
        ),
    ]
}

/// Who answers: the real server alone.
fn http_places() -> Vec<Row> {
    let (alive, dead) = (answers(ok("Content-Length: 5\r\n", "alive")), free_port());
    let url = |to: u16| format!("service=http\nrequest=\"http://127.0.0.1:{to}/\"\nreceive=\"alive\"");
    let redirect = |to: String| answers(format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"));
    let by_path = |first: &'static str| {
        asked(move |request| match request.starts_with("GET /there ") {
            true => ok("Content-Length: 5\r\nConnection: close\r\n", "alive"),
            false => {
                format!("HTTP/1.1 302 Found\r\nLocation: {first}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            }
        })
    };
    let host = asked(|request| match request.contains("\r\nHost: www.example.test\r\n") {
        true => ok("", "alive"),
        false => "HTTP/1.1 421 Misdirected Request\r\n\r\n".to_owned(),
    });
    let absolute = asked(|request| match request.starts_with("GET http://www.example.test/ ") {
        true => ok("", "alive"),
        false => "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(),
    });
    vec![
        row("http: dead, the URL's host lives", dead, url(alive), false),
        row("http: lives, the URL's host is dead", alive, url(dead), true),
        row("http: a redirect to its own path", by_path("/there"), ALIVE, true),
        row(
            "http: a redirect to another host, which lives",
            redirect(format!("http://localhost:{alive}/")),
            ALIVE,
            false,
        )
        .differs("the page is not this server's; ours tells the place, and `redirect` follows it where asked"),
        row("http: a redirect to itself for ever", by_path("/here"), ALIVE, false),
        row("http: the Host that virtualhost gives", host, format!("{ALIVE}\nvirtualhost=www.example.test"), true),
        row("http: another Host than it serves", host, ALIVE, false),
        row(
            "http_proxy: a page through it",
            absolute,
            "service=http_proxy\nrequest=\"http://www.example.test/\"\nreceive=\"alive\"",
            true,
        ),
        row(
            "http_proxy: refuses",
            answers("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"),
            "service=http_proxy\nrequest=\"http://www.example.test/\"",
            false,
        ),
        row(
            "http_proxy: nobody listens",
            free_port(),
            "service=http_proxy\nrequest=\"http://www.example.test/\"",
            false,
        ),
    ]
}

fn https(d: &mut Daemon) -> Vec<Row> {
    certificates(d, &["www.example.test"]);
    let mut weak = Command::new("openssl");
    weak.current_dir(d.path("")).args(["req", "-x509", "-newkey", "rsa:1024", "-nodes", "-keyout", "weak.key"]);
    weak.args(["-out", "weak.pem", "-days", "30", "-subj", "/CN=weak"]);
    d.run(weak);
    let mut server = |cert: &str, words: &str| {
        let port = free_port();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-www", "-accept", &format!("127.0.0.1:{port}")]).args(words.split_whitespace());
        command.arg("-cert").arg(d.path(&format!("{cert}.pem"))).arg("-key").arg(d.path(&format!("{cert}.key")));
        d.start(command, &[(V4, port).into()]);
        port
    };
    let page = "service=https\nrequest=\"/\"\nreceive=\"Ciphers\"";
    let chain =
        "Debian's LWP verifies the chain although the original asks for no verification: ours does with tlsverify";
    vec![
        row("https: OpenSSL's server", server("www.example.test", ""), page, true).differs(chain),
        row("https: TLS 1.2 only", server("www.example.test", "-tls1_2"), page, true).differs(chain),
        row("https: TLS 1.0 only", server("weak", "-tls1 -cipher ALL:@SECLEVEL=0"), page, true).differs(chain),
        row("https: RSA-1024", server("weak", "-cipher ALL:@SECLEVEL=0"), page, true).differs(chain),
        row("https: RSA key exchange, CBC", server("weak", "-tls1_2 -cipher AES128-SHA@SECLEVEL=0"), page, true)
            .differs(chain),
        row(
            "https: wants a client's certificate, TLS 1.3",
            server("www.example.test", "-tls1_3 -Verify 1"),
            page,
            false,
        ),
        row("https: no TLS on the port", answers(ok("", "Ciphers")), format!("{page}{SOON}"), false),
        row("https: silence", tcp(vec![Step::Hold]), format!("{page}{SOON}"), false),
    ]
}

fn mail() -> Vec<Row> {
    let smtp = |what, steps: Vec<Step>, up| row(what, tcp(steps), format!("service=smtp{SOON}"), up);
    let pop = |what, steps: Vec<Step>, up| row(what, tcp(steps), format!("service=pop{SOON}"), up);
    let imap = |what, steps: Vec<Step>, up| row(what, tcp(steps), format!("service=imap{SOON}"), up);
    let bye = || vec![Step::Hear, say("221 bye\r\n")];
    let port_143 = "the original's library goes to port 143 whatever port is given with an IPv4 address";
    let unread = "the original never looks whether the server has greeted: any open port is up";
    vec![
        smtp("smtp: 220", [vec![say("220 mx ESMTP\r\n"), Step::Hear, say("250 mx\r\n")], bye()].concat(), true),
        smtp(
            "smtp: a greeting of lines",
            [vec![say("220-mx\r\n220-no spam\r\n220 go\r\n"), Step::Hear, say("250 mx\r\n")], bye()].concat(),
            true,
        ),
        smtp(
            "smtp: a greeting in pieces",
            [pieces("22|0 mx ES|MTP\r\n"), vec![Step::Hear, say("250 mx\r\n")], bye()].concat(),
            true,
        ),
        smtp(
            "smtp: HELO only",
            [vec![say("220 mx\r\n"), Step::Hear, say("502 what?\r\n"), Step::Hear, say("250 mx\r\n")], bye()].concat(),
            true,
        ),
        smtp("smtp: 421", vec![say("421 too busy\r\n")], false),
        smtp("smtp: 554", vec![say("554 no\r\n"), Step::Hear, say("503 no\r\n")], false),
        smtp("smtp: a web server", vec![Step::Hear, say("HTTP/1.1 400 Bad Request\r\n\r\n")], false),
        smtp("smtp: silence", vec![Step::Hold], false),
        smtp("smtp: hangs up", vec![], false),
        pop("pop: +OK", vec![say("+OK ready\r\n"), Step::Hear, say("+OK bye\r\n")], true),
        pop("pop: +OK in pieces", [pieces("+O|K rea|dy\r\n"), vec![Step::Hear, say("+OK bye\r\n")]].concat(), true),
        pop("pop: -ERR", vec![say("-ERR shutting down\r\n")], false).differs(unread),
        pop("pop: silence", vec![Step::Hold], false).differs(unread),
        imap("imap: * OK", vec![say("* OK ready\r\n"), Step::Hear, say("* BYE\r\n0 OK\r\n")], true).differs(port_143),
        imap("imap: * PREAUTH", vec![say("* PREAUTH you\r\n"), Step::Hear, say("* BYE\r\n0 OK\r\n")], true)
            .differs(port_143),
        imap("imap: * BYE", vec![say("* BYE overloaded\r\n")], false),
        imap("imap: silence", vec![Step::Hold], false),
    ]
}

fn files_and_news() -> Vec<Row> {
    let nntp = |what, steps: Vec<Step>, up| row(what, tcp(steps), format!("service=nntp{SOON}"), up);
    let ftp = |what, port, receive: &str, up| {
        row(what, port, format!("service=ftp\nrequest=\"f\"\nlogin=\"me\"\npasswd=\"pw\"{receive}{SOON}"), up)
    };
    let refused = vec![say("220 ftp\r\n"), Step::Hear, say("331 pw?\r\n"), Step::Hear, say("530 no\r\n"), Step::Hold];
    vec![
        nntp("nntp: 200", vec![say("200 posting\r\n"), Step::Hear, say("205 bye\r\n")], true),
        nntp(
            "nntp: 201 in pieces",
            [pieces("20|1 no post|ing\r\n"), vec![Step::Hear, say("205 bye\r\n")]].concat(),
            true,
        ),
        nntp("nntp: 400", vec![say("400 closed\r\n")], false),
        nntp("nntp: any greeting of 2xx", vec![say("220 hello\r\n"), Step::Hear, say("205 bye\r\n")], true),
        nntp("nntp: silence", vec![Step::Hold], false),
        ftp("ftp: login refused", tcp(refused.clone()), "\nreceive=\"x\"", false),
        ftp("ftp: login refused, any file would do", tcp(refused), "", false),
        ftp("ftp: nobody listens, any file would do", free_port(), "", false),
        ftp("ftp: 421", tcp(vec![say("421 full\r\n")]), "\nreceive=\"x\"", false),
    ]
}

fn simple_dialogues() -> Vec<Row> {
    let ask = "service=simpletcp\nrequest=\"PING\\n\"\nreceive=\"^PONG\"";
    let simple = |what, steps: Vec<Step>, up| row(what, tcp(steps), format!("{ask}{SOON}"), up);
    let sip = |what, answer: &str, up| {
        let steps = vec![Step::HearRequest, say(answer)];
        row(what, tcp(steps), format!("service=sip\nprotocol=tcp\nlogin=\"me@example.test\"{SOON}"), up)
    };
    let head = "Via: SIP/2.0/TCP x\r\nCSeq: 63104 OPTIONS\r\nContent-Length: 0\r\n\r\n";
    vec![
        simple("simpletcp: answers", vec![Step::Hear, say("PONG\n")], true),
        simple("simpletcp: an answer in pieces", [vec![Step::Hear], pieces("PO|NG\n")].concat(), true),
        simple("simpletcp: without a line end", vec![Step::Hear, say("PONG")], true),
        simple("simpletcp: waits for the end of the question", vec![Step::HearAll, say("PONG\n")], true),
        simple("simpletcp: in the second line", vec![Step::Hear, say("hello\nPONG\n")], true),
        simple("simpletcp: another answer", vec![Step::Hear, say("PANG\n")], false),
        simple("simpletcp: hangs up", vec![], false),
        simple("simpletcp: silence", vec![Step::Hold], false),
        sip("sip: 200 OK", &format!("SIP/2.0 200 OK\r\n{head}"), true),
        sip("sip: 100 Trying first", &format!("SIP/2.0 100 Trying\r\n{head}SIP/2.0 200 OK\r\n{head}"), true)
            .differs("100 is provisional (RFC 3261, 17.1): the final answer counts"),
        sip("sip: 404", &format!("SIP/2.0 404 Not Found\r\n{head}"), false),
        sip("sip: a web server", "HTTP/1.1 200 OK\r\n\r\n", false),
    ]
}

fn datagrams() -> Vec<Row> {
    let ask = format!("service=dns\nprotocol=udp\nrequest=\"www.example.test\"\nreceive=\"192\\.0\\.2\\.7\"{SOON}");
    let good = || a_record([192, 0, 2, 7]);
    let of = |flags: u16, records: Vec<Vec<u8>>| udp(move |query| vec![dns(query, flags, &records)]);
    let foreign = udp(move |query| {
        let mut wrong = dns(query, 0x8180, &[a_record([192, 0, 2, 7])]);
        wrong[0] ^= 0xff;
        vec![wrong]
    });
    let late = udp(move |query| {
        let mut wrong = dns(query, 0x8180, &[a_record([198, 51, 100, 1])]);
        wrong[0] ^= 0xff;
        vec![wrong, dns(query, 0x8180, &[a_record([192, 0, 2, 7])])]
    });
    vec![
        row("dns: the address", of(0x8180, vec![good()]), ask.clone(), true),
        row("dns: one of several", of(0x8180, vec![a_record([192, 0, 2, 8]), good()]), ask.clone(), true),
        row("dns: behind an alias", of(0x8180, vec![record(5, &[1, b'w', 0xc0, 16]), good()]), ask.clone(), true),
        row("dns: another address", of(0x8180, vec![a_record([198, 51, 100, 1])]), ask.clone(), false),
        row("dns: NXDOMAIN", of(0x8183, vec![]), ask.clone(), false),
        row("dns: SERVFAIL", of(0x8182, vec![]), ask.clone(), false),
        row("dns: cut off, whole over TCP", dns_cut_off_over_udp(), ask.clone(), true),
        row("dns: answers of another question", foreign, ask.clone(), false),
        row("dns: an answer of another question first", late, ask.clone(), true),
        row("dns: nonsense", udp(|_| vec![b"nonsense".to_vec()]), ask.clone(), false),
        row("dns: silence", udp(|_| Vec::new()), ask, false),
    ]
}

fn connections_and_scripts(d: &Daemon) -> Vec<Row> {
    let script = |name: &str, text: &str, mode: u32| {
        let path = d.write(name, text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
        format!("checktype=external\ncheckcommand=\"{}\"{SOON}", path.display())
    };
    let full = TcpListener::bind((V4, 0)).expect("a socket");
    let port = full.local_addr().expect("an address").port();
    // It lives for as long as the test.
    std::mem::forget(full);
    vec![
        row("connect: listens", tcp(vec![]), "checktype=connect", true),
        row("connect: nobody listens", free_port(), "checktype=connect", false),
        row("connect: listens and never accepts", port, format!("checktype=connect{SOON}"), true),
        row("external: 0", 9, script("zero", "#!/bin/sh\nexit 0\n", 0o755), true),
        row("external: 1", 9, script("one", "#!/bin/sh\nexit 1\n", 0o755), false),
        row("external: without #!", 9, script("bare", "exit 0\n", 0o755), true),
        row("external: killed", 9, script("killed", "#!/bin/sh\nkill -9 $$\n", 0o755), false)
            .differs("the original looks at the exit code alone, which is 0 of what a signal has ended"),
        row("external: not executable", 9, script("plain", "#!/bin/sh\nexit 0\n", 0o644), false)
            .differs("what could not be run has said nothing; the original takes that for a success"),
        row("external: never ends", 9, script("slow", "#!/bin/sh\nsleep 20\n", 0o755), false),
    ]
}
