//! Every parser of outside input, fed with mutated samples from a seed: no panic, no endless loop.
//!
//! `BASCULE_SEED` starts the stream (printed on failure), `BASCULE_FUZZ` is the number of inputs per parser.

mod answers;
mod mutate;
mod qnet;
mod ring;

use base::ipvs::{Family, Protocol};
use mutate::Mutator;
use nix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

/// No single input of a few kilobytes may keep a parser this long, even unoptimised. Time of the processor: a busy machine is no fault.
const LONGEST: Duration = Duration::from_secs(2);

fn count() -> u64 {
    let default = if std::env::var_os("BASCULE_LONG").is_some() { 1_000_000 } else { 3_000 };
    std::env::var("BASCULE_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn seed() -> u64 {
    std::env::var("BASCULE_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// Mutates the samples and feeds them to `parser`, which returns whether it accepted the input.
fn fuzz(name: &str, samples: &[Vec<u8>], mut parser: impl FnMut(&[u8]) -> bool) {
    assert!(!samples.is_empty(), "{name}: no samples");
    let mut mutator = Mutator::new(seed());
    let mut accepted = 0;
    for round in 0..count() {
        let input = mutator.mutate(samples);
        let began = used();
        let outcome = catch_unwind(AssertUnwindSafe(|| parser(&input)));
        let shown = || String::from_utf8_lossy(&input).into_owned();
        match outcome {
            Ok(ok) => accepted += u64::from(ok),
            Err(_) => panic!("{name}: panicked on input {round} of seed {}:\n{}", seed(), shown()),
        }
        let took = used().saturating_sub(began);
        assert!(took < LONGEST, "{name}: {took:?} on input {round}:\n{}", shown());
    }
    println!("{name}: {} inputs, {accepted} accepted", count());
    assert!(accepted > 0, "{name}: no input was accepted, so the mutations reach nothing but the first check");
}

/// Processor time of this thread.
fn used() -> Duration {
    let clock = ClockId::CLOCK_THREAD_CPUTIME_ID;
    clock_gettime(clock).map(Duration::from).unwrap_or_default()
}

/// Files below `configs/` with one of these endings.
fn samples(dir: &str, ending: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)];
    while let Some(dir) = dirs.pop() {
        for path in std::fs::read_dir(&dir).into_iter().flatten().flatten().map(|e| e.path()) {
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == ending) {
                found.push(std::fs::read(&path).expect("readable sample"));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn corosync_conf() {
    let allow = daemon::config::Allow::default();
    fuzz("corosync.conf", &samples("configs", "conf"), |input| {
        !daemon::config::read("corosync.conf", input, allow).refused()
    });
}

/// Names resolve, files can be written: the parser alone is tried.
struct Agreeable(BTreeMap<String, IpAddr>);

impl ldirectord::config::Environment for Agreeable {
    fn resolve(&mut self, host: &str, family: Family) -> Option<IpAddr> {
        let next = Ipv4Addr::from_bits(0xc612_0000 + self.0.len() as u32 % 65_536);
        (family == Family::IPv4).then(|| *self.0.entry(host.to_owned()).or_insert(next.into()))
    }

    fn service_port(&mut self, name: &str, _: Option<Protocol>) -> Option<u16> {
        (name == "http").then_some(80)
    }

    fn is_directory(&mut self, _: &Path) -> bool {
        true
    }

    fn can_append(&mut self, _: &Path) -> Result<(), String> {
        Ok(())
    }
}

#[test]
fn ldirectord_cf() {
    let mut files = samples("tests/vm/ldirectord", "cf");
    files.extend(samples("configs", "cf"));
    fuzz("ldirectord.cf", &files, |input| {
        let text = String::from_utf8_lossy(input);
        ldirectord::config::parse(&text, &mut Agreeable(BTreeMap::new())).is_ok()
    });
}

#[test]
fn cib_xml_and_its_check() {
    fuzz("CIB", &samples("configs", "xml"), |input| {
        let text = String::from_utf8_lossy(input);
        xml::parse(&text).is_ok_and(|root| {
            let _ = cib::schema::check(&root);
            cib::Cib::from_element(root).is_ok()
        })
    });
}

#[test]
fn cib_requests() {
    let payload = xml::Element::new("primitive").with("id", "vip").with("class", "ocf").with("type", "Dummy");
    let requests = [
        cib::Request::upsert("resources", payload),
        cib::Request::delete_xpath("//nvpair[@id='a' and @name=\"b\"]", true),
        cib::Request::query(cib::Target::XPath("/cib/configuration//primitive[@id]".into())),
    ];
    let encoded: Vec<Vec<u8>> = requests.iter().map(cib::Request::encode).collect();
    let base = cib::Cib::new_empty(base::WallTime(0));
    fuzz("CIB request", &encoded, |input| {
        cib::Request::decode(input).is_ok_and(|request| {
            let _ = base.clone().apply(&request);
            true
        })
    });
}

#[test]
fn paths() {
    let samples: Vec<Vec<u8>> = [
        "//primitive[@id='vip']/instance_attributes/nvpair[@name='ip']",
        "/cib/status/node_state[@uname=\"d1\"]//lrm_rsc_op[@operation='monitor' and @rc-code!='0']",
        "//*[@id='x'] | //group[primitive/@id='y']",
    ]
    .iter()
    .map(|s| s.as_bytes().to_vec())
    .collect();
    let root = xml::parse("<cib><status><node_state id='1' uname='d1'/></status></cib>").expect("well-formed");
    fuzz("path", &samples, |input| {
        xml::path::Path::parse(&String::from_utf8_lossy(input)).is_ok_and(|path| path.find(&root).is_ok())
    });
}

#[test]
fn ipvs_table_files() {
    let sample = br#"{"size":4096,"version":"1.2.1","timeouts_s":{"tcp":900,"tcpfin":120,"udp":300},"daemons":[],
        "services_in_kernel_order":[{"family":"IPv4","protocol":"TCP","addr":"10.0.0.2","port":80,"fwmark":0,
        "scheduler":"wlc","flags":1,"timeout_s":300,"netmask":"255.255.255.0","pe":"","dests":[{"family":"IPv4",
        "addr":"10.1.0.1","port":80,"forward":"masq","weight":1,"u_threshold":0,"l_threshold":0}]}]}"#;
    fuzz("IPVS table", &[sample.to_vec()], |input| {
        kernel::ipvs::Memory::from_json(&String::from_utf8_lossy(input), "sample").is_ok()
    });
}
