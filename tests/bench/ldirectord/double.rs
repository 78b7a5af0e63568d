//! `ipvsadm` for the original: the commands that it runs, on a text file of `ADDRESS:PORT WEIGHT` lines.

use std::path::PathBuf;
use std::process::ExitCode;

pub const FILE: &str = "IPVSADM_DOUBLE";

/// Servers with their weights; `None`: no virtual service.
type Table = Option<Vec<(String, String)>>;

fn path() -> PathBuf {
    std::env::var_os(FILE).map(PathBuf::from).unwrap_or_default()
}

pub fn read(path: &std::path::Path) -> Table {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.lines().filter_map(|l| l.split_once(' ')).map(|(r, w)| (r.to_owned(), w.to_owned())).collect())
}

fn write(table: &Table) {
    let path = path();
    match table {
        None => drop(std::fs::remove_file(&path)),
        Some(rows) => {
            let text: String = rows.iter().map(|(r, w)| format!("{r} {w}\n")).collect();
            let new = path.with_extension("new");
            let _ = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &path));
        }
    }
}

pub fn main(words: &[String]) -> ExitCode {
    let after = |flag: &str| words.iter().position(|w| w == flag).and_then(|at| words.get(at + 1)).cloned();
    let mut table = read(&path());
    let real = after("-r").unwrap_or_default();
    let weight = after("-w").unwrap_or_else(|| "1".to_owned());
    match (words.first().map(String::as_str), &mut table) {
        (Some("-L"), table) => {
            list(table, words.iter().any(|w| w == "--thresholds"));
            return ExitCode::SUCCESS;
        }
        (Some("-A"), _) => table = Some(Vec::new()),
        (Some("-D"), _) => table = None,
        (Some("-a"), Some(rows)) if !rows.iter().any(|(r, _)| *r == real) => rows.push((real, weight)),
        (Some("-e"), Some(rows)) => match rows.iter_mut().find(|(r, _)| *r == real) {
            Some(row) => row.1 = weight,
            None => return ExitCode::FAILURE,
        },
        (Some("-d"), Some(rows)) => rows.retain(|(r, _)| *r != real),
        (Some("-E"), Some(_)) => {}
        _ => return ExitCode::FAILURE,
    }
    write(&table);
    ExitCode::SUCCESS
}

fn list(table: &Table, thresholds: bool) {
    let mut out = String::from("IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n");
    out.push_str("  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n");
    if let Some(rows) = table {
        out.push_str("TCP  10.0.0.1:80 wrr\n");
        for (real, weight) in rows {
            let row = if thresholds {
                "0          0          0          0".to_owned()
            } else {
                format!("Masq    {weight}      0          0")
            };
            out.push_str(&format!("  -> {real:<28} {row}\n"));
        }
    }
    print!("{out}");
}
