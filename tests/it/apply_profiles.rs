//! GPUs whose profiles are not known, or are named otherwise once MIG is on.

use fake_nvml::Node;

use crate::rehearsal::{
    Ran, Rehearsal, board, fault, laid_out, lay_out, nvidia_smi, put, runs, systemctl, units, yaml,
};

/// A product that the catalogue does not have.
fn unknown(node: &mut Node) {
    for gpu in &mut node.gpus {
        gpu.product = "NVIDIA Z100".into();
        gpu.pci_id = 0x1234_5678;
    }
}

/// Names a profile as the catalogue does not.
fn rename(node: &mut Node) {
    for gpu in &mut node.gpus {
        let names = gpu.profiles.iter_mut().map(|profile| &mut profile.name);
        let instances = gpu.instances.iter_mut().map(|instance| &mut instance.profile);
        for name in names.chain(instances).filter(|name| *name == "1g.10gb") {
            *name = "1g.11gb".into();
        }
    }
}

fn turn_on(node: &mut Node) {
    for gpu in &mut node.gpus {
        (gpu.mode, gpu.pending) = (true, true);
    }
}

/// Two GPUs with MIG on, each with a 3g.40gb and a 1g.10gb.
fn two_laid_out() -> Node {
    let mut node = laid_out("2xh100-80gb", "h100-80gb", &[("3g.40gb", 4), ("1g.10gb", 0)]);
    lay_out(&mut node, 1, &board("h100-80gb"), &[]);
    put(&mut node, 1, "3g.40gb", 4);
    put(&mut node, 1, "1g.10gb", 0);
    node
}

fn says(ran: &Ran, code: i32, told: &str) {
    assert_eq!(ran.code, code, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains(told), "{told}: {}", ran.stderr);
    let own = ["somebody else", "cannot do MIG", "every GPU already", "is what it says"];
    for not in own.iter().filter(|_| code != 0) {
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(not), "{}", ran.stderr);
    }
}

#[test]
fn instances_that_are_hidden_are_compared_by_name_whatever_the_board() {
    let mut node = two_laid_out();
    unknown(&mut node);
    node.root = false;
    let rehearsal = Rehearsal::new(&node);
    for devices in ["all", "[0, 1]"] {
        for wanted in ["{3g.40gb: 2}", "{3g.40gb: 1, 1g.10gb: 2}", "off"] {
            rehearsal.config(&[(devices, wanted)]);
            says(&rehearsal.migplan(&["check", "--live"]), 7, "no permission");
            says(&rehearsal.migplan(&["apply", "--yes"]), 7, "run it as root");
            says(&rehearsal.migplan(&["apply", "--dry-run"]), 0, "GPU 1: what would change cannot");
        }
        rehearsal.config(&[(devices, "{3g.40gb: 1, 1g.10gb: 1}")]);
        assert_eq!(rehearsal.migplan(&["check", "--live"]).code, 0);
        assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    }
    rehearsal.edit(|node| {
        for gpu in &mut node.gpus {
            (gpu.mode, gpu.pending) = (false, false);
            gpu.instances.clear();
        }
    });
    rehearsal.config(&[("all", "{1g.10gb: 7}")]);
    says(&rehearsal.migplan(&["check", "--live"]), 7, "no permission");
    says(&rehearsal.migplan(&["apply", "--yes"]), 7, "run it as root");
    rehearsal.config(&[("all", "off")]);
    assert_eq!(rehearsal.migplan(&["check", "--live"]).code, 0);
}

#[test]
fn a_gpu_whose_profiles_nobody_tells_is_not_what_a_file_says() {
    let mut node = Node::new("2xh100-80gb").unwrap();
    unknown(&mut node);
    node.lists_profiles_with_mig_off = false;
    let rehearsal = Rehearsal::new(&node);
    for devices in ["all", "[1]"] {
        rehearsal.config(&[(devices, "{1g.10gb: 7}")]);
        let told = "GPU 1 (NVIDIA Z100) are not known while its MIG is off: turn it on by hand (nvidia-smi -i 1 -mig 1)";
        says(&rehearsal.migplan(&["check", "--live"]), 3, told);
        says(&rehearsal.migplan(&["apply", "--yes"]), 3, told);
        assert_eq!(rehearsal.load().essence(), node.essence());
    }
    rehearsal.config(&[("all", "off")]);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    rehearsal.edit(turn_on);
    rehearsal.config(&[("all", "{1g.10gb: 7}")]);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    assert_eq!(rehearsal.migplan(&["check", "--live"]).code, 0);
}

#[test]
fn a_file_that_is_for_no_gpu_with_mig_is_refused() {
    let mut node = Node::new("1xh100-80gb").unwrap();
    let gpu = &mut node.gpus[0];
    (gpu.product, gpu.pci_id) = ("Tesla T4".into(), 0x1EB8_10DE);
    gpu.profiles.clear();
    let rehearsal = Rehearsal::new(&node);
    for args in [&["apply", "--yes"][..], &["check", "--live"]] {
        rehearsal.config(&[("all", "{1g.10gb: 7}")]);
        let ran = rehearsal.migplan(args);
        assert!(ran.code == 3 && ran.stderr.contains("GPU 0 (Tesla T4) cannot do MIG"), "{ran:?}");
        rehearsal.config(&[("all", "off")]);
        assert_eq!(rehearsal.migplan(args).code, 0);
    }
}

#[test]
fn a_name_that_the_driver_does_not_have_with_mig_on_ends_with_the_state_before() {
    let mut node = Node::new("2xh100-80gb").unwrap();
    node.lists_profiles_with_mig_off = false;
    rename(&mut node);
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("all", "{1g.10gb: 7}")]);
    let told = "with MIG on, the driver calls 1g.10gb 1g.11gb";
    says(&rehearsal.migplan(&["apply", "--yes"]), 8, told);
    assert_eq!(rehearsal.load().essence(), node.essence());
    rehearsal.edit(|node| {
        node.gpus.iter_mut().for_each(|gpu| gpu.profiles.retain(|p| p.name != "1g.11gb"));
    });
    says(&rehearsal.migplan(&["apply", "--yes"]), 8, "does not offer 1g.10gb");
    assert_eq!(rehearsal.load().essence(), node.essence());
}

#[test]
fn what_is_named_otherwise_with_mig_on_is_changed_by_that_name() {
    let mut node = Node::new("2xh100-80gb").unwrap();
    node.lists_profiles_with_mig_off = false;
    rename(&mut node);
    turn_on(&mut node);
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("all", "{1g.11gb: 7}")]);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    assert_eq!(rehearsal.migplan(&["rollback", "--yes"]).code, 0);
    assert_eq!(rehearsal.load().essence(), node.essence());
}

#[test]
fn the_way_back_needs_no_profiles_while_mig_is_off() {
    for edit in [unknown as fn(&mut Node), rename] {
        let mut first = two_laid_out();
        first.lists_profiles_with_mig_off = false;
        edit(&mut first);
        let fresh = || {
            let rehearsal = Rehearsal::new(&first);
            rehearsal.config(&[("all", "off")]);
            rehearsal
        };
        let rehearsal = fresh();
        rehearsal.edit(|node| {
            node.faults = vec![fault("nvmlDeviceSetMigMode", 2, Some(999), false, false)];
        });
        says(&rehearsal.migplan(&["apply", "--yes"]), 8, "the state before is there again");
        assert_eq!(rehearsal.load().essence(), first.essence());

        let rehearsal = fresh();
        assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
        let dry = rehearsal.migplan(&["rollback", "--dry-run"]);
        assert!(dry.code == 0 && dry.stdout.contains("create   3g.40gb"), "{dry:?}");
        says(&rehearsal.migplan(&["rollback", "--yes"]), 0, "4 created");
        assert_eq!(rehearsal.load().essence(), first.essence());

        // Five changing calls for each GPU; the way back from a kill before or after each of them.
        for (nth, late) in (1..=10).flat_map(|nth| [(nth, false), (nth, true)]) {
            let rehearsal = fresh();
            rehearsal.edit(|node| node.faults = vec![fault("change", nth, None, false, late)]);
            assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, -1);
            rehearsal.edit(|node| node.faults.clear());
            says(&rehearsal.migplan(&["rollback", "--yes"]), 0, "");
            assert_eq!(rehearsal.load().essence(), first.essence(), "call {nth}");
        }
    }
}

#[test]
fn what_was_created_stays_ones_own_under_another_name() {
    let mut first = two_laid_out();
    first.lists_profiles_with_mig_off = false;
    unknown(&mut first);
    first.gpus.iter_mut().for_each(|gpu| gpu.instances.clear());
    let counts = "{1g.10gb: 2}";
    // Killed in the middle, and the driver is another one afterwards.
    for nth in 2..=8 {
        let rehearsal = Rehearsal::new(&first);
        rehearsal.config(&[("all", counts)]);
        rehearsal.edit(|node| node.faults = vec![fault("change", nth, None, false, false)]);
        assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, -1);
        rehearsal.edit(|node| {
            node.faults.clear();
            rename(node);
        });
        says(&rehearsal.migplan(&["rollback", "--yes"]), 0, "");
        assert_eq!(rehearsal.load().essence(), first.essence(), "call {nth}");
    }
}

#[test]
fn a_renamed_profile_is_gone_back_to_by_its_place_in_the_list() {
    let first = two_laid_out();
    let rehearsal = Rehearsal::new(&first);
    rehearsal.config(&[("all", "{7g.80gb: 1}")]);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    rehearsal.edit(rename);
    says(&rehearsal.migplan(&["rollback", "--yes"]), 0, "4 created");
    let mut renamed = first.clone();
    rename(&mut renamed);
    assert_eq!(rehearsal.load().essence(), renamed.essence());
}

#[test]
fn a_state_that_was_saved_without_the_place_in_the_list_is_gone_back_to_by_name() {
    for is_known in [true, false] {
        let mut first = two_laid_out();
        first.lists_profiles_with_mig_off = false;
        if !is_known {
            unknown(&mut first);
        }
        let rehearsal = Rehearsal::new(&first);
        rehearsal.config(&[("all", "off")]);
        assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
        let mut removed = 0;
        for file in std::fs::read_dir(rehearsal.state_dir()).unwrap() {
            let file = file.unwrap().path();
            let Ok(text) = std::fs::read_to_string(&file) else { continue };
            let mut parts = text.split(",\"nvml_index\":");
            let mut old = parts.next().unwrap().to_string();
            for part in parts {
                old += part.trim_start_matches(char::is_numeric);
                removed += 1;
            }
            std::fs::write(&file, old).unwrap();
        }
        assert!(removed > 0);
        if !is_known {
            let told =
                "as far as is known with MIG off: turn it on by hand (nvidia-smi -i 1 -mig 1)";
            says(&rehearsal.migplan(&["rollback", "--yes"]), 9, told);
            rehearsal.edit(turn_on);
        }
        assert_eq!(rehearsal.migplan(&["rollback", "--yes"]).code, 0);
        assert_eq!(rehearsal.load().essence(), first.essence());
    }
}

#[test]
fn what_only_the_first_change_shows_to_be_forbidden_is_a_refusal() {
    let mut node = two_laid_out();
    node.lists_profiles_with_mig_off = false;
    let rehearsal = Rehearsal::new(&node);
    systemctl(&rehearsal, &["nvidia-dcgm"]);
    rehearsal.config(&[("all", "off")]);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    let off = rehearsal.load().essence();
    rehearsal.edit(|node| node.root = false);
    rehearsal.config(&[("all", "{1g.10gb: 7}")]);
    for command in ["apply", "rollback"] {
        let told = "nvmlDeviceSetMigMode: no permission";
        let ran = rehearsal.migplan(&[command, "--yes", "--stop", "nvidia-dcgm"]);
        says(&ran, 7, told);
        assert!(ran.stderr.contains("run it as root; nothing was changed"), "{}", ran.stderr);
        assert_eq!(rehearsal.load().essence(), off);
        assert_eq!(units(&rehearsal), ["stop nvidia-dcgm", "start nvidia-dcgm"]);
        // It is not the last run now.
        assert_eq!(runs(&rehearsal).len(), 1, "{command}");
    }
    rehearsal.edit(|node| node.root = true);
    assert_eq!(rehearsal.migplan(&["rollback", "--yes"]).code, 0);
    assert_eq!(rehearsal.load().essence(), node.essence());
}

#[test]
fn what_is_forbidden_later_is_undone() {
    let rehearsal = Rehearsal::new(&Node::new("2xh100-80gb").unwrap());
    let before = rehearsal.load().essence();
    rehearsal.config(&[("all", "{7g.80gb: 1}")]);
    rehearsal.edit(|node| {
        node.faults = vec![fault("nvmlDeviceSetMigMode", 2, Some(4), false, false)];
    });
    says(&rehearsal.migplan(&["apply", "--yes"]), 8, "the state before is there again");
    assert_eq!(rehearsal.load().essence(), before);
}

#[test]
fn an_unknown_product_is_reset_where_its_architecture_needs_it() {
    let mut node = Node::new("1xa100-80gb").unwrap();
    (node.gpus[0].product, node.gpus[0].pci_id) = ("NVIDIA PG506-232".into(), 0x1234_5678);
    let rehearsal = Rehearsal::new(&node);
    nvidia_smi(&rehearsal);
    rehearsal.write("config.yaml", &yaml(&[("all", "{1g.10gb: 7}")]));
    says(&rehearsal.migplan(&["apply", "--yes"]), 7, "needs a reset of the GPU");
    assert_eq!(rehearsal.load().essence(), node.essence());
    assert_eq!(rehearsal.migplan(&["apply", "--yes", "--reset"]).code, 0);
    assert_eq!(rehearsal.load().gpus[0].instances.len(), 7);

    // Where nothing tells it, no client is blamed.
    node.gpus[0].architecture = 0;
    rehearsal.save(&node);
    let ran = rehearsal.migplan(&["apply", "--yes"]);
    says(&ran, 8, "only pending: the GPU needs a reset");
    assert!(!ran.stderr.contains("client") && !ran.stderr.contains("DCGM"), "{}", ran.stderr);
    assert_eq!(rehearsal.load().essence(), node.essence());
}
