//! Saved states against what a power failure and a full disk do to files: every operation of the
//! journal torn, dropped or refused, on a folder in memory that keeps what was synced.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;

use crate::rehearsal::*;
use migplan::apply::folder::Folder;
use migplan::apply::journal::{End, Header, Purpose};
use migplan::apply::state::GpuState;
use migplan::apply::{History, Saves, StateDir};
use migplan::error::{ExitCode, Result};
use migplan::mig_parted::Config;

/// What a file holds: on the disk for sure, and as programs see it.
#[derive(Debug, Clone, Default)]
struct Content {
    synced: Vec<u8>,
    seen: Vec<u8>,
}

/// A change of names that a power failure may drop while it is not synced.
#[derive(Debug, Clone)]
enum Naming {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

#[derive(Debug, Clone, Default)]
struct Disk {
    contents: Vec<Content>,
    synced: BTreeMap<String, usize>,
    seen: BTreeMap<String, usize>,
    pending: Vec<Naming>,
    operations: usize,
    /// From this operation on the disk is full; the write that fills it is done by half.
    full_at: Option<usize>,
}

impl Naming {
    fn make(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Naming::Create(name, content) => {
                names.insert(name.clone(), *content);
            }
            Naming::Rename(from, to) => {
                if let Some(content) = names.remove(from) {
                    names.insert(to.clone(), content);
                }
            }
            Naming::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl Disk {
    /// What is there after a power failure that kept the first `kept` of the pending names, and of
    /// unsynced writes nothing (0), a part (1) or everything (2).
    fn after_power_failure(&self, kept: usize, writes: usize) -> Disk {
        let mut names = self.synced.clone();
        self.pending.iter().take(kept).for_each(|naming| naming.make(&mut names));
        let survives = |content: &Content| {
            let (from, to) = (content.synced.len(), content.seen.len());
            let end = if to < from { to } else { from + (to - from) * writes / 2 };
            let bytes = content.seen[..end].to_vec();
            Content { synced: bytes.clone(), seen: bytes }
        };
        Disk {
            contents: self.contents.iter().map(survives).collect(),
            synced: names.clone(),
            seen: names,
            ..Disk::default()
        }
    }

    fn name(&mut self, naming: Naming) {
        naming.make(&mut self.seen);
        self.pending.push(naming);
    }

    fn content(&mut self, name: &str) -> io::Result<&mut Content> {
        let at = *self.seen.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(&mut self.contents[at])
    }

    /// Counts an operation; whether the disk is full by now.
    fn count(&mut self) -> bool {
        self.operations += 1;
        self.full_at.is_some_and(|full| self.operations >= full)
    }
}

/// The disk, and every state that it was in, one for each operation.
#[derive(Debug, Clone, Default)]
struct Recorded {
    disk: Disk,
    past: Vec<Disk>,
}

#[derive(Debug, Clone, Default)]
struct MemoryFolder(Rc<RefCell<Recorded>>);

impl MemoryFolder {
    fn of(disk: Disk) -> MemoryFolder {
        MemoryFolder(Rc::new(RefCell::new(Recorded { disk, past: Vec::new() })))
    }

    fn operate(&self, work: impl FnOnce(&mut Disk, bool) -> io::Result<()>) -> io::Result<()> {
        let mut recorded = self.0.borrow_mut();
        let before = recorded.disk.clone();
        recorded.past.push(before);
        let full = recorded.disk.count();
        work(&mut recorded.disk, full)
    }
}

impl Folder for MemoryFolder {
    fn names(&mut self) -> io::Result<Vec<String>> {
        Ok(self.0.borrow().disk.seen.keys().cloned().collect())
    }

    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        Ok(self.0.borrow_mut().disk.content(name)?.seen.clone())
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.operate(|disk, full| {
            if full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            if disk.seen.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            disk.contents.push(Content::default());
            disk.name(Naming::Create(name.to_string(), disk.contents.len() - 1));
            Ok(())
        })
    }

    fn append(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.operate(|disk, full| {
            let written = if full { content.len() / 2 } else { content.len() };
            disk.content(name)?.seen.extend(&content[..written]);
            if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        })
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.operate(|disk, full| {
            if full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let content = disk.content(name)?;
            content.synced = content.seen.clone();
            Ok(())
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.operate(|disk, full| {
            if full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.name(Naming::Rename(from.to_string(), to.to_string()));
            Ok(())
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.operate(|disk, _| {
            disk.content(name)?;
            disk.name(Naming::Remove(name.to_string()));
            Ok(())
        })
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.operate(|disk, full| {
            if full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let pending = std::mem::take(&mut disk.pending);
            pending.iter().for_each(|naming| naming.make(&mut disk.synced));
            Ok(())
        })
    }
}

impl Saves for MemoryFolder {
    fn lock(&mut self) -> Result<StateDir> {
        StateDir::unshared(Box::new(self.clone()))
    }

    fn look(&mut self) -> Result<(History, bool)> {
        Ok((History::read(&mut self.clone(), Path::new("memory"))?, false))
    }
}

fn header(source: &str, start: u32) -> Header {
    let state = |start| GpuState {
        gpu: 0,
        uuid: "GPU-1".into(),
        mig: true,
        mig_pending: true,
        instances: vec![migplan::apply::state::InstanceState {
            start,
            size: 1,
            profile: "1g.10gb".parse().unwrap(),
            compute: vec![1],
            nvml_index: Some(0),
        }],
    };
    let mut header = Header::new(Purpose::Apply, source);
    header.before = vec![state(start)];
    header.found = header.before.clone();
    header.wanted = vec![state(start + 1)];
    header.stopped = vec!["nvidia-dcgm".into()];
    header
}

#[test]
fn no_power_failure_loses_a_state_whose_run_had_begun() {
    let folder = MemoryFolder::default();
    let mut dir = StateDir::unshared(Box::new(folder.clone())).unwrap();
    // For each operation so far, how many runs had begun by then.
    let mut begun = Vec::new();
    let count = |begun: &mut Vec<usize>, runs| {
        begun.resize(folder.0.borrow().past.len(), runs);
    };
    for run in 1..=3 {
        let id = dir.begin(header(&format!("file {run}"), run)).unwrap();
        count(&mut begun, run as usize - 1);
        dir.doing(id, "a step").unwrap();
        dir.started("nvidia-dcgm");
        if run != 2 {
            dir.end(id, End::Applied).unwrap();
        }
        dir.supersede(&["GPU-1"].into());
        count(&mut begun, run as usize);
    }
    let past = folder.0.borrow().past.clone();
    assert!(past.len() > 20 && past.len() == begun.len());
    let (mut cases, mut halves) = (0, 0);
    for (disk, begun) in past.iter().zip(begun) {
        for kept in 0..=disk.pending.len() {
            for writes in 0..=2 {
                cases += 1;
                let left = MemoryFolder::of(disk.after_power_failure(kept, writes));
                let (history, _) = left.clone().look().unwrap();
                assert_eq!(history.damaged, [], "{disk:?}");
                let runs: Vec<(u64, String)> =
                    history.runs.iter().map(|r| (r.id, r.header.source.clone())).collect();
                let all: Vec<(u64, String)> = (1..=3).map(|i| (i, format!("file {i}"))).collect();
                assert!(all.starts_with(&runs) && runs.len() >= begun, "{begun}: {runs:?}");
                halves += usize::from(runs.len() > begun);
                // And what is left is a folder to go on with.
                let mut dir = StateDir::unshared(Box::new(left.clone())).unwrap();
                dir.begin(header("next", 1)).unwrap();
                assert_eq!(left.clone().look().unwrap().0.runs.len(), runs.len() + 1);
            }
        }
    }
    assert!(cases > 100 && halves > 0, "{cases} cases");
    println!("{} operations, {cases} power failures", past.len());
}

#[test]
fn a_disk_that_is_full_at_any_moment_leaves_the_node_as_before_or_as_wanted() {
    let first = laid_out("1xh100-80gb", "h100-80gb", &[("3g.40gb", 4), ("1g.10gb", 0)]);
    let rehearsal = Rehearsal::new(&first);
    let config = Config::parse(&yaml(&[("all", "{2g.20gb: 2}")]), "config.yaml").unwrap();
    let mut ends = BTreeMap::<u8, u32>::new();
    for full_at in 1..60 {
        rehearsal.save(&first);
        let folder = MemoryFolder::of(Disk { full_at: Some(full_at), ..Disk::default() });
        let result = rehearsal.session_of(&mut folder.clone(), &mut Yes, false, |session| {
            session.apply(&config, None, "config.yaml")
        });
        let code = result.as_ref().map_or_else(|e| e.code as u8, |_| 0);
        *ends.entry(code).or_default() += 1;
        let after = rehearsal.load();
        match code {
            0 => assert_eq!(after.gpus[0].instances.len(), 2, "{full_at}"),
            7 => {
                assert_eq!(after, first, "{full_at}: {result:?}");
                // A run that never began is none to go back from.
                assert_eq!(folder.clone().names().unwrap(), [] as [String; 0], "{full_at}");
            }
            8 => assert_eq!(after.essence(), first.essence(), "{full_at}: {result:?}"),
            _ => panic!("{full_at}: {result:?}"),
        }
        // With room again, it goes on from there, whatever half a line was left.
        let freed = folder.0.borrow().disk.clone();
        let mut folder = MemoryFolder::of(Disk { full_at: None, ..freed });
        assert_eq!(folder.look().unwrap().0.damaged, [], "{full_at}");
        let again = rehearsal.session_of(&mut folder, &mut Yes, false, |session| {
            session.apply(&config, None, "config.yaml")
        });
        assert!(again.is_ok(), "{full_at}: {again:?}");
    }
    let refused = ExitCode::Refused as u8;
    assert!(ends[&refused] > 3 && ends[&8] > 3 && ends[&0] > 3, "{ends:?}");
}

#[test]
fn a_full_disk_does_not_keep_a_half_way_gpu_from_going_back() {
    let first = laid_out("1xh100-80gb", "h100-80gb", &[("3g.40gb", 4), ("1g.10gb", 0)]);
    let rehearsal = Rehearsal::new(&first);
    let config = Config::parse(&yaml(&[("all", "{2g.20gb: 2}")]), "config.yaml").unwrap();
    for half_way in [true, false] {
        rehearsal.save(&first);
        // Nothing can be changed from the third call on, not back either.
        let stuck = fault("change", 3, Some(999), true, false);
        rehearsal.edit(|node| node.faults = vec![stuck].into_iter().filter(|_| half_way).collect());
        let folder = MemoryFolder::default();
        let ran = rehearsal.session_of(&mut folder.clone(), &mut Yes, false, |session| {
            session.apply(&config, None, "config.yaml")
        });
        assert_eq!(ran.is_err(), half_way, "{ran:?}");
        rehearsal.edit(|node| node.faults.clear());
        let before = rehearsal.load().essence();
        assert_ne!(before, first.essence());

        let mut disk = folder.0.borrow().disk.clone();
        disk.full_at = Some(0);
        let mut full = MemoryFolder::of(disk);
        let back = rehearsal.session_of(&mut full, &mut Yes, false, |session| {
            session.roll_back(migplan::apply::Target::LastApply)
        });
        let after = rehearsal.load().essence();
        if half_way {
            assert!(back.is_ok(), "{back:?}");
            assert_eq!(after, first.essence());
            assert_eq!(full.look().unwrap().0.runs.len(), 1);
        } else {
            // The present state is one that only this run would save.
            let error = back.unwrap_err();
            assert_eq!((error.code, after), (ExitCode::Refused, before), "{error}");
            assert!(error.hint.unwrap_or_default().contains("make room on its disk"));
        }
    }
}

/// A folder in which another run has saved something between a look and the lock.
struct Overtaken {
    seen: MemoryFolder,
    locked: MemoryFolder,
}

impl Saves for Overtaken {
    fn lock(&mut self) -> Result<StateDir> {
        self.locked.lock()
    }

    fn look(&mut self) -> Result<(History, bool)> {
        self.seen.look()
    }
}

#[test]
fn a_rollback_goes_to_no_state_that_is_another_by_now() {
    let first = laid_out("1xh100-80gb", "h100-80gb", &[("3g.40gb", 4)]);
    let rehearsal = Rehearsal::new(&first);
    let mut seen = MemoryFolder::default();
    let config = Config::parse(&yaml(&[("all", "{2g.20gb: 2}")]), "config.yaml").unwrap();
    rehearsal
        .session_of(&mut seen, &mut Yes, false, |session| session.apply(&config, None, "a"))
        .unwrap();
    let before = rehearsal.load();
    let locked = MemoryFolder::default();
    StateDir::unshared(Box::new(locked.clone())).unwrap().begin(header("another", 1)).unwrap();
    for locked in [locked, MemoryFolder::default()] {
        let mut saves = Overtaken { seen: seen.clone(), locked };
        let ran = rehearsal.session_of(&mut saves, &mut Yes, false, |session| {
            session.roll_back(migplan::apply::Target::LastApply)
        });
        let error = ran.unwrap_err();
        assert_eq!(error.code, ExitCode::Refused, "{error}");
        assert!(error.to_string().contains("have just changed"), "{error}");
        assert_eq!(rehearsal.load(), before);
    }
}

#[test]
fn the_number_of_a_damaged_run_is_not_used_again() {
    let mut folder = MemoryFolder::default();
    folder.create("run-000007.jsonl").unwrap();
    folder.append("run-000007.jsonl", b"half a li").unwrap();
    let mut dir = StateDir::unshared(Box::new(folder.clone())).unwrap();
    assert_eq!(dir.begin(header("next", 1)).unwrap(), 8);
    // What it may still tell somebody is there.
    assert_eq!(folder.read("run-000007.jsonl").unwrap(), b"half a li");
}
