//! Random configurations that a cluster can run: a director group, and by chance further primitives, a second group, clones,
//! promotable clones, and constraints among them: places (by rules of the calendar, of names and of attributes as well), company,
//! orders, sets of both, tickets. What may be changed, moved or deleted is told with it.

mod constraints;

pub use constraints::{Constraint, Rule};

use crate::rng::Rng;
use std::fmt::Write;
use xml::Element;

/// What every operation may take.
pub const TIMEOUT_S: u64 = 8;

#[derive(Clone, Debug)]
pub struct Configuration {
    pub fencing: bool,
    pub takeover_safe: bool,
    pub primitives: Vec<Primitive>,
    /// Groups by name, members in order.
    pub groups: Vec<(String, Vec<usize>)>,
    pub clones: Vec<CloneOf>,
    pub constraints: Vec<Constraint>,
    pub stickiness: u64,
    pub nodes: u32,
}

#[derive(Clone, Debug)]
pub struct Primitive {
    pub id: String,
    pub agent: &'static str,
    /// `ip` of an address, `v` of everything else.
    pub value: String,
    pub interval_s: u64,
    pub threshold: u64,
    pub failure_timeout_s: u64,
}

/// A clone of one primitive.
#[derive(Clone, Debug)]
pub struct CloneOf {
    pub id: String,
    pub of: usize,
    pub promotable: bool,
}

impl Primitive {
    fn parameter(&self) -> &'static str {
        if self.agent == "IPaddr2" { "ip" } else { "v" }
    }

    /// As it stands in the CIB, with this value.
    pub fn to_xml(&self, value: &str) -> String {
        let Primitive { id, agent, interval_s, threshold, failure_timeout_s, .. } = self;
        let name = self.parameter();
        let mut meta = String::new();
        if *threshold > 0 {
            let _ = write!(meta, "<nvpair id=\"{id}-mt\" name=\"migration-threshold\" value=\"{threshold}\"/>");
        }
        if *failure_timeout_s > 0 {
            let _ = write!(meta, "<nvpair id=\"{id}-ft\" name=\"failure-timeout\" value=\"{failure_timeout_s}s\"/>");
        }
        let op = |action: &str, interval: u64, extra: &str| {
            format!(
                "<op id=\"{id}-{action}-{interval}\" name=\"{action}\" interval=\"{interval}s\" timeout=\"{TIMEOUT_S}s\"{extra}/>"
            )
        };
        let monitor = op("monitor", *interval_s, "");
        let promoted =
            if *agent == "Stateful" { op("monitor", interval_s + 1, " role=\"Promoted\"") } else { String::new() };
        let ends = op("start", 0, "") + &op("stop", 0, "");
        format!(
            "<primitive id=\"{id}\" class=\"ocf\" provider=\"heartbeat\" type=\"{agent}\">\
             <instance_attributes id=\"{id}-ia\"><nvpair id=\"{id}-{name}\" name=\"{name}\" value=\"{value}\"/></instance_attributes>\
             <meta_attributes id=\"{id}-meta\">{meta}</meta_attributes>\
             <operations>{monitor}{promoted}{ends}</operations></primitive>"
        )
    }
}

impl Configuration {
    /// Ids of instances as agents and histories know them.
    pub fn instances(&self) -> Vec<String> {
        self.primitives.iter().map(|p| p.id.clone()).collect()
    }

    /// One more primitive, to which nothing refers; gives its id.
    pub fn add_free(&mut self, id: &str) -> String {
        self.primitives.push(Primitive {
            id: id.to_owned(),
            agent: "Dummy",
            value: "1".to_owned(),
            interval_s: 5,
            threshold: 0,
            failure_timeout_s: 0,
        });
        id.to_owned()
    }

    /// What an operator may move: groups and free primitives.
    pub fn movable(&self) -> Vec<String> {
        let groups = self.groups.iter().map(|(id, _)| id.clone());
        groups.chain(self.free().map(|p| p.id.clone())).collect()
    }

    pub fn changeable(&self) -> Vec<String> {
        self.instances()
    }

    /// Primitives that nothing else refers to; or the last member of the first group.
    pub fn deletable(&self) -> Vec<String> {
        let free: Vec<String> = self.free().map(|p| p.id.clone()).filter(|id| !self.is_constrained(id)).collect();
        if !free.is_empty() {
            return free;
        }
        let last = self.groups.first().and_then(|(_, members)| members.last());
        last.map(|at| self.primitives[*at].id.clone()).into_iter().collect()
    }

    pub fn primitive(&self, id: &str) -> Option<&Primitive> {
        self.primitives.iter().find(|p| p.id == id)
    }

    pub fn is_clone(&self, id: &str) -> bool {
        self.clones.iter().any(|c| self.primitives[c.of].id == id)
    }

    /// The group that has the primitive as a member.
    pub fn group_of(&self, id: &str) -> Option<&str> {
        let is_member = |(_, members): &&(String, Vec<usize>)| members.iter().any(|m| self.primitives[*m].id == id);
        self.groups.iter().find(is_member).map(|(name, _)| name.as_str())
    }

    /// Primitives for which this id stands.
    pub fn primitives_of(&self, id: &str) -> Vec<&str> {
        if let Some((_, members)) = self.groups.iter().find(|(name, _)| name == id) {
            return members.iter().map(|m| self.primitives[*m].id.as_str()).collect();
        }
        if let Some(clone) = self.clones.iter().find(|c| c.id == id) {
            return vec![&self.primitives[clone.of].id];
        }
        self.primitive(id).map(|p| vec![p.id.as_str()]).unwrap_or_default()
    }

    fn free(&self) -> impl Iterator<Item = &Primitive> {
        let taken =
            |at: usize| self.groups.iter().any(|(_, m)| m.contains(&at)) || self.clones.iter().any(|c| c.of == at);
        self.primitives.iter().enumerate().filter(move |(at, _)| !taken(*at)).map(|(_, p)| p)
    }

    fn is_constrained(&self, id: &str) -> bool {
        self.constraints.iter().any(|c| c.is_about(id))
    }

    pub fn document(&self) -> Element {
        let text = self.to_xml();
        xml::parse(&text).unwrap_or_else(|e| unreachable!("the generator's own document: {e}\n{text}"))
    }

    fn to_xml(&self) -> String {
        let property =
            |name: &str, value: &str| format!("<nvpair id=\"opt-{name}\" name=\"{name}\" value=\"{value}\"/>");
        let properties = [
            property("fencing-enabled", if self.fencing { "true" } else { "false" }),
            property("bascule-takeover", if self.takeover_safe { "safe" } else { "fast" }),
            property("cluster-recheck-interval", "20s"),
        ]
        .concat();
        let defaults = format!(
            "<rsc_defaults><meta_attributes id=\"rd\"><nvpair id=\"rd-s\" name=\"resource-stickiness\" value=\"{}\"/></meta_attributes></rsc_defaults>",
            self.stickiness
        );
        format!(
            "<cib crm_feature_set=\"3.20.1\" validate-with=\"pacemaker-4.0\" epoch=\"1\" num_updates=\"0\" admin_epoch=\"0\"><configuration>\
             <crm_config><cluster_property_set id=\"cib-bootstrap-options\">{properties}</cluster_property_set></crm_config><nodes/>\
             <resources>{}</resources><constraints>{}</constraints>{defaults}</configuration><status/></cib>",
            self.resources(),
            self.constraints.iter().enumerate().map(|(at, c)| c.to_xml(at)).collect::<String>(),
        )
    }

    fn resources(&self) -> String {
        let mut text = String::new();
        for (id, members) in &self.groups {
            let members: String =
                members.iter().map(|m| self.primitives[*m].to_xml(&self.primitives[*m].value)).collect();
            let _ = write!(text, "<group id=\"{id}\">{members}</group>");
        }
        for p in self.free() {
            text.push_str(&p.to_xml(&p.value));
        }
        for c in &self.clones {
            let inner = self.primitives[c.of].to_xml(&self.primitives[c.of].value);
            let meta = format!("<nvpair id=\"{0}-pr\" name=\"promotable\" value=\"{1}\"/>", c.id, c.promotable);
            let _ = write!(
                text,
                "<clone id=\"{0}\"><meta_attributes id=\"{0}-meta\">{meta}</meta_attributes>{inner}</clone>",
                c.id
            );
        }
        if self.fencing {
            for node in 1..=self.nodes {
                let _ = write!(
                    text,
                    "<primitive id=\"off{node}\" class=\"stonith\" type=\"{}\"><instance_attributes id=\"off{node}-i\">\
                     <nvpair id=\"off{node}-l\" name=\"pcmk_host_list\" value=\"node{node}\"/>\
                     <nvpair id=\"off{node}-d\" name=\"pcmk_delay_base\" value=\"{}s\"/></instance_attributes></primitive>",
                    crate::fences::AGENT,
                    if self.nodes == 2 && node == 1 { 2 } else { 0 },
                );
            }
        }
        text
    }
}

struct Maker<'a> {
    rng: &'a mut Rng,
    made: Configuration,
}

impl Maker<'_> {
    fn primitive(&mut self, id: &str, agent: &'static str) -> usize {
        let at = self.made.primitives.len();
        let value = if agent == "IPaddr2" { format!("10.0.0.{}", at + 1) } else { "1".to_owned() };
        self.made.primitives.push(Primitive {
            id: id.to_owned(),
            agent,
            value,
            interval_s: self.rng.between(2, 9),
            threshold: *self.rng.pick(&[0, 0, 1, 3]),
            failure_timeout_s: *self.rng.pick(&[0, 0, 10]),
        });
        at
    }

    fn director_group(&mut self) {
        let mut members = vec![self.primitive("vip", "IPaddr2")];
        if self.rng.percent(50) {
            members.push(self.primitive("vip6", "IPaddr2"));
        }
        members.push(self.primitive("lvs", "ldirectord"));
        self.made.groups.push(("director".to_owned(), members));
    }

    fn others(&mut self) {
        for n in 0..self.rng.below(4) {
            let agent = *self.rng.pick(&["Dummy", "Dummy", "IPaddr2"]);
            self.primitive(&format!("p{n}"), agent);
        }
        if self.rng.percent(25) {
            let members = vec![self.primitive("g1", "Dummy"), self.primitive("g2", "Dummy")];
            self.made.groups.push(("second".to_owned(), members));
        }
        if self.rng.percent(35) {
            let of = self.primitive("ping", "Dummy");
            self.made.clones.push(CloneOf { id: "ping-clone".to_owned(), of, promotable: false });
        }
        if self.rng.percent(25) {
            let of = self.primitive("sync", "Stateful");
            self.made.clones.push(CloneOf { id: "sync-clone".to_owned(), of, promotable: true });
        }
    }
}

/// How much of a configuration changes by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Still {
    /// Rules of the calendar come and go, and so do tickets.
    No,
    Yes,
}

pub fn configuration(rng: &mut Rng, nodes: u32, still: Still) -> Configuration {
    let made = Configuration {
        fencing: rng.percent(40),
        takeover_safe: rng.percent(40),
        primitives: Vec::new(),
        groups: Vec::new(),
        clones: Vec::new(),
        constraints: Vec::new(),
        stickiness: *rng.pick(&[0, 1, 100]),
        nodes,
    };
    let mut maker = Maker { rng, made };
    maker.director_group();
    maker.others();
    maker.constraints(still);
    maker.made
}
