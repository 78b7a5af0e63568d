//! What happens to an address as the nodes themselves have it; what a client on its LAN sees is in `asker`.
//!
//! Both nodes are asked what they have: on two nodes it was if the one had it before and after the other was seen with it.

use crate::fixture::{Group, NODES};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Longest time that one address was on both nodes, watched for as long as `until` does not hold.
pub async fn on_both(group: &Group, addrs: &[IpAddr], mut until: impl AsyncFnMut() -> bool) -> Duration {
    let mut since = vec![None; addrs.len()];
    let mut longest = Duration::ZERO;
    while !until().await {
        let before = holds(group, NODES[0], addrs).await;
        let other = holds(group, NODES[1], addrs).await;
        let at = Instant::now();
        let after = holds(group, NODES[0], addrs).await;
        for n in 0..addrs.len() {
            if before[n] && other[n] && after[n] {
                longest = longest.max(at - *since[n].get_or_insert(at));
            } else {
                since[n] = None;
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    longest
}

async fn holds(group: &Group, node: &str, addrs: &[IpAddr]) -> Vec<bool> {
    let there = group.host(node).links.addresses().await.expect("addresses");
    addrs.iter().map(|addr| there.iter().any(|a| a.addr == *addr)).collect()
}
