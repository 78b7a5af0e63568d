//! smtp and submission by postfix (which also takes the alerts), pop, pops, imap and imaps by dovecot, nntp by inn2, ftp by vsftpd, sip by
//! kamailio.

use crate::fixture::{Daemon, as_user, at, certificates, daemon, find, free_port, ids, is_root, loopbacks};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

#[test]
fn dovecot() {
    let Some(mut d) = daemon("dovecot", "dovecot") else { return };
    let ports: Vec<u16> = (0..4).map(|_| free_port()).collect();
    let [imap, imaps, pop, pops] = ports[..] else { return };
    certificates(&d, &["mail.example.test"]);
    let dir = d.dir();
    d.mkdir("home");
    let owner = ids("mail").unwrap_or((nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw()));
    d.give("home", "mail");
    let users = if is_root() { "" } else { "default_login_user = $USER\ndefault_internal_user = $USER\n" };
    let users = users.replace("$USER", &std::env::var("USER").unwrap_or_default());
    let listen = loopbacks().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let conf = d.write(
        "dovecot.conf",
        format!(
            "base_dir = {dir}/run\nstate_dir = {dir}/run\nlog_path = {dir}/dovecotlog\nprotocols = imap pop3\nlisten = {listen}\n{users}\
             disable_plaintext_auth = no\nssl = yes\nssl_cert = <{dir}/mail.example.test.pem\nssl_key = <{dir}/mail.example.test.key\n\
             mail_location = maildir:{dir}/home/%u\nfirst_valid_uid = 1\nfirst_valid_gid = 1\n\
             passdb {{\n driver = passwd-file\n args = scheme=plain {dir}/users\n}}\n\
             userdb {{\n driver = static\n args = uid={} gid={} home={dir}/home/%u\n}}\n\
             service imap-login {{\n inet_listener imap {{\n port = {imap}\n }}\n inet_listener imaps {{\n port = {imaps}\n ssl = yes\n }}\n}}\n\
             service pop3-login {{\n inet_listener pop3 {{\n port = {pop}\n }}\n inet_listener pop3s {{\n port = {pops}\n ssl = yes\n }}\n}}\n\
             service anvil {{\n chroot =\n}}\n",
            owner.0, owner.1
        ),
    );
    d.write("users", "bob:go\"o\\d::::::\n");
    let mut command = Command::new(find("dovecot").expect("dovecot"));
    command.args(["-F", "-c", &conf.display().to_string()]);
    d.start(command, &ports.iter().flat_map(|p| at(*p)).collect::<Vec<_>>());
    for (service, port) in [("imap", imap), ("imaps", imaps), ("pop", pop), ("pops", pops)] {
        d.up(port, &format!("service={service}"));
        d.up(port, &format!("service={service}\nlogin=\"bob\"\npasswd=\"go\"o\\d\""));
        let why = if service.starts_with("imap") { "AUTHENTICATIONFAILED" } else { "-ERR" };
        d.down(port, &format!("service={service}\nlogin=\"bob\"\npasswd=\"bad\""), why);
        d.down(port, &format!("service={service}\nlogin=\"eve\"\npasswd=\"go\"o\\d\""), why);
    }
    d.up(imaps, &format!("service=imaps\nvirtualhost=mail.example.test\ntlscafile={dir}/ca.pem"));
    d.down(pops, &format!("service=pops\nvirtualhost=other.test\ntlscafile={dir}/ca.pem"), "not valid for name");
    d.down(imap, "service=pop", "unexpected");
    d.down(pop, "service=imap", "unexpected");
    d.down(imap, "service=imaps", "tls");
}

#[test]
fn vsftpd() {
    let Some(mut d) = daemon("vsftpd", "vsftpd") else { return };
    d.write("root/file", "all is alive\n");
    d.mkdir("empty");
    let dir = d.dir();
    for (n, addr) in loopbacks().into_iter().enumerate() {
        let port = free_port();
        let listen = match addr {
            IpAddr::V4(a) => format!("listen=YES\nlisten_ipv6=NO\nlisten_address={a}\n"),
            IpAddr::V6(a) => format!("listen=NO\nlisten_ipv6=YES\nlisten_address6={a}\n"),
        };
        let own = if is_root() { "" } else { "run_as_launching_user=YES\n" };
        let conf = d.write(
            &format!("vsftpd{n}.conf"),
            format!(
                "{listen}{own}listen_port={port}\nbackground=NO\nanonymous_enable=YES\nlocal_enable=NO\nwrite_enable=NO\n\
                 anon_root={dir}/root\nsecure_chroot_dir={dir}/empty\nseccomp_sandbox=NO\npasv_enable=YES\nxferlog_enable=NO\n"
            ),
        );
        let mut command = Command::new(find("vsftpd").expect("vsftpd"));
        command.arg(conf);
        d.start(command, &[(addr, port).into()]);
        let up = |d: &Daemon, text: &str| {
            let v = d.verdict(addr, port, text);
            assert!(v.up, "{addr} {text}: {}\n{}", v.answer, d.logs());
        };
        let down = |d: &Daemon, text: &str, why: &str| {
            let v = d.verdict(addr, port, text);
            assert!(!v.up && v.answer.contains(why), "{addr} {text}: {} {}", v.up, v.answer);
        };
        up(&d, "service=ftp");
        up(&d, "service=ftp\nrequest=\"file\"\nreceive=\"alive\"");
        down(&d, "service=ftp\nrequest=\"file\"\nreceive=\"dead\"", "does not match");
        down(&d, "service=ftp\nrequest=\"missing\"", "550");
        down(&d, "service=ftp\nlogin=\"bob\"\npasswd=\"x\"", "530");
        down(&d, "service=smtp", "unexpected");
    }
    d.confirm_as("service=ftp");
}

#[test]
fn inn2() {
    let Some(mut d) = daemon("inn2", "nnrpd") else { return };
    let port = free_port();
    let dir = d.dir();
    for name in ["db", "run", "logs", "spool", "spool/overview", "spool/articles", "tmp"] {
        d.mkdir(name);
    }
    d.write("db/active", "example.test 0000000000 0000000001 y\n");
    d.write("db/newsgroups", "example.test\tfor the check\n");
    d.write("storage.conf", "method tradspool {\n newsgroups: *\n class: 0\n}\n");
    d.write("inn.conf", inn_conf(&dir));
    d.write(
        "readers.conf",
        "auth all {\n hosts: \"127.0.0.1, ::1\"\n default: \"<ok>\"\n}\naccess all {\n users: \"*\"\n newsgroups: \"*\"\n}\n",
    );
    for name in [
        "",
        "db",
        "run",
        "logs",
        "spool",
        "spool/overview",
        "spool/articles",
        "tmp",
        "db/active",
        "db/newsgroups",
        "inn.conf",
        "storage.conf",
        "readers.conf",
    ] {
        d.give(name, "news");
    }
    let mut make = as_user(&find("makehistory").expect("makehistory comes with inn2"), "news");
    make.arg("-O").env("INNCONF", d.path("inn.conf")).current_dir(d.path("tmp"));
    d.run(make);
    for addr in loopbacks() {
        let mut command = as_user(&find("nnrpd").expect("nnrpd"), "news");
        let option = if addr.is_ipv4() { "-4" } else { "-6" };
        command.args(["-D", "-f", "-p", &port.to_string(), option, &addr.to_string()]);
        command.env("INNCONF", d.path("inn.conf")).current_dir(d.path("tmp"));
        d.start(command, &[(addr, port).into()]);
    }
    d.up(port, "service=nntp");
    d.down(port, "service=smtp\nnegotiatetimeout=3", "");
    d.down(port, "service=pop", "unexpected");
}

fn inn_conf(dir: &str) -> String {
    // Beside one that was there before the package was installed, its own lies under another name.
    let shipped = ["/etc/news/inn.conf.dpkg-dist", "/etc/news/inn.conf"];
    let shipped = shipped.iter().find_map(|p| std::fs::read_to_string(p).ok()).unwrap_or_default();
    let own = format!(
        "domain: example.test\nfromhost: news.example.test\npathhost: news.example.test\npathdb: {dir}/db\npathetc: {dir}\npathrun: {dir}/run\n\
         pathlog: {dir}/logs\npathspool: {dir}/spool\npathtmp: {dir}/tmp\n"
    );
    let mine =
        ["domain:", "fromhost:", "pathhost:", "pathdb:", "pathetc:", "pathrun:", "pathlog:", "pathspool:", "pathtmp:"];
    let kept = shipped.lines().filter(|l| !mine.iter().any(|m| l.trim_start().starts_with(m)));
    kept.map(|l| format!("{l}\n")).collect::<String>() + &own
}

#[test]
fn kamailio() {
    let Some(mut d) = daemon("kamailio", "kamailio") else { return };
    let port = free_port();
    let modules = find("/usr/lib/*/kamailio/modules").expect("kamailio's modules");
    let listen: String = at(port).iter().map(|a| format!("listen=udp:{a}\nlisten=tcp:{a}\n")).collect();
    let conf = d.write(
        "kamailio.cfg",
        format!(
            "#!KAMAILIO\ndebug=0\nlog_stderror=yes\nchildren=1\nauto_aliases=no\ndisable_tls=yes\n{listen}mpath=\"{}/\"\n\
             loadmodule \"sl.so\"\nloadmodule \"pv.so\"\n\
             request_route {{\n if ($rU == \"closed\") {{ sl_send_reply(\"403\", \"Forbidden\"); exit; }}\n\
             if (is_method(\"OPTIONS\")) {{ sl_send_reply(\"200\", \"OK\"); exit; }}\n sl_send_reply(\"405\", \"Not Allowed\");\n}}\n",
            modules.display()
        ),
    );
    let conf_text = std::fs::read_to_string(&conf).expect("the configuration");
    d.write(
        "kamailio.cfg",
        conf_text.replace("loadmodule \"pv.so\"", "loadmodule \"pv.so\"\nloadmodule \"textops.so\""),
    );
    let dir = d.dir();
    let mut command = Command::new(find("kamailio").expect("kamailio"));
    command.args(["-DD", "-E", "-f", &conf.display().to_string(), "-m", "16", "-M", "4", "-Y", &dir]);
    command.args(["-P", &format!("{dir}/pid")]);
    d.start(command, &at(port));
    for protocol in ["udp", "tcp"] {
        d.eventually_up(port, &format!("service=sip\nprotocol={protocol}\nlogin=\"me@example.test\""));
        d.up(port, &format!("service=sip\nprotocol={protocol}"));
        d.down(port, &format!("service=sip\nprotocol={protocol}\nlogin=\"closed@example.test\""), "403");
    }
    d.down(port, "service=http\nnegotiatetimeout=3", "");
}

#[test]
fn postfix() {
    let Some(mut d) = daemon("postfix", "postfix") else { return };
    assert!(is_root(), "postfix runs only as root");
    let (smtp, submission) = (free_port(), free_port());
    let dir = d.dir();
    for name in ["queue", "data", "mail"] {
        d.mkdir(name);
    }
    d.give("data", "postfix");
    d.give("mail", "mail");
    let (uid, gid) = ids("mail").expect("the account mail");
    d.write("aliases", "");
    d.write(
        "conf/main.cf",
        format!(
            "compatibility_level = 3.6\nqueue_directory = {dir}/queue\ndata_directory = {dir}/data\ncommand_directory = /usr/sbin\n\
             daemon_directory = /usr/lib/postfix/sbin\nmyhostname = mail.example.test\nmydestination =\nmynetworks = 127.0.0.0/8 [::1]/128\n\
             inet_interfaces = loopback-only\nvirtual_mailbox_domains = example.test\nvirtual_mailbox_base = {dir}/mail\n\
             virtual_mailbox_maps = static:box/\nvirtual_uid_maps = static:{uid}\nvirtual_gid_maps = static:{gid}\nvirtual_minimum_uid = 1\n\
             maillog_file = {dir}/postfixlog\nmaillog_file_prefixes = {dir}\nalias_maps =\nsmtputf8_enable = no\nbiff = no\n"
        ),
    );
    let listen = |port: u16, more: &str| {
        at(port).iter().map(|a| format!("{a} inet n - n - - smtpd{more}\n")).collect::<String>()
    };
    let refused =
        "\n  -o smtpd_delay_open_until_valid_rcpt=no\n  -o smtpd_helo_restrictions=reject\n  -o smtpd_delay_reject=no";
    let closed = free_port();
    d.write(
        "conf/master.cf",
        format!(
            "{}{}{}pickup unix n - n 60 1 pickup\ncleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\n\
             tlsmgr unix - - n 1000? 1 tlsmgr\nrewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\n\
             defer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\nverify unix - - n - 1 verify\nproxymap unix - - n - - proxymap\n\
             smtp unix - - n - - smtp\nerror unix - - n - - error\nretry unix - - n - - error\nlocal unix - n n - - local\n\
             virtual unix - n n - - virtual\nanvil unix - - n - 1 anvil\nscache unix - - n - 1 scache\npostlog unix-dgram n - n - 1 postlogd\n",
            listen(smtp, ""),
            listen(submission, ""),
            listen(closed, refused),
        ),
    );
    let mut command = Command::new(find("postfix").expect("postfix"));
    command.args(["-c", &format!("{dir}/conf"), "start-fg"]);
    d.start(command, &[at(smtp), at(submission), at(closed)].concat());
    d.up(smtp, "service=smtp");
    d.up(submission, "service=submission");
    d.down(closed, "service=smtp", "unexpected answer: 5");
    d.down(smtp, "service=nntp\nnegotiatetimeout=1\nservice=pop", "unexpected");
    d.down(smtp, "service=imaps", "");
    crate::alerts::arrive(&d, smtp);
    let mut stop = Command::new("postfix");
    stop.args(["-c", &format!("{dir}/conf"), "stop"]);
    d.run(stop);
    let mode = std::fs::metadata(d.path("mail")).expect("mail").permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}
