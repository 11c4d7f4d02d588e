//! The readers of the fuzz targets on their seeds, and on each seed with a few faults: what
//! libFuzzer found once stays found, and a reader that panics on a torn file fails here already.
use std::collections::BTreeSet;
use std::fs;

use crate::common::random::Random;
use crate::common::root;

#[path = "../../fuzz/src/readers.rs"]
mod readers;

/// A faulty copy: cut short, a byte changed, a piece doubled or taken out.
fn faulty(seed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    let mut place = || random.below(seed.len() as u64 + 1) as usize;
    let (a, b) = (place(), place());
    let piece = a.min(b)..a.max(b).min(a.min(b) + 40);
    match random.below(4) {
        0 => bytes.truncate(a),
        1 if a < bytes.len() => bytes[a] = random.number() as u8,
        2 => drop(bytes.splice(a..a, seed[piece].to_vec())),
        _ => drop(bytes.drain(piece)),
    }
    bytes
}

#[test]
fn every_reader_survives_its_seeds_and_faults_in_them() {
    let mut random = Random::new(11);
    for (name, read) in readers::READERS {
        let folder = root("fuzz/seeds").join(name);
        let mut files: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{name} has no seed");
        for file in files {
            let seed = fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            read(&seed);
            for _ in 0..8 {
                let bytes = faulty(&seed, &mut random);
                let survived = std::panic::catch_unwind(|| read(&bytes));
                assert!(
                    survived.is_ok(),
                    "{name} panics on a faulty {}:\n{}",
                    file.display(),
                    String::from_utf8_lossy(&bytes)
                );
            }
        }
    }
}

#[test]
fn every_reader_has_a_target_and_seeds() {
    let names = |folder: &str| -> BTreeSet<String> {
        fs::read_dir(root(folder))
            .unwrap()
            .map(|e| e.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect()
    };
    let readers: BTreeSet<String> =
        readers::READERS.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names("fuzz/fuzz_targets"), readers);
    assert_eq!(names("fuzz/seeds"), readers);
    let manifest = fs::read_to_string(root("fuzz/Cargo.toml")).unwrap();
    for name in readers {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
}
