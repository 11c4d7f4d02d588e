//! What others do while a run is at work: they create and destroy instances, units take their
//! processes along, NVML needs a moment. The real binary, or a session, over the fake libnvidia-ml.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::rehearsal::*;
use fake_nvml::{Node, Process};
use migplan::apply::driver::{Code, InstanceId, MigDriver};
use migplan::apply::journal::Purpose;
use migplan::apply::services::Services;
use migplan::apply::{
    Action, ApplyOptions, Event, Interrupt, Operator, Outcome, Patience, Phase, Proposal, Session,
};
use migplan::error::{Error, ExitCode, Result};
use migplan::hardware::Catalogue;
use migplan::mig_parted::Config;
use migplan::view::text::changes;

/// A `systemctl` for which `nvidia-dcgm` runs; while it stops that, `also` is done.
fn while_stopping(rehearsal: &Rehearsal, also: &str) {
    systemctl(rehearsal, &["nvidia-dcgm"]);
    let script = std::fs::read_to_string(rehearsal.path("systemctl")).unwrap();
    let also = format!("[ \"$1\" = stop ] && {{ {also}; }}\nexit 0\n");
    rehearsal.write("systemctl", &(script + &also));
}

#[test]
fn what_is_created_while_a_unit_stops_is_not_touched() {
    // Beside what is there, or instead of what would go: then it has the id of that.
    let beside: fn(&mut Node) = |node| {
        put(node, 0, "1g.10gb", 2);
    };
    let instead: fn(&mut Node) = |node| {
        node.gpus[0].instances.remove(0);
        put(node, 0, "1g.10gb", 2);
    };
    let node = laid_out("1xh100-80gb", "h100-80gb", &[("1g.10gb", 0), ("3g.40gb", 4)]);
    for (edit, wanted) in [(beside, "{1g.10gb: 1}"), (instead, "{3g.40gb: 1}")] {
        let rehearsal = Rehearsal::new(&node);
        rehearsal.config(&[("all", wanted)]);
        let mut other = node.clone();
        edit(&mut other);
        other.save(&rehearsal.path("other.json")).unwrap();
        while_stopping(&rehearsal, "mv other.json fake-nvml.json");
        let ran = rehearsal.migplan(&["apply", "--yes", "--stop", "nvidia-dcgm"]);
        assert_eq!(ran.code, 7, "{}", ran.stderr);
        assert!(ran.stderr.contains("GPU 0 is not as it was a moment ago"), "{}", ran.stderr);
        assert_eq!(rehearsal.load(), other);
        assert_eq!(units(&rehearsal), ["stop nvidia-dcgm", "start nvidia-dcgm"]);
        // A run that has changed nothing is none to go back from.
        assert_eq!(runs(&rehearsal), [] as [serde_json::Value; 0]);
    }
}

#[test]
fn an_id_that_another_instance_has_by_now_names_nothing() {
    let node = laid_out("1xh100-80gb", "h100-80gb", &[("1g.10gb", 2)]);
    let rehearsal = Rehearsal::new(&node);
    let (id, profile_id) =
        (node.gpus[0].instances[0].id, node.gpus[0].profile("1g.10gb").unwrap().id);
    let mut driver = rehearsal.driver().unwrap();
    let was = InstanceId { gpu: 0, profile_id, id, start: 0 };
    let refused = [
        driver.destroy_compute(was, 0),
        driver.create_compute(was, 1, None),
        driver.destroy_instance(was),
    ];
    for answer in refused {
        assert_eq!(answer.unwrap_err().code, Code::NOT_FOUND);
    }
    assert_eq!(rehearsal.load(), node);
    driver.destroy_compute(InstanceId { start: 2, ..was }, 0).unwrap();
}

#[test]
fn a_gpu_that_others_change_while_another_is_changed_is_left_alone() {
    let mut node = Node::new("1xa100-80gb,1xh100-80gb").unwrap();
    lay_out(&mut node, 1, &board("h100-80gb"), &[]);
    put(&mut node, 1, "3g.40gb", 4);
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("[0]", "{3g.40gb: 2}"), ("[1]", "{7g.80gb: 1}")]);
    let mut other = node.clone();
    (other.gpus[0].mode, other.gpus[0].pending) = (true, true);
    put(&mut other, 1, "1g.10gb", 0);
    other.save(&rehearsal.path("other.json")).unwrap();
    after_a_reset(&rehearsal, "[ -e other.json ] && exec mv other.json fake-nvml.json\n:");
    let ran = rehearsal.migplan(&["apply", "--yes", "--reset"]);
    assert_eq!(ran.code, 8, "{}", ran.stderr);
    assert!(ran.stderr.contains("GPU 1 is not as it was a moment ago"), "{}", ran.stderr);
    let after = rehearsal.load();
    assert_eq!(after.essence()[0], node.essence()[0]);
    assert_eq!(after.gpus[1], other.gpus[1]);
}

/// Creates an instance when a step begins, as somebody else would.
struct Creator<'r> {
    rehearsal: &'r Rehearsal,
    when: (Action, Phase),
    start: u32,
}

impl Operator for Creator<'_> {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Begin(step, phase) = event
            && (step.action, *phase) == self.when
        {
            self.rehearsal.edit(|node| {
                if node.gpus[0].instances.iter().all(|i| i.start != self.start) {
                    put(node, 0, "1g.10gb", self.start);
                }
            });
        }
    }

    fn confirm(&mut self, _: &Proposal<'_>) -> Result<()> {
        Ok(())
    }
}

/// How a session fails while somebody else creates an instance at 0 as soon as the first of that phase
/// is to be created.
fn while_others_create(
    rehearsal: &Rehearsal,
    phase: Phase,
    run: impl FnOnce(&mut Session<'_>) -> Result<Outcome>,
) -> Error {
    let mut others = Creator { rehearsal, when: (Action::Create, phase), start: 0 };
    let mut saves = &*rehearsal.state_dir();
    rehearsal.session_of(&mut saves, &mut others, false, run).unwrap_err()
}

fn config(profiles: &str) -> Config {
    Config::parse(&yaml(&[("all", profiles)]), "config.yaml").unwrap()
}

#[test]
fn the_way_back_destroys_nothing_that_somebody_else_has_created() {
    let create = "nvmlDeviceCreateGpuInstanceWithPlacement";
    let first = laid_out("1xh100-80gb", "h100-80gb", &[("3g.40gb", 4)]);
    let mut with_it = first.clone();
    put(&mut with_it, 0, "1g.10gb", 0);
    let rehearsal = Rehearsal::new(&first);
    let told = "GPU 0: 1g.10gb at memory slice 0 was created by somebody else since";

    // The second instance is refused once the first is there.
    rehearsal.edit(|node| node.faults = vec![fault(create, 2, Some(23), false, false)]);
    let error = while_others_create(&rehearsal, Phase::Apply, |session| {
        session.apply(&config("{3g.40gb: 1, 1g.10gb: 2}"), None, "a")
    });
    assert_eq!(error.code, ExitCode::RolledBack, "{error}");
    assert!(error.to_string().contains(told), "{error}");
    assert_eq!(rehearsal.load().essence(), with_it.essence());

    // Nor does a rollback.
    rehearsal.save(&first);
    rehearsal.apply(&yaml(&[("all", "{2g.20gb: 1}")])).unwrap();
    let error = while_others_create(&rehearsal, Phase::Rollback, |session| {
        session.roll_back(migplan::apply::Target::LastApply)
    });
    assert_eq!(error.code, ExitCode::RollbackIncomplete, "{error}");
    assert!(error.to_string().contains(told), "{error}");
    assert_eq!(rehearsal.load().essence(), with_it.essence());
}

/// Also where it is just what the run was about to create.
#[test]
fn what_somebody_else_has_created_in_our_place_stays() {
    let first = laid_out("1xh100-80gb", "h100-80gb", &[("3g.40gb", 4)]);
    let rehearsal = Rehearsal::new(&first);
    let change = rehearsal.apply(&yaml(&[("all", "{3g.40gb: 1, 1g.10gb: 2}")])).unwrap();
    let start = change.gpus[0].change.create[1].placement.start;
    rehearsal.save(&first);
    rehearsal.forget_saved_state();
    let when = (Action::Create, Phase::Apply);
    let mut others = Creator { rehearsal: &rehearsal, when, start };
    let mut saves = &*rehearsal.state_dir();
    let error = rehearsal.session_of(&mut saves, &mut others, false, |session| {
        session.apply(&config("{3g.40gb: 1, 1g.10gb: 2}"), None, "a")
    });
    let error = error.unwrap_err();
    assert_eq!(error.code, ExitCode::RolledBack, "{error}");
    assert!(error.to_string().contains("somebody else has just created it there"), "{error}");
    let mut with_it = first.clone();
    put(&mut with_it, 0, "1g.10gb", start);
    assert_eq!(rehearsal.load().essence(), with_it.essence());
}

#[test]
fn a_mode_does_not_go_back_under_what_somebody_else_has_created() {
    let first = Node::new("1xh100-80gb").unwrap();
    let rehearsal = Rehearsal::new(&first);
    let create = "nvmlDeviceCreateGpuInstanceWithPlacement";
    rehearsal.edit(|node| node.faults = vec![fault(create, 1, Some(23), false, false)]);
    let error = while_others_create(&rehearsal, Phase::Apply, |session| {
        session.apply(&config("{3g.40gb: 1}"), None, "a")
    });
    assert_eq!(error.code, ExitCode::RollbackIncomplete, "{error}");
    assert!(error.to_string().contains("was created by somebody else since"), "{error}");
    let after = rehearsal.load().essence();
    assert_eq!(after, laid_out("1xh100-80gb", "h100-80gb", &[("1g.10gb", 0)]).essence());
}

#[test]
fn nvml_may_need_a_moment_after_a_reset() {
    let first = Node::new("1xa100-80gb").unwrap();
    let rehearsal = Rehearsal::new(&first);
    // A file that is no node's: nvmlInit answers that the driver is not loaded.
    let moment = "mv fake-nvml.json up.json; echo '{' > fake-nvml.json\n(sleep 0.7; mv up.json fake-nvml.json) > /dev/null 2>&1 &";
    after_a_reset(&rehearsal, moment);
    rehearsal.config(&[("all", "{3g.40gb: 2}")]);
    let ran = rehearsal.migplan(&["apply", "--yes", "--reset"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(rehearsal.load().gpus[0].instances.len(), 2);
    let back = rehearsal.migplan(&["rollback", "--yes", "--reset"]);
    assert_eq!(back.code, 0, "{}", back.stderr);
    assert_eq!(rehearsal.load().essence(), first.essence());
    // One that needs longer has still been reset, and that is told.
    after_a_reset(&rehearsal, &moment.replace("0.7", "6.5"));
    let ran = rehearsal.migplan(&["apply", "--yes", "--reset"]);
    assert_eq!(ran.code, 8, "{}", ran.stderr);
    assert!(ran.stderr.contains("nvmlInit_v2: not initialised"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("was not reset"), "{}", ran.stderr);
    assert_eq!(rehearsal.load().essence(), first.essence());
}

#[test]
fn units_of_a_run_that_died_are_started_also_by_one_that_is_refused() {
    let metric = |rehearsal: &Rehearsal, number: u32| {
        let metrics = rehearsal.migplan(&["status", "--format", "prometheus"]).stdout;
        let line = format!("\nmigplan_units_not_started {number}\n");
        assert!(metrics.contains(&line), "{metrics}");
    };
    for command in ["apply", "rollback"] {
        let rehearsal = Rehearsal::new(&two_gpus());
        rehearsal.config(BOTH);
        systemctl(&rehearsal, &["nvidia-dcgm"]);
        rehearsal.edit(|node| node.faults = vec![fault("change", HALF_WAY, None, false, false)]);
        let stop = ["apply", "--yes", "--stop", "nvidia-dcgm"];
        assert_eq!(rehearsal.migplan(&stop).code, -1);
        systemctl(&rehearsal, &[]);
        assert_eq!(units(&rehearsal), ["stop nvidia-dcgm"]);
        rehearsal.edit(|node| {
            node.faults.clear();
            occupy(node, 0, 2, 4711);
        });
        rehearsal.config(&[("[0]", "{7g.80gb: 1}")]);
        metric(&rehearsal, 1);
        let told = "run 1 has stopped nvidia-dcgm, and nothing has started it since";
        let dry = rehearsal.migplan(&[command, "--dry-run"]);
        assert!(dry.stderr.contains("(run 1) was interrupted"), "{}", dry.stderr);
        assert!(dry.stderr.contains(told), "{}", dry.stderr);
        assert_eq!(units(&rehearsal), [] as [String; 0]);
        let before = rehearsal.load();
        // Refused for what runs, or, where a half-way GPU can go back, for want of an answer.
        let ran = match command {
            "apply" => rehearsal.migplan(&["apply", "--yes"]),
            _ => rehearsal.migplan(&["rollback"]),
        };
        assert_eq!(ran.code, 7, "{}", ran.stderr);
        assert!(ran.stderr.contains("with GPU 1 half-way"), "{}", ran.stderr);
        assert!(ran.stderr.contains("starting nvidia-dcgm"), "{}", ran.stderr);
        assert_eq!(units(&rehearsal), ["start nvidia-dcgm"]);
        assert_eq!(rehearsal.load(), before);
        metric(&rehearsal, 0);
    }
}

/// A unit that runs process 4711; whether that ends when the unit is stopped.
struct Unit<'r> {
    rehearsal: &'r Rehearsal,
    ends: bool,
    asked: Vec<String>,
}

impl Services for Unit<'_> {
    fn is_active(&mut self, _: &str) -> std::result::Result<bool, String> {
        Ok(true)
    }

    fn stopped_with(&mut self, _: &str) -> std::result::Result<Vec<String>, String> {
        Ok(Vec::new())
    }

    fn is_gone(&mut self, _: &str) -> bool {
        false
    }

    fn stop(&mut self, unit: &str) -> std::result::Result<(), String> {
        self.asked.push(format!("stop {unit}"));
        let ended = |process: &Process| process.pid == 4711;
        self.rehearsal.edit(|node| {
            let computes = node.gpus.iter_mut().flat_map(|gpu| &mut gpu.instances);
            for compute in computes.flat_map(|i| &mut i.compute).filter(|_| self.ends) {
                compute.processes.retain(|process| !ended(process));
            }
        });
        Ok(())
    }

    fn start(&mut self, unit: &str) -> std::result::Result<(), String> {
        self.asked.push(format!("start {unit}"));
        Ok(())
    }

    fn owns(&mut self, unit: &str, pid: u32) -> bool {
        (unit, pid) == ("inference", 4711)
    }
}

#[test]
fn what_runs_in_a_unit_that_is_stopped_is_no_refusal() {
    let first = laid_out("1xh100-80gb", "h100-80gb", &[("1g.10gb", 0), ("1g.10gb", 1)]);
    for (pid, ends) in [(4711, true), (4711, false), (4712, true)] {
        let mut node = first.clone();
        occupy(&mut node, 0, 0, 4711);
        occupy(&mut node, 0, 1, pid);
        let rehearsal = Rehearsal::new(&node);
        let mut unit = Unit { rehearsal: &rehearsal, ends, asked: Vec::new() };
        // Only for what does not end with the unit.
        let wait = Duration::from_secs(if pid == 4711 { 600 } else { 0 });
        let began = Instant::now();
        let done = Session {
            driver: &mut rehearsal.driver().unwrap(),
            catalogue: &Catalogue::built_in(),
            options: ApplyOptions {
                stop: vec!["inference".into()],
                wait,
                patience: Patience(Vec::new()),
                ..ApplyOptions::default()
            },
            saves: &mut &*rehearsal.state_dir(),
            services: &mut unit,
            interrupts: &mut || Ok(Interrupt::default()),
            operator: &mut Yes,
        }
        .apply(&config("{7g.80gb: 1}"), None, "a");
        assert!(began.elapsed() < Duration::from_secs(60));
        if pid == 4711 {
            assert_eq!(unit.asked, ["stop inference", "start inference"]);
        } else {
            assert_eq!(unit.asked, [] as [String; 0]);
        }
        if pid == 4711 && ends {
            assert!(matches!(done, Ok(Outcome::Changed(_))), "{done:?}");
            assert_eq!(rehearsal.load().gpus[0].instances.len(), 1);
            continue;
        }
        let error = done.unwrap_err();
        assert_eq!(error.code, ExitCode::Refused, "{error}");
        let told = match ends {
            false => "GPU 0: train.py (pid 4711) runs in what must go",
            true => "in use by train.py (pid 4712)",
        };
        assert!(error.to_string().contains(told), "{error}");
        assert_eq!(rehearsal.load(), node);
        assert_eq!(runs(&rehearsal), [] as [serde_json::Value; 0]);
        if ends {
            let hint = error.hint.unwrap_or_default();
            assert!(hint.contains("what runs there is in no unit of --stop"), "{hint}");
        }
    }
}

#[test]
fn one_bad_reading_does_not_end_a_wait() {
    let mut node = laid_out("1xh100-80gb", "h100-80gb", &[("3g.40gb", 4)]);
    occupy(&mut node, 0, 4, 4711);
    let wait = ["apply", "--yes", "--wait", "5m"];
    // That the driver does not answer, that a GPU cannot be read, and that it cannot do MIG.
    for (call, code) in
        [("nvmlDeviceGetCount_v2", 999), ("nvmlDeviceGetMigMode", 999), ("nvmlDeviceGetMigMode", 3)]
    {
        let rehearsal = Rehearsal::new(&node);
        rehearsal.config(&[("all", "{7g.80gb: 1}")]);
        rehearsal.edit(|node| node.faults = vec![fault(call, 2, Some(code), false, false)]);
        let mut command = rehearsal.command();
        let child = command.args(wait).stderr(std::process::Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        rehearsal.edit(|node| computes(node, 0, 4)[0].processes.clear());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{call} {code}: {stderr}");
    }
    // Where every reading says so, it is believed.
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("all", "{7g.80gb: 1}")]);
    let lost = fault("nvmlDeviceGetCount_v2", 2, Some(999), true, false);
    rehearsal.edit(|node| node.faults = vec![lost]);
    let ran = rehearsal.migplan(&wait);
    assert_eq!(ran.code, 6, "{}", ran.stderr);
}

#[test]
fn what_no_wait_would_help_is_told_before_it() {
    let mut node = laid_out("1xh100-80gb", "h100-80gb", &[("3g.40gb", 4)]);
    occupy(&mut node, 0, 4, 4711);
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("all", "{7g.80gb: 1}")]);
    let refused = |arguments: &[&str], told: &str| {
        let ran = rehearsal.migplan(&[&["apply", "--wait", "10m"], arguments].concat());
        assert_eq!(ran.code, 7, "{}", ran.stderr);
        assert!(ran.stderr.contains(told) && !ran.stderr.contains("waiting:"), "{}", ran.stderr);
    };
    refused(&[], "there is no terminal to ask on");
    std::fs::create_dir(rehearsal.state_dir()).unwrap();
    let all_may = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(rehearsal.state_dir(), all_may).unwrap();
    refused(&["--yes"], "others may write to it");
}

#[test]
fn a_run_that_a_unit_has_stopped_is_not_the_last_one() {
    let first = two_gpus();
    let rehearsal = Rehearsal::new(&first);
    rehearsal.config(BOTH);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    systemctl(&rehearsal, &["nvidia-dcgm"]);
    fails_to(&rehearsal, "stop");
    rehearsal.config(&[("all", "{1g.10gb: 3}")]);
    let ran = rehearsal.migplan(&["apply", "--yes", "--stop", "nvidia-dcgm"]);
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    assert_eq!(rehearsal.migplan(&["rollback", "--yes"]).code, 0);
    assert_eq!(rehearsal.load().essence(), first.essence());
}

/// Keeps what it is asked.
struct Asked(Vec<(Purpose, String)>);

impl Operator for Asked {
    fn event(&mut self, _: &Event<'_>) {}

    fn confirm(&mut self, proposal: &Proposal<'_>) -> Result<()> {
        self.0.push((proposal.purpose, changes::question(proposal)));
        Ok(())
    }
}

#[test]
fn the_question_says_where_a_rollback_would_lead() {
    // Killed between the GPUs: GPU 0 is as wanted, GPU 1 as before.
    let (rehearsal, _) = killed(7);
    let mut asked = Asked(Vec::new());
    let mut apply = |profiles: &str| {
        let config = Config::parse(&yaml(&[("[1]", profiles)]), "c.yaml").unwrap();
        let mut saves = &*rehearsal.state_dir();
        let done = rehearsal
            .session_of(&mut saves, &mut asked, false, |session| session.apply(&config, None, "c"));
        assert!(done.is_ok(), "{done:?}");
    };
    apply("{4g.40gb: 1}");
    apply("{1g.10gb: 1}");
    let [(_, after_a_kill), (_, later)] = &asked.0[..] else { panic!("{:?}", asked.0) };
    let back = "`migplan rollback` comes back to the present state";
    let but = "; but on the GPUs of the interrupted run to the state before that run.";
    assert!(after_a_kill.contains(&format!("{back}{but}")), "{after_a_kill}");
    assert!(later.contains(&format!("{back}.")), "{later}");
}

#[test]
fn a_pending_mode_is_told_by_what_makes_it_current() {
    for (spec, told) in [
        ("1xa100-80gb", "MIG on, off after a reset"),
        ("1xh100-80gb", "MIG on, off pending: set it again once nothing holds the GPU"),
    ] {
        let mut node = Node::new(spec).unwrap();
        node.gpus[0].mode = true;
        let rehearsal = Rehearsal::new(&node);
        let status = rehearsal.migplan(&["status"]).stdout;
        assert!(status.contains(told), "{status}");
    }
}
