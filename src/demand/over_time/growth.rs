//! Growth: counts of replicas raised by a share, for all teams or for one.

use std::collections::BTreeMap;

use crate::demand::Demand;
use crate::units::{Percent, Weight};

/// The whole of a share in millionths.
const MILLION: u64 = Weight::SCALE;

/// By how much counts are raised: for all teams, or for one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Growth {
    /// In millionths, for teams without a value of their own.
    all: u64,
    by_team: BTreeMap<String, u64>,
}

impl Growth {
    /// Reads `20%` (all teams) and `nlp=50%` (one team).
    ///
    /// # Errors
    /// What is wrong, and how to write it.
    pub fn parse(texts: &[String]) -> std::result::Result<Growth, String> {
        let mut growth = Growth::default();
        let mut for_all = false;
        for text in texts {
            let (team, percent) = match text.rsplit_once('=') {
                Some((team, percent)) => (Some(team.trim()), percent),
                None => (None, text.as_str()),
            };
            let wrong = || format!("'{text}' is not a growth; write 20%, or TEAM=20% for one team");
            let Percent(millionths) = percent.parse().map_err(|_| wrong())?;
            match team {
                Some("") => return Err(wrong()),
                Some(team) => {
                    if growth.by_team.insert(team.to_string(), millionths).is_some() {
                        return Err(format!("team '{team}' is there twice; name it once"));
                    }
                }
                None if for_all => {
                    return Err(format!(
                        "'{text}' is a second share for all teams; write TEAM={text} for one team"
                    ));
                }
                None => {
                    for_all = true;
                    growth.all = millionths;
                }
            }
        }
        Ok(growth)
    }

    /// A demand with its counts raised, for what takes all workloads at their highest at once.
    pub fn raise(&self, demand: &Demand) -> Demand {
        let mut workloads = demand.workloads().to_vec();
        for workload in &mut workloads {
            workload.count = grown(workload.count, self.of(&workload.team));
        }
        Demand::new(workloads)
    }

    /// Teams with a value of their own that have no workload.
    pub fn unknown_team(&self, demand: &Demand) -> Option<&str> {
        self.by_team.keys().map(String::as_str).find(|team| !demand.has_team(team))
    }

    pub(super) fn of(&self, team: &str) -> u64 {
        self.by_team.get(team).copied().unwrap_or(self.all)
    }
}

/// A count raised by a share in millionths, rounded up: half a replica is a replica.
pub(super) fn grown(count: u64, growth: u64) -> u64 {
    let raised = u128::from(count) * u128::from(MILLION + growth);
    u64::try_from(raised.div_ceil(u128::from(MILLION))).unwrap_or(u64::MAX)
}
