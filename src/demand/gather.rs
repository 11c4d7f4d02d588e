//! Demand from several sources as one: what Prometheus saw, what pods ask for, workloads files.
//!
//! What pods ask for wins over what was seen of a workload (samples of a listed pod are of the list's
//! workload, see `Usage::know`), and a row of a workloads file over both. Knows no file and no
//! server: readers hand in what they read, or their errors.

use super::over_time::History;
use super::sizing::{PodSpan, Sizing};
use super::usage::Usage;
use super::{Demand, PlaceOf};
use crate::error::{Diagnostic, Error, ExitCode, Result};
use crate::units::Headroom;

/// What Prometheus shows and what became of it.
#[derive(Debug)]
pub struct Seen {
    /// The workloads, where they come from, and what could not be used.
    pub sizing: Sizing,
    /// Every sample.
    pub usage: Usage,
}

impl Seen {
    /// When the pods of the workloads ran that no other source names.
    pub fn history(&self) -> History {
        let Sizing { spans, origins, .. } = &self.sizing;
        let known =
            |pod: &&PodSpan| origins.contains_key(&(pod.team.clone(), pod.workload.clone()));
        History::new(spans.iter().filter(known), &self.usage)
    }

    /// Forgets the origin of the workloads that another source names as well.
    fn forget(&mut self, demand: &Demand) {
        for workload in demand.workloads() {
            self.sizing.origins.remove(&(workload.team.clone(), workload.name.clone()));
        }
    }
}

/// Sources that are read one after the other; the problems of all of them are told at once.
#[derive(Debug, Default)]
pub struct Gathering {
    demand: Demand,
    seen: Option<Seen>,
    problems: Vec<Diagnostic>,
    hint: Option<String>,
    /// For each workload, where it is; kept only where there are several files.
    place_of: Option<PlaceOf>,
}

impl Gathering {
    /// Nothing yet; `files` workloads files are to come.
    pub fn new(files: usize) -> Gathering {
        Gathering { place_of: (files > 1).then(PlaceOf::new), ..Gathering::default() }
    }

    /// Takes what Prometheus showed.
    ///
    /// # Errors
    /// Whatever is no bad input, such as a server that does not answer: then nothing else that is
    /// wrong is worth knowing.
    pub fn seen(&mut self, read: Result<Option<Seen>>) -> Result<()> {
        match read {
            Ok(seen) => {
                self.demand = seen.as_ref().map(|s| s.sizing.demand.clone()).unwrap_or_default();
                self.seen = seen;
            }
            Err(e) if e.code == ExitCode::BadInput => self.fail(e),
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// Takes what pods ask for and hold.
    pub fn pods(&mut self, demand: Demand) {
        self.add(demand);
    }

    /// Takes the workloads of the file `name`, with the line of each.
    pub fn workloads(&mut self, name: &str, read: Result<(Demand, Vec<u64>)>) {
        match read {
            Ok((demand, lines)) => {
                if let Some(place_of) = &mut self.place_of {
                    self.problems.extend(demand.duplicates(name, &lines, place_of));
                }
                self.add(demand);
            }
            Err(e) => self.fail(e),
        }
    }

    /// All of it, of these `teams` only where some are named, with headroom.
    ///
    /// # Errors
    /// The problems of all sources; a team that has no workload (exit 3).
    pub fn finish(self, teams: &[String], headroom: Headroom) -> Result<(Demand, Option<Seen>)> {
        let Gathering { mut demand, seen, problems, hint, .. } = self;
        if !problems.is_empty() {
            return Err(Error { code: ExitCode::BadInput, problems, hint });
        }
        if !teams.is_empty() {
            if let Some(unknown) = teams.iter().find(|team| !demand.has_team(team)) {
                let problem = format!("no workload is of team '{unknown}'");
                let takes = "--team takes a name of the column team";
                let advice = demand.team_advice(unknown);
                return Err(Error::input(Diagnostic::new(problem)).hint(match advice {
                    Some(advice) => format!("{takes}; {advice}"),
                    None => takes.to_string(),
                }));
            }
            demand = demand.of_teams(teams);
        }
        Ok((demand.with_headroom(headroom), seen))
    }

    fn add(&mut self, demand: Demand) {
        if let Some(seen) = &mut self.seen {
            seen.forget(&demand);
        }
        self.demand = std::mem::take(&mut self.demand).overridden_by(demand);
    }

    fn fail(&mut self, error: Error) {
        self.problems.extend(error.problems);
        self.hint = self.hint.take().or(error.hint);
    }
}
