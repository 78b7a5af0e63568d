//! A change of files that all hosts take over or none: staged on each, then committed on each.

use super::{Answers, Talker, Target, all_good, ask_all, ask_each, quoted};
use crate::edit::error;
use crate::source::Failure;
use std::collections::BTreeMap;
use std::time::Duration;
use wire::pcsd::{Done, Expect, FileBody, Stage, Transaction, hex, path};

const STAGED_WITHIN: Duration = Duration::from_secs(60);
/// A host that is lost after the others have committed is asked so often, so long after each other.
const TRIES: usize = 3;
const TRY_AFTER: Duration = Duration::from_secs(2);

/// What one host is to take over.
pub struct Change {
    pub target: Target,
    pub expect: Expect,
    pub files: Vec<FileBody>,
}

/// All of it, or an error that says what is where. `between` is done when all have staged; if it fails nothing is changed.
pub fn distribute(
    talker: &Talker,
    changes: Vec<Change>,
    between: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let transaction = name()?;
    let targets: Vec<Target> = changes.iter().map(|c| c.target.clone()).collect();
    let mut requests = Vec::new();
    for change in changes {
        let call = Stage { transaction: transaction.clone(), expect: change.expect, files: change.files };
        requests.push((change.target, path::STAGE, serde_json::to_vec(&call).map_err(|e| error(e.to_string()))?));
    }
    let staged: Answers<Done> = ask_each(talker, requests, STAGED_WITHIN)?;
    let end = Transaction { transaction };
    let abort = |why: Vec<String>| -> Failure {
        // Who does not hear it gives it up by itself.
        let _ = ask_all::<Done>(talker, &targets, path::ABORT, &end, STAGED_WITHIN);
        let mut failure = error("nothing was changed on any host");
        failure.details = why;
        failure
    };
    if let Err(why) = all_good(staged) {
        return Err(abort(why));
    }
    between().map_err(|why| abort(vec![why.message]))?;
    commit(talker, &targets, &end)
}

/// Those that do not answer are asked again: what they have staged waits for it.
fn commit(talker: &Talker, targets: &[Target], end: &Transaction) -> Result<(), Failure> {
    let mut left: Vec<Target> = targets.to_vec();
    let mut reasons: BTreeMap<String, String> = BTreeMap::new();
    for round in 0..TRIES {
        if round > 0 {
            std::thread::sleep(TRY_AFTER);
        }
        let answers: Answers<Done> = ask_all(talker, &left, path::COMMIT, end, STAGED_WITHIN)?;
        for (name, answer) in answers {
            match answer {
                Ok(_) => {
                    left.retain(|t| t.name != name);
                    reasons.remove(&name);
                }
                Err(why) => drop(reasons.insert(name.clone(), why.of(&name))),
            }
        }
        if left.is_empty() {
            return Ok(());
        }
    }
    let lost: Vec<String> = left.into_iter().map(|t| t.name).collect();
    let mut failure = error(format!(
        "{} did not take the change over, all others have: when it answers again, run 'pcs cluster sync' on one of the others",
        quoted(&lost)
    ));
    failure.details = reasons.into_values().collect();
    Err(failure)
}

fn name() -> Result<String, Failure> {
    use std::io::Read;
    let mut bytes = [0u8; 12];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes));
    read.map_err(|e| error(format!("no random numbers: {e}")))?;
    Ok(hex(&bytes))
}
