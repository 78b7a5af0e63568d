//! Packets with a firewall mark become the host's own: a routing rule for the mark, and a table whose only route is local.
//!
//! The same as `ip rule add fwmark MARK table TABLE` and `ip route add local default dev lo table TABLE`.

use crate::addr::{AddrError, DEFAULT_DEADLINE_MS};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::route::{RouteMessage, RouteProtocol, RouteScope, RouteType};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::{IpVersion, RouteMessageBuilder};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use tokio::task::AbortHandle;

/// Index of `lo` in every network namespace.
const LOOPBACK: u32 = 1;

/// Why a rule or route could not be changed or read.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct RouteError {
    pub what: &'static str,
    pub source: AddrError,
}

/// A rule and its route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalRoute {
    /// Else IPv6.
    pub ipv4: bool,
    pub mark: u32,
    pub table: u32,
    pub priority: u32,
}

/// A connection for requests, in the network namespace of the thread that made it.
pub struct PolicyRoutes {
    handle: rtnetlink::Handle,
    task: AbortHandle,
}

impl Drop for PolicyRoutes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl PolicyRoutes {
    /// Must be called within a tokio runtime.
    pub fn connect() -> Result<PolicyRoutes, RouteError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(|e| RouteError {
            what: "netlink socket",
            source: AddrError::Connection { what: e.to_string() },
        })?;
        Ok(PolicyRoutes { handle, task: tokio::spawn(connection).abort_handle() })
    }

    /// Succeeds if it is there already.
    pub async fn add(&self, route: &LocalRoute) -> Result<(), RouteError> {
        let added = within("local route", self.handle.route().add(route_message(route)).execute()).await;
        unless(added, |e| matches!(e, AddrError::Exists))?;
        let mut request = self.handle.rule().add();
        *request.message_mut() = rule_message(route);
        unless(within("rule", request.execute()).await, |e| matches!(e, AddrError::Exists))
    }

    /// Succeeds if it is not there.
    pub async fn remove(&self, route: &LocalRoute) -> Result<(), RouteError> {
        let absent =
            |e: &AddrError| matches!(e, AddrError::Refused { errno } if [libc::ENOENT, libc::ESRCH].contains(errno));
        unless(within("rule", self.handle.rule().del(rule_message(route)).execute()).await, absent)?;
        unless(within("local route", self.handle.route().del(route_message(route)).execute()).await, absent)
    }

    /// Whether both the rule and the route are there.
    pub async fn present(&self, route: &LocalRoute) -> Result<bool, RouteError> {
        let family = if route.ipv4 { IpVersion::V4 } else { IpVersion::V6 };
        let rules: Vec<RuleMessage> = within("rules", self.handle.rule().get(family).execute().try_collect()).await?;
        let marked = |r: &RuleMessage| {
            r.attributes.contains(&RuleAttribute::FwMark(route.mark)) && table_of_rule(r) == route.table
        };
        if !rules.iter().any(marked) {
            return Ok(false);
        }
        let routes: Vec<RouteMessage> =
            within("routes", self.handle.route().get(route_message(route)).execute().try_collect()).await?;
        let local = |r: &RouteMessage| {
            r.header.kind == RouteType::Local
                && r.header.destination_prefix_length == 0
                && table_of_route(r) == route.table
        };
        Ok(routes.iter().any(local))
    }
}

fn rule_message(route: &LocalRoute) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = if route.ipv4 {
        rtnetlink::packet_route::AddressFamily::Inet
    } else {
        rtnetlink::packet_route::AddressFamily::Inet6
    };
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::FwMark(route.mark),
        RuleAttribute::FwMask(u32::MAX),
        RuleAttribute::Priority(route.priority),
        RuleAttribute::Table(route.table),
    ];
    message
}

fn route_message(route: &LocalRoute) -> RouteMessage {
    if route.ipv4 {
        let builder = RouteMessageBuilder::<Ipv4Addr>::new();
        let builder = builder.output_interface(LOOPBACK).table_id(route.table).kind(RouteType::Local);
        builder.scope(RouteScope::Host).protocol(RouteProtocol::Boot).build()
    } else {
        let builder = RouteMessageBuilder::<Ipv6Addr>::new();
        let builder = builder.output_interface(LOOPBACK).table_id(route.table).kind(RouteType::Local);
        builder.protocol(RouteProtocol::Boot).build()
    }
}

fn table_of_rule(rule: &RuleMessage) -> u32 {
    let long = rule.attributes.iter().find_map(|a| if let RuleAttribute::Table(t) = a { Some(*t) } else { None });
    long.unwrap_or(u32::from(rule.header.table))
}

fn table_of_route(route: &RouteMessage) -> u32 {
    use rtnetlink::packet_route::route::RouteAttribute;
    let long = route.attributes.iter().find_map(|a| if let RouteAttribute::Table(t) = a { Some(*t) } else { None });
    long.unwrap_or(u32::from(route.header.table))
}

async fn within<T>(
    what: &'static str,
    work: impl Future<Output = Result<T, rtnetlink::Error>>,
) -> Result<T, RouteError> {
    let source = match tokio::time::timeout(Duration::from_millis(DEFAULT_DEADLINE_MS), work).await {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => crate::addr::plain_error(error),
        Err(_) => AddrError::Unknown { waited_ms: DEFAULT_DEADLINE_MS },
    };
    Err(RouteError { what, source })
}

fn unless(result: Result<(), RouteError>, fine: impl Fn(&AddrError) -> bool) -> Result<(), RouteError> {
    match result {
        Err(error) if fine(&error.source) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::{Namespace, Spec};

    #[tokio::test]
    async fn comes_and_goes_in_both_families() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let space = Namespace::create(&Spec::new("marks")).unwrap();
        crate::links::Links::open_in(&space).unwrap().up("lo").await.unwrap();
        let runtime = tokio::runtime::Handle::current();
        let routes = space
            .run_net(move || {
                let _guard = runtime.enter();
                PolicyRoutes::connect()
            })
            .unwrap()
            .unwrap();
        for (ipv4, table) in [(true, 7), (false, 7), (true, 1000)] {
            let route = LocalRoute { ipv4, mark: 7, table, priority: 100 };
            if let Err(error) = routes.present(&route).await {
                return println!("SKIPPED: this kernel has no policy routing: {error}");
            }
            assert!(!routes.present(&route).await.unwrap());
            match routes.add(&route).await {
                Err(RouteError { source: AddrError::Refused { errno: libc::EOPNOTSUPP }, .. }) => {
                    return println!("SKIPPED: this kernel has no policy routing");
                }
                other => other.unwrap(),
            }
            routes.add(&route).await.unwrap();
            assert!(routes.present(&route).await.unwrap(), "{route:?}");
            routes.remove(&route).await.unwrap();
            routes.remove(&route).await.unwrap();
            assert!(!routes.present(&route).await.unwrap());
        }
    }
}
