//! Demand from a CSV, and back into one.
//!
//! Every problem of the file is reported at once, with line, column and value.

mod write;

use std::fmt::Display;
use std::io::Read;
use std::sync::Arc;

use hashbrown::HashMap;

pub use write::write;

use super::hours::{self, Hours};
use super::{Demand, MAX_COUNT, MAX_WHOLE_GPUS, Workload, sorted_by_name};
use crate::error::{Diagnostic, Result};
use crate::hardware::Catalogue;
use crate::table::{Column, Row, Table, shorten};
use crate::units::{
    Decimal, Mebibytes, MemoryUnit, NumberError, Weight, memory_unit, parse_memory,
    without_separators,
};

const COLUMNS: &[Column] = &[
    Column { name: "team", required: true },
    Column { name: "workload", required: true },
    Column { name: "memory", required: false },
    Column { name: "memory_gib", required: false },
    Column { name: "memory_mib", required: false },
    Column { name: "memory_gb", required: false },
    Column { name: "count", required: false },
    Column { name: "priority", required: false },
    Column { name: "weight", required: false },
    Column { name: "compute", required: false },
    Column { name: "media", required: false },
    Column { name: "boards", required: false },
    Column { name: "gpus", required: false },
    Column { name: "hours", required: false },
    Column { name: "min", required: false },
];
const TEAM: usize = 0;
const WORKLOAD: usize = 1;
const MEMORY: [(usize, Option<MemoryUnit>); 4] = [
    (2, None),
    (3, Some(MemoryUnit::Gibibyte)),
    (4, Some(MemoryUnit::Mebibyte)),
    (5, Some(MemoryUnit::Gigabyte)),
];
const COUNT: usize = 6;
const PRIORITY: usize = 7;
const WEIGHT: usize = 8;
const COMPUTE: usize = 9;
const MEDIA: usize = 10;
const BOARDS: usize = 11;
const GPUS: usize = 12;
const HOURS: usize = 13;
const MIN: usize = 14;

const HINT: &str = "a workloads file has the columns team,workload,memory and, if wanted, count, priority, weight, compute, media, boards, gpus, hours, min; such as 'nlp,serving,30GiB,2'; hours are days and whole hours, such as 'Mon-Fri 08:00-19:00'";

/// What a reader of rows remembers.
struct Reader<'c> {
    catalogue: &'c Catalogue,
    /// Teams and lists of boards, which many rows share.
    teams: HashMap<Box<str>, Arc<str>>,
    boards: HashMap<Box<str>, Arc<[String]>>,
    any_board: Arc<[String]>,
    /// Rows of no replica, and numbers that may be meant otherwise.
    warnings: Vec<Diagnostic>,
}

/// Reads a workloads file. Returns the demand and warnings (unknown columns, rows of no replica,
/// numbers whose decimal point may separate thousands).
///
/// # Errors
/// All problems at once (exit 3).
pub fn read(
    input: impl Read,
    file: &str,
    catalogue: &Catalogue,
) -> Result<(Demand, Vec<Diagnostic>)> {
    let (demand, _, warnings) = read_with_lines(input, file, catalogue)?;
    Ok((demand, warnings))
}

/// As [`read`], with the line of each workload, in their order.
///
/// # Errors
/// As [`read`].
pub fn read_with_lines(
    input: impl Read,
    file: &str,
    catalogue: &Catalogue,
) -> Result<(Demand, Vec<u64>, Vec<Diagnostic>)> {
    let mut table = Table::read_header(input, file, COLUMNS, HINT)?;
    if !MEMORY.iter().any(|(column, _)| table.has(*column)) && !table.has(GPUS) {
        table
            .header_problem("has no column 'memory' (nor memory_gib, memory_mib, memory_gb, gpus)");
    }
    let mut table = table.without_problems(HINT)?;
    let reader = || Reader {
        catalogue,
        teams: HashMap::new(),
        boards: HashMap::new(),
        any_board: Arc::new([]),
        warnings: Vec::new(),
    };
    let rows = table.read_rows(reader, |reader, row, problems| {
        let before = problems.len();
        let workload = read_row(row, reader, problems);
        debug_assert!(workload.is_some() || problems.len() > before, "a refused row has a problem");
        let workload = workload?;
        if workload.count == 0 {
            reader.warnings.push(row.problem(COUNT, "asks for no replica"));
        }
        Some((workload, row.line))
    });
    let warnings = rows.readers.into_iter().flat_map(|r| r.warnings);
    let mut of_rows: Vec<Diagnostic> = warnings.map(|warning| warning.in_file(file)).collect();
    of_rows.sort_by_key(|warning| warning.line);
    // Sorted they must be anyway, and then equal names are neighbours.
    let mut workloads = sorted_by_name(rows.given, |row| &row.0);
    share_teams(&mut workloads);
    table.add_problems(duplicates(&workloads));
    if table.problems.is_empty() && rows.count == 0 {
        table.problems.push(Diagnostic::new("has a header, but no workloads").in_file(file));
    }
    let table = table.without_problems(HINT)?;
    let mut warnings = table.warnings;
    warnings.extend(of_rows);
    let (workloads, lines) = workloads.into_iter().unzip();
    Ok((Demand::of_sorted(workloads), lines, warnings))
}

/// Makes the rows of each team, which are neighbours, share its name, whoever read them.
fn share_teams(rows: &mut [(Workload, u64)]) {
    let mut team: Arc<str> = Arc::from("");
    for (workload, _) in rows {
        if workload.team != team {
            team = workload.team.clone();
        } else if !Arc::ptr_eq(&workload.team, &team) {
            workload.team = team.clone();
        }
    }
}

/// A problem for each row whose team and workload an earlier row has; `rows` are sorted by name,
/// equal ones by line.
fn duplicates(rows: &[(Workload, u64)]) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for of_name in rows.chunk_by(|a, b| a.0.by_name(&b.0).is_eq()) {
        let (workload, first) = &of_name[0];
        for (_, line) in &of_name[1..] {
            let message = format!(
                "columns 'team' and 'workload': '{}' is on line {first} already; use the column count for replicas",
                shorten(&workload.label())
            );
            problems.push(Diagnostic::new(message).at_line(*line));
        }
    }
    problems
}

/// Reads one row, adding everything that is wrong with it to `problems`. A row that is wrong still
/// gives a workload where it has a name, so that another row of the same name is found as well.
fn read_row(
    row: &Row<'_>,
    reader: &mut Reader<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Workload> {
    let team = name(row, TEAM, problems);
    let workload = name(row, WORKLOAD, problems);
    let whole_gpus = whole(row, GPUS, 0, MAX_WHOLE_GPUS.into(), &mut reader.warnings, problems);
    let memory = memory(row, whole_gpus, reader, problems);
    let before = problems.len();
    let count = whole(row, COUNT, 1, MAX_COUNT, &mut reader.warnings, problems);
    let min = whole(row, MIN, 0, MAX_COUNT, &mut reader.warnings, problems);
    // A count or min that cannot be read says nothing of the other.
    if min > count && problems.len() == before {
        problems.push(row.problem(
            MIN,
            format_args!("is more than count, which is {count}; min is a part of the count"),
        ));
    }
    let priority = priority(row, problems);
    let weight = row.get(WEIGHT).map_or(Weight::ONE, |text| {
        Weight::parse(text).unwrap_or_else(|e| {
            problems.push(row.problem(WEIGHT, number_advice(text, &e)));
            Weight::ONE
        })
    });
    let compute_slices = whole(row, COMPUTE, 1, 7, &mut reader.warnings, problems);
    if compute_slices == 0 {
        problems.push(row.problem(COMPUTE, "is zero; a workload needs 1 to 7 compute slices"));
    }
    let media = match row.get(MEDIA).map(str::to_ascii_lowercase).as_deref() {
        None | Some("false" | "no" | "0") => false,
        Some("true" | "yes" | "1") => true,
        Some(_) => {
            problems.push(row.problem(MEDIA, "is neither true nor false"));
            false
        }
    };
    let boards = boards(row, reader, problems);
    let hours = row.get(HOURS).map_or(Hours::ALWAYS, |text| {
        reader.warnings.extend(hours::doubt(text).map(|doubt| row.problem(HOURS, doubt)));
        text.parse().unwrap_or_else(|e: String| {
            problems.push(row.problem(HOURS, e));
            Hours::ALWAYS
        })
    });
    let team = team?;
    let team = match reader.teams.get(team) {
        Some(known) => known.clone(),
        None => reader.teams.entry(team.into()).or_insert_with(|| team.into()).clone(),
    };
    Some(Workload {
        team,
        name: Arc::from(workload?),
        memory,
        count,
        min,
        priority,
        weight,
        compute_slices: u32::try_from(compute_slices).ok()?,
        media,
        boards,
        whole_gpus: u32::try_from(whole_gpus).ok()?,
        hours,
        observed: None,
    })
}

fn name<'r>(row: &'r Row<'_>, column: usize, problems: &mut Vec<Diagnostic>) -> Option<&'r str> {
    let Some(name) = row.get(column) else {
        problems.push(row.problem(column, "is empty"));
        return None;
    };
    let control = match name.is_ascii() {
        true => name.bytes().any(|b| b.is_ascii_control()),
        false => name.chars().any(char::is_control),
    };
    if control {
        problems.push(row.problem(column, "has a control character"));
        return None;
    }
    Some(name)
}

fn memory(
    row: &Row<'_>,
    whole_gpus: u64,
    reader: &mut Reader<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Mebibytes> {
    let mut given = MEMORY.into_iter().filter_map(|(column, unit)| {
        let text = row.get(column)?;
        Some((column, unit, text))
    });
    match (given.next(), given.next()) {
        (None, _) if whole_gpus > 0 => None,
        (None, _) => {
            problems.push(
                Diagnostic::new(
                    "column 'memory': is empty; only a workload with gpus may leave it out",
                )
                .at_line(row.line),
            );
            None
        }
        (Some((column, unit, text)), None) => match parse_memory(text, unit) {
            Ok(memory) => {
                // Nobody measures thousandths of a MiB, but of a GiB they are common.
                let small = [MemoryUnit::Mebibyte, MemoryUnit::Megabyte].map(Some);
                if small.contains(&memory_unit(text, unit)) {
                    reader.warnings.extend(doubt(row, column, memory));
                }
                Some(memory)
            }
            Err(NumberError::NoUnit) => {
                let unit = likely_unit(text, whole_gpus, reader.catalogue);
                problems.push(row.problem(column, format_args!("{}; {unit}", NumberError::NoUnit)));
                None
            }
            Err(e) => {
                problems.push(row.problem(column, memory_advice(text, unit, &e)));
                None
            }
        },
        (Some((first, ..)), Some((second, ..))) => {
            problems.push(row.problem(
                second,
                format_args!(
                    "stands beside the column '{}'; fill in one of them",
                    COLUMNS[first].name
                ),
            ));
            None
        }
    }
}

/// How to write a memory without a unit: in MiB if it would be more than any GPU has in GiB.
fn likely_unit(text: &str, whole_gpus: u64, catalogue: &Catalogue) -> String {
    let largest = catalogue.boards().iter().map(|board| board.memory).max().unwrap_or_default();
    let most = largest.0.saturating_mul(whole_gpus.max(1));
    let is_gib = parse_memory(text, Some(MemoryUnit::Gibibyte)).is_ok_and(|m| m.0 <= most);
    if is_gib {
        format!("write {text}GiB or {text}GB, or name the column memory_gib")
    } else {
        format!("write {text}MiB, or name the column memory_mib")
    }
}

/// The error of a memory cell with what to write instead.
fn memory_advice(text: &str, unit: Option<MemoryUnit>, error: &NumberError) -> String {
    match error {
        NumberError::UnknownUnit(_) => format!("{error}; use MiB, GiB, MB or GB"),
        NumberError::NotANumber if text.contains(',') => {
            let advice = number_advice(text, error);
            match memory_unit(text, unit) {
                Some(_) => advice,
                None => format!("{advice}, and with a unit, such as GiB"),
            }
        }
        NumberError::NotANumber if unit.is_none() && without_separators(text).is_none() => {
            format!("{error} with a unit, such as 30GiB")
        }
        _ => number_advice(text, error),
    }
}

/// The error of a cell that holds a number, with what to write instead.
pub(super) fn number_advice(text: &str, error: &NumberError) -> String {
    match (error, without_separators(text)) {
        (NumberError::NotANumber | NumberError::Fraction, Some(plain)) => {
            format!("{error}; write {plain}, without a separator")
        }
        (NumberError::NotANumber, None) if text.contains(',') && text.contains('.') => {
            format!(
                "{error}; only '.' is read, before decimals, and nothing between thousands, such as 1024.5"
            )
        }
        (NumberError::NotANumber, None) if text.contains(',') => {
            format!("{error}; write a decimal point")
        }
        _ => error.to_string(),
    }
}

/// A warning for a cell that was read with a decimal point which may separate thousands.
fn doubt(row: &Row<'_>, column: usize, read_as: impl Display) -> Option<Diagnostic> {
    let text = row.get(column).filter(|text| text.contains('.'))?;
    let plain = without_separators(text)?;
    let message = format_args!(
        "is read as {read_as}, with a decimal point; if it separates thousands, write {plain}"
    );
    Some(row.problem(column, message))
}

/// A whole number of at most `most`; `default` where the cell is empty or wrong.
fn whole(
    row: &Row<'_>,
    column: usize,
    default: u64,
    most: u64,
    warnings: &mut Vec<Diagnostic>,
    problems: &mut Vec<Diagnostic>,
) -> u64 {
    let Some(text) = row.get(column) else {
        return default;
    };
    let value = Decimal::parse(text).and_then(|value| {
        let value = value.whole().ok_or(NumberError::Fraction)?;
        u64::try_from(value)
            .ok()
            .filter(|value| *value <= most)
            .ok_or_else(|| NumberError::TooLarge(most.to_string()))
    });
    if let Ok(value) = value {
        warnings.extend(doubt(row, column, value));
    }
    value.unwrap_or_else(|e| {
        // The limit that counts is the column's, not that of the digits.
        let e = if matches!(e, NumberError::TooLarge(_)) {
            NumberError::TooLarge(most.to_string())
        } else {
            e
        };
        let advice = match without_separators(text) {
            Some(_) => number_advice(text, &e),
            // A decimal point would not make it a whole number.
            None => e.to_string(),
        };
        problems.push(row.problem(column, advice));
        default
    })
}

fn priority(row: &Row<'_>, problems: &mut Vec<Diagnostic>) -> i64 {
    let Some(text) = row.get(PRIORITY) else {
        return 0;
    };
    let whole = || {
        // Some programs write whole numbers with decimals.
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        let whole = Decimal::parse(digits).ok()?.whole()?;
        i64::try_from(whole).ok().and_then(|whole| i32::try_from(sign * whole).ok())
    };
    text.parse::<i32>().ok().or_else(whole).map_or_else(
        || {
            let range = "is not a whole number from -2147483648 to 2147483647, as in Kubernetes";
            problems.push(match without_separators(text) {
                Some(plain) => row
                    .problem(PRIORITY, format_args!("{range}; write {plain}, without a separator")),
                None => row.problem(PRIORITY, range),
            });
            0
        },
        i64::from,
    )
}

fn boards(row: &Row<'_>, reader: &mut Reader<'_>, problems: &mut Vec<Diagnostic>) -> Arc<[String]> {
    let Some(text) = row.get(BOARDS) else {
        return reader.any_board.clone();
    };
    if let Some(known) = reader.boards.get(text) {
        return known.clone();
    }
    let mut ids = Vec::new();
    let before = problems.len();
    for name in text.split('|') {
        match reader.catalogue.find_all(name) {
            Ok(boards) => ids.extend(boards.iter().map(|board| board.id.clone())),
            Err(e) => {
                problems.push(Diagnostic::new(format!("column 'boards': {e}")).at_line(row.line))
            }
        }
    }
    ids.sort();
    ids.dedup();
    let ids: Arc<[String]> = ids.into();
    if problems.len() == before {
        reader.boards.insert(text.into(), ids.clone());
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(text: &str) -> Result<(Demand, Vec<Diagnostic>)> {
        read(text.as_bytes(), "teams.csv", &Catalogue::built_in())
    }

    #[test]
    fn every_column_is_read() {
        let (demand, warnings) = demand(
            "team;workload;memory;count;priority;weight;compute;media;boards;gpus;qos;min\n\
             nlp;train;30GiB;2;-5;1.5;3;true;h100-80gb|a100-80gb;;x;2\n\
             nlp;big;;;;;;;;4;;\n",
        )
        .unwrap();
        let [big, train] = demand.workloads() else { panic!() };
        assert_eq!(train.memory, Some(Mebibytes(30_720)));
        assert_eq!((train.count, train.priority, train.weight.0), (2, -5, 1_500_000));
        assert_eq!((train.min, big.min), (2, 0));
        assert_eq!((train.compute_slices, train.media, train.whole_gpus), (3, true, 0));
        assert_eq!(*train.boards, ["a100-sxm4-80gb".to_string(), "h100-sxm5-80gb".to_string()]);
        assert_eq!((big.memory, big.whole_gpus, big.count, big.compute_slices), (None, 4, 1, 1));
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0].to_string(), "teams.csv:1: column 'qos' is not known and ignored");
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let error = demand(
            "team,workload,memory,count,priority,weight,compute,media,boards,gpus\n\
             ,a,30,-1,high,0,9,maybe,t4,1.5\n\
             t,b,30XB,1.5,1,1,0,,,\n\
             t,c,NaN,1e30,1,NaN,1,,,\n\
             t,d,1e30GiB,1,1,1,1,,,\n\
             t,e,,1,1,1,1,,,\n\
             t,f,1GiB,1,1,1,1,,,\n\
             t,f,1GiB,1,1,1,1,,,\n",
        )
        .unwrap_err();
        let text = error.to_string();
        for part in [
            "teams.csv:2: column 'team': '' is empty",
            "teams.csv:2: column 'memory': '30' has no unit; write 30GiB or 30GB, or name the column memory_gib",
            "teams.csv:2: column 'count': '-1' is negative",
            "teams.csv:2: column 'priority': 'high' is not a whole number",
            "teams.csv:2: column 'weight': '0' is zero",
            "teams.csv:2: column 'compute': '9' is too large (at most 7)",
            "teams.csv:2: column 'media': 'maybe' is neither",
            "teams.csv:2: column 'boards': 't4' cannot do MIG",
            "teams.csv:2: column 'gpus': '1.5' is not a whole number",
            "teams.csv:3: column 'memory': '30XB' has the unknown unit 'XB'",
            "teams.csv:3: column 'count': '1.5' is not a whole number",
            "teams.csv:3: column 'compute': '0' is zero",
            "teams.csv:4: column 'memory': 'NaN' is not a number",
            "teams.csv:4: column 'count': '1e30' is too large (at most 1000000000)",
            "teams.csv:5: column 'memory': '1e30GiB' is too large",
            "teams.csv:6: column 'memory': is empty",
            "teams.csv:8: columns 'team' and 'workload': 't/f' is on line 7 already",
        ] {
            assert!(text.contains(part), "missing: {part}\nin:\n{text}");
        }
    }

    #[test]
    fn separators_of_thousands_are_told() {
        let (read, warnings) = demand(
            "team;workload;memory;count\n\
             t;a;1.000 MiB;1\nt;b;8.000MiB;2.000\nt;c;1.500GiB;1\nt;d;1.5MiB;1\nt;e;0.125MB;1\n",
        )
        .unwrap();
        let memory: Vec<u64> = read.workloads().iter().map(|w| w.memory.unwrap().0).collect();
        assert_eq!(memory, [1, 8, 1_536, 2, 1]);
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        let told = |line: u64, column: &str, value: &str, read: &str, plain: &str| {
            format!(
                "teams.csv:{line}: column '{column}': '{value}' is read as {read}, with a decimal point; if it separates thousands, write {plain}"
            )
        };
        assert_eq!(
            warnings,
            [
                told(2, "memory", "1.000 MiB", "1 MiB", "1000MiB"),
                told(3, "memory", "8.000MiB", "8 MiB", "8000MiB"),
                told(3, "count", "2.000", "2", "2000"),
            ]
        );
        let bare = demand("team,workload,memory_mib\nt,a,40.960\n").unwrap().1;
        assert!(bare[0].to_string().ends_with("write 40960"), "{bare:?}");

        let error = demand(
            "team,workload,memory,count,priority,weight\n\
             t,a,\"1,024MiB\",\"1,024\",\"1,024\",\"1,024\"\n\
             t,b,\"1,024\",1.024,1.024,\"1,5\"\n\
             t,c,\"1,5GiB\",\"1,5\",1,1.024\n\
             t,d,1.024.000MiB,1.024.000,1,1\n\
             t,e,\"2,5\",1,1,1\n\
             t,f,\"1.024,5MiB\",1,1,1\n",
        );
        let text = error.unwrap_err().to_string();
        for part in [
            "2: column 'memory': '1,024MiB' is not a number; write 1024MiB, without a separator",
            "2: column 'count': '1,024' is not a number; write 1024, without a separator",
            "2: column 'priority': '1,024' is not a whole number from -2147483648 to 2147483647, as in Kubernetes; write 1024, without a separator",
            "2: column 'weight': '1,024' is not a number; write 1024, without a separator",
            "3: column 'memory': '1,024' is not a number; write 1024, without a separator, and with a unit, such as GiB",
            "3: column 'count': '1.024' is not a whole number; write 1024, without a separator",
            "3: column 'priority': '1.024' is not a whole number from -2147483648 to 2147483647, as in Kubernetes; write 1024, without a separator",
            "3: column 'weight': '1,5' is not a number; write a decimal point",
            "4: column 'memory': '1,5GiB' is not a number; write a decimal point\n",
            "4: column 'count': '1,5' is not a number\n",
            "5: column 'memory': '1.024.000MiB' is not a number; write 1024000MiB, without a separator",
            "5: column 'count': '1.024.000' is not a number; write 1024000, without a separator",
            "6: column 'memory': '2,5' is not a number; write a decimal point, and with a unit, such as GiB",
            "7: column 'memory': '1.024,5MiB' is not a number; only '.' is read, before decimals, and nothing between thousands, such as 1024.5",
        ] {
            assert!(text.contains(&format!("teams.csv:{part}")), "missing: {part}\nin:\n{text}");
        }
    }

    #[test]
    fn a_duplicate_of_a_wrong_row_is_told_at_once() {
        let error =
            demand("team,workload,memory\nt,a,30\nt,b,1GiB\nt,a,2GiB\nt,b,x\n,a,1GiB\nt,,1GiB\n");
        let lines: Vec<String> =
            error.unwrap_err().problems.iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 6, "{lines:?}");
        for (line, part) in [
            (1, "4: columns 'team' and 'workload': 't/a' is on line 2 already"),
            (3, "5: columns 'team' and 'workload': 't/b' is on line 3 already"),
        ] {
            assert!(lines[line].starts_with(&format!("teams.csv:{part}")), "{lines:?}");
        }
    }

    #[test]
    fn whole_numbers_may_have_decimals_that_are_zero() {
        let (found, _) =
            demand("team,workload,memory,count,priority\nt,a,1GiB,2.0,1.0\nt,b,1GiB,1,-3.0\n")
                .unwrap();
        let priorities: Vec<i64> = found.workloads().iter().map(|w| w.priority).collect();
        assert_eq!(priorities, [1, -3]);
        for wrong in ["1.5", "--1", "-", "3e9", "2147483648.0"] {
            let text = format!("team,workload,memory,priority\nt,a,1GiB,{wrong}\n");
            let error = demand(&text).unwrap_err().to_string();
            assert!(error.contains("is not a whole number from"), "{wrong}: {error}");
        }
        assert!(demand("team,workload,memory,priority\nt,a,1GiB,-2147483648.0\n").is_ok());
    }

    #[test]
    fn a_memory_without_a_unit_is_told_the_likely_one() {
        let told = |row: &str| {
            demand(&format!("team,workload,memory,gpus\nt,a,{row}\n")).unwrap_err().to_string()
        };
        assert!(told("30,").ends_with("write 30GiB or 30GB, or name the column memory_gib"));
        assert!(told("40000,").ends_with("write 40000MiB, or name the column memory_mib"));
        assert!(told("640,8").contains("write 640GiB or 640GB"), "{}", told("640,8"));
    }

    #[test]
    fn a_number_that_cannot_be_read_is_one_problem() {
        let error = demand("team,workload,memory,count,min\nt,a,1GiB,\"1,024\",5\nt,b,1GiB,2,x\n");
        let lines: Vec<String> =
            error.unwrap_err().problems.iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("column 'count'") && lines[1].contains("column 'min'"));
    }

    #[test]
    fn a_min_is_a_part_of_the_count() {
        let text = demand(
            "team,workload,memory,count,min\nt,a,1GiB,2,3\nt,b,1GiB,,2\nt,c,1GiB,5,-1\nt,d,1GiB,5,0.5\n",
        )
        .unwrap_err()
        .to_string();
        for part in [
            "teams.csv:2: column 'min': '3' is more than count, which is 2",
            "teams.csv:3: column 'min': '2' is more than count, which is 1",
            "teams.csv:4: column 'min': '-1' is negative",
            "teams.csv:5: column 'min': '0.5' is not a whole number",
        ] {
            assert!(text.contains(part), "missing: {part}\nin:\n{text}");
        }
    }

    #[test]
    fn a_file_without_rows_or_memory_is_refused() {
        assert!(demand("team,workload,memory\n").unwrap_err().to_string().contains("no workloads"));
        assert!(
            demand("team,workload\na,b\n").unwrap_err().to_string().contains("no column 'memory'")
        );
        let (found, warnings) = demand("team,workload,memory_gib,count\na,b,3,0\n").unwrap();
        assert_eq!((found.replicas(), warnings.len()), (0, 1));
    }
}
