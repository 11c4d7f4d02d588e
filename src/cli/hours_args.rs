//! Flags that lay demand over hours: the time zone, the week, growth.

use jiff::civil::Date;

use super::output::Console;
use super::values::date;
use crate::demand::Demand;
use crate::demand::gather::Seen;
use crate::demand::over_time::{Growth, Horizon, OverTime, Zone};
use crate::error::{Error, Result};

const HEADING: &str = "Demand over time";

/// Which hours demand is laid over.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct HoursArgs {
    /// Time zone of all hours read and shown: an IANA name [default: UTC]
    #[arg(long, help_heading = HEADING, hide_short_help = true, value_name = "ZONE")]
    timezone: Option<Zone>,
    /// Take the week of this day, with its clock changes, for the column hours (not with Prometheus)
    #[arg(long, help_heading = HEADING, hide_short_help = true, value_name = "DATE", value_parser = date, allow_hyphen_values = true, conflicts_with_all = ["prometheus", "prometheus_url"])]
    week: Option<Date>,
    /// Raise all counts by this share, or those of one team (repeatable)
    #[arg(long, help_heading = HEADING, hide_short_help = true, value_name = "[TEAM=]PERCENT", allow_hyphen_values = true)]
    growth: Vec<String>,
}

impl HoursArgs {
    /// The flag that is given, if any: they mean nothing without demand over time.
    pub(super) fn given(&self) -> Option<&'static str> {
        self.of_hours().or_else(|| (!self.growth.is_empty()).then_some("--growth"))
    }

    /// The flag that is given, if any, of those that say which hours are meant.
    pub(super) fn of_hours(&self) -> Option<&'static str> {
        let given = [("--timezone", self.timezone.is_some()), ("--week", self.week.is_some())];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(flag, _)| flag)
    }

    /// How much the counts of this demand grow.
    ///
    /// # Errors
    /// Growth that cannot be read or of an unknown team (exit 2).
    pub(super) fn growth(&self, demand: &Demand) -> Result<Growth> {
        let wrong = |message: String| Error::usage(format!("--growth: {message}"));
        let growth = Growth::parse(&self.growth).map_err(wrong)?;
        match growth.unknown_team(demand) {
            Some(team) => {
                let error = wrong(format!("no workload is of team '{team}'"));
                Err(demand.team_advice(team).into_iter().fold(error, Error::hint))
            }
            None => Ok(growth),
        }
    }

    /// Demand over the hours of the history that Prometheus has, else of a week. Doubts about the
    /// history are printed.
    ///
    /// # Errors
    /// Growth that cannot be read or of an unknown team (exit 2); a history without times (exit 3).
    pub(super) fn read(
        &self,
        demand: &Demand,
        seen: Option<&Seen>,
        console: &Console,
    ) -> Result<OverTime> {
        let growth = self.growth(demand)?;
        let zone = self.timezone.clone().unwrap_or_default();
        let history = seen.map(Seen::history);
        let horizon = match (&history, self.week) {
            (Some(history), _) => Horizon::History(history),
            (None, Some(date)) => Horizon::WeekOf(date),
            (None, None) => Horizon::Week,
        };
        let over_time = OverTime::new(demand, horizon, &zone, &growth)?;
        console.warn(&over_time.warnings);
        Ok(over_time)
    }
}
