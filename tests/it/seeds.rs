//! The readers of the fuzz targets on their seeds, and on faulty copies of them: what libFuzzer
//! found once stays found, and a reader that panics on a torn file fails here already, where no
//! libFuzzer is installed.
//!
//! `MIGPLAN_FUZZ=SEED:RUNS`: so many faulty copies for each reader, chosen by this seed; default
//! `11:1500`. A failure names its own, and shows the copy, which belongs into `fuzz/seeds/` then.
use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use crate::common::random::Random;
use crate::common::root;

#[path = "../../fuzz/src/readers.rs"]
mod readers;

/// What readers tend to stumble over.
const PIECES: [&str; 24] = [
    "",
    "0",
    "-1",
    "1e308",
    "1e-308",
    "0.1",
    "4294967296",
    "9223372036854775807",
    "18446744073709551616",
    "99999999999999999999999999999999999999999",
    "NaN",
    "null",
    "\"",
    "\\",
    ",",
    "\n",
    "\r\n",
    "{",
    "]",
    ": ",
    "\u{feff}",
    "\u{e9}",
    "\u{1f600}",
    "\0",
];

/// No reader may take longer for one of these small inputs, however slow the machine.
const LONGEST: Duration = Duration::from_secs(20);

/// One fault: cut short, a byte changed, a piece doubled, taken out, put in from another seed, or
/// put in the place of a number.
fn faulty(mut bytes: Vec<u8>, other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut below = |end: usize| random.below(end as u64) as usize;
    let (a, b) = (below(bytes.len() + 1), below(bytes.len() + 1));
    let (a, b) = (a.min(b), a.max(b));
    let piece = a..b.min(a + 40);
    match below(8) {
        0 => bytes.truncate(b),
        1 if a < bytes.len() => bytes[a] = below(256) as u8,
        2 => drop(bytes.splice(a..a, bytes[piece].to_vec())),
        3 => {
            let (from, length) = (below(other.len() + 1), below(60));
            let piece = &other[from..other.len().min(from + length)];
            drop(bytes.splice(a..a, piece.to_vec()));
        }
        4 | 5 => {
            let digits = |byte: &u8| byte.is_ascii_digit();
            let start = a + bytes[a..].iter().position(digits).unwrap_or(0);
            let end = start + bytes[start..].iter().take_while(|byte| digits(byte)).count();
            drop(bytes.splice(start..end, PIECES[below(10)].bytes()));
        }
        6 => drop(bytes.splice(a..a, PIECES[below(PIECES.len())].bytes())),
        _ => drop(bytes.drain(piece)),
    }
    bytes
}

/// Runs a reader, and says which input it does not survive.
fn survives(read: fn(&[u8]), bytes: &[u8], what: &str) {
    let begin = Instant::now();
    let survived = std::panic::catch_unwind(|| read(bytes)).is_ok();
    assert!(survived, "{what} panics on b\"{}\"", bytes.escape_ascii());
    let took = begin.elapsed();
    assert!(took < LONGEST, "{what} takes {took:?} for b\"{}\"", bytes.escape_ascii());
}

#[test]
fn every_reader_survives_its_seeds_and_faults_in_them() {
    let text = std::env::var("MIGPLAN_FUZZ").unwrap_or_else(|_| "11:1500".to_string());
    let (start, runs) = text.split_once(':').expect("MIGPLAN_FUZZ is like SEED:RUNS");
    let (start, runs): (u64, u64) = (start.parse().unwrap(), runs.parse().unwrap());
    for (name, read) in readers::READERS {
        let mut files: Vec<_> = fs::read_dir(root("fuzz/seeds").join(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        let seeds: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
        assert!(!seeds.is_empty(), "{name} has no seed");
        for (file, seed) in files.iter().zip(&seeds) {
            survives(*read, seed, &format!("{name}: {}", file.display()));
        }
        let mut random = Random::new(start);
        let begin = Instant::now();
        for run in 1..=runs {
            let mut any = || &seeds[random.below(seeds.len() as u64) as usize];
            let (mut bytes, other) = (any().clone(), any());
            for _ in 0..=random.below(4) {
                bytes = faulty(bytes, other, &mut random);
            }
            survives(*read, &bytes, &format!("{name}, MIGPLAN_FUZZ={start}:{run},"));
        }
        println!("{name}: {runs} faulty copies of {} seeds, {:?}", seeds.len(), begin.elapsed());
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
