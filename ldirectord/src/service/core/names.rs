//! What names in the file stand for, asked again when its time is over (`resolve = all|srv`): off the path, and without an answer
//! everything stays as it is.

use super::{Core, Event};
use crate::config::Config;
use crate::names::{Answer, Asked, Resolvers, Target, asked, refreshed};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Names asked for in one round; the others have their turn in the next.
const MAX_ROUND: usize = 256;
const MAX_CONCURRENT: usize = 16;
/// An answer holds at least, and at most, so long.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3_600);
/// After a question without an answer.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

pub(super) type Answers = Vec<(Asked, Result<Answer, String>)>;

#[derive(Default)]
pub(super) struct Names {
    due: BTreeMap<Asked, Instant>,
    known: BTreeMap<Asked, Vec<Target>>,
    /// Why there was no answer the last time.
    failed: BTreeMap<Asked, String>,
    asking: bool,
}

impl Names {
    /// Names that the file has had before keep their times.
    pub fn follow(&mut self, file: &Config) {
        let before = std::mem::take(&mut self.due);
        let at = |asked: &Asked| before.get(asked).copied().unwrap_or_else(Instant::now);
        self.due = asked(file).into_iter().map(|asked| (asked.clone(), at(&asked))).collect();
        let due = &self.due;
        self.failed.retain(|asked, _| due.contains_key(asked));
        // A file that has just been read has asked itself.
        self.known.clear();
    }

    pub fn troubles(&self) -> Vec<String> {
        self.failed.iter().map(|(asked, why)| format!("{}: {why}", asked.name)).collect()
    }
}

impl Core {
    /// Writes down what the file's names stand for, for a start without a name server.
    pub(super) fn remember_names(&mut self) {
        let Some(write) = self.remembered.note(crate::names::known(&self.file)) else { return };
        let logger = self.options.logger.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(why) = write() {
                logger.log(&format!("Cannot write what names stand for: {why}"));
            }
        });
    }

    pub(super) fn resolve_names(&mut self) {
        if self.names.asking || self.names.due.is_empty() {
            return;
        }
        let now = Instant::now();
        let due = self.names.due.iter().filter(|(_, at)| **at <= now).map(|(asked, _)| asked.clone());
        let due: Vec<Asked> = due.take(MAX_ROUND).collect();
        if due.is_empty() {
            return;
        }
        self.names.asking = true;
        let (events, given) = (self.events_in.clone(), self.options.resolvers.clone());
        tokio::spawn(async move {
            let resolvers = match given {
                Some(resolvers) => resolvers,
                None => tokio::task::spawn_blocking(Resolvers::system).await.unwrap_or_default(),
            };
            let _ = events.send(Event::Names(ask_all(Arc::new(resolvers), due).await)).await;
        });
    }

    pub(super) fn names_told(&mut self, answers: Answers) {
        self.names.asking = false;
        for (asked, answer) in answers {
            // A reload may have taken it out of the file meanwhile.
            let Some(due) = self.names.due.get_mut(&asked) else { continue };
            match answer {
                Ok(answer) => {
                    *due = Instant::now() + answer.ttl.clamp(SHORTEST, LONGEST);
                    if self.names.failed.remove(&asked).is_some() {
                        self.options.logger.log(&format!("Name {} resolves again", asked.name));
                    }
                    self.names.known.insert(asked, answer.targets);
                }
                Err(why) => {
                    *due = Instant::now() + AGAIN_AFTER;
                    if !self.names.failed.contains_key(&asked) {
                        let name = &asked.name;
                        self.options.logger.log(&format!("Name {name} does not resolve, its servers stay: {why}"));
                    }
                    self.names.failed.insert(asked, why);
                }
            }
        }
        if let Some(file) = refreshed(&self.file, &self.names.known) {
            self.tell_servers(&file);
            self.file = Arc::new(file);
            self.remember_names();
            self.follow_file();
        }
    }

    fn tell_servers(&self, new: &Config) {
        for (old, new) in self.file.virtuals.iter().zip(&new.virtuals).filter(|(old, new)| old.reals != new.reals) {
            let mut names: Vec<&str> = new.reals.iter().filter_map(|r| r.name.as_deref()).collect();
            names.dedup();
            for name in names {
                let of = |reals: &[crate::config::Real]| -> Vec<String> {
                    let named = reals.iter().filter(|r| r.name.as_deref() == Some(name));
                    named.map(|r| format!("{}:{}", crate::config::bracketed(r.addr), r.port)).collect()
                };
                let (before, now) = (of(&old.reals), of(&new.reals));
                if before != now {
                    self.log(&format!("Name {name} stands for {} now, for {} before", now.join(" "), before.join(" ")));
                }
            }
        }
    }
}

async fn ask_all(resolvers: Arc<Resolvers>, due: Vec<Asked>) -> Answers {
    let turns = Arc::new(Semaphore::new(MAX_CONCURRENT));
    let mut lookups = JoinSet::new();
    for asked in due {
        let (resolvers, turns) = (resolvers.clone(), turns.clone());
        lookups.spawn(async move {
            let _turn = turns.acquire().await;
            let answer = resolvers.ask(&asked).await;
            (asked, answer)
        });
    }
    let mut answers = Vec::new();
    while let Some(done) = lookups.join_next().await {
        answers.extend(done.ok());
    }
    answers
}
