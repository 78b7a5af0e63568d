//! Every kind of tunnel carries traffic: IP in IP, GUE and GRE, with and without checksums, IPv4 and IPv6.
//!
//! ```text
//!   client ── front 10.12.0.0/24, fd00:12::/64 ─┬─ d   our ipvsadm: one address for each kind
//!                                               └─ w1 w2   take the packets out and answer the client themselves
//! ```
//!
//! The server's device for GRE is told whether packets have a checksum, so that w1 takes those without and w2 those with.
//! Each service has one of the two; no other way leads there, since the servers do not answer ARP for the addresses.

use crate::BASCULE;
use crate::guest::{Namespace, shell, wait_until};
use crate::hold::{self, PORT, who};
use std::collections::BTreeMap;
use std::time::Duration;

/// Name, options of the real server, which server.
const KINDS: &[(&str, &str, u8)] = &[
    ("ipip", "--tun-type ipip", 1),
    ("gue", "--tun-type gue --tun-port 6080", 1),
    ("gue, checksum", "--tun-type gue --tun-port 6080 --tun-csum", 2),
    ("gue, remote checksum", "--tun-type gue --tun-port 6080 --tun-remcsum", 1),
    ("gre", "--tun-type gre", 1),
    ("gre, checksum", "--tun-type gre --tun-csum", 2),
];
const MODULES: &[&str] = &["ip_vs", "ipip", "ip6_tunnel", "fou", "fou6", "ip_gre", "ip6_gre"];

/// The address of a kind, as it stands in front of a port.
fn vip(n: usize, six: bool) -> String {
    if six { format!("[fd00:12::10{n}]") } else { format!("10.12.0.10{n}") }
}

pub fn carry_traffic() -> Result<(), String> {
    for module in MODULES {
        shell(&format!("modprobe {module}")).map_err(|e| format!("the guest's kernel lacks {module}: {e}"))?;
    }
    let switch = Namespace::new("switch")?;
    switch.run("ip link add front type bridge && ip link set front up")?;
    let client = Namespace::new("client")?;
    client.attach_to(&switch, "front", &["10.12.0.50/24", "fd00:12::50/64"])?;
    client.run("ip link set eth0 gso_max_segs 1")?;
    let _servers = [server(&switch, 1)?, server(&switch, 2)?];
    let director = director(&switch)?;
    let mut failures = Vec::new();
    for six in [false, true] {
        for (n, (name, _, server)) in KINDS.iter().enumerate() {
            let target = format!("{}:{PORT}", vip(n, six));
            let mut last = BTreeMap::new();
            let answered = wait_until(Duration::from_secs(15), || {
                last = who(&client, std::slice::from_ref(&target), 1).unwrap_or_default().into_iter().collect();
                (last.get(&target) == Some(&format!("w{server}"))).then_some(())
            });
            let family = if six { "IPv6" } else { "IPv4" };
            match answered {
                Some(()) => println!("     {name}, {family}: w{server} answers 20,000 bytes"),
                None => failures.push(format!("{name}, {family}: {last:?}")),
            }
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    let table = director.run("ipvsadm -Ln --tun-info; ipvsadm -Lcn")?;
    let links = _servers[0].run("ip -s link; nstat -a; ip fou show; ip -6 fou show")?;
    Err(format!("{}\n{table}\n{links}", failures.join("\n")))
}

fn director(switch: &Namespace) -> Result<Namespace, String> {
    let d = Namespace::new("d")?;
    d.attach_to(switch, "front", &["10.12.0.1/24", "fd00:12::1/64"])?;
    let mut rules = String::new();
    for six in [false, true] {
        for (n, (_, options, server)) in KINDS.iter().enumerate() {
            let vip = vip(n, six);
            let bare = vip.trim_matches(['[', ']']);
            // A preferred one would be the source of the outer header, and the server has it too.
            let (length, more) = if six { (128, "nodad preferred_lft 0") } else { (32, "") };
            d.run(&format!("ip addr add {bare}/{length} dev eth0 {more}"))?;
            let real = if six { format!("[fd00:12::1{server}]") } else { format!("10.12.0.1{server}") };
            rules += &format!("-A -t {vip}:{PORT} -s rr\n-a -t {vip}:{PORT} -r {real}:{PORT} -i {options}\n");
        }
    }
    std::fs::write("/tmp/tunnels.rules", rules).map_err(|e| e.to_string())?;
    d.run(&format!("{BASCULE} ipvsadm -R < /tmp/tunnels.rules"))?;
    Ok(d)
}

fn server(switch: &Namespace, n: u8) -> Result<Namespace, String> {
    let w = Namespace::new(&format!("w{n}"))?;
    w.attach_to(switch, "front", &[&format!("10.12.0.1{n}/24"), &format!("fd00:12::1{n}/64")])?;
    let no_arp = "net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2";
    w.run(&format!("sysctl -qw {no_arp} net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0"))?;
    let checksum = if n == 2 { "icsum" } else { "" };
    for step in [
        "ip link set tunl0 up && ip link set ip6tnl0 up".to_owned(),
        "ip fou add port 6080 gue && ip -6 fou add port 6080 gue".to_owned(),
        format!("ip link add gre1 type gre local 10.12.0.1{n} remote 10.12.0.1 {checksum} && ip link set gre1 up"),
        format!("ip link add gre6 type ip6gre local fd00:12::1{n} remote fd00:12::1 {checksum} && ip link set gre6 up"),
        "for d in tunl0 gre1; do sysctl -qw net.ipv4.conf.$d.rp_filter=0; done".to_owned(),
    ] {
        w.run(&step)?;
    }
    for (k, _) in KINDS.iter().enumerate() {
        w.run(&format!("ip addr add {}/32 dev lo; ip addr add fd00:12::10{k}/128 dev lo nodad", vip(k, false)))?;
    }
    hold::serve(&w)?;
    Ok(w)
}
