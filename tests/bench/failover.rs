//! How long a client is without service when the active director is lost (cable pulled, then killed), and when the group is
//! moved as planned. Default settings; one probe every 5 ms to an IPv4 and an IPv6 address, the worse one counts.
//!
//! `cargo bench --bench failover` (as root). `BENCH_REPEAT` sets how often (10). Results: a table on standard error and
//! JSON on standard output. This is a measurement, not a test: it fails only if service did not come back.

use std::process::{Command, ExitCode, Stdio};

/// What the project aims at, by the name that the demo gives the event.
const AIMS_MS: [(&str, &str, f64); 2] = [("loss", "hard loss", 500.0), ("move", "planned move", 50.0)];

fn main() -> ExitCode {
    let repeat = std::env::var("BENCH_REPEAT").unwrap_or_else(|_| "10".to_owned());
    let output = Command::new(env!("CARGO_BIN_EXE_bascule"))
        .args(["demo", "--json", "--repeat", &repeat])
        .stderr(Stdio::inherit())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(e) => {
            eprintln!("cannot start the demo: {e}");
            return ExitCode::FAILURE;
        }
    };
    let Ok(report) = serde_json::from_slice::<serde_json::Value>(&output.stdout) else {
        eprintln!("the demo printed no JSON: {}", String::from_utf8_lossy(&output.stdout));
        return ExitCode::FAILURE;
    };
    let mut results = serde_json::Map::new();
    eprintln!(
        "data plane: {}\n{:<14} {:>5} {:>10} {:>10} {:>10} {:>10}",
        report["data_plane"], "", "times", "min", "median", "max", "aim"
    );
    for (kind, title, aim_ms) in AIMS_MS {
        let mut outages: Vec<f64> = report["events"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|e| e["kind"] == kind)
            .filter_map(|e| e["seen"]["outage_us"].as_f64())
            .map(|us| us / 1_000.0)
            .collect();
        outages.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (outages.first(), outages.last()) else { continue };
        let median = outages[outages.len() / 2];
        eprintln!("{title:<14} {:>5} {min:>7.1} ms {median:>7.1} ms {max:>7.1} ms {aim_ms:>7.1} ms", outages.len());
        results.insert(
            kind.to_owned(),
            serde_json::json!({"times": outages.len(), "min_ms": min, "median_ms": median, "max_ms": max, "aim_ms": aim_ms}),
        );
    }
    println!("{}", serde_json::json!({"data_plane": report["data_plane"], "ok": report["ok"], "outage": results}));
    if output.status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
