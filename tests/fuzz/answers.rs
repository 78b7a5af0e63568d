//! Every parser of a server's answer, through the check itself: mutated answers, and answers without end.

use crate::{count, fuzz};
use ldirectord::checks::{Check, Script};
use ldirectord::config::{System, parse};
use std::time::Instant;

/// No check reads more of one server's answers, however much it offers: seven redirects, or a body of a megabyte.
const MAX_TAKEN: usize = 3 << 20;
/// An endless server offers this much on each connection.
const OFFERED: usize = 64 << 20;
/// All the parsers together, samples, and the test itself.
const MAX_RESIDENT_KIB: u64 = 400 * 1024;

struct Parser {
    directives: &'static str,
    /// Bytes that carry the number of the request.
    echoed: std::ops::Range<usize>,
    samples: &'static [&'static [u8]],
}

const fn stream(directives: &'static str, samples: &'static [&'static [u8]]) -> Parser {
    Parser { directives, echoed: 0..0, samples }
}

const HTTP: &[&[u8]] = &[
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalive",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nalive\r\n0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\nalive and more",
    b"HTTP/1.1 302 Found\r\nLocation: /other?x#y\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 301 Moved\r\nLocation: //www.example.test/x y\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
];

/// LDAP: bind response and entry, done; a notice of disconnection.
const LDAP: &[&[u8]] = &[
    b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00\
      \x30\x1b\x02\x01\x02\x64\x16\x04\x12dc=example,dc=test\x30\x00\
      \x30\x0c\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x00",
    b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x31\x04\x00\x04\x00",
    b"\x30\x24\x02\x01\x00\x78\x1f\x0a\x01\x34\x04\x00\x04\x00\x8a\x161.3.6.1.4.1.1466.20036",
];

/// A greeting, then: logged in; one column, its end, a row.
const MYSQL: &[&[u8]] = &[
    b"\x4a\0\0\0\x0a8.0.36\0\x08\0\0\0abcdefgh\0\xff\xff\x2d\x02\0\xff\xdf\x15\0\0\0\0\0\0\0\0\0\0ijklmnopqrst\0caching_sha2_password\0\
      \x07\0\0\x02\0\0\0\x02\0\0\0\x01\0\0\x01\x01\x17\0\0\x02\x03def\0\0\0\x011\0\x0c\x3f\0\x01\0\0\0\x08\x81\0\0\0\0\
      \x05\0\0\x03\xfe\0\0\x02\0\x02\0\0\x04\x011\x05\0\0\x05\xfe\0\0\x02\0",
    b"\x4a\0\0\0\x0a8.0.36\0\x08\0\0\0abcdefgh\0\xff\xff\x2d\x02\0\xff\xdf\x15\0\0\0\0\0\0\0\0\0\0ijklmnopqrst\0caching_sha2_password\0\
      \x02\0\0\x02\x01\x04\x44\0\0\x04\x01-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQ==\n-----END PUBLIC KEY-----\n",
    b"\x4a\0\0\0\x0a8.0.36\0\x08\0\0\0abcdefgh\0\xff\xff\x2d\x02\0\xff\xdf\x15\0\0\0\0\0\0\0\0\0\0ijklmnopqrst\0caching_sha2_password\0\
      \x2c\0\0\x02\xfemysql_native_password\0ABCDEFGHIJKLMNOPQRST\0",
    b"\x17\0\0\0\xff\x10\x04Too many connections",
];

const PGSQL: &[&[u8]] = &[
    b"R\0\0\0\x08\0\0\0\0S\0\0\0\x19client_encoding\0UTF8\0K\0\0\0\x0c\0\0\0\x01\0\0\0\x02Z\0\0\0\x05I\
      T\0\0\0\x1a\0\x01x\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0D\0\0\0\x0b\0\x01\0\0\0\x011",
    b"R\0\0\0\x0c\0\0\0\x05abcdE\0\0\0\x1aSFATAL\0C28P01\0Mwrong\0\0",
    b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0R\0\0\0\x1e\0\0\0\x0br=abc,s=c2FsdA==,i=4096",
];

const PARSERS: &[Parser] = &[
    stream("service=http\nreceive=\"alive\"", HTTP),
    stream("service=https\nvirtualhost=www.example.test", HTTP),
    stream("service=http_proxy\nrequest=\"http://www.example.test/\"", HTTP),
    stream("service=smtp", &[b"220-hello\r\n220 mail\r\n250-mail\r\n250 SIZE\r\n", b"554 no\r\n", b"220 x\r\n500 x\r\n250 y\r\n"]),
    stream("service=pop\nlogin=\"bob\"\npasswd=\"x\"", &[b"+OK pop\r\n+OK\r\n+OK\r\n", b"+OK\r\n-ERR no\r\n"]),
    stream("service=imap\nlogin=\"bob\"\npasswd=\"x\"", &[b"* OK imap\r\n* CAPABILITY\r\na1 OK\r\n", b"* PREAUTH x\r\n"]),
    stream("service=redis", &[b"+PONG\r\n", b"-LOADING\r\n"]),
    stream("service=redis\npasswd=\"x\"\nrequest=\"INFO\"", &[b"+OK\r\n$6\r\nalive\n\r\n", b"+OK\r\n:7\r\n"]),
    stream("service=memcached", &[b"VERSION 1.6\r\n"]),
    stream("service=memcached\nrequest=\"stats\"\nreceive=\"alive\"", &[b"STAT a 1\r\nSTAT alive\r\nEND\r\n"]),
    stream("service=nntp", &[b"200 news\r\n", b"400 full\r\n"]),
    stream(
        "service=ftp\nrequest=\"file\"",
        &[b"220 ftp\r\n331 x\r\n230-hi\r\n there\r\n230 in\r\n250 ok\r\n200 ok\r\n227 (1,2,3,4,5,6)\r\n150 x\r\n226 done\r\n"],
    ),
    stream("service=simpletcp\nreceive=\"alive\"", &[b"one\nalive\n", b"\n\n"]),
    stream("service=sip\nprotocol=tcp", &[b"SIP/2.0 200 OK\r\nVia: x\r\n\r\n"]),
    stream("service=ldap\nrequest=\"dc=example,dc=test\"", LDAP),
    stream("service=mysql\nlogin=\"bob\"\npasswd=\"x\"\nrequest=\"SELECT 1\"", MYSQL),
    stream("service=pgsql\nlogin=\"bob\"\npasswd=\"x\"\nrequest=\"SELECT 1\"", PGSQL),
    Parser {
        directives: "service=dns\nprotocol=tcp\nrequest=\"a.test\"",
        echoed: 2..4,
        samples: &[
            b"\0\x28\0\0\x81\x80\0\x01\0\x01\0\0\0\0\x01a\x04test\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x09",
        ],
    },
    Parser {
        directives: "service=dns\nprotocol=udp\nrequest=\"a.test\"",
        echoed: 0..2,
        samples: &[
            b"\0\0\x81\x80\0\x01\0\x01\0\0\0\0\x01a\x04test\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x09",
            b"\0\0\x81\x80\0\x01\0\x01\0\0\0\0\x01a\x04test\0\0\x01\0\x01\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01b\xc0\x0c",
        ],
    },
    Parser {
        directives: "service=sip\nprotocol=udp",
        echoed: 0..0,
        samples: &[b"SIP/2.0 200 OK\r\nVia: x\r\n\r\n"],
    },
];

/// Its answers are sealed with a random number, so that none is accepted: here only panics count.
const RADIUS: Parser = Parser {
    directives: "service=radius\nprotocol=udp\nlogin=\"bob\"\npasswd=\"x\"\nsecret=\"s\"",
    echoed: 1..2,
    samples: &[b"\x02\0\0\x140123456789abcdef", b"\x03\0\0\x1a0123456789abcdef\x12\x06text"],
};

impl Parser {
    fn check(&self) -> Check {
        let body: String = self.directives.lines().map(|l| format!("    {l}\n")).collect();
        let text = format!("virtual=192.0.2.1:9\n    real=192.0.2.2:9 masq\n{body}");
        let config = parse(&text, &mut System::default()).unwrap_or_else(|e| panic!("{e}")).config;
        Check::of(&config.virtuals[0], &config.virtuals[0].reals[0]).expect("a check")
    }

    fn script(&self, answer: &[u8], offered: usize) -> Script {
        Script::new(answer, self.echoed.clone(), offered).asked_first(self.waits())
    }

    /// Whether its servers wait for a request.
    fn waits(&self) -> bool {
        ["service=http", "service=dns"].iter().any(|s| self.directives.starts_with(s))
    }

    fn name(&self) -> String {
        self.directives.lines().take(2).collect::<Vec<_>>().join(" ")
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
}

#[test]
fn answers() {
    let runtime = runtime();
    for parser in PARSERS {
        let samples: Vec<Vec<u8>> = parser.samples.iter().map(|s| s.to_vec()).collect();
        let check = parser.check();
        let began = Instant::now();
        fuzz(&parser.name(), &samples, |input| runtime.block_on(check.judge(parser.script(input, input.len()))).up);
        println!("    {:.1} us each", began.elapsed().as_secs_f64() * 1e6 / count() as f64);
    }
    let peak = peak_kib();
    assert!(peak < MAX_RESIDENT_KIB, "{peak} KiB resident at the peak");
}

#[test]
fn answers_of_radius() {
    let runtime = runtime();
    let check = RADIUS.check();
    let samples: Vec<Vec<u8>> = RADIUS.samples.iter().map(|s| s.to_vec()).collect();
    fuzz("radius", &samples, |input| {
        let judged = runtime.block_on(check.judge(RADIUS.script(input, input.len())));
        assert!(!judged.up, "an answer without the secret");
        true
    });
}

/// Samples and single bytes repeated for 64 MiB: each check stops by a limit of its own.
#[test]
fn answers_without_end() {
    let runtime = runtime();
    for parser in PARSERS {
        let check = parser.check();
        let junk: [&[u8]; 6] = [b"x", b"\n", b"\0", b"\xff", b"250-x\r\n", b"* x\r\n"];
        let begun = parser.samples.iter().flat_map(|s| [*s, &s[..s.len() / 2]]);
        for answer in junk.into_iter().chain(begun).filter(|a| !a.is_empty()) {
            let judged = runtime.block_on(check.judge(parser.script(answer, OFFERED)));
            assert!(judged.taken <= MAX_TAKEN, "{}: {} bytes taken of {answer:?}", parser.name(), judged.taken);
        }
    }
}

/// The most memory that this process ever had.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}
