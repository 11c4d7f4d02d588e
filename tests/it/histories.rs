//! Histories that are thin: an hour, a few hours, days that nobody saw, a team that came at the
//! end. `replay`, `suggest --over-time` and `schedule` of each: an answer that adds up, and soon.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Run, migplan};

/// Samples of a quarter of an hour each: the namespace, the pod, its memory in MiB, and when it ran,
/// in samples from Monday 2026-06-01 00:00 UTC.
type Pod<'a> = (&'a str, &'a str, u64, Vec<(i64, i64)>);

const HOUR: i64 = 4;
const DAY: i64 = 24 * HOUR;

fn history(pods: &[Pod<'_>]) -> String {
    let series = pods.iter().enumerate().map(|(device, (team, pod, mib, ran))| {
        let samples = ran.iter().flat_map(|(from, to)| *from..*to);
        let at = |sample: i64| json!([1_780_272_000 + sample * 900, mib.to_string()]);
        json!({
            "metric": {
                "__name__": "DCGM_FI_DEV_FB_USED", "UUID": format!("GPU-{device:04}"),
                "GPU_I_ID": "1", "GPU_I_PROFILE": "made.up",
                "exported_namespace": team, "exported_pod": pod,
            },
            "values": samples.map(at).collect::<Vec<Value>>(),
        })
    });
    Value::Array(series.collect()).to_string()
}

/// What the three commands say of a history.
struct Answers {
    schedule: Value,
    replay: Value,
    suggest: Value,
    warnings: String,
}

/// Each answers well within this, also where tests are not optimised and run side by side.
const SOON: Duration = Duration::from_secs(100);

fn answers(folder: &Path, pods: &[Pod<'_>], gpus: &str) -> Answers {
    let file = folder.join("history.json");
    std::fs::write(&file, history(pods)).unwrap();
    let mut warnings = String::new();
    let mut of = |command: &[&str]| -> Value {
        let inputs = ["--prometheus", file.to_str().unwrap(), "--gpus", gpus, "--format", "json"];
        let start = Instant::now();
        let run: Run = migplan(&[command, &inputs].concat());
        assert!(start.elapsed() < SOON, "{command:?} took {:?}", start.elapsed());
        assert_eq!(run.code, 0, "{command:?}: {}", run.stderr);
        warnings = run.stderr;
        serde_json::from_str(&run.stdout).unwrap()
    };
    let (schedule, replay) = (of(&["schedule"]), of(&["replay"]));
    let suggest = of(&["suggest", "--over-time"]);
    Answers { schedule, replay, suggest, warnings }
}

impl Answers {
    /// Checks that the three agree on what was asked for, in replica-hours, and that none serves
    /// more than it could; returns what one configuration and what the schedule serve.
    fn served(&self, asked: u64) -> (f64, f64) {
        let number = |of: &Value, key: &str| of[key].as_f64().unwrap();
        let rows = self.replay["rows"].as_array().unwrap();
        let plan = rows.iter().find(|r| r["name"] == "plan" && r["rule"] == "bound").unwrap();
        for row in rows {
            assert_eq!(row["asked_replica_hours"], asked, "{row}");
        }
        assert_eq!(self.schedule["asked_replica_hours"], asked, "{}", self.schedule);
        let one = number(&self.schedule, "one_config_replica_hours");
        let several = number(&self.schedule, "served_replica_hours");
        assert!(one <= several && several <= asked as f64, "{one} {several} {asked}");
        assert_eq!(number(plan, "served_replica_hours"), one);
        assert_eq!(self.suggest["proof"]["status"], "optimal");
        assert_eq!(self.schedule["proved"], true);
        (one, several)
    }

    fn changes(&self) -> usize {
        self.schedule["changes"].as_array().unwrap().len()
    }
}

/// So many notebooks of 8,000 MiB.
fn notebooks(count: usize, ran: &[(i64, i64)]) -> Vec<Pod<'static>> {
    const NAMES: [&str; 7] = [
        "note-6d5f9c7b8d-zzbgd",
        "note-6d5f9c7b8d-zzcgd",
        "note-6d5f9c7b8d-zzdgd",
        "note-6d5f9c7b8d-zzfgd",
        "note-6d5f9c7b8d-zzggd",
        "note-6d5f9c7b8d-zzhgd",
        "note-6d5f9c7b8d-zzjgd",
    ];
    NAMES[..count].iter().map(|name| ("a", *name, 8_000, ran.to_vec())).collect()
}

#[test]
fn a_history_of_one_hour() {
    let folder = tempfile::tempdir().unwrap();
    let mut pods = notebooks(3, &[(0, HOUR)]);
    pods.push(("b", "train-bcdfg", 70_000, vec![(0, HOUR)]));
    let answers = answers(folder.path(), &pods, "1xa100-80gb");
    assert_eq!(answers.served(4), (3.0, 3.0));
    assert_eq!(answers.changes(), 0);
    assert!(answers.warnings.contains("the history is of 1 hour only"), "{}", answers.warnings);
}

#[test]
fn a_history_shorter_than_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let mut pods = notebooks(7, &[(0, 2 * HOUR)]);
    pods.push(("b", "train-bcdfg", 70_000, vec![(3 * HOUR, 5 * HOUR)]));
    let answers = answers(folder.path(), &pods, "1xa100-80gb");
    // Between the notebooks and the training an hour is free for the change.
    assert_eq!(answers.served(16), (14.0, 16.0));
    assert!(answers.changes() > 0);
    assert!(answers.warnings.contains("the history is of 4 hours only"), "{}", answers.warnings);
}

#[test]
fn a_history_with_a_gap_and_a_replica_that_fits_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    // From 10:00 on the first day for 20 hours nobody looked.
    let seen = [(0, 10 * HOUR), (30 * HOUR, 55 * HOUR)];
    let mut pods = notebooks(7, &[(2 * HOUR, 7 * HOUR), (35 * HOUR, 42 * HOUR)]);
    pods.push(("b", "train-bcdfg", 70_000, vec![(0, 2 * HOUR), (45 * HOUR, 54 * HOUR)]));
    pods.push(("a", "serve-6d5f9c7b8d-abcdf", 9_000, seen.to_vec()));
    pods.push(("c", "huge-bcdfg", 200_000, seen.to_vec()));
    let answers = answers(folder.path(), &pods, "4xa100-80gb");
    let (huge, asked) = (35, 7 * 12 + 11 + 35 + 35);
    // All but what no GPU holds: nothing else can be better, whatever the division.
    assert_eq!(answers.served(asked), ((asked - huge) as f64, (asked - huge) as f64));
    assert_eq!(answers.changes(), 0);
    assert!(answers.warnings.contains("20 hours of the history"), "{}", answers.warnings);
}

#[test]
fn a_team_that_comes_on_the_last_day() {
    let folder = tempfile::tempdir().unwrap();
    let days: Vec<i64> = (0..8).collect();
    let day = |from: i64, to: i64| -> Vec<(i64, i64)> {
        days.iter().map(|d| (d * DAY + from * HOUR, d * DAY + to * HOUR)).collect()
    };
    let mut pods = notebooks(7, &day(9, 17));
    pods.push(("b", "train-bcdfg", 70_000, day(19, 24)));
    pods.push(("c", "huge-bcdfg", 200_000, vec![(0, 8 * DAY)]));
    pods.push(("n", "clone-7c9d8f6b5c-abcdf", 9_000, vec![(7 * DAY + 18 * HOUR, 8 * DAY)]));
    let answers = answers(folder.path(), &pods, "1xa100-80gb");
    let huge = 8 * 24;
    let (one, several) = answers.served(8 * (7 * 8 + 5) + huge + 6);
    // Either the notebooks and the new team, or the training; two configurations have both but for
    // the one hour or five in which the new team and the training meet.
    assert_eq!(one, f64::from(8 * 7 * 8 + 6));
    assert!(several > one, "{several}");
    assert!(answers.warnings.contains("team 'n' appears on the last day"), "{}", answers.warnings);
}

/// What a query for a range shows of two notebooks by day (08:00 to 18:00) and a training by night
/// (19:00 to 11:00): from and to which minute, and how many minutes from one sample to the next.
fn days_and_nights((from, to, step): (i64, i64, i64)) -> String {
    const DAY: i64 = 24 * 60;
    let minutes: Vec<i64> = (from..to).step_by(usize::try_from(step).unwrap()).collect();
    let series = |(name, number, mib, start, end): (&str, usize, u64, i64, i64)| {
        let runs = |minute: &&i64| (*minute - start).rem_euclid(DAY) < end - start;
        let at = |minute: &i64| json!([1_780_272_000 + minute * 60, mib.to_string()]);
        json!({
            "metric": {
                "__name__": "DCGM_FI_DEV_FB_USED", "UUID": format!("GPU-{name}-{number}"),
                "Hostname": "n", "namespace": "a", "pod": format!("{name}-{number}"),
            },
            "values": minutes.iter().filter(runs).map(at).collect::<Vec<Value>>(),
        })
    };
    let all = [
        ("note", 0, 30_000, 8 * 60, 18 * 60),
        ("note", 1, 30_000, 8 * 60, 18 * 60),
        ("train", 0, 70_000, 19 * 60, 35 * 60),
    ];
    Value::Array(all.into_iter().map(series).collect()).to_string()
}

#[test]
fn files_at_steps_of_their_own_tell_the_same_history() {
    const HOUR: i64 = 60;
    const DAY: i64 = 24 * HOUR;
    let folder = tempfile::tempdir().unwrap();
    let asked = |files: &[(i64, i64, i64)]| -> Vec<f64> {
        let mut inputs =
            vec!["--gpus".to_string(), "1xa100-80gb".into(), "--format".into(), "json".into()];
        for (number, file) in files.iter().enumerate() {
            let path = folder.path().join(format!("{number}.json"));
            std::fs::write(&path, days_and_nights(*file)).unwrap();
            inputs.extend(["--prometheus".into(), path.to_str().unwrap().to_string()]);
        }
        let of = |command: &str| -> Value {
            let mut args = vec![command];
            args.extend(inputs.iter().map(String::as_str));
            let run = migplan(&args);
            assert_eq!(run.code, 0, "{files:?}: {}", run.stderr);
            serde_json::from_str(&run.stdout).unwrap()
        };
        // The training has the GPU at night, but for the hours from 11:00 to 19:00: at all others a
        // change would end it.
        let schedule = of("schedule");
        let changes = schedule["changes"].as_array().unwrap();
        assert!(!changes.is_empty());
        for change in changes {
            let hour = change["hour_of_week"].as_i64().unwrap() % 24;
            assert!((11..=19).contains(&hour), "{files:?}: {change}");
        }
        let replay = of("replay");
        let rows = replay["rows"].as_array().unwrap().iter();
        rows.map(|row| row["asked_replica_hours"].as_f64().unwrap()).collect()
    };
    // Fourteen days of two notebooks of ten hours and a training of sixteen.
    let truth = f64::from(14 * (2 * 10 + 16));
    assert!(asked(&[(0, 14 * DAY, HOUR)]).iter().all(|hours| *hours == truth));
    for files in [
        [(0, 8 * DAY, HOUR), (7 * DAY + 2, 14 * DAY, HOUR)],
        [(0, 14 * DAY, HOUR), (13 * DAY, 14 * DAY, 5)],
        [(0, 10 * DAY, HOUR), (10 * DAY, 14 * DAY, 5)],
    ] {
        // Between hourly samples that are not at full hours a pod may have run a little longer.
        let found = asked(&files);
        assert!(found.iter().all(|hours| (truth..truth * 1.06).contains(hours)), "{found:?}");
    }
}
