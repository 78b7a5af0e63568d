//! `corosync-cfgtool -R` and SIGHUP: corosync.conf and the authkey are read again, on all members, and what can change at run
//! time changes at the same place of the order. A file that one member refuses changes nothing on any.
//!
//! | | |
//! |---|---|
//! | [`quorum::reload`] | one decision of all |
//! | `check` | what speaks against a file here |
//! | `keys` | what waits for a restart, and is told until the file says again what runs |
//! | `names` | host names in the nodelist, looked up again and again |

mod check;
mod keys;
mod names;

use super::core::Core;
use super::orders::Order;
use super::settings::{self, Settings};
use crate::clock;
use crate::logging;
use crate::ring::Change;
use base::{NodeId, Time};
use controller::Input;
use quorum::reload::{Agreement, Members, Message, Shared, Step};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Keys told one by one; the rest is counted.
const MAX_TOLD: usize = 12;
/// Reading a file and looking up the names in it takes no longer, or is given up on all nodes.
const READ_WITHIN: Duration = Duration::from_secs(20);

/// `Err`: what was refused, each line with the node that says it.
pub type Answer = Result<(), Vec<String>>;

/// What came of reading, on a thread of its own.
pub(super) enum Outcome {
    /// For the one who asks: whether it is worth asking the others.
    Asking { shared: Result<Shared, Vec<String>>, to: Option<oneshot::Sender<Answer>> },
    /// For the vote, or alone without a ring.
    Read { of: Option<(NodeId, u64)>, read: Result<Box<Settings>, Vec<String>> },
    /// Host names were looked up again.
    Resolved(crate::config::Resolved),
}

/// Reloads of this node, asked for and under way.
pub(super) struct Reloads {
    agreement: Agreement,
    outcomes: (mpsc::UnboundedSender<Outcome>, mpsc::UnboundedReceiver<Outcome>),
    /// What was read for the round under way.
    read: Option<Box<Settings>>,
    /// Number of this node's last own round, and who waits for which.
    number: u64,
    waiting: BTreeMap<u64, (Time, Option<oneshot::Sender<Answer>>)>,
    names: names::Names,
}

impl Default for Reloads {
    fn default() -> Reloads {
        let (agreement, read, number, waiting, names) = Default::default();
        Reloads { agreement, outcomes: mpsc::unbounded_channel(), read, number, waiting, names }
    }
}

impl Reloads {
    pub async fn next(&mut self) -> Option<Outcome> {
        self.outcomes.1.recv().await
    }
}

impl Core {
    /// Files are read elsewhere: a disk or a name service that hangs delays nothing but the reload.
    pub(super) fn reload(&mut self, to: Option<oneshot::Sender<Answer>>) {
        crate::service::reloading();
        // A log that was moved away is opened again, whatever the file says.
        self.reopen_logs();
        let back = self.reloads.outcomes.0.clone();
        let reader = self.reader(Members::new());
        tokio::task::spawn_blocking(move || {
            let shared = reader.read(None).map(|s| Shared::of(&s.config.kept, s.key.mark()));
            back.send(Outcome::Asking { shared, to })
        });
    }

    /// As logging{} says.
    pub(super) fn reopen_logs(&self) {
        logging::apply(&self.identity.settings.config.logging);
    }

    pub(super) async fn reload_read(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Asking { shared: Err(why), to } => {
                let me = self.identity.settings.my_name();
                self.reload_refused(to, why.into_iter().map(|line| format!("{me}: {line}")).collect());
            }
            Outcome::Asking { shared: Ok(shared), to } => {
                self.reloads.number += 1;
                let number = self.reloads.number;
                self.reloads.waiting.insert(number, (clock::now(), to));
                if self.ring_id.is_some() {
                    self.ring.broadcast(Order::Reload(Message::Ask { number, shared }).encode()).await;
                } else {
                    // Nobody to agree with.
                    self.read_files(None, self.me(), number);
                }
            }
            Outcome::Read { of: Some((asker, number)), read } => {
                if self.reloads.agreement.under_way() != Some((asker, number)) {
                    return;
                }
                let refusals = match read {
                    Ok(settings) => {
                        self.reloads.read = Some(settings);
                        Vec::new()
                    }
                    Err(why) => why,
                };
                self.ring.broadcast(Order::Reload(Message::Vote { asker, number, refusals }).encode()).await;
            }
            Outcome::Resolved(resolved) => self.resolved(resolved).await,
            Outcome::Read { of: None, read } => {
                let to = self.reloads.waiting.pop_last().and_then(|(_, (_, to))| to);
                match read {
                    Ok(settings) => {
                        self.apply(*settings).await;
                        answer(to, Ok(()));
                    }
                    Err(why) => self.reload_refused(to, why),
                }
            }
        }
    }

    /// A message of the order.
    pub(super) async fn reload_ordered(&mut self, sender: NodeId, message: Message) {
        let names = self.identity.settings.names();
        let name = |n: NodeId| names.get(&n).cloned().unwrap_or_else(|| n.to_string());
        let cancelled = match message {
            Message::Cancel { number } => Some(number),
            _ => None,
        };
        let step = self.reloads.agreement.receive(sender, message, name);
        // One that was lost on the way: nobody knows of it any more.
        if let (Some(number), Step::Nothing) = (cancelled, &step)
            && let Some(to) = self.reload_waiter(sender, number)
        {
            return self
                .reload_refused(Some(to), vec!["it was lost when this node left the ring: try again".to_owned()]);
        }
        self.reload_step(step).await;
    }

    /// The members of a new view.
    pub(super) async fn reload_view(&mut self, members: &[NodeId]) {
        let step = self.reloads.agreement.view(members);
        self.reload_step(step).await;
    }

    /// Gives up what takes too long; looked at with every tick.
    pub(super) async fn reload_late(&mut self) {
        let now = clock::now();
        self.look_up_names(now);
        let due = self.reloads.waiting.iter().find(|(_, (since, _))| now.since(*since) > READ_WITHIN).map(|(n, _)| *n);
        if let Some(number) = due {
            if let Some((since, _)) = self.reloads.waiting.get_mut(&number) {
                *since = now;
            }
            self.ring.broadcast(Order::Reload(Message::Cancel { number }).encode()).await;
        }
    }

    async fn reload_step(&mut self, step: Step) {
        match step {
            Step::Nothing => {}
            Step::Read { asker, number, shared } => self.read_files(Some(shared), asker, number),
            Step::Apply { asker, number } => {
                if let Some(settings) = self.reloads.read.take() {
                    self.apply(*settings).await;
                }
                answer(self.reload_waiter(asker, number), Ok(()));
            }
            Step::Drop { asker, number, why } => {
                let to = self.reload_waiter(asker, number);
                if self.reloads.agreement.under_way().is_none() {
                    self.reloads.read = None;
                    self.reload_refused(to, why);
                } else {
                    // A second one while the first goes on: only who asked is told.
                    answer(to, Err(why));
                }
            }
        }
    }

    fn reload_waiter(&mut self, asker: NodeId, number: u64) -> Option<oneshot::Sender<Answer>> {
        if asker != self.me() {
            return None;
        }
        self.reloads.waiting.remove(&number).and_then(|(_, to)| to)
    }

    fn read_files(&mut self, asked: Option<Shared>, asker: NodeId, number: u64) {
        let back = self.reloads.outcomes.0.clone();
        let of = asked.is_some().then_some((asker, number));
        let asker = self.controller.config().name_of(asker);
        let reader = self.reader(self.members());
        tokio::task::spawn_blocking(move || {
            let asked = asked.as_ref().map(|shared| (shared, asker.as_str()));
            back.send(Outcome::Read { of, read: reader.read(asked).map(Box::new) })
        });
    }

    fn members(&self) -> Members {
        let peers = self.ring.status().totem.peers;
        let works = |node: NodeId| {
            let links = peers.iter().filter(|p| p.node == node).flat_map(|p| &p.links);
            links.filter(|l| l.up && l.heard_by_peer).map(|l| l.link).collect()
        };
        self.controller.status().members.into_iter().map(|node| (node, works(node))).collect()
    }

    fn reader(&self, members: Members) -> Reader {
        Reader { args: self.identity.args.clone(), runs: self.identity.settings.clone(), members }
    }

    fn reload_refused(&mut self, to: Option<oneshot::Sender<Answer>>, why: Vec<String>) {
        why.iter().for_each(|l| tracing::error!("reload: {l}"));
        let first = why.first().cloned().unwrap_or_default();
        answer(to, Err(why));
        self.reload_told(Some(format!("the last reload was refused, nothing has changed: {first}")));
    }

    /// From here on the node runs with the file, as far as that does not wait for a restart.
    async fn apply(&mut self, file: Settings) {
        let runs = self.identity.settings.clone();
        file.warnings.iter().for_each(|l| tracing::warn!("{l}"));
        let waiting = waiting(&runs, &file);
        let now = keys::blend(&runs, file);
        let changed: Vec<String> = keys::differing(&runs.config.kept, &now.config.kept);
        let key = (runs.key != now.key).then(|| super::start::random().ok().map(|session| (now.key.clone(), session)));
        self.ring
            .change(Change {
                core: settings::totem(&now, 0, 0),
                nodes: now.resolved.nodes.clone(),
                key: key.flatten(),
                block_unlisted: now.config.totem.block_unlisted_ips,
            })
            .await;
        let before = self.quorum.is_quorate();
        if let Err(error) = self.quorum.reconfigure(settings::quorum(&now)) {
            tracing::error!("reload: votes stay as they were: {error}");
        }
        self.identity.settings = now;
        self.count_votes();
        self.device_configured().await;
        self.reopen_logs();
        if runs.key != self.identity.settings.key || runs.resolved != self.identity.settings.resolved {
            self.claims.restart(&self.identity.settings, &self.performer.agents, &self.timeline);
        }
        if before != self.quorum.is_quorate() {
            self.quorum_changed();
            let quorate = self.quorum.is_quorate();
            self.step(Input::Quorum { quorate }).await;
        }
        if !changed.is_empty() {
            tracing::info!("reload: changed: {}", changed.join(", "));
        }
        self.reload_told(waiting);
    }

    fn reload_told(&mut self, text: Option<String>) {
        match &text {
            Some(text) => tracing::warn!("reload: {text}"),
            None => tracing::info!("reload: done"),
        }
        self.identity.reload.clone_from(&text);
        // Whoever is told of it can see it.
        self.show();
        self.timeline.add("reload", "", text.as_deref().unwrap_or("done"));
        crate::service::notify("READY=1");
    }
}

fn answer(to: Option<oneshot::Sender<Answer>>, result: Answer) {
    if let Some(to) = to {
        // Who asked may have gone.
        let _ = to.send(result);
    }
}

/// Reads and judges, away from the core task.
struct Reader {
    args: super::args::Args,
    runs: Settings,
    members: Members,
}

impl Reader {
    fn read(&self, asked: Option<(&Shared, &str)>) -> Result<Settings, Vec<String>> {
        let file = settings::read_again(&self.args, Some(&self.runs.config)).map_err(|refused| refused.lines)?;
        let effective = keys::blend(&self.runs, file.clone());
        let mut against = check::check(&self.runs, &effective, &self.members);
        if let Some((shared, asker)) = asked {
            let own = Shared::of(&file.config.kept, file.key.mark());
            against.extend(own.differences(shared, &file.config.file, asker));
        }
        if against.is_empty() { Ok(file) } else { Err(against) }
    }
}

/// What of the file waits for a restart, as one sentence for log and status.
fn waiting(runs: &Settings, file: &Settings) -> Option<String> {
    let mut waits = keys::differing(&runs.config.kept, &file.config.kept);
    waits.retain(|key| keys::waits_for_restart(key));
    if waits.is_empty() {
        return None;
    }
    let more = waits.len().saturating_sub(MAX_TOLD);
    waits.truncate(MAX_TOLD);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("corosync.conf has changed, and waits for a restart of this node: {}{rest}", waits.join(", ")))
}
