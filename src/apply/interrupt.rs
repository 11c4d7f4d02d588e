//! Signals that ask for an end: the first one is noted, so that a change can be undone in order; a
//! second one ends the process at once, and the journal still knows the way back.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// The signals that are noted.
const SIGNALS: [(i32, &str); 3] = [(SIGINT, "SIGINT"), (SIGTERM, "SIGTERM"), (SIGHUP, "SIGHUP")];

/// Whether a signal has asked for an end.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    /// The signal's number; 0 while none has come.
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// From now on notes SIGINT, SIGTERM and SIGHUP, which until now ended the process. One that
    /// whoever started us has told us to ignore stays ignored: nohup does that with SIGHUP.
    ///
    /// # Errors
    /// The system does not let signals be noted.
    pub fn on_signals() -> io::Result<Interrupt> {
        let interrupt = Interrupt::default();
        let second = Arc::new(AtomicBool::new(false));
        let ignored = ignored();
        for (signal, _) in SIGNALS.into_iter().filter(|(signal, _)| ignored & bit(*signal) == 0) {
            // The handlers of a signal run in this order: a second signal finds the flag set.
            flag::register_conditional_shutdown(signal, 128 + signal, second.clone())?;
            flag::register(signal, second.clone())?;
            let number = usize::try_from(signal).unwrap_or_default();
            flag::register_usize(signal, interrupt.signal.clone(), number)?;
        }
        Ok(interrupt)
    }

    /// The name of the signal that has come.
    pub fn signal(&self) -> Option<&'static str> {
        let number = self.signal.load(Ordering::SeqCst);
        SIGNALS.iter().find(|(n, _)| usize::try_from(*n) == Ok(number)).map(|(_, name)| *name)
    }
}

/// The bit of a signal in a mask of the system.
fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// The signals that this process ignores, as a mask; none where the system does not tell.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
