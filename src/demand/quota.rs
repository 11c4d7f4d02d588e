//! Quotas: the most that a team may be allocated, from a CSV `team,gpus,memory_gib`.
//!
//! `memory_gib` bounds the usable memory of the instances that the team's replicas are assigned to,
//! `gpus` the GPUs that they are parts of: an instance of 2 of its board's 8 memory slices counts a
//! quarter, a whole GPU 1. Knows no GPUs: who adds them up is told what a part is.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Demand;
use super::csv::number_advice;
use crate::error::{Diagnostic, Result};
use crate::table::{Column, Row, Table};
use crate::units::{Decimal, MAX_MEMORY_MIB, Mebibytes, NumberError, Weight, millionths};

const COLUMNS: &[Column] = &[
    Column { name: "team", required: true },
    Column { name: "gpus", required: false },
    Column { name: "memory_gib", required: false },
];
const TEAM: usize = 0;
const GPUS: usize = 1;
const MEMORY: usize = 2;

/// More GPUs than any fleet has.
const MAX_GPUS: u64 = 1_000_000_000;

const HINT: &str = "a quota file has the columns team,gpus,memory_gib, such as 'nlp,2.5,' or 'search,,160'; an empty field is no limit";

/// The most that one team may be allocated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Quota {
    /// The team.
    pub team: Arc<str>,
    /// GPUs, each instance as the part of its GPU that it is; held in millionths.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "gpus")]
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub gpus: Option<u64>,
    /// Usable memory of instances and whole GPUs, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "memory_mib")]
    pub memory: Option<Mebibytes>,
}

/// GPUs as a decimal number: six decimals survive the way through a float.
mod gpus {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::units::Weight;

    pub(super) fn serialize<S: Serializer>(gpus: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
        gpus.map(|millionths| millionths as f64 / Weight::SCALE as f64).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
        let gpus = Option::<f64>::deserialize(from)?;
        Ok(gpus.map(|gpus| (gpus * Weight::SCALE as f64).round() as u64))
    }
}

impl std::fmt::Display for Quota {
    /// `2.5 GPUs and 40 GiB`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let gpus = self.gpus.map(|gpus| {
            let noun = if gpus == Weight::SCALE { "GPU" } else { "GPUs" };
            format!("{} {noun}", millionths(u128::from(gpus)))
        });
        let limits: Vec<String> =
            gpus.into_iter().chain(self.memory.map(Mebibytes::human)).collect();
        f.write_str(&limits.join(" and "))
    }
}

/// The quotas of all teams that have one, by team.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Quota>", into = "Vec<Quota>")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Quotas(BTreeMap<Arc<str>, Quota>);

impl From<Vec<Quota>> for Quotas {
    fn from(quotas: Vec<Quota>) -> Quotas {
        Quotas(quotas.into_iter().map(|quota| (quota.team.clone(), quota)).collect())
    }
}

impl From<Quotas> for Vec<Quota> {
    fn from(quotas: Quotas) -> Vec<Quota> {
        quotas.0.into_values().collect()
    }
}

impl Quotas {
    /// Whether no team has one.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The quotas, by team.
    pub fn iter(&self) -> impl Iterator<Item = &Quota> {
        self.0.values()
    }

    /// The quota of a team.
    pub fn of(&self, team: &str) -> Option<&Quota> {
        self.0.get(team)
    }

    /// The position of a team's quota among all.
    pub fn position(&self, team: &str) -> Option<usize> {
        self.0.keys().position(|name| **name == *team)
    }

    /// Warnings about quotas of teams that ask for nothing, which a wrong spelling makes.
    pub fn without_demand(&self, demand: &Demand, file: &str) -> Vec<Diagnostic> {
        let unknown = self.0.keys().filter(|team| !demand.has_team(team));
        let warning = |team: &Arc<str>| {
            let hint =
                demand.team_advice(team).map_or(String::new(), |advice| format!("; {advice}"));
            Diagnostic::new(format!("no workload is of the team '{team}'{hint}")).in_file(file)
        };
        unknown.map(warning).collect()
    }
}

/// Reads a quota file. Returns the quotas and warnings (unknown columns).
///
/// # Errors
/// All problems at once (exit 3).
pub fn read(input: impl Read, file: &str) -> Result<(Quotas, Vec<Diagnostic>)> {
    let mut table = Table::open(input, file, COLUMNS, HINT)?;
    let mut quotas = BTreeMap::new();
    let mut lines: BTreeMap<Arc<str>, u64> = BTreeMap::new();
    let rows = table.for_each_row(|row, problems| {
        let Some(team) = row.get(TEAM).filter(|team| !team.chars().any(char::is_control)) else {
            problems.push(row.problem(TEAM, "is not the name of a team"));
            return;
        };
        let team: Arc<str> = team.into();
        let gpus = limit(row, GPUS, u128::from(Weight::SCALE), MAX_GPUS, problems);
        let memory = limit(row, MEMORY, 1024, MAX_MEMORY_MIB / 1024, problems).map(Mebibytes);
        if row.get(GPUS).is_none() && row.get(MEMORY).is_none() {
            problems.push(row.problem(TEAM, "has neither gpus nor memory_gib"));
        }
        if let Some(first) = lines.get(&team) {
            problems.push(row.problem(TEAM, format_args!("is on line {first} already")));
            return;
        }
        lines.insert(team.clone(), row.line);
        quotas.insert(team.clone(), Quota { team, gpus, memory });
    });
    if table.problems.is_empty() && rows == 0 {
        table.problems.push(Diagnostic::new("has a header, but no quotas").in_file(file));
    }
    let table = table.without_problems(HINT)?;
    Ok((Quotas(quotas), table.warnings))
}

/// A limit of at most `most` in parts of which `parts` make one, rounded down: less than a part
/// more changes nothing. `None` where the cell is empty or wrong.
fn limit(
    row: &Row<'_>,
    column: usize,
    parts: u128,
    most: u64,
    problems: &mut Vec<Diagnostic>,
) -> Option<u64> {
    let too_large = || NumberError::TooLarge(most.to_string());
    let text = row.get(column)?;
    let value = Decimal::parse(text).and_then(|number| {
        let value = number.scale_floor(parts, 1).and_then(|value| u64::try_from(value).ok());
        value.filter(|value| u128::from(*value) <= u128::from(most) * parts).ok_or_else(too_large)
    });
    value.map_err(|e| problems.push(row.problem(column, number_advice(text, &e)))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demand::Workload;

    #[test]
    fn limits_are_read_and_written_back() {
        let (quotas, warnings) =
            read(&b"team;gpus;memory_gib;x\nnlp;2.5;;\nsearch;1;160.5;\nnone;0;0;\n"[..], "q.csv")
                .unwrap();
        assert_eq!(warnings.len(), 1);
        let nlp = quotas.of("nlp").unwrap();
        assert_eq!((nlp.gpus, nlp.memory), (Some(2_500_000), None));
        assert_eq!(nlp.to_string(), "2.5 GPUs");
        let search = quotas.of("search").unwrap();
        assert_eq!((search.gpus, search.memory), (Some(1_000_000), Some(Mebibytes(164_352))));
        assert_eq!(search.to_string(), "1 GPU and 160.5 GiB");
        assert_eq!(quotas.of("none").unwrap().memory, Some(Mebibytes(0)));
        assert_eq!((quotas.position("none"), quotas.of("other")), (Some(1), None));
        let text = serde_json::to_string(&quotas).unwrap();
        assert!(text.contains(r#"{"team":"nlp","gpus":2.5}"#), "{text}");
        assert_eq!(serde_json::from_str::<Quotas>(&text).unwrap(), quotas);
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let error =
            read(&b"team,gpus,memory_gib\na,-1,x\n,1,1\nb,,\nc,1,1e30\nd,1,\nd,2,\n"[..], "q.csv")
                .unwrap_err();
        let text = error.to_string();
        for part in [
            "q.csv:2: column 'gpus': '-1' is negative",
            "q.csv:2: column 'memory_gib': 'x' is not a number",
            "q.csv:3: column 'team': '' is not the name of a team",
            "q.csv:4: column 'team': 'b' has neither gpus nor memory_gib",
            "q.csv:5: column 'memory_gib': '1e30' is too large",
            "q.csv:7: column 'team': 'd' is on line 6 already",
        ] {
            assert!(text.contains(part), "missing: {part}\nin:\n{text}");
        }
        let empty = read(&b"team,gpus,memory_gib\n"[..], "q.csv").unwrap_err();
        assert!(empty.to_string().contains("no quotas"));
    }

    #[test]
    fn a_team_without_demand_is_named_with_the_nearest() {
        let (quotas, _) = read(&b"team,gpus\nresaerch,2\nnlp,1\n"[..], "q.csv").unwrap();
        let workload = |team| Workload::new(team, "w", Mebibytes(1), 1);
        let demand = Demand::new(vec![workload("research"), workload("nlp")]);
        let warnings = quotas.without_demand(&demand, "q.csv");
        assert_eq!(warnings.len(), 1);
        assert_eq!(
            warnings[0].to_string(),
            "q.csv: no workload is of the team 'resaerch'; did you mean 'research'?"
        );
    }
}
