//! MySQL's `caching_sha2_password` against a server that a test plays, since Debian has none: its side is computed here from the
//! documentation of the protocol, not by the check's own functions. And what a hostile server might want of a login.

use super::*;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::encoding::PublicKeyX509Der;
use aws_lc_rs::rsa::{KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, PrivateDecryptingKey};

const NONCE: &[u8; 20] = b"abcdefghijklmnopqrst";
const LOGIN: &str = "service=mysql\nlogin=\"bob\"\npasswd=\"good\"\ndatabase=\"shop\"\nrequest=\"SELECT 1\"";

fn greeting(plugin: &str) -> Vec<u8> {
    let mut out = b"\x0a8.0.36\0\x08\0\0\0abcdefgh\0\xff\xff\x2d\x02\0\xff\xdf\x15".to_vec();
    out.extend([0; 10]);
    out.extend(b"ijklmnopqrst\0");
    out.extend(plugin.as_bytes());
    out.push(0);
    out
}

async fn send(s: &mut TcpStream, sequence: u8, payload: &[u8]) {
    let mut packet = (payload.len() as u32).to_le_bytes().to_vec();
    packet[3] = sequence;
    packet.extend(payload);
    let _ = s.write_all(&packet).await;
}

async fn receive(s: &mut TcpStream) -> Vec<u8> {
    let mut header = [0; 4];
    if s.read_exact(&mut header).await.is_err() {
        return Vec::new();
    }
    let mut payload = vec![0; usize::from(header[0]) | usize::from(header[1]) << 8];
    let _ = s.read_exact(&mut payload).await;
    payload
}

/// What the server stores of a password, and whether a scramble proves it (manual, "SHA-2 Pluggable Authentication").
fn proves(scramble: &[u8], passwd: &str) -> bool {
    let sha = |text: &[u8]| digest(&SHA256, text).as_ref().to_vec();
    let stored = sha(&sha(passwd.as_bytes()));
    let mask = sha(&[stored.as_slice(), NONCE].concat());
    let once: Vec<u8> = scramble.iter().zip(mask).map(|(s, m)| s ^ m).collect();
    scramble.len() == 32 && sha(&once) == stored
}

/// A server whose cache has the password, or has not and wants it under its key.
async fn server(cached: bool) -> u16 {
    let key = Arc::new(PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap());
    serve(move |mut s| {
        let key = key.clone();
        async move {
            send(&mut s, 0, &greeting("caching_sha2_password")).await;
            let login = receive(&mut s).await;
            let after_user = &login[32 + "bob".len() + 1..];
            let scramble = &after_user[1..33];
            let right = if cached {
                let right = proves(scramble, "good");
                if right {
                    send(&mut s, 2, &[1, 3]).await;
                }
                right
            } else {
                send(&mut s, 2, &[1, 4]).await;
                under_key(&mut s, &key).await == b"good\0"
            };
            let last: &[u8] = if right { b"\0\0\0\x02\0\0\0" } else { b"\xff\x15\x04#28000Access denied" };
            send(&mut s, 6, last).await;
            if receive(&mut s).await == b"\x03SELECT 1" {
                for (n, packet) in
                    [&b"\x01"[..], b"\x03def\0\0\0\x011\0", b"\xfe\0\0\x02\0", b"\x011"].iter().enumerate()
                {
                    send(&mut s, n as u8 + 1, packet).await;
                }
            }
        }
    })
    .await
}

async fn under_key(s: &mut TcpStream, key: &PrivateDecryptingKey) -> Vec<u8> {
    assert_eq!(receive(s).await, [2], "it asks for the key");
    let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", base64(der.as_ref()));
    send(s, 4, &[&[1], pem.as_bytes()].concat()).await;
    let secret = receive(s).await;
    let decrypting = OaepPrivateDecryptingKey::new(key.clone()).unwrap();
    let mut out = vec![0; decrypting.min_output_size()];
    let masked = decrypting.decrypt(&OAEP_SHA1_MGF1SHA1, &secret, &mut out, None).unwrap();
    masked.iter().zip(NONCE.iter().cycle()).map(|(m, n)| m ^ n).collect()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for part in bytes.chunks(3) {
        let all = part.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - part.len()));
        for n in 0..4 {
            let letter = char::from(LETTERS[(all >> (18 - 6 * n)) as usize & 63]);
            out.push(if n <= part.len() { letter } else { '=' });
        }
    }
    out
}

#[tokio::test]
async fn caching_sha2_password() {
    for cached in [true, false] {
        let port = server(cached).await;
        up(port, LOGIN).await;
        down(port, &LOGIN.replace("good", "bad"), "Access denied").await;
    }
}

#[tokio::test]
async fn a_server_that_wants_too_much() {
    let switch_to = |plugin: &'static str| {
        serve(move |mut s| async move {
            send(&mut s, 0, &greeting("mysql_native_password")).await;
            let _ = receive(&mut s).await;
            let data = [b"\xfe", plugin.as_bytes(), b"\0", NONCE, b"\0"].concat();
            send(&mut s, 2, &data).await;
            let answer = receive(&mut s).await;
            assert!(!answer.starts_with(b"good"), "the password went in clear");
        })
    };
    down(switch_to("mysql_clear_password").await, LOGIN, "not supported").await;
    down(switch_to("mysql_old_password").await, LOGIN, "not supported").await;
    let big_key = serve(|mut s| async move {
        send(&mut s, 0, &greeting("caching_sha2_password")).await;
        let _ = receive(&mut s).await;
        send(&mut s, 2, &[1, 4]).await;
        let _ = receive(&mut s).await;
        send(&mut s, 4, &[&[1], [b'A'; 2_000].as_slice()].concat()).await;
        let _ = receive(&mut s).await;
    });
    down(big_key.await, LOGIN, "a key of more than").await;
    // PostgreSQL: four milliards of rounds of hashing would hold this machine for minutes.
    let rounds = serve(|mut s| async move {
        let mut request = [0; 1_024];
        let _ = s.read(&mut request).await;
        let _ = s.write_all(b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0").await;
        let n = s.read(&mut request).await.unwrap_or(0);
        let text = String::from_utf8_lossy(&request[..n]).into_owned();
        let nonce = text.split("r=").nth(1).unwrap_or_default();
        let first = format!("r={nonce}x,s=c2FsdA==,i=4294967295");
        let mut out = b"R".to_vec();
        out.extend((first.len() as u32 + 8).to_be_bytes());
        out.extend([0, 0, 0, 11]);
        out.extend(first.as_bytes());
        let _ = s.write_all(&out).await;
        let _ = s.read(&mut request).await;
    });
    let pgsql = "service=pgsql\nlogin=\"bob\"\npasswd=\"good\"\nrequest=\"SELECT 1\"";
    down(rounds.await, pgsql, "rounds").await;
}
