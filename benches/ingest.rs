//! How fast a large answer of `query_range` becomes demand, and in how much memory.
//!
//! Prints the time as a multiple of what serde_json takes to read the same file and throw it
//! away, and the peak memory of the process. `MIGPLAN_BENCH_MB` sets the size (default 64):
//! `MIGPLAN_BENCH_MB=1024 cargo bench --bench ingest`. `MIGPLAN_BENCH_NOISE=1` makes every sample
//! differ from the one before, the worst case for memory.

#![expect(clippy::print_stdout, reason = "a bench prints its result")]

#[allow(unreachable_pub, reason = "the tests' file")]
#[path = "../tests/it/common/random.rs"]
mod random;

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::time::Instant;

use migplan::demand::prometheus;
use migplan::demand::sizing::{self, Rules};
use migplan::demand::usage::{Reading, Usage};
use random::Random;

/// Points per series: the most that Prometheus gives.
const POINTS: u64 = 11_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let megabytes = variable("MIGPLAN_BENCH_MB").unwrap_or(64);
    let noise = variable("MIGPLAN_BENCH_NOISE").is_some_and(|on| on > 0);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("range.json");
    let (series, bytes) = generate(&path, megabytes << 20, noise)?;
    println!("query_range answer: {} MB, {series} series of {POINTS} points", bytes >> 20);

    let start = Instant::now();
    let file = BufReader::with_capacity(1 << 18, File::open(&path)?);
    serde_json::from_reader::<_, serde::de::IgnoredAny>(file)?;
    let raw = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let mut usage = Usage::new(Reading::default());
    usage.begin("range.json");
    prometheus::read(File::open(&path)?, "range.json", &mut usage).map_err(|e| e.to_string())?;
    let read = start.elapsed().as_secs_f64();
    let sizing = sizing::size(&mut usage, Rules::default());
    let all = start.elapsed().as_secs_f64();

    println!("raw JSON parser   {raw:8.3} s");
    println!("read              {read:8.3} s");
    println!("read and sized    {all:8.3} s   {:.2} × raw", all / raw);
    println!("workloads         {:8}", sizing.demand.workloads().len());
    println!("peak memory       {:8} MB", peak_kib().unwrap_or(0) >> 10);
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
