//! What the reader takes and what it refuses.

use super::*;
use crate::hardware::{BoardRef, Catalogue};

fn boards(ids: &[&str]) -> Vec<BoardRef> {
    let catalogue = Catalogue::built_in();
    ids.iter().map(|id| catalogue.find(id, None).unwrap().clone()).collect()
}

fn resolve(text: &str, ids: &[&str]) -> Result<Resolved> {
    Config::parse(text, "config.yaml")?.resolve(None, &boards(ids))
}

/// A file with one label of the given entries.
fn file(entries: &str) -> String {
    format!("version: v1\nmig-configs:\n  custom:\n{entries}")
}

fn names(gpu: &WantedGpu) -> Vec<String> {
    gpu.instances().iter().flat_map(|s| s.names(&gpu.board)).map(|n| n.to_string()).collect()
}

#[test]
fn an_ordinary_file_is_read() {
    let text = file(
        "  - device-filter: \"0x20B210DE\"
    devices: [0]
    mig-enabled: true
    mig-devices: {1g.10gb: 4, 3g.40gb: 1, 2g.20gb: 0}
  - devices: [1]
    mig-enabled: false
    mig-devices: {}
",
    );
    let resolved = resolve(&text, &["a100-80gb", "a100-80gb"]).unwrap();
    assert_eq!(resolved.label, "custom");
    assert_eq!(resolved.warnings, []);
    assert_eq!(resolved.gpus.len(), 2);
    assert_eq!(names(&resolved.gpus[0]), ["1g.10gb", "1g.10gb", "1g.10gb", "1g.10gb", "3g.40gb"]);
    assert!(resolved.gpus[0].mig && !resolved.gpus[1].mig);
    assert_eq!(resolved.gpus[1].line, 8);
}

#[test]
fn compute_instances_share_gpu_instances_as_in_mig_parted() {
    let shapes = |devices: &str| {
        let text =
            file(&format!("  - {{devices: all, mig-enabled: yes, mig-devices: {devices}}}\n"));
        let gpus = resolve(&text, &["a100-80gb"]).unwrap().gpus;
        gpus[0].instances().iter().map(|s| s.compute.clone()).collect::<Vec<_>>()
    };
    assert_eq!(shapes("{1c.3g.40gb: 2}"), [[1, 1]]);
    assert_eq!(shapes("{1c.3g.40gb: 4}"), [vec![1], vec![1, 1, 1]]);
    assert_eq!(shapes("{3g.40gb: 1, 1c.3g.40gb: 1}"), [[1], [3]]);
    assert_eq!(shapes("{2c.3g.40gb: 1, 1c.3g.40gb: 1}"), [[2, 1]]);
    assert_eq!(shapes("{1c.1g.10gb: 1, 1g.10gb: 2}"), [[1], [1], [1]]);
}

#[test]
fn every_problem_of_a_file_is_told_with_its_line() {
    let text = "version: v2
mig-configs:
  a:
  - devices: 0
    mig-enabled: \"true\"
    mig-devices: {}
  - Devices: all
    mig-enabled: true
  b: []
  c:
  - devices: [0, 0, -1, x]
    device-filter: [0x20B210DE, A100-SXM4-40GB]
    mig-enabled: true
    mig-devices:
      1g.5GB: 1
      1g.10gb: many
      1g.10gb: 2
  a:
  - {}
  d:
  - devices: all
    mig-enabled: false
    mig-devices: {1g.10gb: 1}
  - devices: all
    mig-enabled: true
    mig-devices: {1g.10gb: 0}
x-foo: 1
";
    let error = Config::parse(text, "config.yaml").unwrap_err();
    let text = error.to_string();
    for expected in [
        "config.yaml:1: version: 'v2' is not v1",
        "config.yaml:4: devices: write a list: [0]",
        "config.yaml:5: mig-enabled: 'true' is neither true nor false",
        "config.yaml:7: 'a': unexpected field 'Devices'; did you mean devices?",
        "config.yaml:7: 'a': the field 'devices' is missing",
        "config.yaml:7: 'a': mig-enabled is true, so the field 'mig-devices' is needed",
        "config.yaml:9: 'b': needs at least one entry",
        "config.yaml:11: devices: duplicate 0",
        "config.yaml:11: devices: -1 is not a GPU index",
        "config.yaml:11: devices: 'x' is not a GPU index such as 0",
        "config.yaml:12: device-filter: write it in quotes: \"0x20B210DE\"",
        "config.yaml:12: device-filter: 'A100-SXM4-40GB' is not a PCI id",
        "config.yaml:15: mig-devices: '1g.5GB' is not a MIG profile name",
        "config.yaml:16: mig-devices: 1g.10gb: 'many' is not a count",
        "config.yaml:17: mig-devices: duplicate '1g.10gb', first on line 16",
        "config.yaml:18: mig-configs: duplicate 'a', first on line 3",
        "config.yaml:23: mig-devices: has instances, but mig-enabled is false",
        "config.yaml:26: mig-devices: all counts are 0",
        "config.yaml:27: the file: unexpected field 'x-foo'",
    ] {
        assert!(text.contains(expected), "{expected}\nis not in\n{text}");
    }
    assert_eq!(error.problems.len(), 19, "{text}");
}

#[test]
fn a_kubernetes_object_is_told_as_such() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  config.yaml: |\n    version: v1\n";
    let error = Config::parse(text, "f").unwrap_err();
    let [problem] = &error.problems[..] else { panic!("{error}") };
    let told = "f:1: is a ConfigMap; what is read is the file in it: kubectl get configmap NAME -o jsonpath='{.data.config\\.yaml}' > config.yaml";
    assert_eq!(problem.to_string(), told);
    let error = Config::parse("apiVersion: v1\nkind: List\nitems: []\n", "f").unwrap_err();
    assert_eq!(error.to_string(), "f:1: is a Kubernetes List, not a mig-parted configuration");
}

#[test]
fn files_that_are_no_configuration() {
    for (text, expected) in [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("just text", "'just text' is not a mig-parted configuration"),
        ("- a\n", "a list is not a mig-parted configuration"),
        ("version: v1\n", "'mig-configs' is missing"),
        (
            "version: 1\nmig-configs: {a: [{devices: all, mig-enabled: false}]}",
            "version: 1 is not v1",
        ),
        ("version: v1\nmig-configs:\n", "has no label"),
        ("<html>", "is not a mig-parted configuration"),
        ("a: [", "is not YAML"),
        ("a: 1\n---\nb: 2\n", "has several YAML documents"),
        ("a: &a [*a]\n", "has an alias that stands for itself"),
    ] {
        let error = Config::parse(text, "f").unwrap_err().to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
}

#[test]
fn what_mig_parted_finds_out_too_late_is_refused() {
    let entry = |devices: &str, profiles: &str| {
        file(&format!("  - {{{devices}, mig-enabled: true, mig-devices: {profiles}}}\n"))
    };
    let h100 = &["h100-80gb", "h100-80gb"][..];
    for (text, expected) in [
        (
            entry("devices: all", "{9g.999gb: 1}"),
            "h100-sxm5-80gb has no profile 9g.999gb; it has 1g.10gb,",
        ),
        (entry("devices: all", "{1g.5gb: 7}"), "has no profile 1g.5gb"),
        (entry("devices: [0, 2]", "{1g.10gb: 7}"), "devices: no GPU 2; this node has GPU 0 to 1"),
        (
            entry("devices: all", "{3g.40gb: 2, 1g.10gb: 1}"),
            "2 × 3g.40gb, 1 × 1g.10gb do not fit on h100-sxm5-80gb: they cover 9 memory slices",
        ),
        (
            entry("devices: all", "{1g.10gb: 99}"),
            "1g.10gb: 99 asked for, but h100-sxm5-80gb holds at most 7",
        ),
        (entry("devices: all", "{1g.10gb+me: 2}"), "holds at most 1"),
        (
            entry("devices: all", "{4g.40gb: 1, 2g.20gb: 1, 1g.10gb: 1, 1g.10gb+me: 1}"),
            "do not fit",
        ),
        (
            entry("devices: all, device-filter: \"0xDEADBEEF\"", "{1g.10gb: 7}"),
            "no GPU of this node has 0xDEADBEEF",
        ),
        (
            entry("devices: all, device-filter: \"0x20B210DE\"", "{1g.10gb: 7}"),
            "no GPU of this node has 0x20B210DE",
        ),
        (entry("devices: all", "{3c.4g.40gb: 1}"), "a 4g.40gb has no compute instance of 3 slices"),
        (entry("devices: all", "{5c.3g.40gb: 1}"), "a 3g.40gb has no compute instance of 5 slices"),
    ] {
        let error = resolve(&text, h100).unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert_eq!(error.code, crate::error::ExitCode::BadInput);
    }
}

#[test]
fn entries_may_overlap_only_where_they_agree() {
    let two = |second: &str| {
        file(&format!(
            "  - {{devices: all, mig-enabled: true, mig-devices: {{1g.10gb: 7}}}}\n  - {second}\n"
        ))
    };
    let ids = &["h100-80gb", "h100-80gb"][..];
    assert!(
        resolve(&two("{devices: [1], mig-enabled: true, mig-devices: {1g.10gb: 7}}"), ids).is_ok()
    );
    let error = resolve(&two("{devices: [1], mig-enabled: false}"), ids).unwrap_err().to_string();
    assert!(
        error.contains(
            "config.yaml:5: this entry and the one on line 4 contradict each other for GPU 1"
        ),
        "{error}"
    );
}

#[test]
fn labels_for_many_boards_work_where_they_name_this_one() {
    // As mig-parted ships them: one label, an entry for each kind of board.
    let text = file(
        "  - {device-filter: [\"0x20B210DE\"], devices: all, mig-enabled: true, mig-devices: {1g.10gb: 7}}
  - {device-filter: [\"0x20B010DE\"], devices: all, mig-enabled: true, mig-devices: {1g.10gb: 4}}
",
    );
    let resolved = resolve(&text, &["a100-80gb"]).unwrap();
    assert_eq!(names(&resolved.gpus[0]).len(), 7);
    // The other board's GPU has no entry: then a filter that matches nothing is a mistake.
    let error = resolve(&text, &["a100-80gb", "h100-80gb"]).unwrap_err().to_string();
    assert!(
        error.contains("config.yaml:5: device-filter: no GPU of this node has 0x20B010DE"),
        "{error}"
    );
}

#[test]
fn several_filters_may_stand_beside_one_list_of_indices() {
    let entry = |filter: &str, devices: &str| {
        format!("  - {{device-filter: \"{filter}\", devices: {devices}, mig-enabled: false}}\n")
    };
    let (a100, h100) = ("0x20B210DE", "0x233010DE");
    let ids = &["a100-80gb", "h100-80gb"][..];
    let both = file(&(entry(a100, "[0, 1]") + &entry(h100, "[0, 1]")));
    let resolved = resolve(&both, ids).unwrap();
    assert_eq!(resolved.gpus.iter().map(|gpu| gpu.line).collect::<Vec<_>>(), [4, 5]);
    // An index that no entry is for, and an entry that is for none, are mistakes.
    let alone = file(&entry(a100, "[0, 1]"));
    let none = file(&(entry(a100, "[0]") + &entry(h100, "[1]") + &entry(a100, "[1]")));
    for (text, line) in [(alone, 4), (none, 6)] {
        let error = resolve(&text, ids).unwrap_err().to_string();
        let told = format!("config.yaml:{line}: devices: GPU 1 (");
        assert!(error.contains(&told) && error.contains("is not one that"), "{error}");
    }
}

#[test]
fn a_gpu_without_entry_stays_and_is_named() {
    let text = file("  - {devices: [1], mig-enabled: true, mig-devices: {}}\n");
    let resolved = resolve(&text, &["h100-80gb", "h100-80gb", "h100-80gb"]).unwrap();
    assert_eq!(resolved.gpus.len(), 1);
    assert!(resolved.gpus[0].instances().is_empty());
    assert_eq!(
        resolved.warnings[0].to_string(),
        "config.yaml: 'custom' has no entry for GPU 0, 2, which stays as it is"
    );
}

#[test]
fn labels_are_selected() {
    let text = "version: v1\nmig-configs:\n  b: [{devices: all, mig-enabled: false}]\n  a: [{devices: all, mig-enabled: true, mig-devices: {}}]\n";
    let config = Config::parse(text, "f").unwrap();
    assert_eq!(config.labels().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(config.select(Some("b")).unwrap(), "b");
    assert!(config.select(None).unwrap_err().to_string().contains("several labels: a, b"));
    assert!(config.select(Some("c")).unwrap_err().to_string().contains("no label 'c', only a, b"));
}

#[test]
fn filters_look_at_the_real_gpu_where_it_is_known() {
    let text = file(
        "  - {device-filter: \"0x233010DE:0x16C110DE\", devices: all, mig-enabled: true, mig-devices: {}}\n",
    );
    let config = Config::parse(&text, "f").unwrap();
    let mut gpu = NodeGpu::from(&boards(&["h100-80gb"])[0]);
    assert!(config.resolve_node(None, std::slice::from_ref(&gpu)).is_ok());
    gpu.pci_id = Some(0x2330_10DE);
    gpu.subsystem_id = Some(0x16C1_10DE);
    assert!(config.resolve_node(None, std::slice::from_ref(&gpu)).is_ok());
    gpu.subsystem_id = Some(0x16C0_10DE);
    assert!(config.resolve_node(None, &[gpu]).is_err());
}

#[test]
fn a_gpu_without_mig_is_left_alone_by_all_and_refused_by_index() {
    let t1000 = NodeGpu {
        mig: Mig::Absent,
        product: "NVIDIA T1000".into(),
        pci_id: None,
        subsystem_id: None,
    };
    let gpus = [t1000, NodeGpu::from(&boards(&["h100-80gb"])[0])];
    let all = file("  - {devices: all, mig-enabled: true, mig-devices: {7g.80gb: 1}}\n");
    let resolved = Config::parse(&all, "f").unwrap().resolve_node(None, &gpus).unwrap();
    assert_eq!(resolved.gpus.len(), 1);
    assert!(resolved.warnings[0].to_string().contains("GPU 0 (NVIDIA T1000) cannot do MIG"));
    // Where there is no other, nothing would come of the file.
    let named = all.replace("devices: all", "devices: [0]");
    for (text, gpus) in [(&named, &gpus[..]), (&all, &gpus[..1])] {
        let error = Config::parse(text, "f").unwrap().resolve_node(None, gpus).unwrap_err();
        assert!(error.to_string().contains("GPU 0 (NVIDIA T1000) cannot do MIG"), "{error}");
    }
}
