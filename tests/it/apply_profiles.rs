//! GPUs whose profiles are not known, or are named otherwise once MIG is on.

use fake_nvml::Node;

use crate::rehearsal::{Ran, Rehearsal, board, laid_out, lay_out, nvidia_smi, put, yaml};

/// A product that the catalogue does not have.
fn unknown(node: &mut Node) {
    for gpu in &mut node.gpus {
        gpu.product = "NVIDIA Z100".into();
        gpu.pci_id = 0x1234_5678;
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
