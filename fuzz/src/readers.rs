//! Every reader of migplan on arbitrary bytes: none may panic, hang or overflow, and what has a
//! writer must survive it. `fuzz_targets/` hands these functions to libFuzzer; `tests/it/seeds.rs`
//! runs them on the seeds in every test run. Nothing here knows where the bytes come from.

use std::io::{self, Write};
use std::path::Path;

use migplan::apply::History;
use migplan::apply::folder::Folder;
use migplan::demand::hours::Hours;
use migplan::demand::over_time::{Growth, Zone};
use migplan::demand::sizing::Quantile;
use migplan::demand::time::Span;
use migplan::demand::usage::{Reading, Usage};
use migplan::demand::{self, Demand, Workload, pods, prometheus, quiet, quota, sizing};
use migplan::emit::checkpoint::parse_uuids;
use migplan::emit::labels::MaxUnavailable;
use migplan::error::Error;
use migplan::fleet::{self, nodes_json};
use migplan::hardware::{Catalogue, ProfileName};
use migplan::mig_parted::Config;
use migplan::mig_parted::checkpoint::Checkpoint;
use migplan::plan::file::{self as plan_file, PlanDocument};
use migplan::units::{Decimal, Headroom, Weight};

/// A reader by the name of its fuzz target and of its folder in `fuzz/seeds/`.
pub type Reader = (&'static str, fn(&[u8]));

/// All of them.
pub const READERS: &[Reader] = &[
    ("catalogue", catalogue),
    ("checkpoint", checkpoint),
    ("fleet", fleet),
    ("gpus", gpus),
    ("journal", journal),
    ("mig_parted", mig_parted),
    ("names", names),
    ("nodes", nodes),
    ("plan", plan),
    ("pods", pods),
    ("prometheus", prometheus),
    ("quotas", quotas),
    ("uuids", uuids),
    ("workloads", workloads),
];

/// Every error can be shown, and says something.
fn readable(error: &Error) {
    assert!(!error.to_string().is_empty());
    assert!(!error.problems.is_empty());
}

/// A workloads CSV. What is read, written and read again is the same demand.
pub fn workloads(data: &[u8]) {
    match demand::csv::read(data, "-", &Catalogue::built_in()) {
        Ok((demand, _)) => same_demand_again(&demand),
        Err(error) => readable(&error),
    }
}

fn same_demand_again(demand: &Demand) {
    // A file without workloads is refused, and samples may show none.
    if demand.workloads().is_empty() {
        return;
    }
    let mut text = Vec::new();
    demand::csv::write(demand, &["a comment".to_string()], |_| None, &mut text).unwrap();
    let again = demand::csv::read(text.as_slice(), "-", &Catalogue::built_in());
    let (again, _) = again.unwrap_or_else(|e| panic!("{e}\n{}", String::from_utf8_lossy(&text)));
    // What samples show is not in a CSV.
    let rows = demand.workloads().iter();
    let rows: Vec<Workload> = rows.map(|w| Workload { observed: None, ..w.clone() }).collect();
    assert_eq!(again.workloads(), rows);
}

/// A fleet CSV.
pub fn fleet(data: &[u8]) {
    match fleet::csv::read(data, "-", &Catalogue::built_in()) {
        Ok((fleet, _)) => assert!(fleet.gpu_count() > 0),
        Err(error) => readable(&error),
    }
}

/// The text of `--gpus`.
pub fn gpus(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match fleet::spec::parse(text, "--gpus", &Catalogue::built_in()) {
        Ok(fleet) => assert!(fleet.gpu_count() > 0),
        Err(error) => readable(&error),
    }
}

/// mig-parted's YAML, and what each of its labels asks of nodes of several boards.
pub fn mig_parted(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let config = match Config::parse(text, "-") {
        Ok(config) => config,
        Err(error) => return readable(&error),
    };
    let catalogue = Catalogue::built_in();
    let boards = ["a100-sxm4-80gb", "a100-sxm4-80gb", "a30-24gb", "h200-sxm-141gb"]
        .map(|id| catalogue.by_id(id).unwrap().clone());
    for label in config.labels() {
        match config.resolve(Some(label), &boards) {
            Ok(resolved) => assert!(resolved.gpus.len() <= boards.len()),
            Err(error) => readable(&error),
        }
    }
}

/// A checkpoint. What is read and written again is the same.
pub fn checkpoint(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let checkpoint = match Checkpoint::parse(text, "-") {
        Ok(checkpoint) => checkpoint,
        Err(error) => return readable(&error),
    };
    let catalogue = Catalogue::built_in();
    for gpu in 0..checkpoint.gpu_count().min(4) {
        for board in ["a100-sxm4-80gb", "a30-24gb"] {
            // A board that it is not is an answer too.
            let _ = checkpoint.present(gpu, catalogue.by_id(board).unwrap());
        }
    }
    let written = serde_json::to_string(&checkpoint).unwrap();
    let again = Checkpoint::parse(&written, "-").unwrap_or_else(|e| panic!("{e}\n{written}"));
    assert_eq!(serde_json::to_string(&again).unwrap(), written);
}

/// A plan's JSON. What is read, written and read again is the same plan.
pub fn plan(data: &[u8]) {
    let read = match plan_file::read(data, "-", &Catalogue::built_in()) {
        Ok(read) => read,
        Err(error) => return readable(&error),
    };
    let demand = read.demand.unwrap_or_else(|| Demand::new(Vec::new()));
    let name = read.name.as_deref().unwrap_or("migplan");
    let policy = read.policy.unwrap_or_default();
    let document = PlanDocument::new(&read.plan, name, policy.clone(), &read.catalogue, &demand);
    let text = serde_json::to_string(&document).unwrap();
    let again = plan_file::read(text.as_bytes(), "-", &Catalogue::built_in());
    let again = again.unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(again.plan, read.plan);
    assert_eq!(again.policy, Some(policy));
}

/// A state folder in which every file has the same content. Nothing is ever written to it.
struct SameFiles<'a>(&'a [u8]);

impl Folder for SameFiles<'_> {
    fn names(&mut self) -> io::Result<Vec<String>> {
        Ok(["journal.jsonl", "run-000001.jsonl"].map(String::from).into())
    }

    fn read(&mut self, _: &str) -> io::Result<Vec<u8>> {
        Ok(self.0.to_vec())
    }

    fn create(&mut self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn append(&mut self, _: &str, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync(&mut self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn rename(&mut self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&mut self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The journal of `apply`, as the file that a run left: of this form, and of the one before.
pub fn journal(data: &[u8]) {
    match History::read(&mut SameFiles(data), Path::new("state")) {
        Ok(history) => {
            assert_eq!(history.runs.len() + history.damaged.len(), 2);
            if let Err(error) = history.whole() {
                readable(&error);
            }
        }
        Err(error) => readable(&error),
    }
}

fn demand_of(usage: &mut Usage) -> Demand {
    sizing::size(usage, sizing::Rules::default(), &Catalogue::built_in()).demand
}

/// Every form of Prometheus data, which are told apart by their content, plain and packed; and the
/// demand that becomes of it.
pub fn prometheus(data: &[u8]) {
    let mut usage = Usage::new(Reading::default());
    usage.begin("-");
    match prometheus::read(data, "-", &mut usage) {
        Ok(_) => same_demand_again(&demand_of(&mut usage)),
        Err(error) => readable(&error),
    }
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(data).unwrap();
    let packed = packed.finish().unwrap();
    let reads = |data: &[u8]| {
        // A source that was begun, since only its samples are looked at.
        let mut usage = Usage::new(Reading::default());
        usage.begin("-");
        prometheus::read(data, "-", &mut usage).is_ok()
    };
    assert_eq!(reads(&packed), reads(data));
}

/// What `kubectl get nodes -o json` prints.
pub fn nodes(data: &[u8]) {
    for include_cordoned in [false, true] {
        match nodes_json::read(data, "-", &Catalogue::built_in(), include_cordoned) {
            Ok((fleet, _)) => assert!(fleet.gpu_count() > 0),
            Err(error) => readable(&error),
        }
    }
}

/// What `kubectl get pods -o json` prints.
pub fn pods(data: &[u8]) {
    match pods::read(data, "-", &Catalogue::built_in(), |_| pods::GpuResource::Unknown) {
        Ok((pods, _)) => same_demand_again(&pods.demand),
        Err(error) => readable(&error),
    }
}

/// A file of boards for `--catalogue`.
pub fn catalogue(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Catalogue::built_in().with_file("-", text) {
        Ok(catalogue) => assert!(!catalogue.boards().is_empty()),
        Err(error) => readable(&error),
    }
}

/// A file of the teams' quotas.
pub fn quotas(data: &[u8]) {
    if let Err(error) = quota::read(data, "-") {
        readable(&error);
    }
}

/// The UUIDs that `nvidia-smi` prints.
pub fn uuids(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(error) = parse_uuids(text, "-") {
        readable(&error);
    }
}

/// Profile names, numbers with units, hours and other values of flags. What is printed is read as
/// the same.
pub fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(name) = text.parse::<ProfileName>() {
        assert_eq!(name.to_string().parse::<ProfileName>().as_ref(), Ok(&name));
    }
    if let Ok(weight) = Weight::parse(text) {
        assert_eq!(Weight::parse(&weight.to_string()), Ok(weight));
    }
    let _ = Decimal::parse(text);
    let _ = text.parse::<Headroom>();
    let _ = migplan::units::parse_memory(text, None);
    if let Ok(hours) = text.parse::<Hours>() {
        assert_eq!(hours.to_string().parse::<Hours>(), Ok(hours));
    }
    let _ = text.parse::<Zone>();
    let _ = text.parse::<Span>();
    let _ = text.parse::<Quantile>();
    let _ = text.parse::<MaxUnavailable>();
    let _ = quiet::parse_offset(text);
    let texts: Vec<String> = text.split(';').map(str::to_string).collect();
    let _ = Growth::parse(&texts);
    if let Err(error) =
        migplan::fleet::price::Price::parse(&texts, "--price", &Catalogue::built_in())
    {
        readable(&error);
    }
}
