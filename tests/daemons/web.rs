//! http and https by nginx, http_proxy by squid.

use crate::fixture::{V4, at, certificates, daemon, find, free_port, ids, verdict};
use std::process::Command;

const WWW: &str = "www.example.test";
const SHOP: &str = "shop.example.test";

#[test]
fn nginx() {
    let Some(mut d) = daemon("nginx", "nginx") else { return };
    let (plain, secure) = (free_port(), free_port());
    certificates(&d, &[WWW, SHOP]);
    d.write("html/index.html", "all is alive\n");
    let dir = d.dir();
    let user = if ids("www-data").is_some() { "user www-data;" } else { "" };
    let listen = |port: u16, more: &str| at(port).iter().map(|a| format!("listen {a}{more};")).collect::<String>();
    let site = |name: &str| {
        format!(
            "server {{ {} {} server_name {name}; ssl_certificate {dir}/{name}.pem; ssl_certificate_key {dir}/{name}.key;
               root {dir}/html; absolute_redirect off;
               location = /name {{ return 200 'host=$host sni=$ssl_server_name'; }}
               location = /old {{ return 301 /name; }}
               location = /away {{ return 302 http://{name}:{plain}/name; }}
               location = /secure {{ return 302 https://{name}:{secure}/name; }}
               location = /loop {{ return 302 /loop; }}
               location = /503 {{ return 503; }} }}",
            listen(plain, ""),
            listen(secure, " ssl"),
        )
    };
    let (www, shop) = (site(WWW), site(SHOP));
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|t| format!("{t}_temp_path {dir}/{t};"))
        .collect();
    d.write(
        "nginx.conf",
        format!(
            "{user} worker_processes 1; pid {dir}/pid; error_log {dir}/errorlog;
             events {{ worker_connections 64; }}
             http {{ access_log off; {temporary} {www} {shop} }}"
        ),
    );
    let mut command = Command::new("nginx");
    command.args(["-p", &dir, "-c", &format!("{dir}/nginx.conf"), "-g", "daemon off;"]);
    d.start(command, &[at(plain), at(secure)].concat());

    d.up(plain, "service=http");
    d.up(plain, "service=http\nrequest=\"index.html\"\nreceive=\"^all is alive$\"");
    d.up(plain, "service=http\nhttpmethod=HEAD");
    d.up(plain, &format!("service=http\nrequest=\"name\"\nvirtualhost={SHOP}\nreceive=\"host={SHOP} \""));
    for request in ["old", "away"] {
        d.up(plain, &format!("service=http\nrequest=\"{request}\"\nvirtualhost={SHOP}\nreceive=\"host={SHOP} \""));
    }
    d.down(plain, "service=http\nreceive=\"dead\"", "does not match");
    d.down(plain, "service=http\nrequest=\"503\"", "503");
    d.down(plain, "service=http\nrequest=\"nowhere\"", "404");
    d.down(plain, "service=http\nrequest=\"loop\"", "redirects");
    d.down(secure, "service=http", "400");

    d.up(secure, "service=https");
    d.up(secure, &format!("service=https\nrequest=\"old\"\nvirtualhost={SHOP}\nreceive=\"host={SHOP} sni={SHOP}\""));
    d.up(plain, &format!("service=http\nrequest=\"secure\"\nvirtualhost={SHOP}\nreceive=\"host={SHOP} sni={SHOP}\""));
    let verified = |host: &str, ca: &str| format!("service=https\nvirtualhost={host}\ntlscafile={dir}/{ca}.pem");
    d.up(secure, &verified(WWW, "ca"));
    d.up(secure, &verified(SHOP, "ca"));
    d.down(secure, &verified("else.example.test", "ca"), "not valid for name");
    d.down(secure, &verified(WWW, "other"), "unknown issuer");
    d.down(secure, &verified(WWW, "missing"), "tlscafile");
    d.down(secure, &format!("service=https\nvirtualhost={WWW}\ntlsverify=yes"), "");
    d.down(plain, "service=https", "tls");

    d.up(plain, "checktype=connect");
    d.up(plain, "service=simpletcp\nrequest=\"GET / HTTP/1.0\\n\\n\"\nreceive=\"alive\"");
    source_address(plain);
}

/// The server sees the address that the check comes from.
fn source_address(port: u16) {
    let from = verdict(V4, port, "service=http\nsourceaddress=127.0.0.5");
    assert!(from.up, "{}", from.answer);
    let family = verdict(V4, port, "service=http\nsourceaddress=::1");
    assert!(!family.up && family.answer.contains("family"), "{}", family.answer);
}

#[test]
fn squid() {
    let Some(mut d) = daemon("squid", "squid") else { return };
    let (proxy, origin) = (free_port(), free_port());
    let dir = d.dir();
    // Squid's own error pages answer too: the origin says which answer is its.
    d.mkdir("origin");
    d.write("origin/page", "from the origin\n");
    if find("nginx").is_none() {
        eprintln!("*** squid is tried without an origin server: nginx is missing");
        return;
    }
    d.write(
        "nginx.conf",
        format!(
            "worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/nginxlog; events {{ worker_connections 64; }}
             http {{ access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
               uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
               server {{ listen 127.0.0.1:{origin}; location /page {{ return 200 'from the origin'; }} }} }}"
        ),
    );
    let mut nginx = Command::new("nginx");
    nginx.args(["-p", &dir, "-c", &format!("{dir}/nginx.conf"), "-g", "daemon off;"]);
    d.start(nginx, &[([127, 0, 0, 1], origin).into()]);

    let listen: String = at(proxy).iter().map(|a| format!("http_port {a}\n")).collect();
    d.write(
        "squid.conf",
        format!(
            "{listen}visible_hostname squid.test\npid_filename none\ncache deny all\naccess_log none\ncache_log {dir}/cachelog\n\
             cache_store_log none\ncoredump_dir {dir}\nshutdown_lifetime 0 seconds\nnetdb_filename none\nicon_directory /usr/share/squid/icons\n\
             acl mine port {origin}\nhttp_access allow mine\nhttp_access deny all\n"
        ),
    );
    d.give("", "proxy");
    let mut squid = Command::new("squid");
    squid.args(["-N", "-f", &format!("{dir}/squid.conf")]);
    d.start(squid, &at(proxy));
    let request = |path: &str| format!("service=http_proxy\nrequest=\"http://127.0.0.1:{origin}/{path}\"");
    d.up(proxy, &request("page"));
    d.up(proxy, &format!("{}\nreceive=\"from the origin\"", request("page")));
    d.up(proxy, &format!("service=http_proxy\nvirtualhost=127.0.0.1:{origin}\nrequest=\"page\""));
    d.down(proxy, &request("nothing"), "404");
    d.down(proxy, "service=http_proxy\nrequest=\"http://127.0.0.1:9/\"", "403");
    d.down(proxy, "service=http_proxy", "absolute URL");
}
