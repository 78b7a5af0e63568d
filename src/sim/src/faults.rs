//! The plan's steps: done at their moment, undone after their time.

use crate::agents::Mood;
use crate::arbiter::Trouble;
use crate::net::{Weather, Which};
use crate::plan::Deed;
use crate::ring::End;
use crate::world::{What, World};
use base::NodeId;
use std::time::Duration;

impl World {
    pub(crate) fn step(&mut self, index: usize) {
        if self.healing {
            return;
        }
        let step = self.plan.steps[index].clone();
        self.tell(NodeId(0), || format!("step {index}: {:?} for {} ms", step.deed, step.for_ms));
        match step.deed {
            Deed::PowerOff { node } => self.power_off(node, Some(step.for_ms + 1_000)),
            Deed::KillDaemon { node } => {
                if self.host(node).process.is_some() && self.host(node).paused.is_none() {
                    self.end_process(node, End::Killed);
                }
            }
            Deed::Pause { node, pause } => self.pause(node, pause, step.for_ms),
            Deed::Hang { node } => self.hang(node, step.for_ms),
            Deed::Cut { from, to, both, which } => {
                self.net.cut(which, from, to);
                if both {
                    self.net.cut(which, to, from);
                }
            }
            Deed::Isolate { node, which } => {
                self.isolate(node, which);
            }
            Deed::Weather(weather) => self.net.weather = weather,
            Deed::Narrow { link, largest, stays } => self.net.narrow(link, largest, stays),
            Deed::Disk { node, mood } => self.host_mut(node).disk.set_mood(mood),
            Deed::WallStep { node, ms } => self.host_mut(node).wall_ahead_ms += ms,
            Deed::Agent { node, instance, action, mood } => {
                self.book.agents_trusted = false;
                let misleads = match mood {
                    // Whoever then moves a resource has to stop it first.
                    Mood::Denies => false,
                    Mood::Lies => true,
                    // In time it tells the truth.
                    Mood::Slow(ms) => action == "monitor" && ms >= crate::generate::TIMEOUT_S * 1_000,
                    _ => action == "monitor",
                };
                self.book.monitors_trusted &= !misleads;
                self.book.shown.moody.insert((node, instance.clone()));
                self.agents.insert((node, instance, action.to_owned()), mood);
            }
            Deed::Devices { mood } => {
                if mood == crate::fences::Mood::Lies {
                    self.book.devices_honest = false;
                }
                self.devices.mood = mood;
            }
            Deed::LoseAddress { node } => {
                self.book.addresses_lost = true;
                if let Some(address) = self.host(node).addresses.keys().next().cloned() {
                    self.lose_address(node, &address, "somebody has deleted it");
                }
            }
            Deed::CutLink { link, from, to, both } => {
                self.net.cut_link(link, from, to);
                if both {
                    self.net.cut_link(link, to, from);
                }
            }
            Deed::Flap { .. } => self.flap(index, true),
            Deed::Part { ref first } => self.part(first, true),
            Deed::Arbitrator { trouble } => self.arbiter_trouble(trouble),
            Deed::Reload { node, change } => self.change_file(node, change),
            Deed::Client { node, wish } => self.wish(index, node, wish),
        }
        self.after(step.for_ms * 1_000, NodeId(1), 0, What::Mend { index });
    }

    pub(crate) fn mend(&mut self, index: usize) {
        let step = self.plan.steps[index].clone();
        if self.healing {
            return;
        }
        match step.deed {
            Deed::Cut { from, to, both, which } => {
                self.net.mend(which, from, to);
                if both {
                    self.net.mend(which, to, from);
                }
            }
            Deed::Isolate { node, which } => {
                for other in self.plan.hosts().collect::<Vec<_>>() {
                    self.net.mend(which, node, other);
                    self.net.mend(which, other, node);
                }
                if which != Which::Ring {
                    self.arbiter_mended(Trouble::Unreached { node });
                }
            }
            Deed::CutLink { link, from, to, both } => {
                self.net.mend_link(link, from, to);
                if both {
                    self.net.mend_link(link, to, from);
                }
            }
            Deed::Part { ref first } => self.part(first, false),
            Deed::Arbitrator { trouble } => self.arbiter_mended(trouble),
            Deed::Weather(_) => self.net.weather = Weather::FAIR,
            Deed::Narrow { link, .. } => self.net.widen(link),
            Deed::Disk { node, .. } => self.host_mut(node).disk.heal(),
            Deed::WallStep { node, .. } => self.host_mut(node).wall_ahead_ms = 0,
            Deed::Agent { node, instance, action, .. } => {
                self.agents.remove(&(node, instance, action.to_owned()));
            }
            Deed::Devices { .. } => self.devices.mood = Default::default(),
            Deed::Client { node, wish } => return self.unwish(index, node, wish),
            Deed::PowerOff { .. }
            | Deed::KillDaemon { .. }
            | Deed::Pause { .. }
            | Deed::Hang { .. }
            | Deed::LoseAddress { .. }
            | Deed::Flap { .. }
            | Deed::Reload { .. } => return,
        }
        self.tell(NodeId(0), || format!("step {index} is undone"));
    }

    fn isolate(&mut self, node: NodeId, which: Which) {
        for other in self.plan.hosts().collect::<Vec<_>>() {
            self.net.cut(which, node, other);
            self.net.cut(which, other, node);
        }
        if which != Which::Ring {
            self.arbiter_trouble(Trouble::Unreached { node });
        }
    }

    /// The ring between these and all others.
    fn part(&mut self, first: &[NodeId], cut: bool) {
        for a in self.plan.hosts().filter(|n| first.contains(n)).collect::<Vec<_>>() {
            for b in self.plan.hosts().filter(|n| !first.contains(n)).collect::<Vec<_>>() {
                for (from, to) in [(a, b), (b, a)] {
                    if cut { self.net.cut(Which::Ring, from, to) } else { self.net.mend(Which::Ring, from, to) }
                }
            }
        }
    }

    /// A link of a node goes and comes back, until the step is over.
    pub(crate) fn flap(&mut self, index: usize, down: bool) {
        let step = self.plan.steps[index].clone();
        let Deed::Flap { link, node, every_ms } = step.deed else { return };
        if self.healing {
            return;
        }
        let over = self.now > base::Time::from_millis(1_000 + step.at_ms + step.for_ms);
        let down = down && !over;
        for other in self.plan.hosts().filter(|n| *n != node).collect::<Vec<_>>() {
            for (from, to) in [(node, other), (other, node)] {
                if down { self.net.cut_link(link, from, to) } else { self.net.mend_link(link, from, to) }
            }
        }
        if !over {
            let us = every_ms * 500 + self.rng.below(every_ms * 1_000);
            self.after(us, node, 0, What::Flap { index, down: !down });
        }
    }

    fn hang(&mut self, node: NodeId, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        if !self.host(node).runs() {
            return;
        }
        if let Some(p) = &mut self.host_mut(node).process {
            p.hung_until = Some(until);
        }
        self.tell(node, || format!("the controller's task hangs for {ms} ms"));
        let life = self.host(node).lives;
        self.at(until, node, life, What::Unhung);
    }

    /// All trouble is over: networks, disks, agents, devices; whoever is down comes up.
    pub fn heal(&mut self) {
        self.tell(NodeId(0), || "all trouble is over".to_owned());
        self.healing = true;
        self.net.mend_all();
        self.agents.clear();
        self.devices.mood = Default::default();
        self.arbiter.cut.clear();
        self.arbiter_mended(Trouble::Stopped);
        self.arbiter_mended(Trouble::Hung);
        for id in self.ids() {
            let now = self.now;
            let host = self.host_mut(id);
            host.disk.heal();
            host.wall_ahead_ms = 0;
            host.wanted = true;
            let (powered, paused) = (host.powered, host.paused);
            if let Some(p) = &mut host.process {
                p.hung_until = p.hung_until.filter(|at| *at <= now);
            }
            if let Some(paused) = paused {
                // It goes on now instead of later; the clock of a machine has stood still only until now.
                self.host_mut(id).paused = Some(crate::host::Paused { until: now, ..paused });
                self.wake(id, now);
            }
            self.after(10_000, id, 0, if powered { What::Start } else { What::Boot });
        }
    }
}
