//! TLS of checks against OpenSSL's own server: versions, suites, groups, certificates, with verification off and on.
//!
//! What OpenSSL's client reaches at its lowest level a check without verification must reach, or a living server is called dead.

use crate::fixture::{Daemon, V4, daemon, free_port, verdict};
use std::process::Command;

/// A server's arguments, and whether a client that verifies takes it as well.
const SERVERS: &[(&str, &str, &str, bool)] = &[
    // Versions.
    ("TLS 1.3", "ec", "-tls1_3", true),
    ("TLS 1.2", "ec", "-tls1_2", true),
    ("TLS 1.1", "rsa", "-tls1_1 -cipher ALL:@SECLEVEL=0", false),
    ("TLS 1.0", "rsa", "-tls1 -cipher ALL:@SECLEVEL=0", false),
    // Suites of TLS 1.3 and 1.2.
    ("AES-128-CCM", "ec", "-tls1_3 -ciphersuites TLS_AES_128_CCM_SHA256", false),
    ("ChaCha20", "ec", "-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256", true),
    ("ECDHE, GCM", "rsa", "-tls1_2 -cipher ECDHE-RSA-AES256-GCM-SHA384", true),
    ("ECDHE, CBC", "rsa", "-tls1_2 -cipher ECDHE-RSA-AES128-SHA", false),
    ("ECDHE, CBC, SHA-384", "ec", "-tls1_2 -cipher ECDHE-ECDSA-AES256-SHA384", false),
    ("DHE, GCM", "rsa", "-tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256", true),
    ("DHE, CBC", "rsa", "-tls1_2 -cipher DHE-RSA-AES256-SHA", false),
    ("RSA key exchange, GCM", "rsa", "-tls1_2 -cipher AES256-GCM-SHA384", false),
    ("RSA key exchange, CBC", "rsa", "-tls1_2 -cipher AES128-SHA", false),
    ("Camellia", "rsa", "-tls1_2 -cipher CAMELLIA256-SHA@SECLEVEL=0", false),
    ("ARIA", "rsa", "-tls1_2 -cipher ECDHE-ARIA256-GCM-SHA384@SECLEVEL=0", false),
    ("no encryption", "rsa", "-tls1_2 -cipher NULL-SHA256@SECLEVEL=0", false),
    ("anonymous", "rsa", "-tls1_2 -cipher ADH-AES128-SHA@SECLEVEL=0", false),
    // Groups.
    ("P-256", "ec", "-groups P-256", true),
    ("P-384", "ec", "-groups P-384", true),
    ("P-521", "ec", "-groups P-521", true),
    ("X25519", "ec", "-groups X25519", true),
    ("X448", "ec", "-groups X448", true),
    ("ffdhe2048", "ec", "-tls1_3 -groups ffdhe2048", true),
    ("ffdhe4096", "ec", "-tls1_3 -groups ffdhe4096", true),
    ("brainpool", "ec", "-tls1_2 -groups brainpoolP256r1", false),
    ("secp256k1", "ec", "-tls1_2 -groups secp256k1", false),
    ("secp224r1", "ec", "-tls1_2 -groups secp224r1", false),
    // Certificates.
    ("Ed25519", "ed25519", "", true),
    ("Ed448", "ed448", "", true),
    ("key on P-521", "p521", "", true),
    ("RSA-PSS", "pss", "", true),
    ("RSA-1024", "rsa1024", "-cipher ALL:@SECLEVEL=0", false),
    ("RSA-512", "rsa512", "-cipher ALL:@SECLEVEL=0 -sigalgs RSA+SHA1:RSA+SHA256 -tls1_2", false),
    ("X.509 v1", "v1", "", true),
    ("signed with SHA-1", "sha1", "-cipher ALL:@SECLEVEL=0", false),
    ("expired", "expired", "", false),
    ("of another name", "other", "", false),
];

#[test]
fn what_openssl_reaches_is_up() {
    let Some(mut d) = daemon("openssl", "openssl") else { return };
    make_certificates(&d);
    let mut wrong = Vec::new();
    for (what, cert, args, modern) in SERVERS {
        let port = free_port();
        let mut command = server(&d, cert, port);
        command.args(args.split_whitespace());
        // A library that lacks it, such as one without ARIA, ends at once: then there is nothing to reach.
        if !client_reaches(&mut d, command, port) {
            println!("NOT RUN: {what}: this machine's openssl cannot serve it to itself");
            continue;
        }
        let off = verdict(V4, port, "service=https\nreceive=\"Ciphers\"");
        if !off.up {
            wrong.push(format!("{what}: down: {}", off.answer));
        }
        let ca = d.path("ca.pem");
        let on = verdict(V4, port, &format!("service=https\nvirtualhost=www.example.test\ntlscafile={}", ca.display()));
        if on.up != *modern {
            wrong.push(format!("{what}, verified: up is {}: {}", on.up, on.answer));
        }
        let cured =
            on.up || ["tlsverify = no", "virtualhost", "renew it", "tlscafile"].iter().any(|c| on.answer.contains(c));
        if !cured {
            wrong.push(format!("{what}, verified: no cure is named: {}", on.answer));
        }
        d.confirm_as("service=https");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The other protocols over TLS go the same way: one old server for each.
#[test]
fn names_and_refusals() {
    let Some(mut d) = daemon("openssl", "openssl") else { return };
    make_certificates(&d);
    let port = free_port();
    let mut command = server(&d, "ec", port);
    command.args(["-servername", "www.example.test", "-servername_fatal"]);
    let (cert, key) = (d.path("ec.pem"), d.path("ec.key"));
    command.arg("-cert2").arg(cert).arg("-key2").arg(key);
    d.start(command, &[(V4, port).into()]);
    d_up(port, "service=https\nvirtualhost=www.example.test");
    d_down(port, "service=https\nvirtualhost=else.example.test", "set virtualhost");
    // A client's certificate is wanted: TLS 1.3 says so only after the handshake.
    for version in ["-tls1_2", "-tls1_3"] {
        let port = free_port();
        let mut command = server(&d, "ec", port);
        command.args([version, "-Verify", "1"]);
        d.start(command, &[(V4, port).into()]);
        d_down(port, "service=https", "client's certificate");
    }
    for service in ["imaps", "pops", "ldaps"] {
        let port = free_port();
        let mut command = server(&d, "rsa", port);
        command.args(["-tls1", "-cipher", "ALL:@SECLEVEL=0"]);
        d.start(command, &[(V4, port).into()]);
        // The handshake succeeds; then `-www` answers nothing that is of the protocol.
        let v = verdict(V4, port, &format!("service={service}\nnegotiatetimeout=2"));
        assert!(!v.up && !v.answer.contains("TLS"), "{service}: {}", v.answer);
        let strict = verdict(V4, port, &format!("service={service}\ntlsverify=yes"));
        assert!(strict.answer.contains("tlsverify = no"), "{service}: {}", strict.answer);
    }
    let plain = std::net::TcpListener::bind((V4, 0)).expect("a socket");
    let port = plain.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        use std::io::Write;
        for stream in plain.incoming().flatten() {
            let _ = (&stream).write_all(b"220 hello\r\n");
        }
    });
    d_down(port, "service=https", "does not speak TLS on this port");
}

fn d_up(port: u16, directives: &str) {
    let v = verdict(V4, port, directives);
    assert!(v.up, "{directives}: {}", v.answer);
}

fn d_down(port: u16, directives: &str, why: &str) {
    let v = verdict(V4, port, directives);
    assert!(!v.up && v.answer.contains(why), "{directives}: {}, not {why}", v.answer);
}

fn server(d: &Daemon, cert: &str, port: u16) -> Command {
    let mut command = Command::new("openssl");
    command.args(["s_server", "-www", "-accept", &format!("127.0.0.1:{port}")]);
    command.arg("-cert").arg(d.path(&format!("{cert}.pem"))).arg("-key").arg(d.path(&format!("{cert}.key")));
    command
}

/// Whether OpenSSL's own client, at its lowest level, gets through.
fn client_reaches(d: &mut Daemon, command: Command, port: u16) -> bool {
    d.start_unless_it_ends(command, &(V4, port).into());
    let mut client = Command::new("openssl");
    client.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-cipher", "ALL:eNULL:@SECLEVEL=0"]);
    client.args(["-groups", "X25519:P-256:X448:P-384:P-521:ffdhe2048:ffdhe4096:brainpoolP256r1:secp256k1:secp224r1"]);
    client.args([
        "-ciphersuites",
        "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_CCM_SHA256",
    ]);
    let done = client.stdin(std::process::Stdio::null()).output();
    done.is_ok_and(|o| o.status.success())
}

fn make_certificates(d: &Daemon) {
    let dir = d.path("");
    d.write("san", "subjectAltName=DNS:www.example.test\n");
    d.write("othersan", "subjectAltName=DNS:other.example.test\n");
    let openssl = |args: &str| {
        let mut command = Command::new("openssl");
        command.current_dir(&dir).args(args.split_whitespace());
        d.run(command);
    };
    openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=ca",
    );
    for (name, key, sign) in [
        ("ec", "ec -pkeyopt ec_paramgen_curve:prime256v1", "-extfile san -days 30"),
        ("p521", "ec -pkeyopt ec_paramgen_curve:secp521r1", "-extfile san -days 30"),
        ("ed25519", "ed25519", "-extfile san -days 30"),
        ("ed448", "ed448", "-extfile san -days 30"),
        ("rsa", "rsa:2048", "-extfile san -days 30"),
        ("pss", "rsa-pss -pkeyopt rsa_keygen_bits:2048", "-extfile san -days 30"),
        ("rsa1024", "rsa:1024", "-extfile san -days 30"),
        ("rsa512", "rsa:512", "-extfile san -days 30"),
        ("v1", "rsa:2048", "-days 30"),
        ("sha1", "rsa:2048", "-extfile san -days 30 -sha1"),
        ("expired", "rsa:2048", "-extfile san -days -1"),
        ("other", "rsa:2048", "-extfile othersan -days 30"),
    ] {
        openssl(&format!("req -newkey {key} -nodes -keyout {name}.key -out {name}.csr -subj /CN=www.example.test"));
        openssl(&format!("x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem {sign}"));
    }
}
