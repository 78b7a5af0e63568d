//! `real` and `real6` lines: ranges, ports, methods, weights, own request and receive, thresholds.

use super::lines::Entry;
use super::parser::{Parser, clip};
use super::problem::Deviation;
use super::raw::RawVirtual;
use super::types::{Real, Resolve};
use super::value::{self, Host, RealHead, RealTail};
use crate::names::{Asked, Target, placed};
use base::Text;
use base::ipvs::Family;
use std::net::{IpAddr, Ipv4Addr};

/// Most servers of one range, and of one file.
pub const MAX_RANGE: u32 = 65_536;
pub const MAX_REALS: usize = 100_000;

impl Parser<'_> {
    pub(super) fn real(&mut self, entry: &Entry<'_>, v: &mut RawVirtual) {
        let wanted = if v.family == Family::IPv4 { "real" } else { "real6" };
        if entry.name != wanted {
            self.error(
                entry.line,
                entry.column(),
                format!("`{}` in this block", entry.name),
                format!("`{wanted}`: a real server must be of the virtual's family"),
                "",
            );
            return;
        }
        let Ok((rest, head)) = value::real_head(entry.value) else {
            let expected = "HOST[->HOST][:PORT] gate|masq|ipip [WEIGHT] [\"REQUEST\", \"RECEIVE\"] [l:N] [u:N]";
            self.error(
                entry.line,
                entry.value_column(),
                format!("{} = {}", entry.name, clip(entry.value)),
                expected,
                "",
            );
            return;
        };
        let Some(method) = self.method(entry, head.method) else { return };
        let tail = match value::real_tail(rest) {
            Ok(tail) => tail,
            Err(e) => {
                return self.error(entry.line, entry.column_of(e.at), format!("`{}`", clip(e.at)), e.expected, "");
            }
        };
        let port = match head.port {
            Some(text) => match self.port(entry, text, None) {
                Some(port) => port,
                None => return,
            },
            None => 0,
        };
        let Some(targets) = self.targets(entry, &head, v, tail.weight.is_some()) else { return };
        if self.virtuals.iter().map(|v| v.reals.len()).sum::<usize>() + v.reals.len() + targets.len() > MAX_REALS {
            return self.error(
                entry.line,
                entry.value_column(),
                "too many real servers",
                format!("at most {MAX_REALS} in one file"),
                "",
            );
        }
        self.real_notes(entry, &tail);
        let name =
            matches!(head.first, Host::Plain(n) if n.parse::<IpAddr>().is_err()).then(|| Text::from(head.first.text()));
        let (request, receive) = tail.request_receive.unwrap_or_default();
        // Lines of one block mostly ask the same: they share the text of the line before.
        let before = v.reals.last().map(|r| (r.request.clone(), r.receive.clone())).unwrap_or_default();
        let real = Real {
            line: entry.line,
            name,
            addr: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port,
            forward: method,
            weight: tail.weight.unwrap_or(1),
            request: Text::from(with_slash(request)).shared_with(&before.0),
            receive: Text::from(receive).shared_with(&before.1),
            lower_threshold: tail.lower,
            upper_threshold: tail.upper,
        };
        for target in targets {
            v.own_request.push(tail.request_receive.is_some());
            v.reals.push(placed(&real, target));
        }
    }

    /// The servers of a line: one, a range, or what a name stands for.
    fn targets(
        &mut self,
        entry: &Entry<'_>,
        head: &RealHead<'_>,
        v: &RawVirtual,
        weighted: bool,
    ) -> Option<Vec<Target>> {
        let Host::Plain(name) = head.first else { return self.addresses(entry, head, v.family) };
        if v.resolve == Resolve::Once || head.last.is_some() || !value::is_name(name) {
            return self.addresses(entry, head, v.family);
        }
        if v.resolve == Resolve::Srv && weighted {
            let expected = "the weight of its SRV record counts, as its port does";
            self.warn(entry.line, entry.value_column(), None, "a weight behind the name of a service", expected);
        }
        let asked = Asked { name: name.to_owned(), family: v.family, resolve: v.resolve };
        match self.env.targets(&asked) {
            Ok(targets) => Some(targets),
            Err(why) => {
                let expected = format!("a name that resolves ({why})");
                self.error(entry.line, entry.column_of(name), format!("name `{}`", clip(name)), expected, "");
                None
            }
        }
    }

    fn addresses(&mut self, entry: &Entry<'_>, head: &RealHead<'_>, family: Family) -> Option<Vec<Target>> {
        let addrs = self.range(entry, head, family)?;
        Some(addrs.into_iter().map(|addr| Target { addr, service: None }).collect())
    }

    fn real_notes(&mut self, entry: &Entry<'_>, tail: &RealTail<'_>) {
        if tail.weight_junk {
            self.warn(
                entry.line,
                entry.value_column(),
                None,
                "`-w` before the weight",
                "the number alone is the weight",
            );
        }
        if tail.weight.is_some_and(|w| w > 65_535) {
            self.warn(
                entry.line,
                entry.value_column(),
                None,
                format!("weight {}", tail.weight.unwrap_or(0)),
                "ipvsadm takes at most 65535",
            );
        }
        if tail.weight.is_none() && tail.request_receive.is_some() {
            let expected = "the original loses request and receive; they count here";
            self.note(entry, Deviation::RequestWithoutWeight, "no weight before request and receive", expected);
        }
        if tail.reversed {
            self.note(
                entry,
                Deviation::ThresholdOrder,
                "`u:` before `l:`",
                "the original drops the upper threshold; both count here",
            );
        }
    }

    fn range(&mut self, entry: &Entry<'_>, head: &RealHead<'_>, family: Family) -> Option<Vec<IpAddr>> {
        let first = self.address(entry, head.first, family)?;
        let Some(last) = head.last else { return Some(vec![first]) };
        let last_addr = self.address(entry, last, family)?;
        let (IpAddr::V4(from), IpAddr::V4(to)) = (first, last_addr) else {
            self.error(
                entry.line,
                entry.column_of(last.text()),
                "a range of IPv6 addresses",
                "one address on each line",
                "ranges are for IPv4 only",
            );
            return None;
        };
        let (from, to) = (u32::from(from), u32::from(to));
        if to < from {
            self.error(
                entry.line,
                entry.value_column(),
                format!("range {first}->{last_addr}"),
                "the lower address first",
                "",
            );
            return None;
        }
        if to - from >= MAX_RANGE {
            self.error(
                entry.line,
                entry.value_column(),
                format!("range {first}->{last_addr}"),
                format!("at most {MAX_RANGE} addresses"),
                "",
            );
            return None;
        }
        if from.to_string().len() != to.to_string().len() {
            self.note(
                entry,
                Deviation::RangeDigits,
                format!("range {first}->{last_addr}"),
                "the original silently takes no server from it; all are taken here",
            );
        }
        Some((from..=to).map(|n| IpAddr::V4(Ipv4Addr::from(n))).collect())
    }
}

/// A request always begins with `/`; checks of other protocols take it off again.
pub(super) fn with_slash(request: &str) -> String {
    if request.starts_with('/') { request.to_owned() } else { format!("/{request}") }
}
