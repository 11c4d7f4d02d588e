//! How to plan: what a site wants beside its demand and its GPUs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::Number;

use crate::demand::quota::Quotas;
use crate::error::{Error, ExitCode, Result};
use crate::plan::goal::{Objective, Until};
use crate::plan::{MigModePolicy, Policy, RecordedPolicy, Share, Spare};
use crate::reconfigure::change::PresentGpu;
use crate::text::plural;

/// How to plan.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// What becomes of free slices.
    pub spare: Spare,
    /// Who comes first among the replicas of one priority.
    pub share: Share,
    /// The most that teams may be allocated.
    pub quotas: Arc<Quotas>,
    /// Stop proving after this time and take the best plan so far.
    pub time_limit: Option<Duration>,
    /// The last stage to solve.
    pub until: Until,
    /// Rules of the site.
    pub policy: Policy,
    /// What each GPU of the one node of the fleet holds now, by index. Of all plans equal before,
    /// the one is found that destroys least of it; what is busy stays.
    pub present: Option<Arc<Vec<PresentGpu>>>,
    /// Whether busy instances may be destroyed after all.
    pub allow_disruption: bool,
    /// Ends the search once it is true, as a time limit does: the best plan so far is taken.
    pub stop: Option<Arc<AtomicBool>>,
    /// Is told how the search for the plan goes; not of what the plan is compared with.
    pub progress: Option<Progress>,
}

impl PlanOptions {
    /// The rules, as the file of a plan keeps them.
    pub fn recorded(&self) -> RecordedPolicy {
        RecordedPolicy {
            rules: self.policy,
            spare: self.spare,
            share: self.share,
            quota: (*self.quotas).clone(),
        }
    }

    /// The same for GPUs that hold something `present`, by index, of which busy instances go only
    /// where `allow_disruption` says so.
    ///
    /// # Errors
    /// Rules that cannot be kept without ending what runs (exit 7).
    pub fn with_present(
        self,
        present: Option<Vec<PresentGpu>>,
        allow_disruption: bool,
    ) -> Result<PlanOptions> {
        let gpus = present.as_deref().unwrap_or_default();
        let busy = gpus.iter().filter(|gpu| gpu.is_busy()).count();
        let both = busy > 0 && gpus.iter().any(|gpu| gpu.in_use_whole);
        if self.policy.mig_mode == MigModePolicy::PerNode && both && !allow_disruption {
            let message = "--mig-mode per-node: something runs in an instance, and something on a whole GPU, so neither mode of the node keeps both";
            return Err(Error::new(ExitCode::Refused, message)
                .hint("plan with --mig-mode per-gpu, or give --allow-disruption"));
        }
        let (keep, able) = (self.policy.keep_whole as usize, gpus.len() - busy);
        if keep.min(gpus.len()) > able && !allow_disruption {
            let message = format!(
                "--keep-whole {keep}: something runs in instances of {}, so no more than {able} of {} can be whole",
                plural(busy as u64, "GPU"),
                gpus.len()
            );
            let fewer = match able {
                0 => "drop --keep-whole".to_string(),
                able => format!("--keep-whole {able}"),
            };
            return Err(Error::new(ExitCode::Refused, message)
                .hint(format!("{fewer}, or give --allow-disruption")));
        }
        Ok(PlanOptions { present: present.map(Arc::new), allow_disruption, ..self })
    }

    /// The same under the rules that a plan was made with, so that it is compared under these.
    ///
    /// # Errors
    /// Other rules are given already (exit 2).
    pub fn with_recorded(self, recorded: Option<RecordedPolicy>) -> Result<PlanOptions> {
        let Some(recorded) = recorded else { return Ok(self) };
        let other_share = self.share != Share::Weight && self.share != recorded.share;
        let other_rules = self.policy != Policy::default() && self.policy != recorded.rules;
        if other_rules || other_share {
            return Err(Error::usage("the flags name other rules than the plan was made with")
                .hint("leave them out: the plan's own rules are used"));
        }
        let RecordedPolicy { rules: policy, spare, share, quota } = recorded;
        Ok(PlanOptions { policy, spare, share, quotas: Arc::new(quota), ..self })
    }

    /// The same for a search beside that for the plan, which ends at `until`, is not told of, and
    /// is for the most weight: what can be had at best.
    #[must_use]
    pub(crate) fn beside(&self, until: Until) -> PlanOptions {
        PlanOptions { until, share: Share::Weight, progress: None, ..self.clone() }
    }
}

/// How far the search for a plan is.
#[derive(Debug, Clone, PartialEq)]
pub struct StageProgress {
    /// The stage that is being solved.
    pub objective: Objective,
    /// What the best solution so far reaches in it; `None` before there is one.
    pub value: Option<Number>,
    /// What no solution can pass, once it is known.
    pub bound: Option<Number>,
}

/// How far a search is.
#[derive(Debug, Clone, PartialEq)]
pub enum SearchProgress {
    /// That for a plan, in one of its stages.
    Stage(StageProgress),
    /// That among the divisions of the week.
    Divisions {
        /// Not yet solved or ruled out by a bound.
        open: usize,
        /// All that are searched.
        of: usize,
    },
}

/// Whom the search tells how it goes, from the thread that solves.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(SearchProgress) + Send + Sync>);

impl Progress {
    /// Calls `tell` at the start and at the end of each stage, and whenever divisions are ruled out.
    pub fn new(tell: impl Fn(SearchProgress) + Send + Sync + 'static) -> Progress {
        Progress(Arc::new(tell))
    }

    pub(crate) fn tell(&self, progress: SearchProgress) {
        (self.0)(progress);
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}
