//! What `apply` and `rollback` tell programs: JSON lines, one event each, schema
//! `migplan.events/v1`. Values in, structs out; knows no clock and writes nothing.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::apply::{Event, GpuChange, Outcome, Phase, Reached, Step};
use crate::error::{Error, ExitCode};

/// Schema key of the events.
pub const EVENTS_SCHEMA: &str = "migplan.events/v1";

/// One line.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EventLine {
    /// What happened.
    #[serde(flatten)]
    pub event: EventJson,
    /// When, in seconds since 1970.
    pub time: f64,
}

/// What happened.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventJson {
    /// What is going to change; always before the first step, and again where waiting has changed
    /// it: the last one counts.
    Changes {
        /// [`EVENTS_SCHEMA`].
        schema: &'static str,
        /// The GPUs that differ from what is wanted, those too that must not be changed as they are.
        gpus: Vec<ChangeJson>,
        /// Indices of the GPUs that are as wanted.
        unchanged: Vec<u32>,
    },
    /// Something that people should know.
    Warning {
        /// A sentence.
        message: String,
    },
    /// Waiting for busy instances.
    Waiting {
        /// What is in the way.
        reasons: Vec<String>,
    },
    /// A systemd unit is stopped.
    Stop {
        /// Its name.
        unit: String,
    },
    /// A systemd unit is started again.
    Start {
        /// Its name.
        unit: String,
    },
    /// A step begins.
    Begin {
        /// The step.
        step: Step,
        /// Which way it leads.
        phase: Phase,
    },
    /// A step is done.
    Done {
        /// The step.
        step: Step,
        /// Which way it leads.
        phase: Phase,
    },
    /// Something went wrong; the way back begins.
    Failed {
        /// A sentence.
        why: String,
    },
    /// The last event.
    Result {
        /// `applied`, `unchanged`, `planned`, `refused`, `rolled_back`, `rollback_incomplete`,
        /// `units_not_started` (exit code 9 too, but the GPUs are as `gpus` says) or `failed`.
        outcome: &'static str,
        /// Which state the GPUs of the change are in; `null` where none was to be changed.
        gpus: Option<Reached>,
        /// What the process exits with.
        exit_code: u8,
        /// What is wrong.
        errors: Vec<String>,
        /// What to do about it.
        hint: Option<String>,
    },
}

/// The change of one GPU.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ChangeJson {
    gpu: u32,
    board: String,
    /// The new MIG mode, where it changes.
    mig: Option<bool>,
    /// The mode that is pending afterwards, where only that changes: the present one where a pending
    /// change is cancelled.
    mig_pending: Option<bool>,
    reset: bool,
    /// Whether nothing on the GPU speaks against it; if something does, no GPU of the list is changed.
    permitted: bool,
    /// The processes, by id, that run in what must go: they are waited for, or the change is refused.
    in_use_by: Vec<u32>,
    keep: Vec<InstanceJson>,
    destroy: Vec<InstanceJson>,
    /// Instances that stay, while compute instances in them go or come.
    refit: Vec<InstanceJson>,
    create: Vec<InstanceJson>,
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct InstanceJson {
    profile: String,
    start: u32,
    size: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    gi: Option<u32>,
    /// Compute slices of its compute instances; none where one takes all of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    compute: Vec<u32>,
    /// Compute slices of those that go from an instance that stays.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    compute_destroyed: Vec<u32>,
    /// The same of those that come.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    compute_created: Vec<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    processes: Vec<u32>,
}

/// An event of a session; `None` for what is only for people.
pub fn event(event: &Event<'_>) -> Option<EventJson> {
    Some(match *event {
        Event::Warning(problem) => EventJson::Warning { message: problem.to_string() },
        Event::Difference(_) => return None,
        Event::Changes(_, change) => EventJson::Changes {
            schema: EVENTS_SCHEMA,
            gpus: change.gpus.iter().map(change_json).collect(),
            unchanged: change.unchanged.clone(),
        },
        Event::Waiting(reasons) => {
            EventJson::Waiting { reasons: reasons.iter().map(ToString::to_string).collect() }
        }
        Event::Stop(unit) => EventJson::Stop { unit: unit.to_string() },
        Event::Start(unit) => EventJson::Start { unit: unit.to_string() },
        Event::Begin(step, phase) => EventJson::Begin { step: step.clone(), phase },
        Event::Done(step, phase) => EventJson::Done { step: step.clone(), phase },
        Event::Failed(why) => EventJson::Failed { why: why.to_string() },
        Event::Ended(_) => return None,
    })
}

/// The last event of a session. `gpus`: which state it said that the GPUs are in.
pub fn result(result: &Result<Outcome, Error>, gpus: Option<Reached>) -> EventJson {
    let ended = |outcome| EventJson::Result {
        outcome,
        gpus,
        exit_code: ExitCode::Success as u8,
        errors: Vec::new(),
        hint: None,
    };
    match result {
        Ok(Outcome::Changed(_)) => ended("applied"),
        Ok(Outcome::Unchanged | Outcome::UnchangedButLeft) => ended("unchanged"),
        Ok(Outcome::Planned) => ended("planned"),
        Err(e) => EventJson::Result {
            outcome: match e.code {
                ExitCode::Refused => "refused",
                ExitCode::RolledBack => "rolled_back",
                ExitCode::RollbackIncomplete => match gpus {
                    Some(Reached::AsWanted | Reached::AsBefore) => "units_not_started",
                    _ => "rollback_incomplete",
                },
                _ => "failed",
            },
            gpus,
            exit_code: e.code as u8,
            errors: e.problems.iter().map(ToString::to_string).collect(),
            hint: e.hint.clone(),
        },
    }
}

fn change_json(change: &GpuChange) -> ChangeJson {
    let board = &change.board;
    let present = |i: &usize| {
        let instance = &change.present[*i];
        InstanceJson {
            profile: board.profiles[instance.profile].name.to_string(),
            start: instance.start,
            size: instance.size,
            gi: Some(instance.id),
            compute: board.profiles[instance.profile].parts(&instance.shape().compute).to_vec(),
            compute_destroyed: Vec::new(),
            compute_created: Vec::new(),
            processes: instance.processes().map(|p| p.pid).collect(),
        }
    };
    let steps = &change.change;
    let create = steps.create.iter().map(|c| {
        let profile = &board.profiles[c.placement.profile];
        InstanceJson {
            profile: profile.name.to_string(),
            start: c.placement.start,
            size: profile.memory_slices,
            gi: None,
            compute: profile.parts(&c.compute).to_vec(),
            compute_destroyed: Vec::new(),
            compute_created: Vec::new(),
            processes: Vec::new(),
        }
    });
    let refit = steps.refit.iter().map(|r| InstanceJson {
        compute_destroyed: change.compute_destroyed(r),
        compute_created: r.create.clone(),
        ..present(&r.instance)
    });
    ChangeJson {
        gpu: change.gpu,
        board: board.id.clone(),
        mig: change.mode.filter(|_| change.switches_mode()).map(|m| m.on),
        mig_pending: change.mode.filter(|_| !change.switches_mode()).map(|m| m.pending),
        reset: change.resets(),
        permitted: change.permitted(),
        in_use_by: change
            .in_use_by
            .iter()
            .map(|p| p.pid)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        keep: steps.keep.iter().map(present).collect(),
        destroy: steps.destroy.iter().map(present).collect(),
        refit: refit.collect(),
        create: create.collect(),
    }
}
