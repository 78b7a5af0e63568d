//! DNS over both transports, SIP's provisional answers, Redis, memcached, HTTP/2 and gRPC.

use super::*;

/// A UDP socket, and one of TCP that holds the same port, where connections are refused until it listens.
async fn both_transports() -> (UdpSocket, TcpSocket) {
    loop {
        let tcp = TcpSocket::new_v4().unwrap();
        tcp.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
}

/// A question over UDP gets a cut answer, and a whole one over TCP; or the first question gets lost.
#[tokio::test]
async fn dns_goes_on_over_tcp_and_asks_again() {
    let (server, tcp) = both_transports().await;
    let port = server.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((n, from)) = server.recv_from(&mut buffer).await {
            buffer[2] = 0x83;
            let _ = server.send_to(&buffer[..n], from).await;
        }
    });
    down(port, "service=dns\nprotocol=udp\nrequest=\"www.example.test\"", "over TCP").await;
    let tcp = tcp.listen(8).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let len = stream.read_u16().await.unwrap();
            let mut answer = vec![0; usize::from(len)];
            stream.read_exact(&mut answer).await.unwrap();
            (answer[2], answer[7]) = (0x81, 1);
            answer.extend([0xc0, 12, 0, 15, 0, 1, 0, 0, 0, 60, 0, 5, 0, 7, 1, b'm', 0]);
            let framed = [&(answer.len() as u16).to_be_bytes(), answer.as_slice()].concat();
            let _ = stream.write_all(&framed).await;
        }
    });
    up(port, "service=dns\nprotocol=udp\nrequest=\"www.example.test\"\nreceive=\"^7 m\"").await;

    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        let _ = server.recv_from(&mut buffer).await;
        let (n, from) = server.recv_from(&mut buffer).await.unwrap();
        let mut answer = buffer[..n].to_vec();
        (answer[2], answer[7]) = (0x81, 1);
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 9]);
        let _ = server.send_to(&answer, from).await;
    });
    let check = check(port, "service=dns\nprotocol=udp\nrequest=\"www.example.test\"\nnegotiatetimeout=10");
    assert!(check.run(&mut Progress::default()).await.unwrap().up);
}

#[tokio::test]
async fn sip_waits_for_the_final_answer() {
    let answers: [(&'static str, bool); 4] = [
        ("SIP/2.0 100 Trying\r\nContent-Length: 0\r\n\r\nSIP/2.0 200 OK\r\n\r\n", true),
        ("SIP/2.0 100 Trying\r\n\r\nSIP/2.0 183 x\r\n\r\nSIP/2.0 200 Alive\r\n\r\n", true),
        ("SIP/2.0 100 Trying\r\n\r\nSIP/2.0 503 Busy\r\n\r\n", false),
        ("SIP/2.0 100 Trying\r\n\r\n", false),
    ];
    for (text, good) in answers {
        let port = serve(move |mut s| async move {
            let _ = s.read(&mut [0; 2048]).await;
            let _ = s.write_all(text.as_bytes()).await;
        });
        let port = port.await;
        assert_eq!(verdict(port, "service=sip\nprotocol=tcp").await.up, good, "{text}");
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (_, from) = server.recv_from(&mut [0; 2048]).await.unwrap();
            for part in text.split_inclusive("\r\n\r\n") {
                let _ = server.send_to(part.as_bytes(), from).await;
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
        });
        assert_eq!(verdict(port, "service=sip\nprotocol=udp").await.up, good, "{text}");
    }
}

#[tokio::test]
async fn redis_and_memcached() {
    let redis = talker(
        "",
        &[
            ("PING", "+PONG\r\n"),
            ("INFO", "$22\r\n# x\r\nrole:master\r\nz:1\r\n"),
            ("*3", ""),
            ("$", ""),
            ("AUTH", ""),
            ("user", ""),
            ("good", "+OK\r\n"),
            ("bad", "-WRONGPASS\r\n"),
        ],
    )
    .await;
    up(redis, "service=redis").await;
    up(redis, "service=redis\nrequest=\"INFO replication\"\nreceive=\"role:master\"").await;
    down(redis, "service=redis\nrequest=\"INFO replication\"\nreceive=\"role:slave\"", "role:master").await;
    up(redis, "service=redis\nlogin=\"user\"\npasswd=\"good\"").await;
    down(redis, "service=redis\nlogin=\"user\"\npasswd=\"bad\"", "WRONGPASS").await;
    up(talker("", &[("PING", "-NOAUTH Authentication required.\r\n")]).await, "service=redis").await;
    down(talker("", &[("PING", "-LOADING\r\n")]).await, "service=redis", "LOADING").await;
    let rules: &[(&str, &str)] = &[("version", "VERSION 1.6\r\n"), ("stats", "STAT pid 7\r\nSTAT up 9\r\nEND\r\n")];
    let memcached = talker("", rules).await;
    up(memcached, "service=memcached").await;
    up(memcached, "service=memcached\nrequest=\"stats\"\nreceive=\"^STAT up\"").await;
    down(memcached, "service=memcached\nrequest=\"stats\"\nreceive=\"^STAT down\"", "END").await;
    down(talker("", &[("version", "ERROR\r\n")]).await, "service=memcached", "ERROR").await;
}

/// A server of HTTP/2 without TLS that knows a page and the health of two services.
async fn http2_server() -> u16 {
    serve(|stream| async move {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            tokio::spawn(async move {
                let path = request.uri().path().to_owned();
                let host = request.uri().authority().map(|a| a.to_string()).unwrap_or_default();
                let mut asked = Vec::new();
                let mut body = request.into_body();
                while let Some(Ok(data)) = body.data().await {
                    asked.extend_from_slice(&data);
                }
                let status = if path == "/503" { 503 } else { 200 };
                let Ok(mut send) = respond.send_response(Response::builder().status(status).body(()).unwrap(), false)
                else {
                    return;
                };
                if !path.ends_with("/Check") {
                    let _ = send.send_data(format!("alive at {host}").into(), true);
                    return;
                }
                let (code, state) = match asked.as_slice() {
                    [0, 0, 0, 0, 0] | [.., b'g'] => ("0", 1),
                    [.., b'b'] => ("0", 2),
                    _ => ("5", 0),
                };
                if code == "0" {
                    let _ = send.send_data(vec![0, 0, 0, 0, 2, 8, state].into(), false);
                }
                let mut trailers = hyper::HeaderMap::new();
                trailers.insert("grpc-status", code.parse().unwrap());
                let _ = send.send_trailers(trailers);
            });
        }
    })
    .await
}

#[tokio::test]
async fn http2_and_grpc() {
    let port = http2_server().await;
    let plain = "service=http2\nrequest=\"http://www.example.test/x\"";
    up(port, plain).await;
    up(port, &format!("{plain}\nreceive=\"at www.example.test$\"")).await;
    down(port, &format!("{plain}\nreceive=\"dead\""), "does not match").await;
    down(port, "service=http2\nrequest=\"http://www.example.test/503\"", "503").await;
    down(port, "service=http2", "TLS").await;
    down(http_server().await, plain, "").await;
    up(port, "service=grpc").await;
    up(port, "service=grpc\nrequest=\"shop.g\"").await;
    down(port, "service=grpc\nrequest=\"shop.b\"", "shop.b is NOT_SERVING").await;
    down(port, "service=grpc\nrequest=\"other\"", "not known to the server").await;
    // A server that wants TLS closes without a word.
    let tls = serve(|mut s| async move {
        let _ = s.read(&mut [0; 24]).await;
    })
    .await;
    down(tls, "service=grpc", "if it speaks TLS: request = ").await;
}
