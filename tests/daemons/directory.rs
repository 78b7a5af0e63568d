//! ldap and ldaps by slapd, dns by unbound, radius by freeradius.

use crate::fixture::{at, certificates, daemon, find, free_port, loopbacks};
use std::process::Command;

#[test]
fn slapd() {
    let Some(mut d) = daemon("slapd", "slapd") else { return };
    let (plain, secure) = (free_port(), free_port());
    certificates(&d, &["ldap.example.test"]);
    d.mkdir("db");
    let dir = d.dir();
    let conf = d.write(
        "slapd.conf",
        format!(
            "include /etc/ldap/schema/core.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile {dir}/pid\n\
             TLSCertificateFile {dir}/ldap.example.test.pem\nTLSCertificateKeyFile {dir}/ldap.example.test.key\n\
             database mdb\nmaxsize 10485760\nsuffix \"dc=example,dc=test\"\nrootdn \"cn=admin,dc=example,dc=test\"\nrootpw secret\n\
             directory {dir}/db\naccess to dn.base=\"ou=hidden,dc=example,dc=test\" by users read\naccess to * by * read\n"
        ),
    );
    let entries = d.write(
        "entries.ldif",
        "dn: dc=example,dc=test\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n\n\
         dn: ou=people,dc=example,dc=test\nobjectClass: organizationalUnit\nou: people\n\n\
         dn: ou=hidden,dc=example,dc=test\nobjectClass: organizationalUnit\nou: hidden\n",
    );
    let conf = conf.display().to_string();
    let mut add = Command::new(find("slapadd").expect("slapadd comes with slapd"));
    add.args(["-f", &conf, "-l", &entries.display().to_string()]);
    d.run(add);
    let url = |scheme: &str, port: u16| at(port).iter().map(|a| format!("{scheme}://{a}")).collect::<Vec<_>>();
    let urls = [url("ldap", plain), url("ldaps", secure)].concat().join(" ");
    let mut command = Command::new(find("slapd").expect("slapd"));
    command.args(["-f", &conf, "-h", &urls, "-d", "0"]);
    d.start(command, &[at(plain), at(secure)].concat());

    let base = "request=\"dc=example,dc=test\"";
    let login = |secret: &str| format!("login=\"cn=admin,dc=example,dc=test\"\npasswd=\"{secret}\"");
    for (service, port) in [("ldap", plain), ("ldaps", secure)] {
        d.up(port, &format!("service={service}\n{base}"));
        d.up(port, &format!("service={service}\n{base}\nreceive=\"^dc=example\""));
        // Without a request the root of the directory answers.
        d.up(port, &format!("service={service}"));
        d.up(port, &format!("service={service}\n{base}\n{}", login("secret")));
        d.down(port, &format!("service={service}\n{base}\nreceive=\"dc=other\""), "does not match");
        d.down(port, &format!("service={service}\n{base}\n{}", login("wrong")), "InvalidCredentials");
        d.down(port, &format!("service={service}\nrequest=\"ou=none,dc=example,dc=test\""), "NoSuchObject");
        d.down(port, &format!("service={service}\nrequest=\"no name\""), "InvalidDNSyntax");
        let hidden = format!("service={service}\nrequest=\"ou=hidden,dc=example,dc=test\"");
        d.down(port, &hidden, "");
        d.up(port, &format!("{hidden}\n{}", login("secret")));
    }
    let verified = |ca: &str| format!("service=ldaps\n{base}\nvirtualhost=ldap.example.test\ntlscafile={dir}/{ca}.pem");
    d.up(secure, &verified("ca"));
    d.down(secure, &verified("other"), "unknown issuer");
    d.down(plain, &format!("service=ldaps\n{base}"), "");
    d.down(secure, &format!("service=ldap\n{base}"), "");
}

#[test]
fn unbound() {
    let Some(mut d) = daemon("unbound", "unbound") else { return };
    let port = free_port();
    let dir = d.dir();
    let interfaces: String =
        loopbacks().iter().map(|a| format!("  interface: {a}@{port}\n  access-control: {a} allow\n")).collect();
    let conf = d.write(
        "unbound.conf",
        format!(
            "server:\n{interfaces}  do-daemonize: no\n  chroot: \"\"\n  username: \"\"\n  directory: \"{dir}\"\n  pidfile: \"\"\n\
             \x20 use-syslog: no\n  logfile: \"\"\n  num-threads: 1\n  module-config: \"iterator\"\n\
             \x20 local-zone: \"example.test.\" static\n\
             \x20 local-data: \"www.example.test. A 192.0.2.9\"\n  local-data: \"six.example.test. AAAA 2001:db8::9\"\n\
             \x20 local-data: \"www.example.test. TXT 'alive'\"\n\
             \x20 local-data-ptr: \"192.0.2.9 www.example.test\"\n  local-data-ptr: \"2001:db8::9 six.example.test\"\n\
             \x20 local-zone: \"refused.test.\" refuse\n\
             remote-control:\n  control-enable: no\n"
        ),
    );
    let mut command = Command::new(find("unbound").expect("unbound"));
    command.args(["-d", "-p", "-c", &conf.display().to_string()]);
    d.start(command, &at(port));
    for protocol in ["udp", "tcp"] {
        let dns = |name: &str| format!("service=dns\nprotocol={protocol}\nrequest=\"{name}\"");
        d.up(port, &dns("www.example.test"));
        d.up(port, &format!("{}\nreceive=\"^192.0.2.9$\"", dns("www.example.test")));
        d.up(port, &format!("{}\nreceive=\"2001:db8::9\"", dns("six.example.test")));
        d.up(port, &format!("{}\nreceive=\"www.example.test\"", dns("192.0.2.9")));
        d.up(port, &format!("{}\nreceive=\"six\"", dns("2001:db8::9")));
        d.down(port, &format!("{}\nreceive=\"192.0.2.8\"", dns("www.example.test")), "no record matches");
        d.down(port, &dns("none.example.test"), "no such name");
        d.down(port, &dns("www.refused.test"), "refused");
    }
    d.down(port, "service=http", "");
}

#[test]
fn freeradius() {
    let Some(mut d) = daemon("freeradius", "freeradius") else { return };
    let port = free_port();
    let dir = d.dir();
    let listen: String = loopbacks()
        .iter()
        .map(|a| {
            let kind = if a.is_ipv4() { "ipaddr" } else { "ipv6addr" };
            format!("  listen {{ type = auth\n {kind} = {a}\n port = {port} }}\n")
        })
        .collect();
    let clients: String = loopbacks()
        .iter()
        .map(|a| {
            let kind = if a.is_ipv4() { "ipaddr" } else { "ipv6addr" };
            format!(
                "client c{} {{ {kind} = {a}\n secret = testing123\n require_message_authenticator = yes }}\n",
                kind.len()
            )
        })
        .collect();
    d.write("users", "bob Cleartext-Password := \"good\"\n");
    d.write(
        "radiusd.conf",
        format!(
            "prefix = /usr\nraddbdir = {dir}\nlogdir = {dir}\nrun_dir = {dir}\nlibdir = /usr/lib/freeradius\npidfile = {dir}/pid\n\
             max_requests = 1024\nlog {{ destination = stdout }}\nsecurity {{ allow_vulnerable_openssl = yes }}\n\
             modules {{ pap {{ }}\n files {{ filename = {dir}/users }} }}\n{clients}\
             server default {{\n{listen}  authorize {{\n files\n pap\n }}\n authenticate {{\n Auth-Type PAP {{\n pap\n }}\n }}\n}}\n"
        ),
    );
    let mut command = Command::new(find("freeradius").expect("freeradius"));
    command.args(["-f", "-l", "stdout", "-d", &dir]);
    d.start(command, &[]);
    let radius = |login: &str, passwd: &str, secret: &str| {
        format!("service=radius\nprotocol=udp\nlogin=\"{login}\"\npasswd=\"{passwd}\"\nsecret=\"{secret}\"")
    };
    d.eventually_up(port, &radius("bob", "good", "testing123"));
    d.down(port, &radius("bob", "bad", "testing123"), "Access-Reject");
    d.down(port, &radius("eve", "good", "testing123"), "Access-Reject");
    // A request under another secret is dropped, as the protocol has it.
    let hasty = format!("{}\nnegotiatetimeout=2", radius("bob", "good", "other"));
    d.down(port, &hasty, "no answer");
}
