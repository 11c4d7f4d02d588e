//! Signals that ask for an end, for every command: they are noted, so that what is under way can be
//! ended in order. Only a second Ctrl-C, well after the first, ends the process at once.
//!
//! One event often arrives as two signals: systemd sends SIGHUP right after SIGTERM, `timeout` signals
//! its child and then the child's process group, a shell passes on the SIGHUP that the kernel sends to
//! its jobs as well. So no other signal than Ctrl-C is an answer to how long the end takes, and no
//! second one that comes with the first.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

/// The signals that are noted.
const SIGNALS: [(i32, &str); 3] = [(SIGINT, "SIGINT"), (SIGTERM, "SIGTERM"), (SIGHUP, "SIGHUP")];

/// How long after the first Ctrl-C a second one is one of its own.
const APART: Duration = Duration::from_secs(1);

/// Whether a signal has asked for an end.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    /// The signal's number; 0 while none has come.
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// From now on notes SIGINT, SIGTERM and SIGHUP, which until now ended the process. One that
    /// whoever started us has told us to ignore stays ignored: nohup does that with SIGHUP. A second
    /// Ctrl-C ends the process at once.
    ///
    /// # Errors
    /// The system does not let signals be noted.
    pub fn on_signals() -> io::Result<Interrupt> {
        let interrupt = Interrupt::default();
        for (signal, _) in SIGNALS.into_iter().filter(|(signal, _)| !is_ignored(*signal)) {
            let number = usize::try_from(signal).unwrap_or_default();
            flag::register_usize(signal, interrupt.signal.clone(), number)?;
        }
        a_second_ctrl_c_leaves()?;
        Ok(interrupt)
    }

    /// The name of the signal that has come.
    pub fn signal(&self) -> Option<&'static str> {
        let number = self.signal.load(Ordering::SeqCst);
        SIGNALS.iter().find(|(n, _)| usize::try_from(*n) == Ok(number)).map(|(_, name)| *name)
    }
}

/// From now on Ctrl-C sets the flag that this gives, and does not end the process; a second one does.
/// Where whoever started us has told us to ignore it, it stays ignored.
///
/// # Errors
/// The system does not let signals be noted.
pub fn on_ctrl_c() -> io::Result<Arc<AtomicBool>> {
    let pressed = Arc::new(AtomicBool::new(false));
    if !is_ignored(SIGINT) {
        flag::register(SIGINT, pressed.clone())?;
        a_second_ctrl_c_leaves()?;
    }
    Ok(pressed)
}

/// Lets a Ctrl-C that comes [`APART`] after the first one, or later, end the process at once.
fn a_second_ctrl_c_leaves() -> io::Result<()> {
    static WAITS: OnceLock<()> = OnceLock::new();
    if is_ignored(SIGINT) || WAITS.get().is_some() {
        return Ok(());
    }
    let leaves = Arc::new(AtomicBool::new(false));
    flag::register_conditional_shutdown(SIGINT, 128 + SIGINT, leaves.clone())?;
    let mut signals = Signals::new([SIGINT])?;
    thread::Builder::new().spawn(move || {
        if signals.forever().next().is_some() {
            thread::sleep(APART);
            leaves.store(true, Ordering::SeqCst);
        }
    })?;
    let _ = WAITS.set(());
    Ok(())
}

/// Whether this process ignores a signal; no where the system does not tell. Asked before the signal
/// is noted.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (signal - 1)) != 0
}
