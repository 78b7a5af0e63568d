//! Listings for programs. Tables have the format of `--table` files, so that what is listed can be loaded again.

use super::options::Opt;
use super::parse::Request;
use kernel::ipvs::{Error, Ipvs, Memory};

/// What `-L … --json` prints.
pub fn listing(request: &Request, table: &mut dyn Ipvs) -> Result<String, Error> {
    if request.given.has(Opt::Timeout) {
        return Ok(text(&table.timeouts()?));
    }
    if request.given.has(Opt::Daemon) {
        return Ok(text(&table.daemons()?));
    }
    let Some(service) = &request.service else { return Ok(Memory::snapshot(table)?.to_json()) };
    let entry = table.service(&service.key)?;
    Ok(Memory::with_services(vec![entry]).to_json())
}

fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}
