//! Every kind from the example plan, compared with the files in `tests/golden/emit`. After a wanted
//! change: `UPDATE_GOLDEN=1 cargo test --test it emit::golden`, then read the difference.

use std::path::Path;

use super::support::emit;

const GOLDEN: &[(&str, &[&str])] = &[
    ("configmap.yaml", &["configmap"]),
    ("configmap-presets.yaml", &["configmap", "--with-presets", "--name", "layout-7"]),
    ("labels.sh", &["labels", "--max-unavailable", "2"]),
    ("device-plugin.yaml", &["device-plugin"]),
    ("device-plugin-operator.yaml", &["device-plugin", "--chart", "gpu-operator"]),
    ("capacity.txt", &["capacity"]),
    ("capacity.json", &["capacity", "--format", "json"]),
    ("pod.yaml", &["pod"]),
    ("kueue.yaml", &["kueue"]),
    ("jupyterhub.yaml", &["jupyterhub"]),
    ("jupyterhub-team.yaml", &["jupyterhub", "--team", "lab"]),
    ("airflow.py", &["airflow", "--namespace", "airflow"]),
    ("slurm.conf", &["slurm"]),
    ("systemd.service", &["systemd", "--node", "gpu-1"]),
    ("systemd-mig-parted.service", &["systemd", "--node", "gpu-3", "--with", "nvidia-mig-parted"]),
    ("prometheus-rules.yaml", &["prometheus-rules"]),
    ("prometheus-rules-object.yaml", &["prometheus-rules", "--object"]),
    ("nvidia-smi.sh", &["nvidia-smi"]),
    ("nvidia-smi-node.sh", &["nvidia-smi", "--node", "gpu-5"]),
    ("checkpoint.json", &["checkpoint", "--node", "gpu-5", "--uuids", "GPU-00aa,GPU-00bb"]),
    ("mig-parted.yaml", &["mig-parted"]),
    ("dra.yaml", &["dra"]),
    ("grafana.json", &["grafana"]),
];

#[test]
fn every_kind_is_as_it_was() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/emit");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut different = Vec::new();
    for (name, arguments) in GOLDEN {
        let file = folder.join(name);
        let text = emit(arguments);
        if update {
            std::fs::write(&file, text).unwrap();
        } else if std::fs::read_to_string(&file).ok().as_deref() != Some(text.as_str()) {
            different.push(*name);
        }
    }
    assert!(different.is_empty(), "{different:?} differ; UPDATE_GOLDEN=1 writes them anew");
    // Nothing lies about that no test reads.
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "plan.json")
        .collect();
    files.sort();
    let mut known: Vec<&str> = GOLDEN.iter().map(|(name, _)| *name).collect();
    known.sort_unstable();
    assert_eq!(files, known);
}
