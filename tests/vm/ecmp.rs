//! Four directors that are active for the same addresses, behind a router, as `configs/topologies/ecmp` has it.
//!
//! ```text
//!   client ── out 198.51.100.0/24 ── router (BIRD) ── lan 192.0.2.0/24 ─┬─ e1 e2 e3 e4  directors: node, BIRD, kernel IPVS
//!                                                                       └─ s1 … s6      servers, answer by the router
//! ```
//!
//! Connections are kept while a director drains, a server dies and a director loses its power; what became of them is printed.

mod site;

use crate::guest::wait_until;
use crate::many::{Keeping, Kept};
use site::{Carriers, DIRECTORS, PORT, Site, V4, V6, now};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(90);
/// A director has at least this share of connections, in percent, where 25 would be even.
const LEAST_SHARE: usize = 8;
/// Of those that only move, so many may break, in percent (mh and sloppy_tcp).
const MOST_BROKEN: usize = 2;

pub fn four_directors() -> Result<(), String> {
    let long = std::env::var_os("BASCULE_LONG").is_some();
    let each = if long { 1_000 } else { 120 };
    let site = Site::start()?;
    site.wait_for_hops("1234")?;
    site.watch_routes()?;
    one_drains(&site, if long { 5_000 } else { each })?;
    a_server_dies(&site)?;
    one_is_killed(&site, each)
}

fn targets() -> Vec<String> {
    vec![format!("{V4}:{PORT}"), format!("[{V6}]:{PORT}")]
}

fn keep(site: &Site, name: &str, each: usize) -> Result<(Keeping, Carriers), String> {
    // Directors that connections have left do not know when these end.
    let old = site.carriers();
    let began = Instant::now();
    let kept = Keeping::start(&site.client, name, pause(each), each, &targets())?;
    println!("     {} connections opened in {:.1} s", 2 * each, began.elapsed().as_secs_f32());
    let mut carriers = site.carriers();
    carriers.retain(|key, _| !old.contains_key(key));
    let mut shares = [0; DIRECTORS];
    carriers.values().flatten().for_each(|n| shares[n - 1] += 1);
    let all: usize = shares.iter().sum();
    println!("     {all} connections, by director: {shares:?}");
    if all < each || shares.iter().any(|n| n * 100 < all * LEAST_SHARE) {
        return Err(format!(
            "connections are not spread over four directors: {shares:?} of {}\n{}",
            each * 2,
            site.logs()
        ));
    }
    Ok((kept, carriers))
}

/// Between two words of one connection: more of them talk less.
fn pause(each: usize) -> Duration {
    Duration::from_secs(2 + each as u64 / 50)
}

fn key(kept: &Kept) -> (bool, u16) {
    (kept.target.starts_with('['), kept.port)
}

/// Standby: routers prefer the others first, then the addresses go. Nobody loses anything.
fn one_drains(site: &Site, each: usize) -> Result<(), String> {
    let (keeping, before) = keep(site, "drain", each)?;
    let began = now();
    site.ask(2, "pcs node standby d4")?;
    site.wait_for_hops("123")?;
    let moved = first_route_without(site, began, 4);
    // Every connection talks once more at the end, by whoever has it now.
    let kept = keeping.finish()?;
    let drained = before.values().filter(|n| n.contains(&4)).count();
    let lost: Vec<&Kept> = kept.iter().filter(|k| !k.survived()).collect();
    let longest = kept.iter().map(|k| k.longest_ms).max().unwrap_or(0);
    println!(
        "     drained: {} lost of {} ({drained} on the drained director), longest answer {longest} ms, routers elsewhere after {moved}",
        lost.len(),
        kept.len()
    );
    if let Some(first) = lost.first() {
        return Err(format!("a drained connection was lost: {first:?}\n{}", site.logs()));
    }
    let communities = site.log_since(4, began);
    if !communities.iter().any(|(_, l)| l.contains("draining for")) {
        return Err(format!("director 4 did not drain\n{}", site.logs()));
    }
    site.ask(2, "pcs node unstandby d4")?;
    site.wait_for_hops("1234")
}

/// When the last route to the director had gone from the router, of both families.
fn first_route_without(site: &Site, since: Duration, n: usize) -> String {
    let (v4, v6) = (format!("192.0.2.{n} "), format!("2001:db8::{n} "));
    let mentions = |l: &str| l.contains(V4) || l.contains(V6);
    let seen = site.routes_seen();
    let last = seen.iter().rfind(|(at, l)| *at >= since && mentions(l) && !l.contains(&v4) && !l.contains(&v6));
    last.map_or("?".to_owned(), |(at, _)| format!("{} ms", at.saturating_sub(since).as_millis()))
}

/// All directors give it weight 0, each by the agreed word.
fn a_server_dies(site: &Site) -> Result<(), String> {
    let began = site.kill_server(6)?;
    let masked = |n: usize| {
        let weights = site.weights(n);
        weights.contains(&format!("192.0.2.16:{PORT} 0")) && weights.contains(&format!("[2001:db8::16]:{PORT} 0"))
    };
    wait_until(LIMIT, || (1..=DIRECTORS).all(masked).then_some(()))
        .ok_or_else(|| format!("a dead server is not masked\n{}", site.logs()))?;
    let tables: BTreeSet<Vec<String>> = (1..=DIRECTORS).map(|n| site.weights(n)).collect();
    if tables.len() != 1 {
        return Err(format!("the directors' tables differ: {tables:?}"));
    }
    let mut times = Vec::new();
    for n in 1..=DIRECTORS {
        let quiet = |l: &str| l.contains("192.0.2.16") && l.contains("uiescent");
        let at = site.log_since(n, began).into_iter().find(|(_, l)| quiet(l)).map(|(at, _)| at);
        times.push(at.ok_or_else(|| format!("director {n} does not say when\n{}", site.logs()))?);
    }
    let (first, last) =
        (times.iter().min().copied().unwrap_or_default(), times.iter().max().copied().unwrap_or_default());
    println!(
        "     a server died: out at the first director after {} ms, at the last after {} ms (checkinterval 2 s), apart {} ms",
        first.saturating_sub(began).as_millis(),
        last.saturating_sub(began).as_millis(),
        last.saturating_sub(first).as_millis()
    );
    site.serve_again(6)?;
    let back = || (1..=DIRECTORS).all(|n| !site.weights(n).iter().any(|w| w.ends_with(" 0"))).then_some(());
    wait_until(LIMIT, back).ok_or_else(|| format!("a server that is back has no weight\n{}", site.logs()))
}

/// Power loss: BFD tells the router. What others carried may move between them, and the server they choose is the same.
fn one_is_killed(site: &Site, each: usize) -> Result<(), String> {
    let (keeping, before) = keep(site, "kill", each)?;
    let died = site.kill(1)?;
    site.wait_for_hops("234")?;
    let moved_on = first_route_without(site, died, 1);
    // All have talked by then, over whoever has them now.
    std::thread::sleep(pause(each) + Duration::from_secs(4));
    let after = site.carriers();
    let kept = keeping.finish()?;
    let mut counts = [[0usize; 2]; 3];
    for k in &kept {
        let Some(was) = before.get(&key(k)) else { continue };
        let class = match after.get(&key(k)) {
            _ if was.contains(&1) => 0,
            Some(is) if is.difference(was).next().is_some() => 1,
            _ => 2,
        };
        counts[class][0] += 1;
        counts[class][1] += usize::from(!k.survived());
    }
    let longest = kept.iter().map(|k| k.longest_ms).max().unwrap_or(0);
    println!("     killed: router moved on after {moved_on} (BFD 3 x 300 ms), longest answer {longest} ms");
    for (name, [all, broken]) in
        ["carried by the killed", "moved to another director", "stayed where they were"].iter().zip(counts)
    {
        println!("       {name:26} {all:5} broken {broken:3} ({:.1} %)", 100.0 * broken as f64 / all.max(1) as f64);
    }
    let why: BTreeSet<&str> = kept.iter().map(|k| k.error.as_str()).filter(|e| !e.is_empty()).collect();
    if !why.is_empty() {
        println!("       {why:?}");
    }
    let [_, moved, stayed] = counts;
    if stayed[1] > 0 || moved[1] * 100 > moved[0] * MOST_BROKEN {
        return Err(format!("too many connections broke: {counts:?} {why:?}\n{}", site.logs()));
    }
    Ok(())
}
