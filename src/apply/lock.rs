//! One migplan at a time: a lock in the state folder, and one per GPU for runs that save their
//! states in different folders.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::process::geteuid;

use super::folder::DiskFolder;

/// The environment variable that names another folder for the locks of GPUs.
pub const GPU_LOCKS_VARIABLE: &str = "MIGPLAN_LOCK_DIR";
/// Root's folder for the locks of GPUs: gone with a reboot, as what they are about.
const GPU_LOCKS: &str = "/run/migplan";
/// The file that is locked in a state folder.
const LOCK: &str = "lock";

/// Where GPUs are locked: in the folder that [`GPU_LOCKS_VARIABLE`] names, else in root's. Nobody else
/// has one, since nobody else may change a GPU of a node.
pub fn gpu_locks() -> Option<PathBuf> {
    let named = std::env::var_os(GPU_LOCKS_VARIABLE).filter(|name| !name.is_empty());
    let of_root = || geteuid().is_root().then(|| PathBuf::from(GPU_LOCKS));
    named.map(PathBuf::from).or_else(of_root)
}

/// A lock on a state folder and on GPUs. The system lets go of it when the process ends, however
/// that happens.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    gpus: Vec<File>,
}

/// Why a lock was not had.
#[derive(Debug)]
pub(super) enum NotLocked {
    /// Another process has it; what it has.
    Taken(String),
    /// The lock cannot be made.
    Failed(io::Error),
}

impl Lock {
    pub(super) fn folder(folder: &DiskFolder) -> Result<Lock, NotLocked> {
        let file = folder.lock_file(LOCK).map_err(NotLocked::Failed)?;
        match patiently(|| file.try_lock()) {
            Ok(()) => Ok(Lock { _file: file, gpus: Vec::new() }),
            Err(TryLockError::WouldBlock) => Err(NotLocked::Taken(folder.to_string())),
            Err(TryLockError::Error(e)) => Err(NotLocked::Failed(e)),
        }
    }

    /// Locks GPUs by their UUID as well: a file for each in a folder that only the owner may write to,
    /// so that nobody else can keep a run from them.
    pub(super) fn gpus<'a>(
        &mut self,
        folder: &Path,
        uuids: impl Iterator<Item = &'a str>,
    ) -> Result<(), NotLocked> {
        let folder = DiskFolder::open_to_write(folder).map_err(NotLocked::Failed)?;
        for uuid in uuids {
            let file = folder.lock_file(&uuid.replace('/', "_")).map_err(NotLocked::Failed)?;
            match patiently(|| file.try_lock()) {
                Ok(()) => self.gpus.push(file),
                Err(TryLockError::WouldBlock) => {
                    return Err(NotLocked::Taken(format!("{uuid} in {folder}")));
                }
                Err(TryLockError::Error(e)) => return Err(NotLocked::Failed(e)),
            }
        }
        Ok(())
    }
}

/// Whether another process holds the folder's lock now, as far as this user may see.
pub(super) fn is_held(folder: &DiskFolder) -> bool {
    let Ok(file) = folder.existing_file(LOCK) else { return false };
    matches!(patiently(|| file.try_lock_shared()), Err(TryLockError::WouldBlock))
}

/// Tries for a moment: a lock of a process that has just ended may still be on its way out.
fn patiently<T>(mut lock: impl FnMut() -> Result<T, TryLockError>) -> Result<T, TryLockError> {
    for _ in 0..20 {
        match lock() {
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(25)),
            other => return other,
        }
    }
    lock()
}
