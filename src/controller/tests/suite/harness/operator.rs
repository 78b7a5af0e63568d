//! What an operator does to the laboratory and looks at: requests, nodes that die and come back, where things run.

use super::*;

impl Lab {
    /// A cluster of two that both always have quorum, of which node 1 runs everything; real scheduler.
    pub fn one_runs_all(resources: &str) -> Lab {
        let mut lab = Lab::new(2, resources, schedule);
        (lab.exact, lab.votes) = (true, 1);
        lab.standby(1, "off");
        lab.standby(2, "on");
        lab.run_ms(1000);
        lab
    }

    /// The node is gone at once, its agents' resources with it.
    pub fn kill(&mut self, id: u32) {
        self.nodes.remove(&NodeId(id));
        self.queue.retain(|_, (node, _)| *node != NodeId(id));
        let rest: Vec<Vec<u32>> = self
            .rings
            .iter()
            .map(|r| r.members.iter().filter(|n| n.0 != id).map(|n| n.0).collect())
            .filter(|g: &Vec<u32>| !g.is_empty())
            .collect();
        let rest: Vec<&[u32]> = rest.iter().map(Vec::as_slice).collect();
        self.partition(&rest);
    }

    /// Starts a node again from what it had stored, alone.
    pub fn restart(&mut self, id: u32, stored: Option<(Arc<Element>, String)>, life: u64) {
        let (cib, lineage) = match stored {
            Some((e, lineage)) => (Cib::from_element((*e).clone()).unwrap(), lineage),
            None => (Cib::parse(&document("")).unwrap(), String::new()),
        };
        self.boot(NodeId(id), cib, &lineage, life);
    }

    /// The daemon is killed; what its agents had put in place stays, and so do its records.
    pub fn kill_daemon(&mut self, id: u32) -> Remains {
        let node = &self.nodes[&NodeId(id)];
        let remains = Remains {
            stored: node.persisted.clone(),
            records: node.records.clone(),
            placed: node.placed.clone(),
            running: node.running.clone(),
        };
        self.kill(id);
        remains
    }

    /// The daemon starts again on what was left.
    pub fn revive(&mut self, id: u32, remains: Remains, life: u64) {
        self.restart(id, remains.stored, life);
        let wall = self.wall();
        let Some(node) = self.nodes.get_mut(&NodeId(id)) else { return };
        (node.placed, node.running) = (remains.placed, remains.running);
        node.controller.restore(wall, remains.records.values().cloned().collect());
        node.records = remains.records;
        self.input(NodeId(id), Input::Tick);
    }

    // ---- time ----

    /// Sends a request to a node; the answer appears in its `replies` under the returned number.
    pub fn ask(&mut self, node: u32, request: Request) -> u64 {
        self.next_client += 1;
        let id = self.next_client;
        self.input(NodeId(node), Input::Client { id, request });
        id
    }

    pub fn modify(&mut self, node: u32, section: &str, xml: &str) -> u64 {
        let payload = xml::parse(xml).unwrap();
        self.ask(node, Request::Cib(cib::Request::upsert(section, payload)))
    }

    pub fn property(&mut self, node: u32, name: &str, value: &str) -> u64 {
        let pair = format!("<nvpair id=\"opt-{name}\" name=\"{name}\" value=\"{value}\"/>");
        let set = format!("<cluster_property_set id=\"cib-bootstrap-options\">{pair}</cluster_property_set>");
        self.modify(node, "crm_config", &format!("<crm_config>{set}</crm_config>"))
    }

    pub fn standby(&mut self, node: u32, value: &str) -> u64 {
        let pair = format!("<nvpair id=\"nodes-{node}-standby\" name=\"standby\" value=\"{value}\"/>");
        let set = format!("<instance_attributes id=\"nodes-{node}\">{pair}</instance_attributes>");
        self.modify(node, "nodes", &format!("<nodes><node id=\"{node}\" uname=\"node{node}\">{set}</node></nodes>"))
    }

    // ---- what tests look at ----

    /// Names of nodes by resource, as agents know it.
    pub fn where_is(&self, resource: &str) -> Vec<u32> {
        self.nodes.iter().filter(|(_, n)| n.running.contains(resource)).map(|(id, _)| id.0).collect()
    }

    pub fn operations(&self, since: Time) -> Vec<String> {
        self.log.iter().filter(|(at, ..)| *at >= since).map(|(_, n, key)| format!("{} {key}", n.0)).collect()
    }

    pub fn assert_same_cib(&self) {
        let mut texts = self.nodes.values().map(|n| n.controller.cib().root().to_pretty());
        let first = texts.next().unwrap();
        texts.for_each(|t| assert_eq!(first, t));
    }
}
