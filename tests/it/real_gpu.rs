//! On a machine with a real GPU: what its driver says against the catalogue, and the commands
//! that only read. Changes nothing. Run it there with `cargo test --test it real_gpu -- --ignored`.

use std::process::{Command, Output};

use migplan::apply::observe::Observation;
use migplan::apply::{NvmlDriver, observe};
use migplan::hardware::{Catalogue, Profile};

fn migplan(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_migplan")).args(arguments).output().unwrap()
}

#[test]
#[ignore = "needs a machine with a MIG-capable GPU and its driver"]
fn the_catalogue_equals_what_the_driver_says() {
    let catalogue = Catalogue::built_in();
    let mut driver = NvmlDriver::load(None).unwrap();
    let Observation { node: before, differences, .. } =
        observe::observe(&mut driver, &catalogue).unwrap();
    assert!(!before.gpus.is_empty());
    eprintln!("driver {:?}", before.driver);
    let mut wrong = Vec::new();
    for gpu in before.gpus.iter().filter(|g| g.mode.is_some()) {
        let board = gpu.board.as_ref().unwrap();
        let known = catalogue.by_id(&board.id).expect("the GPU is in the catalogue");
        for profile in &board.profiles {
            eprintln!("{} {} {:?} {}", board.id, profile.name, profile.starts, profile.memory);
            let table = known.profile(&profile.name).expect("the profile is in the catalogue").1;
            let geometry = |p: &Profile| (p.starts.clone(), p.memory_slices, p.compute_slices);
            if geometry(profile) != geometry(table) {
                wrong.push(format!("{}: {profile:?}, not {table:?}", profile.name));
            }
            if !table.memory_seen.contains(&profile.memory) && table.memory != profile.memory {
                wrong.push(format!("{} has {}", profile.name, profile.memory));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(differences, []);

    let status = migplan(&["status"]);
    assert!(status.status.success());
    eprintln!("{}", String::from_utf8_lossy(&status.stdout));
    assert!(migplan(&["status", "--format", "json"]).status.success());
    let export = migplan(&["export"]);
    assert!(export.status.success());
    // What it has is what it wants: nothing to do.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("present.yaml");
    std::fs::write(&file, &export.stdout).unwrap();
    let dry = migplan(&["apply", "--dry-run", "-f", file.to_str().unwrap()]);
    assert!(dry.status.success(), "{}", String::from_utf8_lossy(&dry.stderr));

    let after = observe::observe(&mut driver, &catalogue).unwrap().node;
    let state = |node: &migplan::fleet::observed::ObservedNode| {
        node.gpus.iter().map(|g| (g.mode, g.instances.clone())).collect::<Vec<_>>()
    };
    assert_eq!(state(&after), state(&before));
}
