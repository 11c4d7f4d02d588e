//! How a file is written: whole or not at all where that can be, and with all that was set up for it.
//!
//! A new file takes the old one's place, so that no reader sees half a result. It lies where the links
//! of the named one lead, and has the old one's owner, mode and attributes. Where no such file can be
//! made, or it cannot take the place, as of a file that is mounted alone into a container, the old one
//! is written over.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{fgetxattr, fgetxattr_query, flistxattr, flistxattr_query};
use rustix::io::Errno;

use crate::error::is_full;

/// So many links lead on from a name at most, as in Linux.
const MOST_LINKS: usize = 40;
/// So many names are tried for a file of our own.
const MOST_NAMES: usize = 100;
const BUFFER: usize = 1 << 16;

/// Why a file was not written.
#[derive(Debug)]
pub(super) struct Failure {
    /// What went wrong.
    pub(super) cause: io::Error,
    /// Whether the old content is lost.
    pub(super) partly: bool,
}

impl From<io::Error> for Failure {
    fn from(cause: io::Error) -> Failure {
        Failure { cause, partly: false }
    }
}

/// The file that is meant by a name: where its links lead, which need not be there yet. A link that
/// stands for an open file of a process leads no further.
///
/// # Errors
/// The links lead in a circle.
pub(super) fn target_of(file: &Path) -> io::Result<PathBuf> {
    let mut target = file.to_path_buf();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&target) {
            Ok(to) if !is_descriptor(&target) => target = folder_of(&target).join(to),
            _ => return Ok(target),
        }
    }
    Err(io::Error::other("its symbolic links lead in a circle"))
}

/// The folder that a file is in.
pub(super) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

/// Whether a name is standard output: `-`, `/dev/stdout` and what else leads there.
pub(super) fn is_stdout(file: &Path) -> bool {
    let is_first = |file: &Path| file.file_name().is_some_and(|name| name == "1");
    file == Path::new("-")
        || target_of(file).is_ok_and(|target| is_first(&target) && is_descriptor(&target))
}

/// Whether a name is an open file of this process, such as `/dev/fd/3`.
fn is_descriptor(file: &Path) -> bool {
    let own = Path::new("/proc").join(std::process::id().to_string());
    fs::canonicalize(folder_of(file)).is_ok_and(|folder| folder == own.join("fd"))
}

/// Writes a file.
///
/// # Errors
/// It cannot be written; an old one is then as it was, unless the failure says otherwise.
pub(super) fn write(
    file: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    let target = target_of(file)?;
    if is_descriptor(&target) {
        return stream(OpenOptions::new().append(true).open(&target)?, write);
    }
    let old = match fs::metadata(&target) {
        Ok(old) if !old.is_file() => {
            return stream(OpenOptions::new().write(true).open(&target)?, write);
        }
        Ok(_) => Some(OpenOptions::new().write(true).open(&target)?),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e.into()),
    };
    match (Beside::new(&target, old.as_ref()), old) {
        (Ok(mut beside), old) => {
            beside.fill(write)?;
            match (fs::rename(&beside.path, &target), old) {
                (Ok(()), _) => {
                    beside.is_ours = false;
                    Ok(())
                }
                (Err(_), Some(old)) => write_over(&old, &beside.text()?),
                (Err(e), None) => Err(e.into()),
            }
        }
        (Err(e), Some(old)) if !is_full(&e) => {
            let mut text = Vec::new();
            write(&mut text)?;
            write_over(&old, &text)
        }
        (Err(e), _) => Err(e.into()),
    }
}

/// Writes to what is no file that could be replaced: a device, a pipe, an open file.
fn stream(file: File, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = BufWriter::with_capacity(BUFFER, file);
    write(&mut out)?;
    Ok(out.flush()?)
}

/// Writes over a file as it lies there. First what it grows by, which is taken back where the disk has
/// no space for it; only then is anything lost.
fn write_over(file: &File, text: &[u8]) -> Result<(), Failure> {
    let before = file.metadata()?.len();
    let (over, beyond) =
        text.split_at(text.len().min(usize::try_from(before).unwrap_or(usize::MAX)));
    let partly = |cause| Failure { cause, partly: true };
    if let Err(cause) = file.write_all_at(beyond, before) {
        file.set_len(before).map_err(partly)?;
        return Err(cause.into());
    }
    file.write_all_at(over, 0).and_then(|()| file.set_len(text.len() as u64)).map_err(partly)
}

/// A new file beside the one that it is to replace, removed again unless it did.
struct Beside {
    path: PathBuf,
    file: File,
    is_ours: bool,
}

impl Beside {
    /// An empty one that is set up like `old`.
    fn new(target: &Path, old: Option<&File>) -> io::Result<Beside> {
        let old = old.map(|file| Ok::<_, io::Error>((file, file.metadata()?))).transpose()?;
        // Before it has the old one's owner and mode nobody else may open it.
        let mode = if old.is_some() { 0o600 } else { 0o666 };
        let name = target.file_name().unwrap_or_default();
        for number in 0..MOST_NAMES {
            let mut name = name.to_os_string();
            name.push(format!(".{}-{number}.tmp", std::process::id()));
            let path = target.with_file_name(name);
            let mut options = OpenOptions::new();
            match options.read(true).write(true).create_new(true).mode(mode).open(&path) {
                // What a run left behind that was killed.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
                Ok(file) => {
                    let beside = Beside { path, file, is_ours: true };
                    if let Some((file, metadata)) = &old {
                        beside.be_like(file, metadata)?;
                    }
                    return Ok(beside);
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Takes over what was set up for the old file.
    fn be_like(&self, old: &File, metadata: &Metadata) -> io::Result<()> {
        let new = self.file.metadata()?;
        let owner = |of: &Metadata| (of.uid(), of.gid());
        if owner(&new) != owner(metadata) {
            fchown(&self.file, Some(metadata.uid()), Some(metadata.gid()))?;
        }
        self.file.set_permissions(metadata.permissions())?;
        // Access lists and labels are many, and not all of them may be set.
        if attributes(old)? != attributes(&self.file)? {
            return Err(io::Error::other("the attributes of the old file differ"));
        }
        Ok(())
    }

    fn fill(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(BUFFER, &self.file);
        write(&mut out)?;
        out.flush()
    }

    /// What it was filled with.
    fn text(&mut self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        self.file.rewind()?;
        self.file.read_to_end(&mut text)?;
        Ok(text)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if self.is_ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The extended attributes of a file; none where its disk knows none.
fn attributes(file: &File) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let length = match flistxattr_query(file) {
        Ok(length) => length,
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(BTreeMap::new()),
        Err(e) => return Err(e.into()),
    };
    let mut names = vec![0; length];
    let length = flistxattr(file, &mut *names)?;
    names.truncate(length);
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value_of = |name: &[u8]| {
        let mut value = vec![0; fgetxattr_query(file, name)?];
        let length = fgetxattr(file, name, &mut *value)?;
        value.truncate(length);
        Ok((name.to_vec(), value))
    };
    names.map(value_of).collect()
}
