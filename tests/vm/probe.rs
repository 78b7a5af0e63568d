//! A client that keeps asking (`bascule lab-probe`) in a namespace, and what became of its requests.

use crate::BASCULE;
use crate::guest::Namespace;
use lab::probe::{Batch, Record};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub struct Prober {
    child: Child,
    output: PathBuf,
}

impl Prober {
    /// Starts it with these arguments; it ends with this value.
    pub fn start(space: &Namespace, name: &str, args: &[&str]) -> Result<Prober, String> {
        let output = PathBuf::from(format!("/tmp/{name}.jsonl"));
        let file = File::create(&output).map_err(|e| format!("{}: {e}", output.display()))?;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &space.name, BASCULE, "lab-probe"]).args(args);
        let child = command.stdin(Stdio::piped()).stdout(file).spawn().map_err(|e| format!("lab-probe: {e}"))?;
        Ok(Prober { child, output })
    }

    /// Everything that has ended so far, by the time at which it was sent.
    pub fn records(&self) -> Result<Vec<Record>, String> {
        let file = File::open(&self.output).map_err(|e| e.to_string())?;
        let mut all = Vec::new();
        for line in BufReader::new(file).lines().map_while(Result::ok) {
            // The last line may be half written.
            let Ok(batch) = serde_json::from_str::<Batch>(&line) else { continue };
            all.extend(batch.records);
        }
        all.sort_by_key(|r| r.sent_us);
        Ok(all)
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// How many records of each outcome, for people.
pub fn tally<'a>(records: impl IntoIterator<Item = &'a Record>) -> String {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for record in records {
        let text = if record.is_ok() { "ok".to_owned() } else { format!("{:?}", record.outcome) };
        *counts.entry(text).or_default() += 1;
    }
    format!("{counts:?}")
}
