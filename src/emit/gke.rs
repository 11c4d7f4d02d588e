//! `migplan emit gke`: a plan for MIG strategy `single` as node pools of Google Kubernetes Engine,
//! whose nodes GKE partitions itself: one partition size for all GPUs of a pool, as many as fit.
//!
//! GKE runs neither MIG Manager nor GPU feature discovery: pods find a pool by the labels
//! `cloud.google.com/gke-accelerator` and `cloud.google.com/gke-gpu-partition-size`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::nodes::{NodeGpus, board_of};
use super::output::Emitted;
use super::plan_view::PlanView;
use super::{shell, yaml};
use crate::error::{Diagnostic, Error, Result};
use crate::kubernetes::{list, naming};
use crate::plan::InstanceProfile;
use crate::text::plural;

/// What GKE offers of a board. Partition sizes: `partition_gpu/partition_gpu.go` of
/// GoogleCloudPlatform/container-engine-accelerators @09e2ab1, which GKE's nodes run. Machine types:
/// Compute Engine's documentation of GPU machine types (A2, A3, A4, A4X, G4), which also says how their
/// capacity is had (docs.cloud.google.com/compute/docs/gpus).
struct Accelerator {
    board: &'static str,
    /// The type as `--accelerator` and the label `gke-accelerator` spell it.
    name: &'static str,
    /// Machine types by number of GPUs.
    machines: &'static [(usize, &'static str)],
    /// Which of these numbers of GPUs are not to be had on demand, and how they are.
    capacity: &'static [(usize, &'static str)],
    partitions: &'static [&'static str],
}

const SPOT_OR_FLEX: &str = "Spot or flex-start";
const SPOT_FLEX_OR_RESERVED: &str = "Spot, flex-start or reserved";
const RESERVED: &str = "reserved";

const ACCELERATORS: [Accelerator; 7] = [
    Accelerator {
        board: "a100-sxm4-40gb",
        name: "nvidia-tesla-a100",
        machines: &[
            (1, "a2-highgpu-1g"),
            (2, "a2-highgpu-2g"),
            (4, "a2-highgpu-4g"),
            (8, "a2-highgpu-8g"),
            (16, "a2-megagpu-16g"),
        ],
        capacity: &[],
        partitions: &["1g.5gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"],
    },
    Accelerator {
        board: "a100-sxm4-80gb",
        name: "nvidia-a100-80gb",
        machines: &[
            (1, "a2-ultragpu-1g"),
            (2, "a2-ultragpu-2g"),
            (4, "a2-ultragpu-4g"),
            (8, "a2-ultragpu-8g"),
        ],
        capacity: &[],
        partitions: &["1g.10gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"],
    },
    Accelerator {
        board: "h100-sxm5-80gb",
        name: "nvidia-h100-80gb",
        machines: &[
            (1, "a3-highgpu-1g"),
            (2, "a3-highgpu-2g"),
            (4, "a3-highgpu-4g"),
            (8, "a3-highgpu-8g"),
        ],
        capacity: &[(1, SPOT_OR_FLEX), (2, SPOT_OR_FLEX), (4, SPOT_OR_FLEX)],
        partitions: &["1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"],
    },
    Accelerator {
        board: "h200-sxm-141gb",
        name: "nvidia-h200-141gb",
        machines: &[(8, "a3-ultragpu-8g")],
        capacity: &[(8, SPOT_FLEX_OR_RESERVED)],
        partitions: &["1g.18gb", "1g.35gb", "2g.35gb", "3g.71gb", "4g.71gb", "7g.141gb"],
    },
    Accelerator {
        board: "b200-180gb",
        name: "nvidia-b200",
        machines: &[(8, "a4-highgpu-8g")],
        capacity: &[(8, SPOT_FLEX_OR_RESERVED)],
        partitions: &["1g.23gb", "1g.45gb", "2g.45gb", "3g.90gb", "4g.90gb", "7g.180gb"],
    },
    Accelerator {
        board: "gb200-186gb",
        name: "nvidia-gb200",
        machines: &[(4, "a4x-highgpu-4g")],
        capacity: &[(4, RESERVED)],
        partitions: &["1g.23gb", "1g.47gb", "2g.47gb", "3g.93gb", "4g.93gb", "7g.186gb"],
    },
    Accelerator {
        board: "rtx-pro-6000-blackwell-server-96gb",
        name: "nvidia-rtx-pro-6000",
        machines: &[
            (1, "g4-standard-48"),
            (2, "g4-standard-96"),
            (4, "g4-standard-192"),
            (8, "g4-standard-384"),
        ],
        capacity: &[],
        partitions: &["1g.24gb", "2g.48gb", "4g.96gb"],
    },
];

/// The most characters of a node pool's name.
const LONGEST_NAME: usize = 40;

/// A pool of nodes that are alike.
struct Pool<'v> {
    accelerator: &'static Accelerator,
    machine: &'static str,
    /// How its capacity is had, where that is not on demand.
    capacity: Option<&'static str>,
    gpus: usize,
    partition: Option<String>,
    nodes: Vec<&'v str>,
    /// Instances that the plan has on them.
    planned: u64,
    /// Instances that GKE creates on them.
    created: u64,
}

/// Writes a script of gcloud commands; `name` is the first part of the pools' names.
///
/// # Errors
/// Nodes that GKE cannot make: several boards or profiles, some GPUs whole, a board, a profile or a
/// number of GPUs that it does not offer (exit 3, all at once).
pub fn write(view: &PlanView<'_>, name: &str) -> Result<Emitted> {
    let mut refused: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut pools: BTreeMap<(&str, Option<String>, usize), Pool<'_>> = BTreeMap::new();
    for node in &view.nodes {
        match pool(view, node)? {
            Err(why) => refused.entry(why).or_default().push(node.name.to_string()),
            Ok(one) => {
                let key = (one.accelerator.name, one.partition.clone(), one.gpus);
                match pools.get_mut(&key) {
                    None => {
                        pools.insert(key, one);
                    }
                    Some(pool) => {
                        pool.nodes.extend(one.nodes);
                        pool.planned += one.planned;
                        pool.created += one.created;
                    }
                }
            }
        }
    }
    if !refused.is_empty() {
        let problems = refused.iter().map(|(why, nodes)| {
            Diagnostic::new(format!("GKE cannot make {}: {why}", list::names(nodes)))
        });
        return Err(Error::inputs(problems.collect()).hint(
            "GKE partitions all GPUs of a node pool alike: plan with `migplan suggest --strategy single`, for boards and numbers of GPUs that GKE's machine types have",
        ));
    }
    let pools: Vec<Pool<'_>> = pools.into_values().collect();
    let more = pools.iter().filter(|p| p.created > p.planned).map(|pool| {
        format!(
            "{}: GKE creates {} of {}, where the plan has {}",
            pool.machine,
            pool.created,
            pool.partition.as_deref().unwrap_or("whole GPUs"),
            pool.planned
        )
    });
    let capacity = not_on_demand(&pools).into_iter().map(|(machine, how)| {
        format!("{machine}: Google has these as {how} capacity only; the script asks for CAPACITY")
    });
    let notes = more.chain(capacity).collect();
    Ok(Emitted { text: script(view, &pools, name), notes, ..Emitted::default() })
}

/// The pool that a node is of, or why GKE cannot make it.
fn pool<'v>(
    view: &PlanView<'_>,
    node: &NodeGpus<'v>,
) -> Result<std::result::Result<Pool<'v>, String>> {
    let boards: BTreeSet<&str> = node.gpus.iter().map(|gpu| gpu.board.as_ref()).collect();
    let mut boards = boards.into_iter();
    let (Some(id), None) = (boards.next(), boards.next()) else {
        return Ok(Err("it has several boards".to_string()));
    };
    let board = board_of(view.catalogue, id)?;
    let Some(accelerator) = ACCELERATORS.iter().find(|a| a.board == id) else {
        return Ok(Err(format!("it offers MIG on no {id}")));
    };
    let gpus = node.gpus.len();
    let machine = accelerator.machines.iter().find(|(count, _)| *count == gpus);
    let Some((_, machine)) = machine else {
        return Ok(Err(format!("no machine type has {} of {id}", plural(gpus as u64, "GPU"))));
    };
    let mig_on = node.gpus.iter().filter(|gpu| gpu.mig).count();
    let instances = node.gpus.iter().flat_map(|gpu| &gpu.instances);
    let mut profiles: BTreeSet<&InstanceProfile> = BTreeSet::new();
    let mut planned = 0;
    for instance in instances.filter(|i| i.profile != InstanceProfile::Full) {
        profiles.insert(&instance.profile);
        planned += 1;
    }
    let mut pool = Pool {
        accelerator,
        machine,
        capacity: accelerator
            .capacity
            .iter()
            .find(|(count, _)| *count == gpus)
            .map(|(_, how)| *how),
        gpus,
        partition: None,
        nodes: vec![node.name],
        planned,
        created: 0,
    };
    if mig_on == 0 {
        return Ok(Ok(pool));
    }
    if mig_on < gpus {
        return Ok(Err("MIG is on for some of its GPUs only".to_string()));
    }
    let mut profiles = profiles.into_iter();
    let (Some(InstanceProfile::Mig(profile)), None) = (profiles.next(), profiles.next()) else {
        return Ok(Err("it has several profiles".to_string()));
    };
    let partition = profile.to_string();
    if !accelerator.partitions.contains(&partition.as_str()) {
        return Ok(Err(format!("it offers no partition size {partition} on {}", accelerator.name)));
    }
    let per_gpu = board.profile(profile).map_or(0, |(_, p)| u64::from(p.max_instances));
    pool.created = per_gpu * gpus as u64;
    pool.partition = Some(partition);
    Ok(Ok(pool))
}

/// The machine types that are not to be had on demand, with how they are.
fn not_on_demand(pools: &[Pool<'_>]) -> BTreeMap<&'static str, &'static str> {
    pools.iter().filter_map(|pool| Some((pool.machine, pool.capacity?))).collect()
}

fn script(view: &PlanView<'_>, pools: &[Pool<'_>], name: &str) -> String {
    let mut text = String::from(include_str!("snippets/gke.sh"));
    for (machine, how) in not_on_demand(pools) {
        let _ = writeln!(
            text,
            ": \"${{CAPACITY:?{machine} are {how} capacity only: set it to such flags}}\""
        );
    }
    for pool in pools {
        let partition = pool.partition.as_deref().unwrap_or("whole");
        let nodes: Vec<String> = pool.nodes.iter().map(|n| (*n).to_string()).collect();
        let _ = writeln!(
            text,
            "\n# {} with {} of {partition} each: {}",
            plural(pool.nodes.len() as u64, "node"),
            plural(pool.gpus as u64, "GPU"),
            yaml::comment(&list::names(&nodes))
        );
        let size = pool.partition.as_ref().map(|p| format!(",gpu-partition-size={p}"));
        let _ = writeln!(
            text,
            "pool {} {} {} type={},count={}{},gpu-driver-version=default",
            shell::word(&pool_name(name, pool)),
            pool.machine,
            pool.nodes.len(),
            pool.accelerator.name,
            pool.gpus,
            size.unwrap_or_default(),
        );
    }
    text.push_str(
        "\n# Pods ask for limits nvidia.com/gpu, and find their pool by these node selectors:\n",
    );
    for workload in &view.workloads {
        for request in &workload.requests {
            let boards = ACCELERATORS.iter().filter(|a| request.boards.contains(a.board));
            for accelerator in boards {
                let mut selector =
                    format!("cloud.google.com/gke-accelerator: {}", accelerator.name);
                if let InstanceProfile::Mig(profile) = request.profile {
                    let _ =
                        write!(selector, ", cloud.google.com/gke-gpu-partition-size: {profile}");
                }
                let _ = writeln!(
                    text,
                    "#   {}: nvidia.com/gpu: {}, {selector}",
                    yaml::comment(&format!("{}/{}", workload.team, workload.workload)),
                    request.per_replica
                );
            }
        }
    }
    text
}

/// A name for a pool: lower-case letters, digits and `-`, a letter first, at most [`LONGEST_NAME`].
/// Pools differ in accelerator, number of GPUs or partition, so their names do.
fn pool_name(name: &str, pool: &Pool<'_>) -> String {
    let partition = pool.partition.as_deref().unwrap_or("whole");
    let accelerator = pool.accelerator.name.trim_start_matches("nvidia-");
    let own = format!("{accelerator}-{}x-{partition}", pool.gpus);
    let own = naming::dns_label(&own, LONGEST_NAME, "gpu");
    let lead = if name.starts_with(|c: char| c.is_ascii_alphabetic()) { "" } else { "mig-" };
    let most = LONGEST_NAME.saturating_sub(own.len() + 1);
    let prefix = naming::dns_label(&format!("{lead}{name}"), most, "mig");
    format!("{prefix}-{own}")
}
