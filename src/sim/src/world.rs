//! The world: hosts, networks and the queue of what happens next. Everything that happens is an [`Event`] at a virtual moment.

use crate::book::Book;
use crate::host::{Host, Pause};
use crate::net::Net;
use crate::plan::Plan;
use crate::queue::Queue;
use crate::reload::Work;
use crate::rng::Rng;
use crate::site::Site;
use base::{NodeId, Operation, Time, WallTime};
use bytes::Bytes;
use controller::fencing::executor::AgentCall;
use quorum::qnetd::Conn;
use quorum::reload::{Message, Shared};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use xml::Element;

/// The world's calendar at its beginning.
pub const START_WALL_MS: i64 = 1_700_000_000_000;
/// Events that one moment may have before the world is said to run in a circle.
const MAX_AT_ONCE: u32 = 200_000;
/// Frames that wait in the sockets of a daemon that does not run.
const MAX_DEFERRED: usize = 2_000;

#[derive(Clone, Debug)]
pub enum What {
    /// A frame of the ring arrives.
    Frame {
        from: NodeId,
        link: u8,
        frame: Bytes,
    },
    /// A question to this host's kernel whether it lives, and the answer to one.
    EchoRequest {
        from: NodeId,
        link: u8,
    },
    EchoReply {
        from: NodeId,
    },
    RingTimer,
    /// The ring's thread looks at ring and controller.
    Look,
    /// The controller's task shows that it lives.
    Tick,
    Due,
    HeardOut,
    /// An agent has come to the end of an operation.
    Agent {
        call: u64,
    },
    /// The next question to the LAN for this start.
    Ask {
        call: u64,
    },
    Schedule {
        ticket: u64,
        cib: Arc<Element>,
        wall: WallTime,
    },
    Digest {
        ticket: u64,
        cib: Arc<Element>,
    },
    Written {
        ticket: u64,
    },
    FenceAgent {
        call: u64,
        run: Rc<AgentCall>,
    },
    /// A connection to the arbitrator is there, and something has come over it.
    Linked {
        conn: Conn,
    },
    FromArbiter {
        conn: Conn,
    },
    DeviceTimer,
    /// Something has come to the arbitrator; its own timer.
    ToArbiter {
        conn: Conn,
    },
    ArbiterTimer,
    /// A file was read for the vote on a reload.
    FileRead {
        asker: NodeId,
        number: u64,
        shared: Rc<Shared>,
    },
    /// The ring's thread takes its file over.
    RingChange,
    /// The operator looks whether the change of the nodelist goes on.
    Operator,
    /// A link goes, or comes back.
    Flap {
        index: usize,
        down: bool,
    },
    Renew,
    /// The kernel looks whether a lease is over.
    Lapse {
        address: String,
    },
    /// The guard takes the addresses away.
    Guard,
    /// The controller's task runs again.
    Unhung,
    Wake {
        until: Time,
    },
    Boot,
    /// The daemon is started if it is wanted and not there.
    Start,
    /// The plan's next step.
    Step {
        index: usize,
    },
    /// What a step has done is undone.
    Mend {
        index: usize,
    },
}

/// Something happens on a host; `life` 0 does not depend on a process.
#[derive(Clone, Debug)]
pub struct Event {
    pub host: NodeId,
    pub life: u64,
    pub what: What,
}

pub struct World {
    pub now: Time,
    pub rng: Rng,
    pub net: Net,
    /// The newest corosync.conf; see [`Host::file`] and `Process::site`.
    pub site: Rc<Site>,
    /// What the operator is at.
    pub work: Option<Work>,
    /// Messages of the daemons' own, by their number.
    pub orders: Vec<Message>,
    pub arbiter: crate::arbiter::Arbiter,
    pub plan: Plan,
    pub book: Book,
    pub agents: crate::agents::Moods,
    pub devices: crate::fences::Devices,
    pub clients: crate::clients::Clients,
    /// The planned trouble is over.
    pub healing: bool,
    hosts: Vec<Host>,
    queue: Queue<Event>,
}

impl World {
    /// Hosts with the plan's configuration on their disks, all switched on.
    pub fn new(plan: Plan) -> World {
        let mut rng = Rng::new(plan.seed);
        let nodes: Vec<NodeId> = (1..=plan.nodes).map(NodeId).collect();
        let content = crate::disk::Content { ticket: 0, cib: Arc::new(plan.document()), lineage: String::new() };
        let site = Rc::new(Site {
            number: 1,
            nodes,
            two_node: plan.two_node,
            wait_for_all: plan.wait_for_all,
            watchdog_ms: 0,
            dead_after: totem::Timing::USUAL,
            links: plan.links,
            arbitrator: plan.arbitrator,
        });
        let host = |id: NodeId| {
            let listed = site.nodes.contains(&id);
            let disk = crate::disk::Disk { content: listed.then(|| content.clone()), ..Default::default() };
            let mut host = Host::new(id, disk, Rc::clone(&site), rng.between(0, 200) as i64 - 100);
            (host.powered, host.wanted) = (listed, listed);
            host
        };
        let hosts = plan.hosts().map(host).collect();
        let mut world = World {
            now: Time::from_millis(1_000),
            rng,
            net: Net::new(plan.links, plan.largest.clone()),
            site,
            work: None,
            orders: Vec::new(),
            arbiter: Default::default(),
            book: Book::new(&plan),
            agents: Default::default(),
            devices: Default::default(),
            clients: Default::default(),
            healing: false,
            hosts,
            queue: Queue::default(),
            plan,
        };
        for id in world.site.nodes.clone() {
            let early = world.rng.below(40_000);
            world.after(early, id, 0, What::Start);
        }
        for index in 0..world.plan.steps.len() {
            let at = world.plan.steps[index].at_ms;
            world.after(at * 1_000, NodeId(1), 0, What::Step { index });
        }
        world
    }

    pub fn wall(&self) -> WallTime {
        WallTime(START_WALL_MS + self.now.as_millis() as i64)
    }

    pub fn host(&self, id: NodeId) -> &Host {
        &self.hosts[id.0 as usize - 1]
    }

    pub fn host_mut(&mut self, id: NodeId) -> &mut Host {
        &mut self.hosts[id.0 as usize - 1]
    }

    /// Those that the newest file lists. The others have no power.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|h| self.site.nodes.contains(&h.id))
    }

    pub fn all_hosts_mut(&mut self) -> impl Iterator<Item = &mut Host> {
        self.hosts.iter_mut()
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.site.nodes.clone()
    }

    pub fn after(&mut self, us: u64, host: NodeId, life: u64, what: What) {
        self.at(self.now + Duration::from_micros(us), host, life, what);
    }

    pub fn at(&mut self, at: Time, host: NodeId, life: u64, what: What) {
        self.queue.push(at.max(self.now), Event { host, life, what });
    }

    /// Something of this host's present process.
    pub fn soon(&mut self, us: u64, host: NodeId, what: What) {
        let life = self.host(host).lives;
        self.after(us, host, life, what);
    }

    pub fn tell(&mut self, host: NodeId, text: impl FnOnce() -> String) {
        let now = self.now;
        self.book.story.tell(now, host, text);
    }

    /// Runs up to that moment, or to the first property that does not hold.
    pub fn run_until(&mut self, end: Time) {
        let (mut moment, mut events) = (self.now, 0u32);
        while self.book.broken.is_none() {
            let Some((at, event)) = self.queue.pop_by(end) else { break };
            events = if at == moment { events + 1 } else { 0 };
            moment = at;
            if events > MAX_AT_ONCE {
                self.book.fail("limits", self.now, format!("{MAX_AT_ONCE} events at one moment: {event:?}"));
                break;
            }
            self.now = at;
            self.book.events += 1;
            self.happen(event);
        }
        self.now = self.now.max(end);
    }

    pub fn run_ms(&mut self, ms: u64) {
        self.run_until(self.now + Duration::from_millis(ms));
    }

    fn happen(&mut self, event: Event) {
        let id = event.host;
        match event.what {
            What::Step { index } => return self.step(index),
            What::Mend { index } => return self.mend(index),
            What::Boot => return self.boot(id),
            What::Start => return self.start(id),
            What::Guard => return self.guard_acts(id, event.life),
            What::Lapse { address } => return self.lapse(id, &address),
            What::EchoRequest { from, link } => return self.echo_request(id, from, link),
            What::ToArbiter { conn } => return self.arbiter_hears(conn),
            What::ArbiterTimer => return self.arbiter_timer(),
            What::Operator => return self.operator_looks(),
            What::Flap { index, down } => return self.flap(index, down),
            What::Wake { until } => return self.wake(id, until),
            _ => {}
        }
        let host = self.host_mut(id);
        if !host.powered || host.process.is_none() || event.life != host.lives {
            return;
        }
        if let Some(paused) = host.paused {
            // A machine that stands still receives nothing.
            let packet = matches!(event.what, What::Frame { .. } | What::EchoReply { .. });
            let lost = paused.what == Pause::Machine && packet;
            if !lost && (host.deferred.len() < MAX_DEFERRED || !packet) {
                host.deferred.push(event);
            }
            return;
        }
        match event.what {
            What::Frame { from, link, frame } => self.frame(id, from, link, &frame),
            What::EchoReply { from } => self.echo_reply(id, from),
            What::RingTimer => self.ring_timer(id),
            What::Look => self.look(id),
            What::RingChange => self.ring_change(id),
            What::Renew => self.renew(id),
            // From here on it is the controller's task.
            What::Unhung => self.unhung(id),
            other => self.core_event(id, other),
        }
        self.drain(id);
    }

    fn core_event(&mut self, id: NodeId, what: What) {
        if let Some(until) = self.host(id).process.as_ref().and_then(|p| p.hung_until) {
            let life = self.host(id).lives;
            return self.at(until + Duration::from_micros(1), id, life, what);
        }
        match what {
            What::Tick => self.tick(id),
            What::Due => self.due(id),
            What::HeardOut => self.heard_out(id),
            What::Linked { conn } => self.device_linked(id, conn),
            What::FromArbiter { conn } => self.device_hears(id, conn),
            What::DeviceTimer => self.device_timer(id),
            What::FileRead { asker, number, shared } => self.file_read(id, asker, number, &shared),
            What::Agent { call } => self.agent_ends(id, call),
            What::Ask { call } => self.ask_lan(id, call),
            What::Schedule { ticket, cib, wall } => self.schedule(id, ticket, &cib, wall),
            What::Digest { ticket, cib } => self.digest(id, ticket, &cib),
            What::Written { ticket } => self.written(id, ticket),
            What::FenceAgent { call, run } => self.fence_agent_ends(id, call, &run),
            _ => {}
        }
    }

    /// Where operations of agents are looked up.
    pub fn running_operation(&self, id: NodeId, call: u64) -> Option<Operation> {
        self.host(id).process.as_ref()?.running.get(&call).cloned()
    }
}
