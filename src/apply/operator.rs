//! Who a session tells what happens, and asks before anything is changed. Knows nothing of how a
//! node is changed, and of no terminal.

use super::guard::NodeChange;
use super::journal::Purpose;
use super::steps::Step;
use crate::error::{Diagnostic, Result};
use crate::fleet::observed::ObservedNode;

/// Which way a step leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// To what is wanted.
    Apply,
    /// To a state that was saved.
    Rollback,
}

/// Which state the GPUs of a change are in when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    /// The wanted one.
    AsWanted,
    /// The one before.
    AsBefore,
    /// Some are in neither.
    Incomplete,
}

/// What happens while a node is changed.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// Something that people should know.
    Warning(&'a Diagnostic),
    /// Where the driver differs from the catalogue; the same on every run with this driver.
    Difference(&'a Diagnostic),
    /// What is going to change.
    Changes(&'a ObservedNode, &'a NodeChange),
    /// Waiting for busy instances; why.
    Waiting(&'a [Diagnostic]),
    /// A systemd unit is stopped.
    Stop(&'a str),
    /// A systemd unit is started again.
    Start(&'a str),
    /// A step begins.
    Begin(&'a Step, Phase),
    /// A step is done.
    Done(&'a Step, Phase),
    /// Something went wrong; the way back begins.
    Failed(&'a str),
    /// The GPUs are not changed any more; what is left are units to start.
    Ended(Reached),
}

/// What somebody must agree to before a node is changed.
#[derive(Debug, Clone, Copy)]
pub struct Proposal<'a> {
    /// What it is for.
    pub purpose: Purpose,
    /// The change.
    pub change: &'a NodeChange,
    /// Whether an earlier run was interrupted, so that the state before that one stays the one to go
    /// back to on its GPUs.
    pub interrupted: bool,
}

/// Whoever runs a session: is told what happens, and asked before anything is changed.
pub trait Operator {
    /// Something happens.
    fn event(&mut self, event: &Event<'_>);
    /// May this be done?
    ///
    /// # Errors
    /// No (exit 7).
    fn confirm(&mut self, proposal: &Proposal<'_>) -> Result<()>;
    /// Whether [`Self::confirm`] could be agreed to at all: asked before a wait.
    ///
    /// # Errors
    /// There is nobody to ask (exit 7).
    fn can_confirm(&mut self) -> Result<()> {
        Ok(())
    }
}
