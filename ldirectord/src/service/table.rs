//! The thread that owns the table: takes what is wanted, compares with what is there, makes the changes.

use super::others::Others;
use base::ipvs::{ServiceEntry, ServiceKey};
use kernel::ipvs::{Change, Error, Ipvs};
use policy::{Op, RealId, Role, Wanted, diff};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Up to so many services are read one by one; for more the whole table is read at once.
const MAX_SINGLE_READS: usize = 8;

/// One pass over the table.
pub struct Job {
    pub wanted: Wanted,
    /// Managed before, not any more.
    pub dropped: BTreeSet<ServiceKey>,
    /// Only these services, if given.
    pub scope: Option<BTreeSet<ServiceKey>>,
    pub others: Arc<Others>,
}

/// Whether a change may be made beside the other directors of this machine.
fn allowed(op: &Op, others: &Others) -> bool {
    match op {
        Op::EditService(service) => !others.decide(&service.key),
        Op::DeleteDest { service, dest, role: Role::Foreign } => {
            !others.keep_real(&RealId { service: *service, dest: *dest })
        }
        Op::DeleteDest { service, dest, .. } => !others.decide_real(&RealId { service: *service, dest: *dest }),
        Op::AddDest { service, dest, .. } | Op::EditDest { service, dest, .. } => {
            !others.decide_real(&RealId { service: *service, dest: dest.key })
        }
        // Whole services that others keep are never dropped.
        Op::AddService(_) | Op::DeleteService(_) => true,
    }
}

/// A change that was refused.
#[derive(Clone, PartialEq, Debug)]
pub struct Failed {
    pub op: Op,
    pub error: Error,
}

/// What a pass found and did.
pub struct Report {
    pub wanted: Wanted,
    /// As the job named them.
    pub dropped: BTreeSet<ServiceKey>,
    pub whole: bool,
    pub done: Vec<Op>,
    pub failed: Vec<Failed>,
    /// The services as they were read, before the changes.
    pub read: Result<Vec<ServiceEntry>, Error>,
}

pub struct Table {
    jobs: mpsc::Sender<(Job, oneshot::Sender<Report>)>,
}

impl Table {
    pub fn start(table: Box<dyn Ipvs>) -> Table {
        let (jobs, inbox) = mpsc::channel(4);
        let _ = std::thread::Builder::new().name("ipvs".to_owned()).spawn(move || serve(table, inbox));
        Table { jobs }
    }

    /// Hands a pass over; `None` when the thread is gone.
    pub async fn pass(&self, job: Job) -> Option<Report> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send((job, reply)).await.ok()?;
        answer.await.ok()
    }

    pub fn handle(&self) -> Table {
        Table { jobs: self.jobs.clone() }
    }
}

fn serve(mut table: Box<dyn Ipvs>, mut inbox: mpsc::Receiver<(Job, oneshot::Sender<Report>)>) {
    while let Some((job, reply)) = inbox.blocking_recv() {
        let _ = reply.send(pass(&mut *table, job));
    }
}

fn pass(table: &mut dyn Ipvs, job: Job) -> Report {
    let whole = job.scope.as_ref().is_none_or(|s| s.len() > MAX_SINGLE_READS);
    let read = match &job.scope {
        Some(scope) if !whole => some(table, scope),
        _ => table.services(),
    };
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    if let Ok(entries) = &read {
        let wanted = match &job.scope {
            Some(scope) if !whole => only(&job.wanted, scope),
            _ => job.wanted.clone(),
        };
        let mut ops = diff(&wanted, &job.dropped, entries);
        ops.retain(|op| allowed(op, &job.others));
        let changes: Vec<Change> = ops.iter().map(change).collect();
        for (op, result) in ops.into_iter().zip(table.apply_all(&changes)) {
            match result {
                Ok(()) => done.push(op),
                Err(error) => failed.push(Failed { op, error }),
            }
        }
    }
    Report { wanted: job.wanted, dropped: job.dropped, whole, done, failed, read }
}

fn some(table: &mut dyn Ipvs, scope: &BTreeSet<ServiceKey>) -> Result<Vec<ServiceEntry>, Error> {
    let mut out = Vec::new();
    for key in scope {
        match table.service(key) {
            Ok(entry) => out.push(entry),
            Err(Error::NoSuchService) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(out)
}

fn only(wanted: &Wanted, scope: &BTreeSet<ServiceKey>) -> Wanted {
    let services = wanted.services.iter().filter(|(k, _)| scope.contains(k));
    Wanted { services: services.map(|(k, s)| (*k, s.clone())).collect() }
}

fn change(op: &Op) -> Change {
    match op {
        Op::AddService(s) => Change::AddService(s.clone()),
        Op::EditService(s) => Change::EditService(s.clone()),
        Op::DeleteService(key) => Change::DeleteService(*key),
        Op::AddDest { service, dest, .. } => Change::AddDest(*service, dest.clone()),
        Op::EditDest { service, dest, .. } => Change::EditDest(*service, dest.clone()),
        Op::DeleteDest { service, dest, .. } => Change::DeleteDest(*service, *dest),
    }
}
