//! Odd answers to HTTP requests: what LWP (which the Perl original speaks through) and curl make of them, and what our check does.
//!
//! Where they agree that a server lives, our check must not call it dead. The few rows where it differs say why.

use crate::fixture::{V4, daemon, verdict};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Why our verdict is not LWP's.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Differs {
    No,
    /// LWP takes any text for an answer of HTTP/0.9, so that a dead or foreign service looks alive.
    Junk,
    /// LWP is content with headers whose announced body never came.
    NoBody,
    /// LWP refuses what curl, browsers and we take.
    Stricter,
}

struct Row {
    what: &'static str,
    answer: Vec<u8>,
    /// The body that must be found; empty: none is looked for.
    receive: &'static str,
    up: bool,
    differs: Differs,
}

fn row(what: &'static str, answer: impl Into<Vec<u8>>, up: bool) -> Row {
    Row { what, answer: answer.into(), receive: "alive", up, differs: Differs::No }
}

fn ok(headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}").into_bytes()
}

fn rows() -> Vec<Row> {
    use Differs::*;
    let lines = |n: usize| (0..n).map(|i| format!("X-Header-{i}: {i}\r\n")).collect::<String>();
    let not_lwp = |differs, row: Row| Row { differs, ..row };
    let without_receive = |row: Row| Row { receive: "", ..row };
    vec![
        row("plain", ok("Content-Length: 5\r\n", "alive"), true),
        row("without length", ok("", "alive"), true),
        row("101 header lines", ok(&lines(101), "alive"), true),
        row("120 header lines", ok(&lines(120), "alive"), true),
        not_lwp(Stricter, row("1,000 header lines", ok(&lines(1_000), "alive"), true)),
        row("a long header", ok(&format!("X: {}\r\n", "y".repeat(7_000)), "alive"), true),
        row("folded header", ok("X: a\r\n b\r\n\tc\r\n", "alive"), true),
        row("folded Content-Type", ok("Content-Type: text/html;\r\n charset=utf-8\r\n", "alive"), true),
        row("blank before the colon", ok("Server : x\r\nContent-Length : 5\r\n", "alive"), true),
        row("blank in a name", ok("My Header: x\r\n", "alive"), true),
        row("letters beyond ASCII in a name", ok("X-Größe: 3\r\n", "alive"), true),
        row("Latin-1 in a value", b"HTTP/1.1 200 OK\r\nX: Gr\xf6\xdfe\r\n\r\nalive", true),
        row("empty value", ok("X:\r\n", "alive"), true),
        row("no blank behind the colon", ok("Content-Length:5\r\n", "alive"), true),
        row("Content-Length: +5", ok("Content-Length: +5\r\n", "alive"), true),
        row("Content-Length twice", ok("Content-Length: 5\r\nContent-Length: 5\r\n", "alive"), true),
        row("lower case names", ok("content-length: 5\r\n", "alive"), true),
        row("upper case names", ok("CONTENT-LENGTH: 5\r\n", "alive"), true),
        row("HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\nalive", true),
        row("HTTP/2.0", b"HTTP/2.0 200 OK\r\n\r\nalive", true),
        row("HTTP/1.2", b"HTTP/1.2 200 OK\r\n\r\nalive", true),
        row("no reason", b"HTTP/1.1 200\r\n\r\nalive", true),
        row("blank and no reason", b"HTTP/1.1 200 \r\n\r\nalive", true),
        row("two blanks", b"HTTP/1.1  200  OK\r\n\r\nalive", true),
        row("a reason beyond ASCII", "HTTP/1.1 200 Größe\r\n\r\nalive".as_bytes(), true),
        row("line ends without CR", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nalive", true),
        row("body longer than announced", ok("Content-Length: 5\r\n", "alive and more"), true),
        row("body shorter than announced", ok("Content-Length: 500\r\n", "alive"), true),
        row("chunks", ok("Transfer-Encoding: chunked\r\n", "2\r\nal\r\n3\r\nive\r\n0\r\n\r\n"), true),
        row("chunks with extensions", ok("Transfer-Encoding: chunked\r\n", "5;a=b\r\nalive\r\n0\r\n\r\n"), true),
        row("chunks with trailers", ok("Transfer-Encoding: chunked\r\n", "5\r\nalive\r\n0\r\nX: y\r\n\r\n"), true),
        row("chunks with leading noughts", ok("Transfer-Encoding: chunked\r\n", "0005\r\nalive\r\n0\r\n\r\n"), true),
        row("the last chunk is missing", ok("Transfer-Encoding: chunked\r\n", "5\r\nalive\r\n"), true),
        row("a chunk breaks off", ok("Transfer-Encoding: chunked\r\n", "ff\r\nalive"), true),
        not_lwp(Stricter, row("identity", ok("Transfer-Encoding: identity\r\n", "alive"), true)),
        row("100 Continue first", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nalive", true),
        not_lwp(
            Stricter,
            row(
                "103 Early Hints first",
                b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nalive",
                true,
            ),
        ),
        without_receive(row("204", b"HTTP/1.1 204 No Content\r\n\r\n", true)),
        without_receive(row("an empty body", ok("Content-Length: 0\r\n", ""), true)),
        row("299", b"HTTP/1.1 299 Odd\r\n\r\nalive", true),
        row("404", b"HTTP/1.1 404 Not Found\r\n\r\nalive", false),
        row("503", b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nalive", false),
        row("304", b"HTTP/1.1 304 Not Modified\r\n\r\n", false),
        row("another body", ok("Content-Length: 4\r\n", "dead"), false),
        not_lwp(NoBody, without_receive(row("announced, never came", ok("Content-Length: 5\r\n", ""), false))),
        not_lwp(Junk, without_receive(row("junk", b"220 mail.example.test\r\n", false))),
        not_lwp(Junk, row("junk that matches", b"alive\r\n", false)),
        not_lwp(Junk, row("HTTP/0.9", b"<html>alive</html>", false)),
        row("empty lines first", b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\nalive", true),
        row("a line without a colon", ok("nothing\r\n", "alive"), true),
        without_receive(row("nothing", b"".as_slice(), false)),
    ]
}

#[test]
fn odd_answers_as_lwp_and_curl_take_them() {
    let Some(mut d) = daemon("libwww-perl", "perl") else { return };
    let script = d.write("ask.pl", LWP);
    let mut wrong = Vec::new();
    let mut table = Vec::new();
    for row in rows() {
        let port = serve(row.answer.clone());
        let receive = if row.receive.is_empty() { String::new() } else { format!("\nreceive=\"{}\"", row.receive) };
        let ours = verdict(V4, port, &format!("service=http{receive}"));
        let url = format!("http://127.0.0.1:{port}/");
        let lwp = asked(Command::new("perl").arg(&script).arg(&url).arg(row.receive));
        let curl = asked(Command::new("curl").args(["-sS", "-f", "-m", "10", "-o", "/dev/null", &url]));
        table.push(format!("{:32} ours {:5} LWP {lwp:5} curl {curl:5} {:?}", row.what, ours.up, row.differs));
        if ours.up != row.up || (row.differs == Differs::No) != (lwp == row.up) {
            wrong.push(format!("{}: up is {}: {}; LWP {lwp}, curl {curl}", row.what, ours.up, ours.answer));
        }
    }
    println!("{}", table.join("\n"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    d.confirm_as("service=http");
}

/// As the original asks: a final status of success, and the pattern found in the content.
const LWP: &str = r#"
use LWP::UserAgent;
my ($url, $receive) = @ARGV;
my $res = LWP::UserAgent->new(timeout => 10)->get($url);
exit(($res->is_success && ($receive eq '' || $res->content =~ /$receive/)) ? 0 : 1);
"#;

fn asked(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Answers each connection once it has asked, by these bytes and an orderly end.
fn serve(answer: Vec<u8>) -> u16 {
    let listener = TcpListener::bind((V4, 0)).expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten().take(8) {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            let mut asked = Vec::new();
            let mut chunk = [0; 2048];
            while !asked.windows(4).any(|w| w == b"\r\n\r\n") {
                match stream.read(&mut chunk) {
                    Ok(n) if n > 0 => asked.extend_from_slice(&chunk[..n]),
                    _ => break,
                }
            }
            let _ = stream.write_all(&answer);
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read(&mut chunk);
        }
    });
    port
}

/// Some servers look for `Host:` as browsers spell it.
#[test]
fn headers_are_spelled_as_browsers_spell_them() {
    let listener = TcpListener::bind((V4, 0)).expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut asked = vec![0; 4096];
        let n = stream.read(&mut asked).expect("a request");
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nalive");
        String::from_utf8_lossy(&asked[..n]).into_owned()
    });
    assert!(verdict(V4, port, "service=http\nvirtualhost=www.example.test").up);
    let heard = heard.join().expect("a server");
    for header in
        ["\r\nHost: www.example.test\r\n", "\r\nUser-Agent: ", "\r\nAccept: */*\r\n", "\r\nConnection: close\r\n"]
    {
        assert!(heard.contains(header), "{header:?} in {heard:?}");
    }
}
