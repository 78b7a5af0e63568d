//! ldirectord
