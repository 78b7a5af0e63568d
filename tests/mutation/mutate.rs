//! Mutations of CIBs as trees, so that what comes out is still XML and often still half a CIB.

use xml::{Element, Node};

/// Trees do not grow beyond this number of elements (or twice the original's).
const MAX_ELEMENTS: usize = 20_000;

/// Values that attributes get: scores, roles, numbers, times, words of other places.
const VALUES: [&str; 44] = [
    "",
    "0",
    "1",
    "-1",
    "2",
    "7",
    "8",
    "9",
    "100",
    "5000",
    "-5000",
    "INFINITY",
    "-INFINITY",
    "+INFINITY",
    "1000001",
    "2147483648",
    "-9223372036854775808",
    "99999999999999999999",
    "true",
    "false",
    "Started",
    "Stopped",
    "Promoted",
    "Unpromoted",
    "Master",
    "Slave",
    "start",
    "stop",
    "monitor",
    "promote",
    "demote",
    "migrate_to",
    "migrate_from",
    "notify",
    "block",
    "fence",
    "standby",
    "ignore",
    "member",
    "offline",
    "#uname",
    "P1D",
    "2005-01-20T12:00:00Z",
    "nonsense é",
];

/// Attributes by what they mean, for values that fit but differ.
const FITTING: [(&str, &[&str]); 17] = [
    ("score", &["INFINITY", "-INFINITY", "0", "1", "-1", "100", "-100", "999999"]),
    ("role", &["Started", "Stopped", "Promoted", "Unpromoted"]),
    ("rsc-role", &["Started", "Stopped", "Promoted", "Unpromoted"]),
    ("with-rsc-role", &["Started", "Stopped", "Promoted", "Unpromoted"]),
    ("rc-code", &["0", "1", "2", "5", "6", "7", "8", "9", "190", "193"]),
    ("op-status", &["0", "-1", "1", "2", "3", "4", "5", "6", "7", "8", "9", "14"]),
    ("operation", &["start", "stop", "monitor", "promote", "demote", "migrate_to", "migrate_from", "notify"]),
    ("interval", &["0", "10000", "1", "-5", "9999999999"]),
    ("crmd", &["online", "offline", "0", "1700000000"]),
    ("in_ccm", &["true", "false", "0", "1700000000"]),
    ("join", &["member", "down", "pending", "banned"]),
    ("expected", &["member", "down"]),
    ("kind", &["Mandatory", "Optional", "Serialize"]),
    ("first-action", &["start", "stop", "promote", "demote"]),
    ("then-action", &["start", "stop", "promote", "demote"]),
    ("call-id", &["-1", "0", "1", "5", "100000"]),
    ("last-rc-change", &["0", "1", "1794999999", "4000000000"]),
];

pub struct Mutator {
    state: u64,
}

impl Mutator {
    pub fn new(seed: u64) -> Mutator {
        // Neighbouring seeds must not give neighbouring streams.
        let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Mutator { state: (state ^ (state >> 31)) | 1 }
    }

    /// xorshift64*: fast, and the same everywhere.
    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 16) % limit.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        if list.is_empty() { None } else { list.get(self.below(list.len())) }
    }

    /// One to eight mutations.
    pub fn mutate(&mut self, cib: &mut Element) {
        for _ in 0..=self.below(8) {
            match self.below(20) {
                0..2 => self.drop_element(cib),
                2..4 => self.duplicate(cib),
                4 => self.rename_element(cib),
                5 => self.rename_attribute(cib),
                6 => self.drop_attribute(cib),
                7..12 => self.fitting_value(cib),
                12..14 => self.any_value(cib),
                14..16 => self.value_from_elsewhere(cib),
                16 => self.lose_node(cib),
                17 => self.move_element(cib),
                18 => self.swap_children(cib),
                _ => self.meta_value(cib),
            }
        }
    }

    /// Position of a random element below the root, as child indices; leans to neither section nor depth.
    fn path(&mut self, cib: &Element) -> Option<Vec<usize>> {
        let mut paths = Vec::new();
        collect(cib, &mut Vec::new(), &mut paths);
        // Now and then within status or configuration only, since one may be much larger than the other.
        if self.below(2) == 0
            && let Some(section) = self.pick(&["configuration", "status"]).copied()
        {
            let inside = |p: &Vec<usize>| element(cib, &p[..1]).is_some_and(|e| e.name() == section);
            paths.retain(inside);
        }
        self.pick(&paths).cloned()
    }

    fn with_element(&mut self, cib: &mut Element, change: impl FnOnce(&mut Mutator, &mut Element)) {
        if let Some(path) = self.path(cib)
            && let Some(e) = element_mut(cib, &path)
        {
            change(self, e);
        }
    }

    fn drop_element(&mut self, cib: &mut Element) {
        if let Some(path) = self.path(cib) {
            take(cib, &path);
        }
    }

    fn duplicate(&mut self, cib: &mut Element) {
        let Some(path) = self.path(cib) else { return };
        let Some(copy) = element(cib, &path).cloned() else { return };
        if cib.descendants().count() + copy.descendants().count() > MAX_ELEMENTS {
            return;
        }
        let Some((at, parent)) = path.split_last() else { return };
        let times = 1 + self.below(3);
        if let Some(parent) = element_mut(cib, parent) {
            for _ in 0..times {
                parent.nodes_mut().insert(*at, Node::Element(copy.clone()));
            }
        }
    }

    fn rename_element(&mut self, cib: &mut Element) {
        let names: Vec<String> = cib.descendants().map(|e| e.name().to_owned()).collect();
        let Some(name) = self.pick(&names).cloned() else { return };
        self.with_element(cib, |_, e| e.rename(name.as_str()));
    }

    fn rename_attribute(&mut self, cib: &mut Element) {
        let names: Vec<String> = cib.descendants().flat_map(|e| e.attrs().map(|(n, _)| n.to_owned())).collect();
        let Some(new) = self.pick(&names).cloned() else { return };
        self.with_element(cib, |m, e| {
            let own: Vec<String> = e.attrs().map(|(n, _)| n.to_owned()).collect();
            if let Some(old) = m.pick(&own)
                && let Some(value) = e.remove_attr(old)
            {
                e.set(&new, value);
            }
        });
    }

    fn drop_attribute(&mut self, cib: &mut Element) {
        self.with_element(cib, |m, e| {
            let own: Vec<String> = e.attrs().map(|(n, _)| n.to_owned()).collect();
            if let Some(name) = m.pick(&own) {
                e.remove_attr(name);
            }
        });
    }

    fn fitting_value(&mut self, cib: &mut Element) {
        let Some((name, values)) = self.pick(&FITTING).copied() else { return };
        let Some(value) = self.pick(values).copied() else { return };
        let count = cib.descendants().filter(|e| e.attr(name).is_some()).count();
        let chosen = self.below(count);
        let mut seen = 0;
        for_each(cib, &mut |e| {
            if e.attr(name).is_some() {
                if seen == chosen {
                    e.set(name, value);
                }
                seen += 1;
            }
        });
    }

    fn any_value(&mut self, cib: &mut Element) {
        let Some(value) = self.pick(&VALUES).copied() else { return };
        self.with_element(cib, |m, e| {
            let own: Vec<String> = e.attrs().map(|(n, _)| n.to_owned()).collect();
            if let Some(name) = m.pick(&own) {
                e.set(name, value);
            }
        });
    }

    fn value_from_elsewhere(&mut self, cib: &mut Element) {
        let Some(path) = self.path(cib) else { return };
        let Some(source) = element(cib, &path) else { return };
        let pairs: Vec<(String, String)> = source.attrs().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let Some((_, value)) = self.pick(&pairs).cloned() else { return };
        self.with_element(cib, |m, e| {
            let own: Vec<String> = e.attrs().map(|(n, _)| n.to_owned()).collect();
            if let Some(name) = m.pick(&own) {
                e.set(name, &value);
            }
        });
    }

    /// A meta-attribute, option or parameter gets another value.
    fn meta_value(&mut self, cib: &mut Element) {
        let Some(value) = self.pick(&VALUES).copied() else { return };
        let count = cib.descendants().filter(|e| e.name() == "nvpair").count();
        let chosen = self.below(count);
        let mut seen = 0;
        for_each(cib, &mut |e| {
            if e.name() == "nvpair" {
                if seen == chosen {
                    e.set("value", value);
                }
                seen += 1;
            }
        });
    }

    /// A node is gone: from the membership, from the status, or from the configuration.
    fn lose_node(&mut self, cib: &mut Element) {
        let how = self.below(3);
        let name = ["node_state", "node_state", "node"][how];
        let count = cib.descendants().filter(|e| e.name() == name).count();
        let chosen = self.below(count);
        let mut paths = Vec::new();
        collect(cib, &mut Vec::new(), &mut paths);
        let path = paths.into_iter().filter(|p| element(cib, p).is_some_and(|e| e.name() == name)).nth(chosen);
        let Some(path) = path else { return };
        if how == 0 {
            if let Some(e) = element_mut(cib, &path) {
                for name in ["in_ccm", "crmd"] {
                    e.set(name, if e.attr(name).is_some_and(|v| v.parse::<i64>().is_ok()) { "0" } else { "false" });
                }
            }
        } else {
            take(cib, &path);
        }
    }

    fn move_element(&mut self, cib: &mut Element) {
        let Some(path) = self.path(cib) else { return };
        let Some(moved) = take(cib, &path) else { return };
        match self.path(cib) {
            Some(to) => element_mut(cib, &to).into_iter().for_each(|e| e.push(moved.clone())),
            None => cib.push(moved),
        }
    }

    fn swap_children(&mut self, cib: &mut Element) {
        self.with_element(cib, |m, e| {
            let count = e.nodes().len();
            let (a, b) = (m.below(count), m.below(count));
            if count > 0 {
                swap(e, a, b);
            }
        });
    }
}

pub fn collect(e: &Element, at: &mut Vec<usize>, paths: &mut Vec<Vec<usize>>) {
    for (i, node) in e.nodes().iter().enumerate() {
        if let Node::Element(child) = node {
            at.push(i);
            paths.push(at.clone());
            collect(child, at, paths);
            at.pop();
        }
    }
}

pub fn element<'a>(root: &'a Element, path: &[usize]) -> Option<&'a Element> {
    path.iter().try_fold(root, |e, at| match e.nodes().get(*at)? {
        Node::Element(child) => Some(child),
        _ => None,
    })
}

pub fn element_mut<'a>(root: &'a mut Element, path: &[usize]) -> Option<&'a mut Element> {
    path.iter().try_fold(root, |e, at| match e.nodes_mut().get_mut(*at)? {
        Node::Element(child) => Some(child),
        _ => None,
    })
}

/// Takes an element out of the tree.
pub fn take(root: &mut Element, path: &[usize]) -> Option<Element> {
    let (at, parent) = path.split_last()?;
    let parent = element_mut(root, parent)?;
    match parent.nodes_mut().remove(*at)? {
        Node::Element(e) => Some(e),
        _ => None,
    }
}

fn swap(e: &mut Element, a: usize, b: usize) {
    let (Some(one), Some(other)) = (e.nodes().get(a).cloned(), e.nodes().get(b).cloned()) else { return };
    for (at, node) in [(a, other), (b, one)] {
        if let Some(slot) = e.nodes_mut().get_mut(at) {
            *slot = node;
        }
    }
}

fn for_each(e: &mut Element, change: &mut impl FnMut(&mut Element)) {
    change(e);
    for child in e.elements_mut() {
        for_each(child, change);
    }
}
