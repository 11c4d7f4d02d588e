//! A libnvidia-ml without GPUs, to rehearse and to test `migplan apply`.
//!
//! Load it with `migplan … --nvml-lib libfake_nvml.so`. Its node is the file that
//! `FAKE_NVML_STATE` names, else `fake-nvml.json` beside the library; a file that does not exist
//! is made with the GPUs of `FAKE_NVML_GPUS` (default `2xa100-80gb`). The file is read at
//! `nvmlInit` and written after each change, so it survives processes, also killed ones. See
//! [`Node`] for what can be set in it: permissions, processes, clients, faults.
//!
//! The calls are those that migplan makes, with the structs of NVIDIA's header.

#![allow(unsafe_code, missing_docs, non_snake_case, clippy::missing_safety_doc)]

mod ffi;
mod node;

pub use node::{
    Compute, Essence, Fault, Gpu, Instance, Node, Process, Profile, code, compute_profiles,
};

use std::path::Path;

impl Node {
    /// Reads a node's file.
    pub fn load(file: &Path) -> Result<Node, String> {
        let text = std::fs::read_to_string(file).map_err(|e| format!("{file:?}: {e}"))?;
        serde_json::from_str(&text).map_err(|e| format!("{file:?}: {e}"))
    }

    /// Writes a node's file, whole or not at all.
    pub fn save(&self, file: &Path) -> Result<(), String> {
        let temporary = file.with_extension("tmp");
        let text = serde_json::to_string(self).map_err(|e| e.to_string())?;
        std::fs::write(&temporary, text)
            .and_then(|()| std::fs::rename(&temporary, file))
            .map_err(|e| format!("{file:?}: {e}"))
    }
}

/// What `nvidia-smi --gpu-reset -i GPU` does to the node in `file`, the GPU by index or UUID; the
/// message and the exit code.
pub fn nvidia_smi(file: &Path, arguments: &[String]) -> (String, i32) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (["--gpu-reset" | "-r", "-i", gpu] | ["-i", gpu, "--gpu-reset" | "-r"]) = arguments[..]
    else {
        return ("only --gpu-reset -i GPU is pretended here".to_string(), 2);
    };
    let done = Node::load(file).and_then(|mut node| {
        let index = gpu.parse().ok().or(node.gpus.iter().position(|g| g.uuid == gpu));
        node.reset(index.ok_or(format!("no GPU {gpu}"))?)?;
        node.save(file)
    });
    match done {
        Ok(()) => (format!("GPU {gpu} was successfully reset."), 0),
        Err(message) => (message, 19),
    }
}
