//! Every check against servers on loopback that a test plays; [`hostile`] has those that do nothing right.

mod hostile;
mod protocols;
mod sql;

use super::*;
use crate::config::{Environment, parse};
use crate::testing::{refusing_datagram_port, refusing_port};
use base::ipvs::Family;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

struct NoMachine;

impl Environment for NoMachine {
    fn resolve(&mut self, _: &str, _: Family) -> Option<IpAddr> {
        None
    }

    fn service_port(&mut self, _: &str, _: Option<Protocol>) -> Option<u16> {
        None
    }

    fn is_directory(&mut self, _: &Path) -> bool {
        false
    }

    fn can_append(&mut self, _: &Path) -> Result<(), String> {
        Ok(())
    }
}

/// The check of a server on `port` of loopback under these directives.
fn check(port: u16, directives: &str) -> Check {
    let body: String = directives.lines().map(|l| format!("    {}\n", l.trim())).collect();
    let text =
        format!("negotiatetimeout=1\nchecktimeout=1\nvirtual=10.0.0.1:9\n    real=127.0.0.1:{port} masq\n{body}");
    let config = parse(&text, &mut NoMachine).unwrap_or_else(|e| panic!("{e}\n{text}")).config;
    Check::of(&config.virtuals[0], &config.virtuals[0].reals[0]).expect("a check")
}

#[tokio::test]
async fn checks_come_from_the_address_that_is_asked_for() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let check = check(port, "checktype=connect\nsourceaddress=127.0.0.77");
    let (verdict, peer) = tokio::join!(async { check.run(&mut Progress::default()).await.unwrap() }, async {
        listener.accept().await.unwrap().1
    });
    assert!(verdict.up && peer.ip() == std::net::Ipv4Addr::new(127, 0, 0, 77), "{verdict:?} {peer}");
    // An address that this machine lacks says nothing of the server.
    let check = self::check(port, "checktype=connect\nsourceaddress=192.0.2.77");
    assert!(check.run(&mut Progress::default()).await.is_err());
}

async fn verdict(port: u16, directives: &str) -> Verdict {
    let verdict = check(port, directives).run(&mut Progress::default()).await.unwrap();
    assert!(verdict.latency_us < 1_500_000, "the deadline is hard: {verdict:?}");
    verdict
}

async fn up(port: u16, directives: &str) {
    let v = verdict(port, directives).await;
    assert!(v.up, "{directives}: {}", v.answer);
}

async fn down(port: u16, directives: &str, why: &str) {
    let v = verdict(port, directives).await;
    assert!(!v.up && v.answer.contains(why), "{directives}: {} {:?}, expected {why:?}", v.up, v.answer);
}

/// A server on loopback that handles each connection by `handle`.
async fn serve<F, Fut>(handle: F) -> u16
where
    F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    serve_at("127.0.0.1:0", handle).await
}

async fn serve_at<F, Fut>(addr: &str, handle: F) -> u16
where
    F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(addr).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(handle(stream));
        }
    });
    port
}

async fn http_server() -> u16 {
    serve(|stream| async move {
        let service = service_fn(answer);
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    })
    .await
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let host = request.headers().get("host").and_then(|h| h.to_str().ok()).unwrap_or("").to_owned();
    let reply =
        |status: u16, body: String| Response::builder().status(status).body(Full::new(Bytes::from(body))).unwrap();
    let redirect = |to: String| Response::builder().status(302).header("location", to).body(Full::default()).unwrap();
    Ok(match request.uri().path() {
        "/" | "/index.html" => reply(200, "all is alive here\n".to_owned()),
        "/host" => reply(200, format!("host={host} method={}", request.method())),
        "/503" => reply(503, "alive but broken".to_owned()),
        "/204" => reply(204, String::new()),
        "/once" => redirect("/index.html".to_owned()),
        "/name" => redirect(format!("http://www.example.test:{}/host", request.uri().query().unwrap_or_default())),
        "/relative" => redirect("host".to_owned()),
        "/loop" => redirect("/loop".to_owned()),
        "/big" => reply(200, format!("{}needle", "x".repeat(MAX_BODY_BYTES))),
        "/a%20b" => reply(200, "escaped".to_owned()),
        _ => reply(404, String::new()),
    })
}

#[tokio::test]
async fn http_status_body_and_host() {
    let port = http_server().await;
    up(port, "service=http").await;
    up(port, "service=http\nrequest=\"index.html\"\nreceive=\"al+ive.*$\"").await;
    up(port, "service=http\nrequest=\"204\"").await;
    up(port, "service=http\nrequest=\"a b\"").await;
    up(
        port,
        "service=http\nrequest=\"host\"\nvirtualhost=www.example.test\nreceive=\"host=www.example.test method=GET\"",
    )
    .await;
    up(port, "service=http\nrequest=\"host\"\nreceive=\"host=127.0.0.1 \"").await;
    up(port, "service=http\nhttpmethod=HEAD").await;
    down(port, "service=http\nreceive=\"HTTP/1.1 200 OK\"", "does not match").await;
    down(port, "service=http\nrequest=\"503\"", "503").await;
    down(port, "service=http\nrequest=\"nowhere\"", "404").await;
    down(port, "service=http\nhttpmethod=HEAD\nreceive=\"alive\"", "does not match").await;
    down(port, "service=http\nrequest=\"big\"\nreceive=\"needle\"", "does not match").await;
}

#[tokio::test]
async fn http_redirects() {
    let port = http_server().await;
    up(port, "service=http\nrequest=\"once\"\nreceive=\"alive\"").await;
    down(port, "service=http\nrequest=\"loop\"", "redirects").await;
    // To the virtual host's name: the same real server is asked, though the name does not resolve.
    let named = format!(
        "service=http\nrequest=\"name?{port}\"\nvirtualhost=www.example.test\nreceive=\"host=www.example.test\""
    );
    up(port, &named).await;
    down(
        port,
        &format!("service=http\nrequest=\"name?{port}\""),
        "a redirect to another host: http://www.example.test",
    )
    .await;
    up(port, &format!("service=http\nrequest=\"name?{port}\"\nredirects=accept")).await;
    // Through a proxy an absolute URL is the request.
    up(port, "service=http_proxy\nrequest=\"http://other.test/host\"\nreceive=\"host=other.test\"").await;
    down(port, "service=http_proxy", "absolute URL").await;
    up(port, "service=http_proxy\nrequest=\"host\"\nvirtualhost=other.test\nreceive=\"host=other.test\"").await;
    // A redirect to a path stays under the virtual host's name.
    up(port, "service=http\nrequest=\"relative\"\nvirtualhost=www.example.test\nreceive=\"host=www.example.test\"")
        .await;
}

/// A server that is alive elsewhere does not make the real server live: not by a URL in `request`, not by a redirect.
#[tokio::test]
async fn the_real_server_alone_gives_the_verdict() {
    let alive = http_server().await;
    let dead = refusing_port();
    for service in ["http", "https"] {
        let url = |path: &str| format!("service={service}\nrequest=\"http://127.0.0.1:{alive}/{path}\"");
        down(dead, &url(""), "refused").await;
        down(dead, &format!("{}\nvirtualhost=www.example.test", url("host")), "refused").await;
    }
    // The URL gives Host and path; the virtual host is stronger.
    let url = "service=http\nrequest=\"http://shop.example.test:81/host\"\nreceive=";
    up(alive, &format!("{url}\"host=shop.example.test:81 \"")).await;
    up(alive, &format!("{url}\"host=www.example.test \"\nvirtualhost=www.example.test")).await;
    // Asked for by another name, and a redirect that names the virtual's own port, which is not the server's.
    up(alive, "service=http\nrequest=\"http://shop.example.test/once\"\nreceive=\"alive\"").await;
    for (to, answer) in [("www.example.test:9", "alive"), ("www.example.test", "alive")] {
        let port = moved(format!("http://{to}/")).await;
        up(port, &format!("service=http\nvirtualhost=www.example.test\nreceive=\"{answer}\"")).await;
    }
    let away = moved(format!("http://127.0.0.2:{alive}/")).await;
    down(away, "service=http", "a redirect to another host").await;
    // Who reads that a connection was refused must not look for it at the port of `real`.
    let secure = moved("https://www.example.test:7/".to_owned()).await;
    let told = "at 127.0.0.1:7, to which it redirects (https://www.example.test:7/)";
    down(secure, "service=http\nvirtualhost=www.example.test", told).await;
    let elsewhere = serve_at("127.0.0.2:0", |mut s| async move {
        let _ = s.read(&mut [0; 1024]).await;
        let _ = s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalive").await;
    })
    .await;
    let away = moved(format!("http://127.0.0.2:{elsewhere}/")).await;
    down(away, "service=http", "a redirect to another host").await;
    let away = moved(format!("http://127.0.0.2:{elsewhere}/")).await;
    let followed = verdict(away, "service=http\nredirects=follow").await;
    assert!(followed.up && followed.answer.contains("said by http://127.0.0.2"), "{followed:?}");
}

/// A server whose `/` answers once by a redirect, then by a page.
async fn moved(to: String) -> u16 {
    let asked = Arc::new(std::sync::atomic::AtomicU32::new(0));
    serve(move |mut s| {
        let (to, first) = (to.clone(), asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed).is_multiple_of(2));
        async move {
            let _ = s.read(&mut [0; 1024]).await;
            let page = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalive".to_owned();
            let away = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
            let _ = s.write_all(if first { away } else { page }.as_bytes()).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_body_that_breaks_off_counts_as_far_as_it_came() {
    let port = serve(|mut s| async move {
        let _ = s.read(&mut [0; 1024]).await;
        let _ = s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nalive").await;
    })
    .await;
    let told = verdict(port, "service=http\nreceive=\"alive\"").await;
    assert!(told.up && told.answer.contains("after 5 of 100 bytes"), "{told:?}");
    down(port, "service=http\nreceive=\"the rest\"", "after 5 of 100 bytes").await;
    let nothing = serve(|mut s| async move {
        let _ = s.read(&mut [0; 1024]).await;
        let _ = s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n").await;
    })
    .await;
    down(nothing, "service=http", "nothing of the body").await;
    // Streams of events, and servers that keep the connection for the rest: LWP is content with what came.
    for head in ["Content-Type: text/event-stream", "Content-Length: 100", "Transfer-Encoding: chunked"] {
        let open = serve(move |mut s| async move {
            let _ = s.read(&mut [0; 1024]).await;
            let body = if head.ends_with("chunked") { "5\r\nalive\r\n" } else { "alive" };
            let _ = s.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").as_bytes()).await;
            tokio::time::sleep(Duration::from_secs(9)).await;
        })
        .await;
        let told = verdict(open, "service=http\nreceive=\"alive\"").await;
        assert!(told.up && told.answer.contains("not ended"), "{head}: {told:?}");
        down(open, "service=http\nreceive=\"more\"", "within 1 s").await;
    }
}

#[tokio::test]
async fn https_without_and_with_verification() {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let cert = CertificateDer::from_pem_slice(include_bytes!("../../../testdata/cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../../testdata/key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![cert], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let port = serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let name = stream.get_ref().1.server_name().unwrap_or("none").to_owned();
            let service = service_fn(move |_| {
                let body = Full::new(Bytes::from(format!("sni={name}")));
                async move { Ok::<_, Infallible>(Response::new(body)) }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
    up(port, "service=https\nreceive=\"sni=none\"").await;
    up(port, "service=https\nvirtualhost=www.example.test\nreceive=\"sni=www.example.test\"").await;
    down(port, "service=https\nvirtualhost=www.example.test\ntlsverify=yes", "").await;
    down(http_server().await, "service=https", "TLS").await;
}

#[tokio::test]
async fn connect_and_combined() {
    let port = serve(|s| async move { drop(s) }).await;
    up(port, "checktype=connect").await;
    let closed = refusing_port();
    down(closed, "checktype=connect", "refused").await;
    // One negotiate (which fails here), then connects only after one has passed.
    let combined = check(port, "service=http\nchecktype=2");
    let mut progress = Progress::default();
    assert!(!combined.run(&mut progress).await.unwrap().up);
    assert!(!combined.run(&mut progress).await.unwrap().up, "a failure makes the next one a negotiate again");
    let good = check(http_server().await, "service=http\nchecktype=2");
    let mut answers = Vec::new();
    let mut progress = Progress::default();
    for _ in 0..4 {
        answers.push(good.run(&mut progress).await.unwrap().answer);
    }
    assert_eq!(answers, ["200 OK", "connected", "connected", "200 OK"]);
}

#[tokio::test]
async fn ping_loopback() {
    let v4 = match check(9, "checktype=ping").run(&mut Progress::default()).await {
        Ok(verdict) => verdict,
        Err(why) => {
            println!("SKIPPED: {why}");
            return;
        }
    };
    assert!(v4.up, "{}", v4.answer);
    let timeout = Duration::from_millis(200);
    let v6 = ping::run(&Net::default(), "::1".parse().unwrap(), 1, timeout).await;
    assert!(v6.is_ok() || !Path::new("/proc/net/if_inet6").exists(), "{v6:?}");
    // Nothing listens on a multicast address of documentation (RFC 6676) but routers that answer for others.
    let nobody = ping::run(&Net::default(), "233.252.0.1".parse().unwrap(), 2, timeout).await;
    assert!(nobody.is_err(), "{nobody:?}");
}

#[tokio::test]
async fn external_commands() {
    let dir = tempfile::tempdir().unwrap();
    let script = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    };
    let seen = dir.path().join("seen");
    let ok = script("ok", &format!("#!/bin/sh\necho \"$@\" >{}\n", seen.display()));
    up(8080, &format!("checktype=external\ncheckcommand=\"{ok}\"")).await;
    assert_eq!(std::fs::read_to_string(&seen).unwrap(), "10.0.0.1 9 127.0.0.1 8080\n");
    up(8080, &format!("checktype=external\ncheckcommand=\"{ok} first\"")).await;
    assert_eq!(std::fs::read_to_string(&seen).unwrap(), "first 10.0.0.1 9 127.0.0.1 8080\n");
    let bad = script("bad", "#!/bin/sh\nexit 3\n");
    down(9, &format!("checktype=external\ncheckcommand={bad}"), "exit status: 3").await;
    down(9, "checktype=external\ncheckcommand=/nowhere/x", "no such file").await;
    let pid = dir.path().join("pid");
    // As execvp runs them, which is what the original does.
    up(9, &format!("checktype=external\ncheckcommand={}", script("bare", "exit 0\n"))).await;
    down(9, &format!("checktype=external\ncheckcommand={}", script("bare3", "exit 3\n")), "exit status: 3").await;
    up(9, &format!("checktype=external\ncheckcommand=\"{} a b\"", script("words", "[ \"$2\" = b ]\n"))).await;
    down(9, &format!("checktype=external\ncheckcommand={}", script("crlf", "#!/bin/sh\r\nexit 0\r\n")), "carriage")
        .await;
    down(9, &format!("checktype=external\ncheckcommand={}", script("lost", "#!/nowhere/sh\n")), "interpreter").await;
    let hung = script("hung", &format!("#!/bin/sh\nsleep 77 &\necho $! >{}\nwait\n", pid.display()));
    down(9, &format!("checktype=external\ncheckcommand={hung}"), "no answer").await;
    let child = std::fs::read_to_string(&pid).unwrap();
    let alive = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    // It is killed at once, and gone when the scheduler gets to it.
    for _ in 0..100 {
        if alive() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert!(!alive(), "a child of the command survived");
    let perl = script("perl", "exit($ARGV[3] == 8080 ? 0 : 1);\n");
    if Path::new("/usr/bin/perl").exists() {
        up(8080, &format!("checktype=external-perl\ncheckcommand={perl}")).await;
        down(81, &format!("checktype=external-perl\ncheckcommand={perl}"), "exit status: 1").await;
    }
}

/// A server that greets and answers each line by the first rule whose start fits.
async fn talker(greeting: &'static str, rules: &'static [(&'static str, &'static str)]) -> u16 {
    serve(move |mut s| async move {
        if s.write_all(greeting.as_bytes()).await.is_err() {
            return;
        }
        let mut buffer = Vec::new();
        let mut chunk = [0; 256];
        loop {
            while let Some(end) = buffer.iter().position(|b| *b == b'\n') {
                let line = String::from_utf8_lossy(&buffer.drain(..=end).collect::<Vec<u8>>()).into_owned();
                let reply = rules.iter().find(|(start, _)| line.starts_with(start)).map_or("500 what?\r\n", |r| r.1);
                if s.write_all(reply.as_bytes()).await.is_err() {
                    return;
                }
            }
            match s.read(&mut chunk).await {
                Ok(n) if n > 0 => buffer.extend_from_slice(&chunk[..n]),
                _ => return,
            }
        }
    })
    .await
}

#[tokio::test]
async fn line_protocols() {
    let smtp =
        talker("220-hello\r\n220 mail\r\n", &[("EHLO", "250-mail\r\n250 SIZE\r\n"), ("QUIT", "221 bye\r\n")]).await;
    up(smtp, "service=smtp").await;
    up(smtp, "service=submission").await;
    let old = talker("220 mail\r\n", &[("HELO", "250 mail\r\n")]).await;
    up(old, "service=smtp").await;
    down(talker("554 no\r\n", &[]).await, "service=smtp", "554").await;
    down(talker("220 x\r\n", &[]).await, "service=smtp", "500").await;
    up(talker("200 news\r\n", &[]).await, "service=nntp").await;
    down(talker("400 full\r\n", &[]).await, "service=nntp", "400").await;
    let pop = talker("+OK pop\r\n", &[("USER bob", "+OK\r\n"), ("PASS good", "+OK\r\n"), ("PASS", "-ERR\r\n")]).await;
    up(pop, "service=pop").await;
    up(pop, "service=pop\nlogin=\"bob\"\npasswd=\"good\"").await;
    down(pop, "service=pop\nlogin=\"bob\"\npasswd=\"bad\"", "-ERR").await;
    let imap =
        talker("* OK imap\r\n", &[("a1 LOGIN \"bob\" \"g\\\"d\"", "* 1\r\na1 OK\r\n"), ("a1", "a1 NO\r\n")]).await;
    up(imap, "service=imap").await;
    up(imap, "service=imap\nlogin=\"bob\"\npasswd=\"g\"d\"").await;
    down(imap, "service=imap\nlogin=\"bob\"\npasswd=\"x\"", "a1 NO").await;
}

#[tokio::test]
async fn ftp_login_and_file() {
    const LOGIN: &[(&str, &str)] = &[
        ("USER anonymous", "331 password\r\n"),
        ("PASS ldirectord@", "230-hi\r\n there\r\n230 in\r\n"),
        ("CWD /", "250 ok\r\n"),
        ("TYPE I", "200 ok\r\n"),
        ("QUIT", "221\r\n"),
    ];
    let port = talker("220 ftp\r\n", LOGIN).await;
    up(port, "service=ftp").await;
    down(port, "service=ftp\nrequest=\"file\"", "500").await;
    down(port, "service=ftp\nlogin=\"bob\"", "500").await;
    // With a data connection: the port is only known at run time, so the rules are made then.
    let data = serve(|mut s| async move {
        let _ = s.write_all(b"all is alive").await;
    })
    .await;
    let pasv: &'static str = format!("227 (1,2,3,4,{},{})\r\n", data >> 8, data & 0xff).leak();
    let mut rules = LOGIN.to_vec();
    rules.extend([("PASV", pasv), ("RETR file", "150 here\r\n226 done\r\n")]);
    let port = talker("220 ftp\r\n", rules.leak()).await;
    up(port, "service=ftp\nrequest=\"file\"\nreceive=\"alive\"").await;
    down(port, "service=ftp\nrequest=\"file\"\nreceive=\"dead\"", "does not match").await;
    down(port, "service=ftp\nrequest=\"other\"", "500").await;
}

#[tokio::test]
async fn simpletcp_and_sip() {
    let echo = serve(|mut s| async move {
        let mut all = Vec::new();
        let _ = s.read_to_end(&mut all).await;
        let _ = s.write_all(&all).await;
    })
    .await;
    up(echo, "service=simpletcp\nrequest=\"one\\ntwo\"\nreceive=\"^two$\"").await;
    down(echo, "service=simpletcp\nrequest=\"one\\ntwo\"\nreceive=\"three\"", "no line matches").await;
    let open = serve(|mut s| async move {
        let _ = s.write_all(b"ready\n").await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    up(open, "service=simpletcp\nreceive=\"ready\"").await;
    let sip = serve(|mut s| async move {
        let mut request = [0; 2048];
        let n = s.read(&mut request).await.unwrap_or(0);
        let right = String::from_utf8_lossy(&request[..n]).starts_with("OPTIONS sip:me@x SIP/2.0\r\nVia: SIP/2.0/TCP ");
        let _ = s.write_all(if right { b"SIP/2.0 200 OK\r\n\r\n" } else { b"SIP/2.0 400 No\r\n\r\n" }).await;
    })
    .await;
    up(sip, "service=sip\nlogin=\"me@x\"").await;
    down(sip, "service=sip\nlogin=\"you@x\"", "400").await;
}

#[tokio::test]
async fn dns_over_udp() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((n, from)) = server.recv_from(&mut buffer).await {
            let mut answer = buffer[..n].to_vec();
            answer[2] = 0x81;
            match (String::from_utf8_lossy(&answer).contains("none"), answer[n - 3]) {
                (true, _) => answer[3] = 3,
                (false, 28) => {
                    answer[7] = 1;
                    answer.extend([0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 60, 0, 16]);
                    answer.extend(std::net::Ipv6Addr::LOCALHOST.octets());
                }
                _ => {
                    answer[7] = 1;
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 9]);
                }
            }
            let _ = server.send_to(&answer, from).await;
        }
    });
    let dns = "service=dns\nprotocol=udp\nrequest=\"www.example.test\"";
    up(port, dns).await;
    up(port, &format!("{dns}\nreceive=\"192.0.2.9\"")).await;
    up(port, &format!("{dns}\nreceive=\"^::1$\"")).await;
    down(port, &format!("{dns}\nreceive=\"198.51.100.1\""), "no record matches").await;
    down(port, "service=dns\nprotocol=udp\nrequest=\"none.test\"", "no such name").await;
}

#[test]
fn what_cannot_be_checked_says_so() {
    let text = "virtual=5\n    real=10.0.1.1 gate\n    service=oracle\n    checkport=1521\nvirtual=6\n    real=10.0.1.1 gate\n    service=http\n    checkport=80\n\
        virtual=7\n    real=10.0.1.1 gate\n    checktype=connect\nvirtual=8\n    real=10.0.1.1 gate\nvirtual=9\n    real=10.0.1.1 gate\n    checktype=off\n";
    let config = parse(text, &mut NoMachine).unwrap().config;
    let of = |n: usize| Check::of(&config.virtuals[n], &config.virtuals[n].reals[0]).map(|c| c.kind);
    assert!(matches!(of(0), Some(Kind::Impossible(why)) if why.contains("oracle")));
    assert!(matches!(of(1), Some(Kind::Http(_))));
    assert!(matches!(of(2), Some(Kind::Impossible(why)) if why.contains("port")));
    assert!(matches!(of(3), Some(Kind::None)));
    assert!(of(4).is_none());
}
