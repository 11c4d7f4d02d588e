//! Flags that say how to plan and for what, shared by the commands that make a plan.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::files::{name_of, open};
use super::hours_args::HoursArgs;
use super::inputs::{CatalogueArgs, DemandArgs, FleetArgs};
use super::output::Console;
use super::values::{seconds, whole};
use crate::demand::over_time::OverTime;
use crate::demand::{Demand, quota};
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::hardware::Catalogue;
use crate::optimise::PlanOptions;
use crate::plan::{MigModePolicy, Policy, Share, Spare, Strategy};

/// The rules of a site.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Rules of the site")]
pub struct PolicyArgs {
    /// The device plugin's MIG strategy: any profiles side by side, or one profile per node
    #[arg(long, value_enum, default_value_t, hide_short_help = true)]
    strategy: Strategy,
    /// Whether the GPUs of one node may differ in MIG mode
    #[arg(long, value_enum, default_value_t, hide_short_help = true)]
    mig_mode: MigModePolicy,
    /// GPUs of each node that stay whole, MIG off; where a node has several boards, those of the
    /// board that it has most of
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole(0..=u32::MAX))]
    #[arg(hide_short_help = true, allow_hyphen_values = true)]
    keep_whole: u32,
    /// Give all replicas of a workload instances of one profile, as one pod template needs
    #[arg(long, hide_short_help = true)]
    one_profile_per_workload: bool,
}

impl PolicyArgs {
    /// The rules; `keeps_present` is whether the plan must keep what the GPUs hold.
    ///
    /// # Errors
    /// Rules that contradict each other (exit 2).
    fn read(&self, keeps_present: bool) -> Result<Policy> {
        let policy = Policy {
            strategy: self.strategy,
            mig_mode: self.mig_mode,
            keep_whole: self.keep_whole,
            one_profile_per_workload: self.one_profile_per_workload,
        };
        if keeps_present && policy.strategy == Strategy::Single {
            return Err(Error::usage("--current cannot be used with --strategy single")
                .hint("one profile per node leaves nothing to choose; drop --current"));
        }
        if policy.keep_whole > 0 && policy.nodes_agree_on_mig() {
            return Err(Error::usage(
                "--keep-whole leaves some GPUs of a node whole, but --strategy single and --mig-mode per-node treat all alike",
            )
            .hint("drop --keep-whole, or use --strategy mixed --mig-mode per-gpu"));
        }
        Ok(policy)
    }
}

/// How to plan.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Rules of the site")]
pub struct OptionArgs {
    #[command(flatten)]
    policy: PolicyArgs,
    /// What becomes of the slices that the demand leaves free on GPUs in use
    #[arg(long, value_enum, default_value_t, hide_short_help = true)]
    spare: Spare,
    /// Who comes first among replicas of one priority: the most weight, whichever teams it is of, or
    /// the team with the smallest share of what it asks for
    #[arg(long, value_enum, default_value_t, hide_short_help = true)]
    share: Share,
    /// The most that teams may be allocated (CSV: team,gpus,memory_gib)
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    quota: Option<PathBuf>,
    /// Stop proving after so many seconds and take the best plan so far
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_hyphen_values = true)]
    time_limit: Option<Duration>,
}

impl OptionArgs {
    /// The files that are read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.quota.iter().map(PathBuf::as_path)
    }

    /// The options of the optimiser; `keeps_present` is whether the plan must keep what the GPUs
    /// hold.
    ///
    /// # Errors
    /// Rules that contradict each other (exit 2).
    pub fn read(&self, keeps_present: bool) -> Result<PlanOptions> {
        Ok(PlanOptions {
            spare: self.spare,
            share: self.share,
            time_limit: self.time_limit,
            policy: self.policy.read(keeps_present)?,
            ..PlanOptions::default()
        })
    }

    /// The same options with the quotas of the teams of `demand`.
    ///
    /// # Errors
    /// A quota file that cannot be read, all its problems at once (exit 3).
    pub fn with_quota(
        &self,
        options: PlanOptions,
        demand: &Demand,
        console: &Console,
    ) -> Result<PlanOptions> {
        let Some(file) = &self.quota else { return Ok(options) };
        let (quotas, warnings) = quota::read(open(file)?, &name_of(file))?;
        console.warn(&warnings);
        console.warn(&quotas.without_demand(demand, &name_of(file)));
        Ok(PlanOptions { quotas: Arc::new(quotas), ..options })
    }

    /// Refuses rules between teams where no plan for one time is made; [`hide_teams`] hides them.
    ///
    /// # Errors
    /// `--share fair` or `--quota` is given (exit 2).
    pub fn refuse_teams(&self, command: &str) -> Result<()> {
        if self.share == Share::Weight && self.quota.is_none() {
            return Ok(());
        }
        Err(Error::usage(format!("--share fair and --quota do not work with {command}"))
            .hint("leave them out"))
    }
}

/// Hides the flags that [`OptionArgs::refuse_teams`] refuses.
pub(super) fn hide_teams(arg: clap::Arg) -> clap::Arg {
    let refused = ["share", "quota"].contains(&arg.get_id().as_str());
    if refused { arg.hide(true) } else { arg }
}

/// The demand and the GPUs to plan for.
#[derive(Debug, Clone, clap::Args)]
pub struct InputArgs {
    #[command(flatten)]
    pub(super) demand: DemandArgs,
    #[command(flatten)]
    pub(super) fleet: FleetArgs,
    #[command(flatten)]
    pub(super) catalogue: CatalogueArgs,
}

impl InputArgs {
    /// The files that are read.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.demand.files().chain(self.fleet.files()).chain(self.catalogue.files())
    }

    /// Reads the boards, the demand and the GPUs.
    ///
    /// # Errors
    /// Whatever is wrong with the files or flags (exit 3), no GPUs named (exit 6).
    pub fn read(&self, console: &Console) -> Result<(Catalogue, Demand, Fleet)> {
        self.demand.check_named()?;
        let catalogue = self.catalogue.read()?;
        let fleet = self.fleet.read(&catalogue, console)?;
        let demand = self.demand.read(&catalogue, fleet.kubernetes_nodes(), console)?;
        Ok((catalogue, demand, fleet))
    }

    /// The same with the demand over time.
    ///
    /// # Errors
    /// As [`InputArgs::read`] and [`HoursArgs::read`].
    pub(super) fn read_over_time(
        &self,
        hours: &HoursArgs,
        console: &Console,
    ) -> Result<(Catalogue, OverTime, Fleet)> {
        self.demand.check_over_time()?;
        let catalogue = self.catalogue.read()?;
        let fleet = self.fleet.read(&catalogue, console)?;
        let nodes = fleet.kubernetes_nodes();
        let (demand, seen) = self.demand.read_with_origins(&catalogue, nodes, console)?;
        let demand = hours.read(&demand, seen.as_ref(), console)?;
        Ok((catalogue, demand, fleet))
    }
}
