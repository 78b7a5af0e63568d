//! The controller itself: distributes inputs to its parts and collects their outputs.

use crate::{Config, Input, Output, Status};
use base::{Time, WallTime};
use std::collections::VecDeque;

/// One node's controller.
pub struct Controller {
    config: Config,
    cib: cib::Cib,
    outputs: VecDeque<Output>,
}

impl Controller {
    /// `cib` and `lineage` are what [`Output::Persist`] gave last, or a new CIB and an empty text.
    pub fn new(config: Config, cib: cib::Cib, lineage: &str, now: Time) -> Controller {
        let _ = (lineage, now);
        Controller { config, cib, outputs: VecDeque::new() }
    }

    /// To be called with every input; then [`Controller::poll_output`] until it is empty.
    pub fn handle(&mut self, now: Time, wall: WallTime, input: Input) {
        let _ = (now, wall, input);
    }

    /// When [`Input::Tick`] is due next.
    pub fn poll_timeout(&self) -> Option<Time> {
        None
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The CIB as applied so far.
    pub fn cib(&self) -> &cib::Cib {
        &self.cib
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn status(&self) -> Status {
        Status::default()
    }
}
