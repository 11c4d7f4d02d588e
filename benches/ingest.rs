//! How fast samples and workloads are read, against a bare parse of the same file, and how fast plans
//! are written, against writing the same bytes.
//!
//! A large answer of `query_range` against serde_json into borrowed values, a large workloads CSV
//! against the `csv` crate, and a large plan against its own text; each as the best of several
//! runs, with the peak memory of the process after the Prometheus part. `MIGPLAN_BENCH_MB` sets the
//! size of the answer (default 64):
//! `MIGPLAN_BENCH_MB=1024 cargo bench --bench ingest`. `MIGPLAN_BENCH_NOISE=1` makes every sample
//! differ from the one before, the worst case for memory. The goal of all ratios is 1.5; only the first
//! is reached: names, numbers and the order of 400,000 rows cost more than their bytes, and so do the
//! digits and keys of a plan.

#![expect(clippy::print_stdout, reason = "a bench prints its result")]

mod common;
#[allow(unreachable_pub, reason = "the tests' file")]
#[path = "../tests/it/common/random.rs"]
mod random;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use common::{Outcome, fastest};
use migplan::demand::sizing::{self, Rules};
use migplan::demand::usage::{Reading, Usage};
use migplan::demand::{Demand, Workload, csv, prometheus};
use migplan::emit::mig_parted::{self, MigPartedOptions};
use migplan::fleet;
use migplan::hardware::Catalogue;
use migplan::optimise::{self, PlanOptions};
use migplan::plan::file::PlanDocument;
use migplan::units::Mebibytes;
use migplan::view::json;
use random::Random;

/// Points per series: the most that Prometheus gives.
const POINTS: u64 = 11_000;
/// Rows of the workloads file.
const ROWS: u64 = 400_000;
/// GPUs of the plan that is written.
const PLAN_GPUS: u64 = 20_000;

fn main() -> Outcome<()> {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let megabytes = variable("MIGPLAN_BENCH_MB").unwrap_or(64);
    let noise = variable("MIGPLAN_BENCH_NOISE").is_some_and(|on| on > 0);
    let folder = tempfile::tempdir()?;
    prometheus_answer(&folder.path().join("range.json"), megabytes << 20, noise)?;
    workloads_file(&folder.path().join("teams.csv"))?;
    plan_files(&folder.path().join("plan"))
}

fn prometheus_answer(path: &Path, bytes: u64, noise: bool) -> Outcome<()> {
    let (series, bytes) = generate(path, bytes, noise)?;
    println!("query_range answer: {} MB, {series} series of {POINTS} points", bytes >> 20);
    let catalogue = Catalogue::built_in();
    let (read, _) = fastest(|| {
        let mut usage = Usage::new(Reading::default());
        usage.begin("range.json");
        prometheus::read(File::open(path)?, "range.json", &mut usage).map_err(|e| e.to_string())?;
        Ok(usage)
    })?;
    let (all, sizing) = fastest(|| {
        let mut usage = Usage::new(Reading::default());
        usage.begin("range.json");
        prometheus::read(File::open(path)?, "range.json", &mut usage).map_err(|e| e.to_string())?;
        Ok(sizing::size(&mut usage, Rules::default(), &catalogue))
    })?;
    let peak = peak_kib().unwrap_or(0) >> 10;
    let (bare, _) = fastest(|| {
        let text = std::fs::read(path)?;
        Ok(serde_json::from_slice::<bare::Answer<'_>>(&text)?.points())
    })?;
    println!("bare parse        {bare:8.3} s   serde_json, borrowed values");
    println!("read              {read:8.3} s   {:.2} × bare", read / bare);
    println!("read and sized    {all:8.3} s   {:.2} × bare", all / bare);
    println!("workloads         {:8}", sizing.demand.workloads().len());
    println!("peak memory       {peak:8} MB");
    Ok(())
}

/// What a parse of an answer gives at least: every label, time and value, borrowed from the text.
mod bare {
    use std::borrow::Cow;
    use std::collections::BTreeMap;

    use serde::Deserialize;

    #[derive(Deserialize)]
    pub(super) struct Answer<'a> {
        #[serde(borrow)]
        data: Data<'a>,
    }

    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        result: Vec<Series<'a>>,
    }

    #[derive(Deserialize)]
    struct Series<'a> {
        #[serde(borrow)]
        metric: BTreeMap<&'a str, Cow<'a, str>>,
        #[serde(borrow)]
        values: Vec<(f64, &'a str)>,
    }

    impl Answer<'_> {
        /// How many labels and points there are, so that nothing is optimised away.
        pub(super) fn points(&self) -> usize {
            let of =
                |s: &Series<'_>| s.metric.len() + s.values.iter().filter(|v| v.0 > 0.0).count();
            self.data.result.iter().map(of).sum::<usize>()
        }
    }
}

fn workloads_file(path: &Path) -> Outcome<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    writeln!(out, "team,workload,memory,count,priority,weight,boards")?;
    for row in 0..ROWS {
        let (team, mib) = (row % 300, 1_000 + row * 7_919 % 70_000);
        let boards = if row % 10 == 0 { "a100-80gb|h100-80gb" } else { "" };
        writeln!(out, "team-{team:03},workload-{row:06},{mib}MiB,{},0,1,{boards}", 1 + row % 4)?;
    }
    out.into_inner()?.sync_all()?;
    let megabytes = std::fs::metadata(path)?.len() >> 20;
    println!("workloads file: {megabytes} MB, {ROWS} rows");
    let catalogue = Catalogue::built_in();
    let (bare, _) = fastest(|| {
        let mut reader = ::csv::Reader::from_path(path)?;
        let mut record = ::csv::StringRecord::new();
        let mut bytes = 0;
        while reader.read_record(&mut record)? {
            bytes += record.as_slice().len();
        }
        Ok(bytes)
    })?;
    let (read, _) = fastest(|| {
        Ok(csv::read(File::open(path)?, "teams.csv", &catalogue).map_err(|e| e.to_string())?)
    })?;
    println!("bare read         {bare:8.3} s   csv, one record for all rows");
    println!("read              {read:8.3} s   {:.2} × bare", read / bare);
    Ok(())
}

fn plan_files(path: &Path) -> Outcome<()> {
    let catalogue = Catalogue::built_in();
    let workload = |i: u64| {
        let memory = Mebibytes(1_000 + i * 7_919 % 70_000);
        Workload::new(&format!("team-{:03}", i % 300), &format!("workload-{i:06}"), memory, 1)
    };
    let demand = Demand::new((0..5 * PLAN_GPUS).map(workload).collect());
    let gpus = format!("{PLAN_GPUS}xa100-80gb");
    let fleet = fleet::spec::parse(&gpus, "bench", &catalogue).map_err(|e| e.to_string())?;
    let plan =
        optimise::suggest(&demand, &fleet, &PlanOptions::default()).map_err(|e| e.to_string())?;
    let options = MigPartedOptions { name: "bench".into(), ..MigPartedOptions::default() };
    let recorded = PlanOptions::default().recorded();
    let document = PlanDocument::new(&plan, "bench", recorded, &catalogue, &demand);
    let (json, _) = fastest(|| Ok(json::write(&document, &mut File::create(path)?)?))?;
    against_bytes("plan as JSON", json, path)?;
    let (yaml, _) = fastest(|| {
        let file = mig_parted::write(&plan, &catalogue, &options).map_err(|e| e.to_string())?;
        Ok(std::fs::write(path, file.text)?)
    })?;
    against_bytes("mig-parted file", yaml, path)
}

/// Prints how long a file took, beside how long it takes to write its bytes again.
fn against_bytes(what: &str, seconds: f64, path: &Path) -> Outcome<()> {
    let bytes = std::fs::read(path)?;
    let (bare, _) = fastest(|| Ok(std::fs::write(path, &bytes)?))?;
    println!("{what} of {PLAN_GPUS} GPUs: {} KB", bytes.len() >> 10);
    println!("bare write        {bare:8.4} s   the same bytes");
    println!("written           {seconds:8.4} s   {:.2} × bare", seconds / bare);
    Ok(())
}

/// Writes a file of about so many bytes: pods whose memory climbs, stays and falls.
fn generate(path: &std::path::Path, bytes: u64, noise: bool) -> std::io::Result<(u64, u64)> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut written = 0u64;
    let mut series = 0u64;
    let mut random = Random::new(1);
    let mut text = String::from(r#"{"status":"success","data":{"resultType":"matrix","result":["#);
    while series == 0 || written < bytes {
        if series > 0 {
            text.push(',');
        }
        let (gpu, instance) = (series / 7, series % 7 + 7);
        text.push_str(&format!(
            r#"{{"metric":{{"__name__":"DCGM_FI_DEV_FB_USED","GPU_I_ID":"{instance}","GPU_I_PROFILE":"1g.10gb","Hostname":"node-{}","UUID":"GPU-{gpu:08}","gpu":"{}","job":"nvidia-dcgm-exporter","exported_namespace":"team-{}","exported_pod":"w{}-7d9c5b6f4-{:05}","modelName":"NVIDIA A100-SXM4-80GB"}},"values":["#,
            gpu / 8,
            gpu % 8,
            series % 20,
            series / 10,
            22222 + series % 10,
        ));
        let mut mib = random.below(40_000);
        for point in 0..POINTS {
            if noise {
                mib = random.below(80_000);
            } else if random.below(8) == 0 {
                mib = (mib + random.below(401)).saturating_sub(200);
            }
            let comma = if point > 0 { "," } else { "" };
            text.push_str(&format!("{comma}[{},\"{mib}\"]", 1_795_000_000 + point * 60));
        }
        text.push_str("]}");
        out.write_all(text.as_bytes())?;
        written += text.len() as u64;
        text.clear();
        series += 1;
    }
    out.write_all(b"]}}")?;
    out.flush()?;
    Ok((series, written))
}

/// The most memory that the process has had, where the system tells (Linux).
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}
