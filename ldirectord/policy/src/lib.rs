//! ldirectord/policy
