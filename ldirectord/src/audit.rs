//! What the kernel's table would refuse of a configuration: found by placing it in the table's double, with the line to blame.

use crate::config::{Config, Problem, Severity, Virtual, service_id};
use crate::plan;
use base::ipvs::{Dest, ServiceEntry};
use kernel::ipvs::{Change, Error, Ipvs, Memory};

/// More refusals are not collected.
const MAX_REFUSALS: usize = 50;

/// All refusals, in the order of lines.
pub fn audit(config: &Config) -> Vec<Problem> {
    let (_, mut found) = placed(config, true);
    // With everything down the fallbacks stand there.
    let (_, down) = placed(config, false);
    for problem in down {
        if !found.contains(&problem) {
            found.push(problem);
        }
    }
    found.sort_by_key(|p| p.line);
    found
}

/// The table that results if every check passes (`up`) or fails, as far as the kernel takes it, and what it refuses.
pub fn placed(config: &Config, up: bool) -> (Vec<ServiceEntry>, Vec<Problem>) {
    let mut table = Memory::default();
    let mut refused = Vec::new();
    let wanted = plan::assumed(config, up);
    for v in &config.virtuals {
        let Some(entry) = wanted.iter().find(|e| e.service.key == v.key) else { continue };
        if let Err(e) = table.apply(&Change::AddService(entry.service.clone())) {
            refused.push(of_service(v, &e));
            continue;
        }
        for dest in &entry.dests {
            if let Err(e) = table.apply(&Change::AddDest(v.key, dest.dest.clone())) {
                refused.push(of_dest(v, &dest.dest, &e));
            }
        }
        if refused.len() >= MAX_REFUSALS {
            break;
        }
    }
    (table.entries().to_vec(), refused)
}

fn of_service(v: &Virtual, e: &Error) -> Problem {
    let (directive, cure) = match e {
        Error::NoScheduler { .. } => {
            ("scheduler", "one of rr, wrr, lc, wlc, lblc, lblcr, dh, sh, mh, sed, nq, fo, ovf, twos")
        }
        Error::OutOfRange => ("persistent", ""),
        _ if v.port() == 0 && v.protocol().is_some() => ("virtual", "port 0 needs persistent ="),
        _ if v.persistent_s.is_some() => ("persistent", ""),
        _ => ("virtual", ""),
    };
    problem(v.line_of(directive), format!("virtual service {}", service_id(&v.key)), e, cure)
}

fn of_dest(v: &Virtual, dest: &Dest, e: &Error) -> Problem {
    let real = v.reals.iter().rev().find(|r| v.dest_key(r.addr, r.port, r.forward) == dest.key);
    let line = real.map_or(v.line_of("fallback"), |r| r.line);
    let cure = match e {
        Error::OutOfRange if dest.l_threshold > dest.u_threshold => "l: must not be above u:",
        Error::OutOfRange => "a weight or threshold of at most 2147483647",
        _ => "the address of one server (not 0.0.0.0, multicast or broadcast), of the virtual's family",
    };
    problem(line, format!("real server {}:{} of {}", dest.key.addr, dest.key.port, service_id(&v.key)), e, cure)
}

fn problem(line: u32, found: String, e: &Error, cure: &str) -> Problem {
    Problem {
        severity: Severity::Error,
        line,
        column: 1,
        found,
        expected: format!("what the table takes ({e})"),
        cure: cure.to_owned(),
        deviation: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{System, parse};

    fn lines(text: &str) -> Vec<(u32, String)> {
        let config = parse(text, &mut System::default()).unwrap_or_else(|e| panic!("{e}")).config;
        audit(&config).into_iter().map(|p| (p.line, p.found)).collect()
    }

    #[test]
    fn what_the_kernel_refuses_has_a_line() {
        let head = "virtual=10.2.0.2:80\n    real=127.0.9.4:18201 masq 1\n";
        let one = |body: &str| lines(&format!("{head}    {body}\n")).iter().map(|(l, _)| *l).collect::<Vec<_>>();
        assert_eq!(one("service=http"), [0u32; 0]);
        assert_eq!(one("service=http\n    scheduler=roundrobin"), [4]);
        assert_eq!(one("real=127.0.9.4:18202 masq 1 l:9 u:3"), [3]);
        assert_eq!(one("real=0.0.0.0:80 masq 1"), [3]);
        assert_eq!(one("real=224.0.0.1:80 masq 1"), [3]);
        assert_eq!(one("fallback=255.255.255.255:80 masq"), [3]);
    }
}
