//! One migplan at a time: a lock in the state folder, and one per GPU for runs that save their
//! states in different folders.

use std::fs::{File, TryLockError};
use std::io;
use std::thread;
use std::time::Duration;

use super::folder::DiskFolder;

/// The file that is locked.
const LOCK: &str = "lock";

/// A lock on a state folder and on GPUs. The system lets go of it when the process ends, however
/// that happens.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    #[cfg(target_os = "linux")]
    gpus: Vec<std::os::unix::net::UnixListener>,
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
            Ok(()) => Ok(Lock {
                _file: file,
                #[cfg(target_os = "linux")]
                gpus: Vec::new(),
            }),
            Err(TryLockError::WouldBlock) => Err(NotLocked::Taken(folder.to_string())),
            Err(TryLockError::Error(e)) => Err(NotLocked::Failed(e)),
        }
    }

    /// Locks GPUs by their UUID as well. A name in Linux's abstract socket namespace needs no
    /// folder that several users may write to, and is gone with the process.
    #[cfg(target_os = "linux")]
    pub(super) fn gpus<'a>(
        &mut self,
        uuids: impl Iterator<Item = &'a str>,
    ) -> Result<(), NotLocked> {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr, UnixListener};
        for uuid in uuids {
            let name = format!("migplan/{uuid}");
            let address = SocketAddr::from_abstract_name(&name).map_err(NotLocked::Failed)?;
            let bound = patiently(|| {
                UnixListener::bind_addr(&address).map_err(|e| match e.kind() {
                    io::ErrorKind::AddrInUse => TryLockError::WouldBlock,
                    _ => TryLockError::Error(e),
                })
            });
            match bound {
                Ok(listener) => self.gpus.push(listener),
                Err(TryLockError::WouldBlock) => {
                    return Err(NotLocked::Taken(format!("the socket @{name}")));
                }
                Err(TryLockError::Error(e)) => return Err(NotLocked::Failed(e)),
            }
        }
        Ok(())
    }

    /// MIG exists on Linux only.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn gpus<'a>(&mut self, _: impl Iterator<Item = &'a str>) -> Result<(), NotLocked> {
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
