//! Configurations of the laboratory, and the real scheduler for them.

use base::WallTime;
use scheduler::Schedule;
use xml::Element;

/// The real scheduler.
pub fn schedule(cib: &Element, wall: WallTime) -> Result<Schedule, String> {
    scheduler::schedule(cib, wall, &scheduler::Options::default()).map_err(|e| e.to_string())
}

/// A CIB with these resources.
pub fn document(resources: &str) -> String {
    let properties = "<cluster_property_set id=\"cib-bootstrap-options\"><nvpair id=\"fencing\" name=\"fencing-enabled\" value=\"false\"/></cluster_property_set>";
    format!(
        "<cib crm_feature_set=\"3.20.1\" validate-with=\"pacemaker-4.0\" epoch=\"1\" num_updates=\"0\" admin_epoch=\"0\"><configuration>\
         <crm_config>{properties}</crm_config><nodes/><resources>{resources}</resources><constraints/></configuration><status/></cib>"
    )
}

/// A director group of an address and a director, as in the demo.
pub const GROUP: &str = "<group id=\"director\">\
    <primitive id=\"vip\" class=\"ocf\" provider=\"heartbeat\" type=\"IPaddr2\">\
      <meta_attributes id=\"vip-meta\"><nvpair id=\"vip-mt\" name=\"migration-threshold\" value=\"3\"/></meta_attributes>\
      <operations><op id=\"vip-m\" name=\"monitor\" interval=\"10s\"/></operations></primitive>\
    <primitive id=\"lvs\" class=\"ocf\" provider=\"heartbeat\" type=\"ldirectord\">\
      <meta_attributes id=\"lvs-meta\"><nvpair id=\"lvs-mt\" name=\"migration-threshold\" value=\"3\"/></meta_attributes>\
      <operations><op id=\"lvs-m\" name=\"monitor\" interval=\"10s\"/></operations></primitive>\
    </group>";

/// Seeds of random lives: `0..usual`, or what BASCULE_SEEDS says: `1000..2000` for these, a number for so many times as many
/// as usual as that number is of 300. A failure names its seed.
pub fn seeds(usual: u64) -> std::ops::Range<u64> {
    let wanted = std::env::var("BASCULE_SEEDS").unwrap_or_default();
    let bounds = wanted.split_once("..").and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
    let scaled = || wanted.parse().ok().map(|n: u64| 0..(usual * n).div_ceil(300));
    bounds.or_else(scaled).unwrap_or(0..usual)
}
