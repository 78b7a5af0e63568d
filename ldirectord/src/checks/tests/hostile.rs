//! Servers that refuse, talk garbage, drip, fall silent, close early or never end, against every check: each is down within the deadline.

use super::*;
use std::time::Instant;
use tokio::task::JoinSet;

/// Every protocol, so that a new one is not forgotten: [`no_protocol_is_missing`].
const STREAMS: &[&str] = &[
    "service=http",
    "service=http\nchecktype=3",
    "service=https",
    "service=https\nvirtualhost=www.example.test\ntlsverify=yes",
    "service=http_proxy\nrequest=\"http://other.test/\"",
    "service=http2",
    "service=http2\nrequest=\"http://www.example.test/\"",
    "service=grpc",
    "service=redis",
    "service=redis\npasswd=\"b\"\nrequest=\"INFO replication\"\nreceive=\"role:master\"",
    "service=memcached",
    "service=smtp",
    "service=submission",
    "service=pop",
    "service=pop\nlogin=\"a\"\npasswd=\"b\"",
    "service=pops",
    "service=imap",
    "service=imap\nlogin=\"a\"\npasswd=\"b\"",
    "service=imaps",
    "service=ftp",
    "service=ftp\nrequest=\"file\"\nreceive=\"alive\"",
    "service=nntp",
    "service=sip\nprotocol=tcp",
    "service=dns\nprotocol=tcp",
    "service=ldap",
    "service=ldap\nlogin=\"cn=a\"\npasswd=\"b\"\nrequest=\"dc=test\"",
    "service=ldaps",
    "service=mysql\nlogin=\"a\"\npasswd=\"b\"\nrequest=\"SELECT 1\"",
    "service=pgsql\nlogin=\"a\"\npasswd=\"b\"\nrequest=\"SELECT 1\"",
    "service=mysql\nlogin=\"a\"\npasswd=\"b\"\nrequest=\"SELECT 1\"\nsqltls=yes",
    "service=pgsql\nlogin=\"a\"\npasswd=\"b\"\nrequest=\"SELECT 1\"\nsqltls=yes",
    "service=simpletcp\nrequest=\"x\"\nreceive=\"alive\"",
];

const DATAGRAMS: &[&str] = &[
    "service=dns\nprotocol=udp\nrequest=\"www.example.test\"",
    "service=sip\nprotocol=udp",
    "service=radius\nprotocol=udp\nlogin=\"a\"\npasswd=\"b\"\nsecret=\"c\"",
    "service=simpletcp\nprotocol=udp\nrequest=\"x\"\nreceive=\"alive\"",
];

#[test]
fn no_protocol_is_missing() {
    let all = [STREAMS, DATAGRAMS].concat().join("\n");
    for service in ServiceProtocol::ALL {
        let exempt = matches!(service, ServiceProtocol::None | ServiceProtocol::Oracle);
        assert!(exempt || all.lines().any(|l| l == format!("service={}", service.name())), "{}", service.name());
    }
}

/// The beginning of a right answer, so that more than the first read of a check is tried.
const BEGINNINGS: &[(&str, &[u8])] = &[
    ("http", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"),
    ("chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n"),
    ("220", b"220-hello\r\n"),
    ("pop", b"+OK"),
    ("imap", b"* OK x\r\n* BYE\r\n"),
    ("nntp", b"20"),
    ("sip", b"SIP/2.0 "),
    ("dns", b"\xff\xff\0\0\x81\x80"),
    ("ldap", b"\x30\x84\x7f\xff\xff\xff\x02\x01\x01"),
    ("mysql", b"\xff\xff\xff\0\x0a8.0\0"),
    ("pgsql", b"R\0\0\0\x08\0\0\0\0S\x7f\xff\xff\xff"),
    ("tls", b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"),
];

/// Servers that do nothing right, by name.
async fn servers() -> Vec<(String, u16)> {
    let closed = refusing_port();
    let mut all = vec![("refusing".to_owned(), closed)];
    let silent = serve(|mut s| async move {
        let _ = s.read_to_end(&mut Vec::new()).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
    all.push(("silent".to_owned(), silent.await));
    all.push(("early close".to_owned(), serve(|s| async move { drop(s) }).await));
    let reset = serve(|s| async move {
        // Closing with unread data resets the connection.
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(s);
    });
    all.push(("reset".to_owned(), reset.await));
    for byte in [b"x".as_slice(), b"\n", b"\0", b"\xff", b"220-x\r\n", b"~~~ no protocol ~~~\r\n\r\n"] {
        let endless = serve(move |mut s| async move { while s.write_all(&byte.repeat(1_000)).await.is_ok() {} });
        all.push((format!("endless {byte:?}"), endless.await));
        let garbage = serve(move |mut s| async move {
            let _ = s.write_all(byte).await;
        });
        all.push((format!("garbage {byte:?}"), garbage.await));
    }
    for (name, beginning) in BEGINNINGS {
        let stops = serve(move |mut s| async move {
            let _ = s.write_all(beginning).await;
            tokio::time::sleep(Duration::from_secs(60)).await;
        });
        all.push((format!("{name}, then silent"), stops.await));
        let closes = serve(move |mut s| async move {
            let _ = s.write_all(beginning).await;
        });
        all.push((format!("{name}, then closed"), closes.await));
        let drips = serve(move |mut s| async move {
            for byte in beginning.iter().chain([b'x'; 1_000].iter()) {
                if s.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
        });
        all.push((format!("{name}, by drips"), drips.await));
    }
    all
}

/// A right greeting is all that those ask for without a login: these pairs are no mistakes.
fn may_be_up(server: &str, directives: &str) -> bool {
    let greets = |sign: &str, services: &[&str]| {
        server.starts_with(sign) && services.iter().any(|s| directives == format!("service={s}"))
    };
    greets("imap", &["imap"]) || greets("nntp", &["nntp"])
}

#[tokio::test]
async fn streams() {
    let servers = servers().await;
    let mut running = JoinSet::new();
    for (name, port) in servers {
        for directives in STREAMS {
            let name = name.clone();
            running.spawn(async move {
                let began = Instant::now();
                let v = check(port, directives).run(&mut Progress::default()).await.unwrap();
                (name, directives, v, began.elapsed())
            });
        }
    }
    while let Some(done) = running.join_next().await {
        let (name, directives, v, took) = done.expect("no check panics");
        assert!(!v.up || may_be_up(&name, directives), "{directives:?} against {name}: {}", v.answer);
        assert!(took < Duration::from_secs(3), "{directives:?} against {name}: {took:?} with a deadline of 1 s");
        assert!(!v.answer.is_empty() && v.answer.chars().count() <= MAX_ANSWER_CHARS, "{directives:?} against {name}");
    }
}

#[tokio::test]
async fn datagrams() {
    let closed = refusing_datagram_port();
    let mut servers = vec![("refusing".to_owned(), closed)];
    let replies: [&'static [u8]; 6] = [b"", b"x", b"\0\0", b"\0\0\x81\x80", &[0xff; 1_400], b"\x02\0\0\x14"];
    for reply in replies {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        servers.push((format!("garbage {reply:?}"), socket.local_addr().unwrap().port()));
        tokio::spawn(async move {
            let mut request = [0; 2_048];
            while let Ok((n, from)) = socket.recv_from(&mut request).await {
                // With the number of the request as well, so that it is read.
                let mut numbered = reply.to_vec();
                let same = n.min(2).min(numbered.len());
                numbered[..same].copy_from_slice(&request[..same]);
                for answer in [reply, &numbered] {
                    let _ = socket.send_to(answer, from).await;
                }
            }
        });
    }
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    servers.push(("silent".to_owned(), silent.local_addr().unwrap().port()));
    let mut running = JoinSet::new();
    for (name, port) in servers {
        for directives in DATAGRAMS {
            let name = name.clone();
            running.spawn(async move { (name, directives, verdict(port, directives).await) });
        }
    }
    while let Some(done) = running.join_next().await {
        let (name, directives, v) = done.expect("no check panics");
        assert!(!v.up, "{directives:?} against {name}: {}", v.answer);
    }
}

#[tokio::test]
async fn a_source_address_of_this_machine_only() {
    let port = serve(|mut s| async move {
        let from = s.peer_addr().map(|a| a.ip().to_string()).unwrap_or_default();
        let _ = s.write_all(format!("from {from}\n").as_bytes()).await;
    })
    .await;
    up(port, "service=simpletcp\nreceive=\"from 127.0.0.77$\"\nsourceaddress=127.0.0.77").await;
    up(port, "service=simpletcp\nreceive=\"from 127.0.0.1$\"").await;
    down(port, "service=simpletcp\nsourceaddress=::1", "family").await;
    // Not an address of this machine: nothing is known of the server.
    let strange = check(port, "service=simpletcp\nsourceaddress=192.0.2.77");
    assert!(strange.run(&mut Progress::default()).await.is_err());
}
