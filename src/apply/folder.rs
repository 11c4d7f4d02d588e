//! The folder in which states are saved, as the few operations that the journal needs of it.
//!
//! migplan writes here as root, so the folder is held by a handle, nothing in it is opened through
//! a symbolic link, new files are made exclusively and for their owner only, and a folder that
//! others may write to is refused. Knows nothing of what is written.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::process::geteuid;

/// Files by name, without folders below. Tests put one of their own in its place, that tears or
/// drops what a power failure would.
pub trait Folder {
    /// The names of all files, in no order.
    ///
    /// # Errors
    /// As every operation here: what the system answered.
    fn names(&mut self) -> io::Result<Vec<String>>;
    /// The content of a file.
    ///
    /// # Errors
    /// What the system answered.
    fn read(&mut self, name: &str) -> io::Result<Vec<u8>>;
    /// Makes a new, empty file.
    ///
    /// # Errors
    /// There is one already; what the system answered.
    fn create(&mut self, name: &str) -> io::Result<()>;
    /// Writes at the end of a file.
    ///
    /// # Errors
    /// What the system answered; a part may have been written.
    fn append(&mut self, name: &str, content: &[u8]) -> io::Result<()>;
    /// Makes the content of a file outlast a power failure.
    ///
    /// # Errors
    /// What the system answered.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    /// Gives a file another name, in the place of one that has it.
    ///
    /// # Errors
    /// What the system answered.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// What the system answered.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Makes new, changed and removed names outlast a power failure.
    ///
    /// # Errors
    /// What the system answered.
    fn sync_names(&mut self) -> io::Result<()>;
}

/// A folder of the file system.
#[derive(Debug)]
pub struct DiskFolder {
    path: PathBuf,
    handle: File,
}

impl DiskFolder {
    /// Opens a folder to read what is saved there; `None` where there is none.
    ///
    /// # Errors
    /// It may not be read.
    pub fn open(path: &Path) -> io::Result<Option<DiskFolder>> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        match fs::open(path, flags, Mode::empty()) {
            Ok(handle) => Ok(Some(DiskFolder { path: path.to_path_buf(), handle: handle.into() })),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Opens a folder to save states there; makes it, for its owner only, where there is none.
    ///
    /// # Errors
    /// It cannot be made or written, belongs to another user, or others may write to it.
    pub fn open_to_write(path: &Path) -> io::Result<DiskFolder> {
        if !path.is_dir() {
            use std::os::unix::fs::DirBuilderExt;
            // Whatever the umask allows: who may write to a parent can put another folder here.
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                std::fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
            }
            match std::fs::DirBuilder::new().mode(0o700).create(path) {
                // Another process has just made it.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
        }
        let folder = DiskFolder::open(path)?.ok_or(io::ErrorKind::NotADirectory)?;
        let status = fs::fstat(&folder.handle)?;
        let me = geteuid().as_raw();
        if status.st_uid != me && status.st_uid != 0 {
            return Err(io::Error::other(format!(
                "it belongs to user {}, who could change what is saved there",
                status.st_uid
            )));
        }
        if status.st_mode & 0o022 != 0 {
            return Err(io::Error::other(format!(
                "others may write to it (mode {:03o}), and could change what is saved there",
                status.st_mode & 0o777
            )));
        }
        Ok(folder)
    }

    /// A file that stays open as a lock; made where there is none.
    ///
    /// # Errors
    /// It cannot be opened, is a link, or belongs to another user.
    pub(super) fn lock_file(&self, name: &str) -> io::Result<File> {
        let file = self.file(name, OFlags::RDWR | OFlags::CREATE)?;
        let status = fs::fstat(&file)?;
        if status.st_uid != geteuid().as_raw() && status.st_uid != 0 {
            return Err(io::Error::other(format!("{name} belongs to user {}", status.st_uid)));
        }
        Ok(file)
    }

    /// A file that is there already, to look whether somebody holds it as a lock.
    ///
    /// # Errors
    /// It is not there, is a link, or may not be read.
    pub(super) fn existing_file(&self, name: &str) -> io::Result<File> {
        self.file(name, OFlags::RDONLY)
    }

    fn file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = fs::openat(&self.handle, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| named(name, e))?;
        let kind = FileType::from_raw_mode(fs::fstat(&file)?.st_mode);
        if kind != FileType::RegularFile {
            return Err(io::Error::other(format!("{name} is not a regular file")));
        }
        Ok(File::from(file))
    }
}

fn named(name: &str, error: rustix::io::Errno) -> io::Error {
    let error = io::Error::from(error);
    match error.raw_os_error() {
        // What O_NOFOLLOW answers.
        Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
            io::Error::other(format!("{name} is a symbolic link, which is not followed"))
        }
        _ => error,
    }
}

impl Folder for DiskFolder {
    fn names(&mut self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&self.handle)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        self.file(name, OFlags::RDONLY)?.read_to_end(&mut content)?;
        Ok(content)
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.file(name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL).map(|_| ())
    }

    fn append(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.file(name, OFlags::WRONLY | OFlags::APPEND)?.write_all(content)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name, OFlags::RDONLY)?.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::renameat(&self.handle, from, &self.handle, to).map_err(Into::into)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::unlinkat(&self.handle, name, AtFlags::empty()).map_err(Into::into)
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

impl std::fmt::Display for DiskFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_folder_and_its_files_are_for_their_owner_only() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/state");
        let mut folder = DiskFolder::open_to_write(&path).unwrap();
        folder.create("run").unwrap();
        folder.lock_file("lock").unwrap();
        assert_eq!(mode(&path), 0o700);
        assert_eq!((mode(&path.join("run")), mode(&path.join("lock"))), (0o600, 0o600));
        assert!(folder.create("run").is_err());
        let mut names = folder.names().unwrap();
        names.sort();
        assert_eq!(names, ["lock", "run"]);
    }

    #[test]
    fn links_are_not_followed() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("state");
        let victim = parent.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        let mut folder = DiskFolder::open_to_write(&path).unwrap();
        for name in ["lock", "run"] {
            symlink(&victim, path.join(name)).unwrap();
        }
        let told = folder.lock_file("lock").unwrap_err().to_string();
        assert_eq!(told, "lock is a symbolic link, which is not followed");
        assert!(folder.create("run").is_err());
        assert!(folder.append("run", b"x").is_err());
        assert!(folder.read("run").is_err());
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let path = tempfile::tempdir().unwrap();
        for bad in [0o777, 0o1777, 0o720, 0o702] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(bad)).unwrap();
            let told = DiskFolder::open_to_write(path.path()).unwrap_err().to_string();
            assert!(told.contains("others may write to it"), "{told}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(DiskFolder::open_to_write(path.path()).is_ok());
    }
}
