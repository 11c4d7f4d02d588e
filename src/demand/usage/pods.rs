//! What is known of pods beside their samples: from kube-state-metrics their owners, when they ended
//! and whether for lack of memory; from a list of pods their workloads.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::identity::{Key, clean_name};
use super::metrics::{
    CONTROLLER_OWNERS, ENDED_PHASES, OOM_KILLED, POD_OWNER, POD_PHASE, TERMINATED_REASON,
    WAITING_PHASE,
};
use super::track::{LOOKBACK_MS, Origin, Samples, Track, together};
use crate::demand::owner;
use crate::demand::pods::Listed;
use crate::demand::prometheus::Labels;

/// A controller: its kind and name.
type Controller = (Box<str>, Box<str>);

/// What is known of pods beside their samples.
#[derive(Debug, Default)]
pub(super) struct PodFacts {
    owners: HashMap<Key, Controller>,
    /// The controllers of ReplicaSets and Jobs, by their kind.
    controllers: HashMap<&'static str, HashMap<Key, Controller>>,
    killed: HashSet<Key>,
    ended: HashMap<Key, Phase>,
    waiting: HashMap<Key, Phase>,
    /// The pods of a list that is read beside samples.
    pub(super) listed: Listed,
}

/// When a pod was in a phase: in one in which it has ended, or in the one in which it waits.
#[derive(Debug, Default)]
pub(super) struct Phase {
    /// More than 0 where it was.
    samples: Samples,
    /// The scrape in which a sample without a time says so first.
    scrape: Option<u32>,
}

/// What a series of kube-state-metrics is about.
pub(super) enum Fact {
    /// Not a series of pods and their owners.
    Other,
    /// All that its labels say is taken; its samples say nothing more.
    Taken,
    /// Something that happened to a pod, in each sample above 0.
    Event(Event, Key),
}

/// What can happen to a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// It was ended for lack of memory.
    Killed,
    /// It has ended, well or not.
    Ended,
    /// It waits to start.
    Waits,
}

impl PodFacts {
    /// Takes what the labels say.
    pub(super) fn add(&mut self, labels: &Labels) -> Fact {
        let Some(name) = labels.name().filter(|name| name.starts_with("kube_")) else {
            return Fact::Other;
        };
        if name == POD_OWNER {
            if let Some((pod, owner)) = Key::of(labels, "pod").zip(controller(labels)) {
                self.owners.insert(pod, owner);
            }
            return Fact::Taken;
        }
        let event = |event, happened: bool| match Key::of(labels, "pod").filter(|_| happened) {
            Some(pod) => Fact::Event(event, pod),
            None => Fact::Taken,
        };
        if name == TERMINATED_REASON {
            return event(Event::Killed, labels.get("reason") == Some(OOM_KILLED));
        }
        if name == POD_PHASE {
            let phase = labels.get("phase").unwrap_or("");
            return match phase == WAITING_PHASE {
                true => event(Event::Waits, true),
                false => event(Event::Ended, ENDED_PHASES.contains(&phase)),
            };
        }
        let Some((_, kind, label)) = CONTROLLER_OWNERS.iter().find(|(metric, ..)| *metric == name)
        else {
            return Fact::Other;
        };
        if let Some((of, owner)) = Key::of(labels, label).zip(controller(labels)) {
            self.controllers.entry(kind).or_default().insert(of, owner);
        }
        Fact::Taken
    }

    /// Notes a sample of an event: whether it was so, when, and in which scrape without times.
    pub(super) fn note(
        &mut self,
        event: Event,
        pod: &Key,
        is_so: bool,
        at_ms: Option<i64>,
        scrape: u32,
    ) {
        match event {
            Event::Killed if is_so => {
                self.killed.insert(pod.clone());
            }
            Event::Killed => {}
            Event::Ended | Event::Waits => {
                let phases = match event {
                    Event::Ended => &mut self.ended,
                    _ => &mut self.waiting,
                };
                // What is before the first time says nothing, and most pods have not ended.
                if !is_so && !phases.contains_key(pod) {
                    return;
                }
                let phase = phases.entry(pod.clone()).or_default();
                match at_ms {
                    Some(at_ms) => phase.samples.push(Origin::default(), at_ms, u32::from(is_so)),
                    None if is_so => {
                        phase.scrape.get_or_insert(scrape);
                    }
                    None => {}
                }
            }
        }
    }

    /// Puts everything in order, once all is read.
    pub(super) fn settle(&mut self) {
        let phases = self.ended.values_mut().chain(self.waiting.values_mut());
        phases.for_each(|phase| phase.samples.settle());
    }

    /// The pods that anything is known of, in one cluster or another.
    pub(super) fn pods(&self) -> impl Iterator<Item = &Key> {
        self.owners.keys().chain(&self.killed).chain(self.ended.keys()).chain(self.waiting.keys())
    }

    /// Whether a pod was ended for lack of memory.
    pub(super) fn was_killed(&self, pod: &Key) -> bool {
        known_of(pod, |pod| self.killed.get(pod)).is_some()
    }

    /// When a pod had ended, if it has.
    pub(super) fn ended(&self, pod: &Key) -> Option<&Phase> {
        known_of(pod, |pod| self.ended.get(pod))
    }

    /// When a pod waited, if it did.
    pub(super) fn waiting(&self, pod: &Key) -> Option<&Phase> {
        known_of(pod, |pod| self.waiting.get(pod))
    }

    /// The workload that a list has of a pod, or, where `by_owner` allows, of others with its owner.
    /// A list is of one cluster, and does not say of which.
    pub(super) fn listed(&self, pod: &Key, by_owner: bool) -> Option<&Arc<str>> {
        let of_owner = || {
            let told = self.owner(pod).unwrap_or_else(|| owner::of_pod(&pod.name));
            self.listed.of_owner(&pod.namespace, told)
        };
        self.listed.of_pod(&pod.namespace, &pod.name).or_else(|| by_owner.then(of_owner)?)
    }

    /// The owner of a pod, where one is known: the Deployment behind a ReplicaSet, the CronJob
    /// behind a Job.
    pub(super) fn owner(&self, pod: &Key) -> Option<&str> {
        if self.owners.is_empty() {
            return None;
        }
        let (kind, name) = known_of(pod, |pod| self.owners.get(pod))?;
        let behind = self.controllers.get(&**kind);
        let behind = behind.and_then(|all| known_of(&pod.beside(name), |key| all.get(key)));
        Some(match behind {
            Some((_, name)) => name,
            None => owner::of_controller(kind, name),
        })
    }
}

/// What is known of a pod or controller: of this very one, or where no label tells the cluster.
fn known_of<'f, T>(of: &Key, find: impl Fn(&Key) -> Option<&'f T>) -> Option<&'f T> {
    find(of).or_else(|| find(&of.without_cluster()?))
}

impl Phase {
    /// The samples of what a pod asks for without those at which it was in the phase. What a sample says holds
    /// until the next, which may be missing where a query leaves out zeros: a pod of the same name
    /// runs again.
    pub(super) fn without(&self, asked: &Samples) -> Samples {
        let step = self.samples.tracks().filter_map(Track::step_ms).min();
        let holds_ms = step.map_or(0, |step| step.saturating_mul(3) / 2).max(LOOKBACK_MS);
        let told: Vec<(i64, u32)> = together(std::iter::once(&self.samples)).collect();
        asked.only(|at_ms| {
            let last = told.partition_point(|(from, _)| *from <= at_ms).checked_sub(1);
            let (from, is_so) = last.map_or((i64::MIN, 0), |last| told[last]);
            is_so == 0 || at_ms > from.saturating_add(holds_ms)
        })
    }

    /// Whether it was so in this scrape without times on, given the moments of all.
    pub(super) fn in_scrape(&self, scrape: u32, instants: &[u32]) -> bool {
        let instant = |scrape: u32| instants.get(scrape as usize).copied().unwrap_or(0);
        self.scrape.is_some_and(|first| instant(first) <= instant(scrape))
    }
}

/// The owner that a series names; `None` where there is none, or only a node or a second owner.
fn controller(labels: &Labels) -> Option<Controller> {
    let kind = labels.get("owner_kind").filter(|kind| !matches!(*kind, "<none>" | "Node"))?;
    let name = clean_name(labels.get("owner_name")?);
    let is_owner = !matches!(&*name, "" | "<none>");
    let is_controller = labels.get("owner_is_controller") != Some("false");
    (is_owner && is_controller).then(|| (kind.into(), name.into()))
}
