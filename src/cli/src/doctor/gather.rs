//! Reads the facts: the only part of the doctor that touches the host.

use super::corosync::{self, Corosync};
use super::facts::{Director, Facts, KeyFile};
use super::firewall::{Firewall, iptables, nft};
use super::{Doctor, cluster, sbd};
use crate::source::{Source, host_name};
use ::ldirectord::service::load;
use kernel::host::{self, Network};
use kernel::ipvs::{Ipvs, Kernel};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const LDIRECTORD_CF: &str = "/etc/ha.d/ldirectord.cf";
const COROSYNC_CONF: &str = "/etc/corosync/corosync.conf";
const AUTHKEY: &str = "/etc/corosync/authkey";
/// corosync.conf larger than this is not read.
const MAX_CONF_BYTES: u64 = 1024 * 1024;
/// Longest listing of a packet filter.
const MAX_LISTING_BYTES: u64 = 64 * 1024 * 1024;
/// Real servers whose way is looked for.
const MAX_REALS: usize = 10_000;
/// How long the node daemon may take.
const DAEMON_TIMEOUT: Duration = Duration::from_secs(3);
/// Settings that each link has of its own.
const LINK_SETTINGS: [&str; 5] = ["rp_filter", "arp_ignore", "arp_announce", "send_redirects", "promote_secondaries"];
const SETTINGS: [&str; 7] = [
    "net/ipv4/fib_multipath_hash_policy",
    "net/ipv6/fib_multipath_hash_policy",
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_count",
    "net/netfilter/nf_conntrack_tcp_loose",
];

pub fn gather(args: &Doctor) -> Facts {
    let mut unreadable = Vec::new();
    let mut daemon_warnings = Vec::new();
    let cluster = read_cluster(args, &mut unreadable, &mut daemon_warnings);
    let files = config_files(args, cluster.as_ref());
    let directors = directors(files, &mut unreadable);
    let corosync = read_corosync(args, &mut unreadable);
    let key = corosync.as_ref().map(|conf| key_file(args, conf));
    let network = network(&mut unreadable);
    let mut kernel = Kernel::new();
    // A doctor changes nothing, not even which modules are loaded.
    kernel.set_load_module(false);
    let ipvs = kernel.info().map(|i| i.version).map_err(|e| e.to_string());
    let mut facts = Facts {
        watchdog: ["/dev/watchdog", "/dev/watchdog0"].iter().any(|d| std::path::Path::new(d).exists()),
        sbd: read_bounded(Path::new(sbd::FILE)).ok().map(|text| sbd::read(sbd::FILE.into(), &text)),
        daemon_warnings,
        hostname: host_name(),
        root: nix::unistd::geteuid().is_root(),
        sync_daemons: if ipvs.is_ok() { kernel.daemons().unwrap_or_default() } else { Vec::new() },
        ipvs,
        modules_loaded: host::loaded_modules(),
        modules_available: host::available_modules(),
        conn_tab_bits: kernel::settings::conn_tab_bits(),
        settings: settings(&network),
        links: network.links,
        kinds: network.kinds,
        addresses: network.addresses,
        default_routes: network.default_routes,
        clock: host::clock_state(),
        firewall: firewall(),
        directors,
        unreadable,
        corosync,
        key,
        routing: cluster
            .iter()
            .flat_map(cluster::Cluster::announcements)
            .map(|p| (p.id.clone(), sessions(p)))
            .collect(),
        multipath: ["-4", "-6"].iter().any(|f| listing("ip", &[f, "route"]).is_some_and(|l| l.contains("nexthop "))),
        cluster,
        sources: BTreeMap::new(),
    };
    let reals: BTreeSet<IpAddr> = facts.reals().map(|(_, r)| r.addr).take(MAX_REALS).collect();
    facts.sources = reals.into_iter().map(|a| (a, source_towards(a))).collect();
    facts
}

fn network(unreadable: &mut Vec<(PathBuf, String)>) -> Network {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let read = runtime.map_err(|e| e.to_string()).and_then(|r| r.block_on(host::network()).map_err(|e| e.to_string()));
    read.unwrap_or_else(|why| {
        unreadable.push(("rtnetlink".into(), why));
        Network::default()
    })
}

/// Connecting a datagram socket sends nothing and asks the routing table.
fn source_towards(addr: IpAddr) -> Option<IpAddr> {
    let any = if addr.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect((addr, 9)).ok()?;
    socket.local_addr().ok().map(|a| a.ip())
}

fn settings(network: &Network) -> BTreeMap<String, String> {
    let mut all = host::settings_below("net/ipv4/vs");
    let mut read = |path: String| {
        if let Some(value) = host::setting(&path) {
            all.insert(path, value);
        }
    };
    SETTINGS.iter().for_each(|s| read((*s).to_owned()));
    let names = network.links.iter().map(|l| l.name.as_str()).chain(["all", "default"]);
    for name in names {
        LINK_SETTINGS.iter().for_each(|s| read(format!("net/ipv4/conf/{name}/{s}")));
    }
    all
}

fn read_cluster(
    args: &Doctor,
    unreadable: &mut Vec<(PathBuf, String)>,
    warnings: &mut Vec<String>,
) -> Option<cluster::Cluster> {
    let source = match (&args.cib, Source::open()) {
        (Some(file), _) => Source::File(file.clone()),
        (None, Source::Live(mut client)) => {
            client.timeout = DAEMON_TIMEOUT;
            Source::Live(client)
        }
        (None, file) => file,
    };
    if let Ok(Some(status)) = source.status() {
        warnings.extend(status.warnings);
    }
    match source.cib() {
        Ok(cib) => Some(cluster::read(&cib)),
        Err(failure) => {
            if let Some(file) = &args.cib {
                unreadable.push((file.clone(), failure.message));
            }
            None
        }
    }
}

/// Those named; else those that the cluster's director resources name, else the usual one.
fn config_files(args: &Doctor, cluster: Option<&cluster::Cluster>) -> BTreeSet<PathBuf> {
    if !args.config.is_empty() {
        return args.config.iter().cloned().collect();
    }
    let named = cluster.into_iter().flat_map(|c| c.primitives.iter()).filter(|p| p.agent == "ldirectord");
    let files: BTreeSet<PathBuf> = named.map(|p| p.param("configfile").unwrap_or(LDIRECTORD_CF).into()).collect();
    if files.is_empty() { [LDIRECTORD_CF.into()].into_iter().filter(|f: &PathBuf| f.exists()).collect() } else { files }
}

fn directors(files: BTreeSet<PathBuf>, unreadable: &mut Vec<(PathBuf, String)>) -> Vec<Director> {
    let mut directors = Vec::new();
    for file in files {
        match load(&file) {
            Ok(accepted) => directors.push(Director { file, config: accepted.config }),
            Err(e) => unreadable.push((file, e.to_string())),
        }
    }
    directors
}

fn read_corosync(args: &Doctor, unreadable: &mut Vec<(PathBuf, String)>) -> Option<Corosync> {
    let file = args.corosync_conf.clone().unwrap_or_else(|| COROSYNC_CONF.into());
    match read_bounded(&file) {
        Ok(text) => Some(corosync::read(file, &text, &resolve)),
        Err(_) if args.corosync_conf.is_none() && !file.exists() => None,
        Err(e) => {
            unreadable.push((file, e.to_string()));
            None
        }
    }
}

fn resolve(name: &str) -> Option<IpAddr> {
    (name, 0).to_socket_addrs().ok()?.map(|a| a.ip()).next()
}

fn read_bounded(file: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)?.take(MAX_CONF_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn key_file(args: &Doctor, conf: &Corosync) -> KeyFile {
    let file = args.authkey.clone().or_else(|| conf.keyfile.clone()).unwrap_or_else(|| AUTHKEY.into());
    let mut key = KeyFile { file, missing: None, mode: 0, uid: 0, bytes: 0 };
    match std::fs::metadata(&key.file) {
        Ok(m) => (key.mode, key.uid, key.bytes) = (m.mode(), m.uid(), m.len()),
        Err(e) => key.missing = Some(e.to_string()),
    }
    key
}

/// nftables shows what it holds itself and, as `xt`, what iptables put there; iptables-save shows the latter in full.
fn firewall() -> Firewall {
    let mut chains = Vec::new();
    let mut read = false;
    if let Some(listing) = listing("nft", &["-j", "list", "ruleset"]) {
        match nft::read(&listing) {
            Ok(found) => {
                // Tables that iptables keeps there are read below in its own words.
                let own = |table: &str| {
                    ["filter", "mangle", "raw", "security"].iter().any(|t| table.ends_with(&format!(" {t}")))
                };
                let mixed = listing.contains("\"xt\"");
                chains.extend(found.into_iter().filter(|c| !(mixed && own(&c.table) && !c.table.starts_with("inet"))));
                read = true;
            }
            Err(why) => return Firewall::Unread(why),
        }
    }
    for (program, v6) in [("iptables-save", false), ("ip6tables-save", true)] {
        if let Some(listing) = listing(program, &[]) {
            chains.extend(iptables::read(&listing, v6));
            read = true;
        }
    }
    if read {
        return Firewall::Rules(chains);
    }
    let loaded = host::loaded_modules();
    let filters = ["nf_tables", "ip_tables", "ip6_tables"].iter().any(|m| loaded.contains(*m));
    if !filters && !loaded.is_empty() && !Path::new("/proc/net/ip_tables_names").exists() {
        return Firewall::Rules(Vec::new());
    }
    Firewall::Unread("neither nft nor iptables-save is installed, or they may not read".to_owned())
}

/// Established BGP sessions of the daemon that an announcing resource names.
fn sessions(primitive: &cluster::Primitive) -> Result<usize, String> {
    if primitive.param("daemon") == Some("frr") {
        let mut words = primitive.param("pathspace").map_or(Vec::new(), |p| vec!["-N", p]);
        words.extend(["-d", "bgpd", "-c", "show bgp summary json"]);
        let said = listing(primitive.param("vtysh").unwrap_or("vtysh"), &words);
        let said = said.ok_or("vtysh is not installed, or bgpd does not answer it")?;
        // Spaced as FRR writes it, or not at all.
        return Ok(
            said.matches("\"state\":\"Established\"").count() + said.matches("\"state\": \"Established\"").count()
        );
    }
    let socket = primitive.param("socket").unwrap_or("/run/bird/bird.ctl");
    let told = bird_says(socket, "show protocols");
    let told = told.map_err(|e: std::io::Error| format!("{socket}: {e}"))?;
    let up = |l: &&str| l.split_whitespace().nth(1) == Some("BGP") && l.contains("Established");
    Ok(told.lines().filter(up).count())
}

/// BIRD's answer, to the line that ends it: it keeps the connection for more questions.
fn bird_says(socket: &str, question: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(DAEMON_TIMEOUT))?;
    stream.set_write_timeout(Some(DAEMON_TIMEOUT))?;
    stream.write_all(format!("{question}\n").as_bytes())?;
    let mut told = String::new();
    for line in BufReader::new(stream.take(MAX_CONF_BYTES)).lines() {
        let line = line?;
        // 0000: done; 8000 and above: errors. Its greeting is 0001.
        if line.starts_with("0000") || line.starts_with(['8', '9']) {
            return Ok(told);
        }
        told += &line;
        told.push('\n');
    }
    Err(std::io::Error::other("the connection ended before the answer did"))
}

/// Output of a program that succeeded.
fn listing(program: &str, args: &[&str]) -> Option<String> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut bytes = Vec::new();
    let read = child.stdout.take()?.take(MAX_LISTING_BYTES).read_to_end(&mut bytes);
    let status = child.wait().ok()?;
    (read.is_ok() && status.success()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}
