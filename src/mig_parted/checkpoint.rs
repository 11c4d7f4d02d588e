//! mig-parted's checkpoint JSON: which instances each GPU has, with their exact placements. What
//! `nvidia-mig-parted checkpoint` writes and `restore` reads.

use serde::{Deserialize, Serialize};

use crate::error::{Diagnostic, Error, Result};
use crate::fleet::Node;
use crate::fleet::observed::{Instances, ObservedNode};
use crate::hardware::layout::{self, Placement};
use crate::hardware::{Board, Profile};
use crate::reconfigure::change::{PresentCompute, PresentGpu, PresentInstance};
use crate::text::plural;

const VERSION: &str = "v1";

/// mig-parted's checkpoint (`api/checkpoint/v1`, v0.15.0); its keys are the names of Go's fields.
///
/// `restore` clears every GPU with MIG on unless the file is what mig-parted itself would write
/// (`reflect.DeepEqual`): instances stand in the order of its walk, which is by profile, and a list
/// without elements is `null`, since Go never made one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Checkpoint {
    version: String,
    mig_state: MigState,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MigState {
    #[serde(default, with = "list")]
    devices: Vec<Device>,
}

/// A GPU of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Device {
    #[serde(rename = "UUID")]
    uuid: String,
    mig_mode: u8,
    #[serde(default, with = "list")]
    gpu_instances: Vec<GpuInstance>,
}

/// An instance of a checkpoint; ordered as mig-parted walks them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GpuInstance {
    /// NVML's enum, not the id that `nvidia-smi` shows.
    #[serde(rename = "ProfileID")]
    profile: u32,
    placement: CheckpointPlacement,
    #[serde(default, with = "list")]
    compute_instances: Vec<CheckpointCompute>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CheckpointPlacement {
    start: u32,
    size: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct CheckpointCompute {
    #[serde(rename = "ProfileID")]
    profile: u32,
    #[serde(rename = "EngProfileID")]
    engine: u32,
}

/// A list as Go writes and reads it: one without elements was never made, and is `null`.
mod list {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S, T>(list: &Vec<T>, serializer: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
        T: Serialize,
    {
        (!list.is_empty()).then_some(list).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: Deserialize<'de>,
    {
        Ok(Option::deserialize(deserializer)?.unwrap_or_default())
    }
}

impl GpuInstance {
    /// An instance of a profile at `start`, with compute instances of so many slices each; `None`
    /// where NVML has no number for such a compute instance.
    pub fn new(profile: &Profile, start: u32, size: u32, compute: &[u32]) -> Option<GpuInstance> {
        let compute: Option<Vec<CheckpointCompute>> = compute
            .iter()
            .map(|&slices| {
                Some(CheckpointCompute { profile: compute_position(slices)?, engine: 0 })
            })
            .collect();
        let mut compute_instances = compute?;
        compute_instances.sort();
        Some(GpuInstance {
            profile: profile.nvml_index,
            placement: CheckpointPlacement { start, size },
            compute_instances,
        })
    }
}

impl GpuInstance {
    /// What it is on a `board`; not known to be busy.
    ///
    /// # Errors
    /// The board has no such profile, or it is of another size than that; in a sentence.
    fn present(&self, board: &Board) -> std::result::Result<PresentInstance, String> {
        let of_number = |p: &Profile| p.nvml_index == self.profile;
        let at = board
            .profiles
            .iter()
            .position(of_number)
            .ok_or_else(|| format!("{} has no profile number {}", board.id, self.profile))?;
        let profile = &board.profiles[at];
        let CheckpointPlacement { start, size } = self.placement;
        if size != profile.memory_slices {
            return Err(format!(
                "{} at {start} has size {size}, but on {} it has {}",
                profile.name, board.id, profile.memory_slices
            ));
        }
        let slices = |c: &CheckpointCompute| compute_slices(c.profile);
        let sizes: Option<Vec<u32>> = self.compute_instances.iter().map(slices).collect();
        let sizes = sizes.ok_or("a compute instance with an unknown profile number")?;
        let sum: u32 = sizes.iter().sum();
        if sum > profile.compute_slices {
            return Err(format!(
                "compute instances of {sum} slices in {} at {start}, which has {}",
                profile.name, profile.compute_slices
            ));
        }
        let compute = |slices| PresentCompute { slices, start: None, busy: false };
        Ok(PresentInstance {
            placement: Placement { start, profile: at },
            compute: sizes.into_iter().map(compute).collect(),
        })
    }
}

impl Device {
    /// A GPU with these instances, in whatever order.
    pub fn new(uuid: &str, mig_on: bool, mut gpu_instances: Vec<GpuInstance>) -> Device {
        gpu_instances.sort();
        Device { uuid: uuid.to_string(), mig_mode: mig_on.into(), gpu_instances }
    }
}

/// The checkpoint of a node, for `nvidia-mig-parted restore`.
///
/// # Errors
/// A GPU that cannot be read, hides its instances, or has a compute instance of a size that NVML has
/// no number for; with the reason.
pub fn checkpoint(node: &ObservedNode) -> std::result::Result<Checkpoint, String> {
    // It would say that the node has fewer GPUs, and nobody would see that one is left out.
    if let Some(gpu) = node.unreadable.first() {
        return Err(gpu.to_string());
    }
    let mut devices = Vec::new();
    for gpu in &node.gpus {
        let Some(mode) = gpu.mode else { continue };
        let mut instances = Vec::new();
        match (&gpu.instances, &gpu.board) {
            (Instances::Hidden { why, .. }, _) => return Err(format!("GPU {}: {why}", gpu.index)),
            (Instances::Known(known), Some(board)) => {
                for i in known {
                    let profile = &board.profiles[i.profile];
                    let made = GpuInstance::new(profile, i.start, i.size, &i.shape().compute);
                    instances.push(made.ok_or_else(|| {
                        format!("GPU {}: a compute instance of unknown size", gpu.index)
                    })?);
                }
            }
            (Instances::Known(_), None) => {}
        }
        devices.push(Device::new(&gpu.uuid, mode.current, instances));
    }
    Ok(Checkpoint::new(devices))
}

/// `NVML_COMPUTE_INSTANCE_PROFILE_*` of a size (nvml.h).
fn compute_position(slices: u32) -> Option<u32> {
    Some(match slices {
        1 => 0,
        2 => 1,
        3 => 2,
        4 => 3,
        7 => 4,
        8 => 5,
        6 => 6,
        _ => return None,
    })
}

/// The size of a compute instance from its `NVML_COMPUTE_INSTANCE_PROFILE_*`.
fn compute_slices(position: u32) -> Option<u32> {
    // 7 is a second kind of one slice.
    [1, 2, 3, 4, 7, 8, 6, 1].get(position as usize).copied()
}

impl Checkpoint {
    /// The checkpoint of a node with these GPUs, in the order of their indices.
    pub fn new(devices: Vec<Device>) -> Checkpoint {
        Checkpoint { version: VERSION.to_string(), mig_state: MigState { devices } }
    }

    /// Its JSON, which ends in a line feed.
    ///
    /// # Errors
    /// None that is known (exit 1).
    pub fn json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| Error::internal(format!("checkpoint to JSON: {e}")))?;
        Ok(text + "\n")
    }

    /// Reads a checkpoint; `file` is its name for messages.
    ///
    /// # Errors
    /// Not a checkpoint of mig-parted (exit 3).
    pub fn parse(text: &str, file: &str) -> Result<Checkpoint> {
        let wrong = |message: String, line: usize| {
            let problem = Diagnostic::new(message).in_file(file);
            let line = u64::try_from(line).unwrap_or(0);
            Error::input(if line > 0 { problem.at_line(line) } else { problem }).hint(
                "a checkpoint is what `migplan export -o checkpoint` or `nvidia-mig-parted checkpoint` writes",
            )
        };
        let checkpoint: Checkpoint = serde_json::from_str(text)
            .map_err(|e| wrong(format!("is not a checkpoint: {e}"), e.line()))?;
        if checkpoint.version != VERSION {
            return Err(wrong(format!("Version is '{}', not {VERSION}", checkpoint.version), 0));
        }
        Ok(checkpoint)
    }

    /// How many GPUs it tells of.
    pub fn gpu_count(&self) -> usize {
        self.mig_state.devices.len()
    }

    /// The UUID of each of its GPUs.
    pub fn uuids(&self) -> impl Iterator<Item = &str> {
        self.mig_state.devices.iter().map(|d| d.uuid.as_str())
    }

    /// What its GPU number `gpu` (in the order of the file) has, if it is a `board`: whether MIG
    /// is on, and the instances, of which none is known to be busy.
    ///
    /// # Errors
    /// There is no such GPU, it contradicts itself, or the board has no such layout; in a sentence.
    pub fn present(
        &self,
        gpu: usize,
        board: &Board,
    ) -> std::result::Result<(bool, Vec<PresentInstance>), String> {
        let device = self
            .mig_state
            .devices
            .get(gpu)
            .ok_or_else(|| format!("the checkpoint has no GPU {gpu}"))?;
        let at = |what: String| format!("GPU {gpu}: {what}");
        let on = match device.mig_mode {
            0 if !device.gpu_instances.is_empty() => {
                let instances = plural(device.gpu_instances.len() as u64, "instance");
                return Err(at(format!("MigMode is 0, which is off, but it has {instances}")));
            }
            0 => false,
            1 => true,
            other => return Err(at(format!("MigMode is {other}, which is neither 0 nor 1"))),
        };
        let instances = device.gpu_instances.iter().map(|instance| instance.present(board));
        let mut present = instances.collect::<std::result::Result<Vec<_>, _>>().map_err(at)?;
        present.sort_by_key(|p| p.placement);
        let placements: Vec<Placement> = present.iter().map(|p| p.placement).collect();
        layout::check(board, &placements).map_err(|e| at(e.to_string()))?;
        Ok((on, present))
    }

    /// What each GPU of `node` holds, by index. `file` is the checkpoint's, for messages.
    ///
    /// # Errors
    /// It has more or fewer GPUs, a GPU that contradicts itself, or a layout that a board does not
    /// have; all problems at once (exit 3).
    pub fn present_on(&self, node: &Node, file: &str) -> Result<Vec<PresentGpu>> {
        let mut problems = Vec::new();
        if self.gpu_count() != node.gpus.len() {
            problems.push(format!(
                "has {} GPUs, but the fleet has {}",
                self.gpu_count(),
                node.gpus.len()
            ));
        }
        let mut present = Vec::new();
        for (gpu, board) in node.gpus.iter().enumerate().take(self.gpu_count()) {
            match self.present(gpu, board) {
                Ok((_, instances)) => present.push(instances.into()),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            return Ok(present);
        }
        let problem = |p: String| Diagnostic::new(p).in_file(file);
        Err(Error::inputs(problems.into_iter().map(problem).collect()).hint(
            "take the checkpoint anew, and name the GPUs that it was taken from: --gpus, in the order of `nvidia-smi -L`",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::Catalogue;

    #[test]
    fn a_checkpoint_of_mig_parted_is_read() {
        let text = r#"{"Version":"v1","MigState":{"Devices":[
            {"UUID":"GPU-1","MigMode":1,"GpuInstances":[
                {"ProfileID":2,"Placement":{"Start":4,"Size":4},"ComputeInstances":[{"ProfileID":2,"EngProfileID":0}]},
                {"ProfileID":0,"Placement":{"Start":0,"Size":1},"ComputeInstances":null}]},
            {"UUID":"GPU-2","MigMode":0,"GpuInstances":null}]}}"#;
        let board = Catalogue::built_in().by_id("h100-sxm5-80gb").unwrap().clone();
        let checkpoint = Checkpoint::parse(text, "f").unwrap();
        assert_eq!(checkpoint.uuids().collect::<Vec<_>>(), ["GPU-1", "GPU-2"]);
        let (on, present) = checkpoint.present(0, &board).unwrap();
        assert!(on);
        assert_eq!(present.iter().map(|p| p.placement.start).collect::<Vec<_>>(), [0, 4]);
        assert!(present[0].compute.is_empty() && present[1].compute[0].slices == 3);
        assert_eq!(checkpoint.present(1, &board).unwrap(), (false, Vec::new()));
        assert!(checkpoint.present(2, &board).is_err());
        // What has no element is null again, as Go's nil.
        let again: serde_json::Value = serde_json::from_str(&checkpoint.json().unwrap()).unwrap();
        assert_eq!(again, serde_json::from_str::<serde_json::Value>(text).unwrap());
        let a30 = Catalogue::built_in().by_id("a30-24gb").unwrap().clone();
        assert!(checkpoint.present(0, &a30).is_err());
        for (from, to, problem) in [
            (
                r#""MigMode":1"#,
                r#""MigMode":0"#,
                "GPU 0: MigMode is 0, which is off, but it has 2 instances",
            ),
            (r#""MigMode":1"#, r#""MigMode":2"#, "GPU 0: MigMode is 2, which is neither 0 nor 1"),
            (
                r#""Size":4"#,
                r#""Size":7"#,
                "GPU 0: 3g.40gb at 4 has size 7, but on h100-sxm5-80gb it has 4",
            ),
            (
                r#"{"ProfileID":2,"EngProfileID":0}"#,
                r#"{"ProfileID":2,"EngProfileID":0},{"ProfileID":0,"EngProfileID":0}"#,
                "GPU 0: compute instances of 4 slices in 3g.40gb at 4, which has 3",
            ),
        ] {
            let wrong = Checkpoint::parse(&text.replacen(from, to, 1), "f").unwrap();
            assert_eq!(wrong.present(0, &board).unwrap_err(), problem);
        }
        assert!(Checkpoint::parse("{}", "f").is_err());
        assert!(Checkpoint::parse(&text.replace("v1", "v2"), "f").is_err());
    }
}
