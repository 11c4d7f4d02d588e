//! What kube-state-metrics says of pods: their owners, and which were ended for lack of memory.

use std::collections::{HashMap, HashSet};

use super::clean_name;
use super::metrics::{CONTROLLER_OWNERS, OOM_KILLED, POD_OWNER, TERMINATED_REASON};
use crate::demand::owner;
use crate::demand::prometheus::Labels;

/// A name within a namespace.
type Key = (Box<str>, Box<str>);

/// A controller: its kind and name.
type Controller = (Box<str>, Box<str>);

/// What is known of pods beside their samples.
#[derive(Debug, Default)]
pub(super) struct PodFacts {
    owners: HashMap<Key, Controller>,
    /// The controllers of ReplicaSets and Jobs, by their kind.
    controllers: HashMap<&'static str, HashMap<Key, Controller>>,
    killed: HashSet<Key>,
}

/// What a series of kube-state-metrics is about.
pub(super) enum Fact {
    /// Not a series of pods and their owners.
    Other,
    /// An owner; its samples say nothing more.
    Owner,
    /// The pod with this namespace and name was ended for lack of memory, in each sample above 0.
    Killed(Box<str>, Box<str>),
    /// A reason of an end that says nothing of memory.
    Ended,
}

impl PodFacts {
    /// Takes what the labels say.
    pub(super) fn add(&mut self, labels: &Labels) -> Fact {
        let Some(name) = labels.name().filter(|name| name.starts_with("kube_")) else {
            return Fact::Other;
        };
        if name == POD_OWNER {
            if let Some((pod, owner)) = subject(labels, "pod").zip(controller(labels)) {
                self.owners.insert(pod, owner);
            }
            return Fact::Owner;
        }
        if name == TERMINATED_REASON {
            return match subject(labels, "pod") {
                Some((namespace, pod)) if labels.get("reason") == Some(OOM_KILLED) => {
                    Fact::Killed(namespace, pod)
                }
                _ => Fact::Ended,
            };
        }
        let Some((_, kind, label)) = CONTROLLER_OWNERS.iter().find(|(metric, ..)| *metric == name)
        else {
            return Fact::Other;
        };
        if let Some((of, owner)) = subject(labels, label).zip(controller(labels)) {
            self.controllers.entry(kind).or_default().insert(of, owner);
        }
        Fact::Owner
    }

    /// Notes that a pod was ended for lack of memory.
    pub(super) fn killed(&mut self, namespace: &str, pod: &str) {
        self.killed.insert((namespace.into(), pod.into()));
    }

    /// Whether a pod was ended for lack of memory.
    pub(super) fn was_killed(&self, namespace: &str, pod: &str) -> bool {
        !self.killed.is_empty() && self.killed.contains(&(namespace.into(), pod.into()))
    }

    /// The owner of a pod, where one is known: the Deployment behind a ReplicaSet, the CronJob
    /// behind a Job.
    pub(super) fn owner(&self, namespace: &str, pod: &str) -> Option<&str> {
        if self.owners.is_empty() {
            return None;
        }
        let (kind, name) = self.owners.get(&(namespace.into(), pod.into()))?;
        let behind = self.controllers.get(&**kind);
        let behind = behind.and_then(|all| all.get(&(namespace.into(), name.clone())));
        Some(match behind {
            Some((_, name)) => name,
            None => owner::of_controller(kind, name),
        })
    }
}

/// What a series is about: a namespace, and the value of a label. A server that does not honour
/// labels has both under exported names.
fn subject(labels: &Labels, label: &str) -> Option<Key> {
    let exported = labels.get(&format!("exported_{label}"));
    let namespace = match exported {
        Some(_) => labels.get("exported_namespace"),
        None => labels.get("namespace"),
    };
    let name = exported.or_else(|| labels.get(label))?;
    Some((clean_name(namespace.unwrap_or("")).into(), clean_name(name).into()))
}

/// The owner that a series names; `None` where there is none, or only a node or a second owner.
fn controller(labels: &Labels) -> Option<Controller> {
    let kind = labels.get("owner_kind").filter(|kind| !matches!(*kind, "<none>" | "Node"))?;
    let name = clean_name(labels.get("owner_name")?);
    let is_owner = !matches!(&*name, "" | "<none>");
    let is_controller = labels.get("owner_is_controller") != Some("false");
    (is_owner && is_controller).then(|| (kind.into(), name.into()))
}
