//! How to plan: what a site wants beside its demand and its GPUs.

use std::sync::Arc;
use std::time::Duration;

use crate::plan::Policy;
use crate::plan::Spare;
use crate::plan::goal::Until;
use crate::reconfigure::change::PresentInstance;

/// How to plan.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// What becomes of free slices.
    pub spare: Spare,
    /// Stop proving after this time and take the best plan so far.
    pub time_limit: Option<Duration>,
    /// The last stage to solve.
    pub until: Until,
    /// Rules of the site.
    pub policy: Policy,
    /// What each GPU of the one node of the fleet holds now, by index. Of all plans equal before,
    /// the one is found that destroys least of it; what is busy stays.
    pub present: Option<Arc<Vec<Vec<PresentInstance>>>>,
    /// Whether busy instances may be destroyed after all.
    pub allow_disruption: bool,
}
