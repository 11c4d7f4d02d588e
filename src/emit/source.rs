//! A plan with what its file says of how it was made: the name and the MIG strategy that every kind
//! must agree on, or labels name a configuration that no ConfigMap has.

use super::mig_parted::DEFAULT_NAME;
use super::plan_view::PlanView;
use crate::demand::Demand;
use crate::error::{Error, Result};
use crate::hardware::Catalogue;
use crate::plan::file::PlanFile;
use crate::plan::over_time::OverTimeFile;
use crate::plan::{Checked, Strategy};

/// A plan to emit from.
#[derive(Debug, Clone, Copy)]
pub struct PlanSource<'p> {
    /// The plan.
    pub plan: &'p Checked,
    /// Its boards.
    pub catalogue: &'p Catalogue,
    /// The label of its MIG configuration, where its file has one.
    pub name: Option<&'p str>,
    /// The MIG strategy that it was made for, where its file says so.
    pub strategy: Option<Strategy>,
    /// What it was made for, where its file says so.
    pub asked: Option<&'p Demand>,
    /// The periods, where the plan is one over time.
    pub over_time: Option<&'p OverTimeFile>,
}

impl<'p> From<&'p PlanFile> for PlanSource<'p> {
    fn from(file: &'p PlanFile) -> PlanSource<'p> {
        PlanSource {
            plan: &file.plan,
            catalogue: &file.catalogue,
            name: file.name.as_deref(),
            strategy: file.policy.as_ref().map(|policy| policy.rules.strategy),
            asked: file.demand.as_ref(),
            over_time: file.over_time.as_ref(),
        }
    }
}

impl<'p> PlanSource<'p> {
    /// The label of the plan's configuration: the file's, else the one asked for.
    ///
    /// # Errors
    /// Both, and they differ (exit 2).
    pub fn name(&self, asked: Option<&str>) -> Result<String> {
        match (self.name, asked) {
            (Some(own), Some(asked)) if own != asked => Err(Error::usage(format!(
                "--name {asked}, but the plan was made with --name {own}"
            ))
            .hint("drop --name, or make the plan with the other name: labels, ConfigMap and file must agree")),
            (own, asked) => Ok(own.or(asked).unwrap_or(DEFAULT_NAME).to_string()),
        }
    }

    /// The plan under its MIG strategy: the file's, else the one asked for.
    ///
    /// # Errors
    /// Both, and they differ (exit 2).
    pub fn view(&self, asked: Option<Strategy>) -> Result<PlanView<'p>> {
        match (self.strategy, asked) {
            (Some(own), Some(asked)) if own != asked => Err(Error::usage(format!(
                "--strategy {}, but the plan was made with --strategy {}",
                asked.name(),
                own.name()
            ))
            .hint("drop --strategy, or make the plan with the other one")),
            (own, asked) => Ok(self.view_as(own.or(asked).unwrap_or_default())),
        }
    }

    /// The plan under a MIG strategy that the kind prescribes.
    pub fn view_as(&self, strategy: Strategy) -> PlanView<'p> {
        PlanView::new(self.plan, self.over_time, self.asked, self.catalogue, strategy)
    }

    /// As [`PlanSource::view`], of these teams' workloads alone; none named is all.
    ///
    /// # Errors
    /// As [`PlanSource::view`]; a team of which the plan places nothing (exit 2).
    pub fn view_of(&self, teams: &[String], asked: Option<Strategy>) -> Result<PlanView<'p>> {
        let mut view = self.view(asked)?;
        view.keep_teams(teams)?;
        Ok(view)
    }
}
