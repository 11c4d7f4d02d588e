//! `migplan emit dra`, read back through the API's own types, its selectors evaluated by an
//! independent reader of CEL.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{DeviceSelector, ResourceClaimTemplate};
use serde_json::{Value, json};

use migplan::hardware::Catalogue;
use migplan::plan::{InstanceProfile, Plan};

use super::support::{emit_from, example, example_plan, python_has};

/// One kind of device that a claim takes.
struct Alternative {
    class: String,
    count: u64,
    expressions: Vec<String>,
}

/// What claims take, by namespace and name.
type Claims = BTreeMap<(String, String), Vec<Alternative>>;

/// The claims and pods of a text. What the API does not know is an error.
fn read(text: &str) -> (Claims, Vec<Pod>) {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    let (mut claims, mut pods) = (BTreeMap::new(), Vec::new());
    for document in documents {
        if document["kind"] == "Pod" {
            pods.push(known(&document));
            continue;
        }
        let template: ResourceClaimTemplate = known(&document);
        let key = (template.metadata.namespace.unwrap(), template.metadata.name.unwrap());
        let requests = template.spec.spec.devices.unwrap().requests.unwrap();
        let [request] = &requests[..] else { panic!("{text}") };
        assert_eq!(request.name, "gpu");
        let expressions = |selectors: &Option<Vec<DeviceSelector>>| -> Vec<String> {
            let selectors = selectors.iter().flatten();
            selectors.map(|s| s.cel.as_ref().unwrap().expression.clone()).collect()
        };
        let alternatives = match (&request.exactly, &request.first_available) {
            (Some(exactly), None) => vec![Alternative {
                class: exactly.device_class_name.clone(),
                count: exactly.count.unwrap_or(1) as u64,
                expressions: expressions(&exactly.selectors),
            }],
            (None, Some(list)) => {
                let mut names: Vec<&str> = list.iter().map(|r| r.name.as_str()).collect();
                assert!(names.iter().all(|n| migplan::kubernetes::naming::is_dns_label(n)));
                names.sort_unstable();
                names.dedup();
                assert_eq!(names.len(), list.len());
                let alternative =
                    |r: &k8s_openapi::api::resource::v1::DeviceSubRequest| Alternative {
                        class: r.device_class_name.clone(),
                        count: r.count.unwrap_or(1) as u64,
                        expressions: expressions(&r.selectors),
                    };
                list.iter().map(alternative).collect()
            }
            _ => panic!("{text}"),
        };
        assert!(claims.insert(key, alternatives).is_none());
    }
    (claims, pods)
}

/// A document as a type of the API; every field of it is one that the type knows.
fn known<T: serde::de::DeserializeOwned + serde::Serialize>(document: &Value) -> T {
    fn lost(before: &Value, after: &Value, path: &str) -> Option<String> {
        match (before, after) {
            (Value::Object(before), Value::Object(after)) => before.iter().find_map(|(key, b)| {
                let path = format!("{path}.{key}");
                match after.get(key) {
                    None => Some(path),
                    Some(a) => lost(b, a, &path),
                }
            }),
            (Value::Array(before), Value::Array(after)) => {
                before.iter().zip(after).find_map(|(b, a)| lost(b, a, path))
            }
            _ => (before != after).then(|| path.to_string()),
        }
    }
    let typed: T = serde_json::from_value(document.clone()).unwrap();
    assert_eq!(lost(document, &serde_json::to_value(&typed).unwrap(), ""), None);
    typed
}

/// The devices of a plan as the driver publishes them, each with its profile.
fn devices(plan: &Plan) -> Vec<(InstanceProfile, Value)> {
    let catalogue = Catalogue::built_in();
    let mut devices = Vec::new();
    for gpu in &plan.gpus {
        let product = &catalogue.by_id(&gpu.board).unwrap().products[0];
        for instance in &gpu.instances {
            let mut attributes = json!({"productName": product, "type": "gpu"});
            if let InstanceProfile::Mig(name) = &instance.profile {
                attributes["type"] = json!("mig");
                attributes["profile"] = json!(name.to_string());
            }
            let device = json!({"attributes": {"gpu.nvidia.com": attributes},
                "capacity": {"gpu.nvidia.com": {"memory": instance.memory_mib << 20}}});
            devices.push((instance.profile.clone(), device));
        }
    }
    devices
}

#[test]
fn pods_claim_the_kinds_of_instance_that_they_are_assigned_to() {
    let (text, warnings) = emit_from(&example(), &["dra"]);
    let (claims, pods) = read(&text);
    let plan = example_plan();
    // What the plan assigns to each workload: profile → instances.
    let mut assigned: BTreeMap<(String, String), BTreeMap<InstanceProfile, u64>> = BTreeMap::new();
    for instance in plan.gpus.iter().flat_map(|g| &g.instances) {
        if let Some(a) = &instance.assignment {
            let kinds = assigned.entry((a.team.to_string(), a.workload.to_string())).or_default();
            *kinds.entry(instance.profile.clone()).or_default() += 1;
        }
    }
    assert_eq!((claims.len(), pods.len()), (assigned.len(), assigned.len()));
    for pod in &pods {
        let notes = pod.metadata.annotations.as_ref().unwrap();
        let kinds = &assigned[&(notes["migplan/team"].clone(), notes["migplan/workload"].clone())];
        let spec = pod.spec.as_ref().unwrap();
        let [claim] = &spec.resource_claims.as_ref().unwrap()[..] else { panic!() };
        let template = claim.resource_claim_template_name.clone().unwrap();
        let alternatives = &claims[&(pod.metadata.namespace.clone().unwrap(), template)];
        let used = spec.containers[0].resources.as_ref().unwrap().claims.as_ref().unwrap();
        assert_eq!((used.len(), &used[0].name), (1, &claim.name));
        assert!(spec.tolerations.as_ref().is_some_and(|t| !t.is_empty()));
        let profiles: Vec<InstanceProfile> = kinds.keys().cloned().collect();
        let mut classes: Vec<&str> = alternatives.iter().map(|a| a.class.as_str()).collect();
        classes.sort_unstable();
        let mut wanted: Vec<&str> = profiles
            .iter()
            .map(|p| if *p == InstanceProfile::Full { "gpu.nvidia.com" } else { "mig.nvidia.com" })
            .collect();
        wanted.sort_unstable();
        assert_eq!(classes, wanted);
        for profile in profiles.iter().filter(|p| **p != InstanceProfile::Full) {
            let named = format!("profile == '{profile}'");
            assert!(alternatives.iter().any(|a| a.expressions[0].contains(&named)), "{named}");
        }
        let replicas: u64 = notes["migplan/replicas"].parse().unwrap();
        if let [only] = &alternatives[..] {
            assert_eq!(only.count * replicas, kinds.values().sum::<u64>());
        }
    }
    assert!(warnings.contains("NLP/exp claims the first available of 2 kinds"), "{warnings}");
    assert!(text.contains("# For a cluster with NVIDIA's DRA driver"), "{text}");
}

#[test]
fn selectors_let_through_what_the_plan_assigned_and_no_other_kind() {
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/emit/cel.py");
    if !python_has("celpy", "cel-python") {
        return;
    }
    let (text, _) = emit_from(&example(), &["dra"]);
    let (claims, pods) = read(&text);
    let plan = example_plan();
    let devices = devices(&plan);
    let mut questions: Vec<(&str, &Value)> = Vec::new();
    let mut wanted: Vec<bool> = Vec::new();
    for pod in &pods {
        let notes = pod.metadata.annotations.as_ref().unwrap();
        let own = |a: &migplan::plan::Assignment| {
            *a.team == *notes["migplan/team"] && *a.workload == *notes["migplan/workload"]
        };
        let instances: Vec<_> = plan.gpus.iter().flat_map(|g| &g.instances).collect();
        let key = (pod.metadata.namespace.clone().unwrap(), pod.metadata.name.clone().unwrap());
        for alternative in &claims[&key] {
            let mig = alternative.class == "mig.nvidia.com";
            for expression in &alternative.expressions {
                for ((profile, device), instance) in devices.iter().zip(&instances) {
                    // The class lets through one type of device; CEL fails on a missing attribute.
                    if mig == (*profile == InstanceProfile::Full) {
                        continue;
                    }
                    let named = !mig || expression.contains(&format!("profile == '{profile}'"));
                    if instance.assignment.as_ref().is_some_and(own) && named {
                        wanted.push(true);
                    } else if !named {
                        wanted.push(false);
                    } else {
                        continue; // A free instance of the kind, or another workload's: either may be.
                    }
                    questions.push((expression, device));
                }
            }
        }
    }
    assert!(wanted.contains(&true) && wanted.contains(&false));
    let mut child = Command::new("python3")
        .arg(reader)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let questions = serde_json::to_string(&questions).unwrap();
    child.stdin.take().unwrap().write_all(questions.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let answers: Vec<bool> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answers, wanted);
}
