//! CIB and a time in; transition graph, scores and summary out. Pure.

pub mod graph;
