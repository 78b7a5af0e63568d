//! Addresses as the agents need them: a virtual address on an interface, leased or permanent, and its announcement.

use crate::lease::{Seen, Vip};
use base::lease::Bounds;
use base::net::same_network;
use kernel::addr::{AddrError, Address, Addresses, Lifetime, Link, Wanted};
use kernel::announce::{Burst, MAX_BURST, announce};
use std::net::IpAddr;
use std::time::Duration;

/// An agent's request may take as long as two of the keeper's: no lease waits for it.
const DEADLINE: Duration = Duration::from_millis(Bounds::STANDARD.request.as_millis() as u64 * 2);

/// How an address is announced, and whether it depends on its link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Announce {
    pub burst: Burst,
    /// Between single announcements while it is held; 0 for none.
    pub refresh_s: u64,
    /// Without carrier, the address has failed.
    pub check_link: bool,
}

impl Default for Announce {
    fn default() -> Announce {
        Announce { burst: Burst::default(), refresh_s: 60, check_link: true }
    }
}

/// Why a request about an address failed.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    #[error("no interface for {addr}: {why}")]
    NoInterface { addr: IpAddr, why: String },
    #[error("{addr} is not an address that a host can hold")]
    NotUnicast { addr: IpAddr },
    #[error(transparent)]
    Kernel(#[from] AddrError),
}

pub(crate) fn no_carrier(link: &str) -> String {
    format!("{link} is down or has no carrier (check_link_status)")
}

/// A connection to the kernel, for the network namespace of the thread that opened it.
#[derive(Clone)]
pub(crate) struct Net {
    addresses: Addresses,
}

impl Net {
    /// Must be called within a tokio runtime.
    pub fn open() -> Result<Net, NetError> {
        Net::within(DEADLINE)
    }

    /// The same with the longest time that one request may take.
    pub fn within(deadline: Duration) -> Result<Net, NetError> {
        Ok(Net { addresses: Addresses::connect()?.with_deadline_ms(deadline.as_millis() as u64) })
    }

    /// Adds or renews the address with a valid lifetime.
    pub async fn lease(&self, vip: &Vip, lifetime: Duration) -> Result<(), NetError> {
        self.put(vip, Lifetime::Seconds(lifetime.as_secs() as u32)).await
    }

    pub async fn make_permanent(&self, vip: &Vip) -> Result<(), NetError> {
        self.put(vip, Lifetime::Permanent).await
    }

    async fn put(&self, vip: &Vip, lifetime: Lifetime) -> Result<(), NetError> {
        let wanted = Wanted { label: vip.label.clone(), ..Wanted::host(vip.interface_index, vip.addr, lifetime) };
        Ok(self.addresses.renew(&wanted).await?)
    }

    /// Succeeds if the address is absent; whether it was there.
    pub async fn remove(&self, vip: &Vip) -> Result<bool, NetError> {
        let host = if vip.addr.is_ipv4() { 32 } else { 128 };
        match self.addresses.delete(vip.interface_index, vip.addr, host).await {
            Ok(()) => Ok(true),
            Err(AddrError::NoSuchAddress) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub async fn present(&self, vip: &Vip) -> Result<bool, NetError> {
        Ok(self.seen().await?.contains_key(&vip.key()))
    }

    /// All addresses that can be used. The same one may be on `lo` as well.
    pub async fn seen(&self) -> Result<Seen, NetError> {
        let all = self.addresses.list().await?;
        let usable = all.iter().filter(|a| !a.dad_failed);
        Ok(usable.map(|a| ((a.link, a.addr), a.created)).collect())
    }

    pub async fn links(&self) -> Result<Vec<Link>, NetError> {
        Ok(self.addresses.links().await?)
    }

    /// Nothing to do if it is there.
    pub async fn keep_on_loopback(&self, addr: IpAddr) -> Result<(), NetError> {
        let lo = self.addresses.links().await?.into_iter().find(|l| l.loopback);
        let why = "no loopback interface".to_owned();
        let index = lo.map(|l| l.index).ok_or(NetError::NoInterface { addr, why })?;
        if self.addresses.list().await?.iter().any(|a| a.addr == addr && a.link == index) {
            return Ok(());
        }
        Ok(self.addresses.renew(&Wanted::host(index, addr, Lifetime::Permanent)).await?)
    }

    /// The link's name if it cannot pass packets.
    pub async fn dead_link(&self, index: u32) -> Result<Option<String>, NetError> {
        let links = self.addresses.links().await?;
        Ok(links.into_iter().find(|l| l.index == index && !l.running).map(|l| l.name))
    }

    /// Announces in the background; failures are logged, since the address works without.
    pub fn announce(&self, vip: &Vip, how: Burst) {
        let (net, vip) = (self.clone(), vip.clone());
        tokio::spawn(async move { net.announce_now(&vip, how).await });
    }

    pub async fn announce_now(&self, vip: &Vip, how: Burst) {
        let links = self.addresses.links().await.unwrap_or_default();
        let Some(link) = links.into_iter().find(|l| l.index == vip.interface_index) else { return };
        if link.loopback {
            return;
        }
        for round in 0..how.count.min(MAX_BURST) {
            if round > 0 {
                tokio::time::sleep(Duration::from_millis(how.interval_ms)).await;
                // Given up meanwhile, it is another node's: one more packet would draw the clients back here.
                match self.present(vip).await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(_) => continue,
                }
            }
            if let Err(error) = announce(&link, vip.addr) {
                return tracing::warn!(address = %vip.addr, %error, "the address could not be announced");
            }
        }
    }

    /// The interface named, or the one that has the address already, or the one with the narrowest subnet around it.
    pub async fn interface_for(&self, addr: IpAddr, nic: Option<&str>) -> Result<u32, NetError> {
        if addr.is_unspecified() || addr.is_multicast() {
            return Err(NetError::NotUnicast { addr });
        }
        let links = self.addresses.links().await?;
        if let Some(name) = nic {
            let named = links.iter().find(|l| l.name == name);
            let why = format!("nic='{name}' does not exist here");
            return named.map(|l| l.index).ok_or(NetError::NoInterface { addr, why });
        }
        let known = self.addresses.list().await?;
        let around = known.iter().filter(|a| holds(a, addr, &links)).max_by_key(|a| a.prefix_len);
        let why = "no interface has a subnet around it; set nic=".to_owned();
        around.map(|a| a.link).ok_or(NetError::NoInterface { addr, why })
    }
}

/// Whether `addr` is `known` itself or lies in its subnet; loopback does not count, where real servers have addresses too.
fn holds(known: &Address, addr: IpAddr, links: &[Link]) -> bool {
    let loopback = links.iter().any(|l| l.index == known.link && l.loopback);
    !loopback && known.prefix_len > 0 && same_network(known.addr, addr, known.prefix_len)
}
