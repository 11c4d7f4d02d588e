//! A search that takes long: what it reached so far on the terminal, a hint after a while, and
//! Ctrl-C, which ends it with the best plan so far.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget};

use super::output::{Console, bar};
use crate::interrupt;
use crate::optimise::{PlanOptions, Progress};
use crate::view::text;

/// From when on a terminal sees how far the search is.
const SHOW_AFTER: Duration = Duration::from_secs(1);
/// From when on `--time-limit` is named, also where there is no terminal.
const HINT_AFTER: Duration = Duration::from_secs(10);
const HINT: &str = "--time-limit SECONDS or Ctrl-C ends the search with the best plan so far";

/// Watches a search until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    bar: ProgressBar,
    /// What the search reached so far, in words.
    reached: Arc<Mutex<String>>,
    /// Ends the search; `None` where Ctrl-C cannot be caught.
    stop: Option<Arc<AtomicBool>>,
    /// Closing it ends the thread that waits to show the bar.
    done: Option<Sender<()>>,
    shows: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches from now on: the terminal is told how far the search is, and Ctrl-C ends it.
    pub(super) fn new(console: &Console) -> Watch {
        let stop = interrupt::on_ctrl_c().ok();
        let bar = bar(0, "{spinner} {msg} ({elapsed})").with_message("searching");
        bar.set_draw_target(ProgressDrawTarget::hidden());
        let (done, finished) = mpsc::channel::<()>();
        let reached = Arc::new(Mutex::new("searching".to_string()));
        let shows = {
            let (bar, console, reached) = (bar.clone(), *console, reached.clone());
            std::thread::spawn(move || {
                let over = |after| finished.recv_timeout(after) != Err(RecvTimeoutError::Timeout);
                if over(SHOW_AFTER) {
                    return;
                }
                if console.is_interactive() {
                    bar.set_draw_target(ProgressDrawTarget::stderr());
                    bar.enable_steady_tick(Duration::from_millis(200));
                }
                if over(HINT_AFTER - SHOW_AFTER) {
                    return;
                }
                let reached = reached.lock().map(|text| text.clone()).unwrap_or_default();
                bar.suspend(|| console.hint(&format!("{reached}; {HINT}")));
            })
        };
        Watch { bar, reached, stop, done: Some(done), shows: Some(shows) }
    }

    /// The same options for the search that is watched.
    pub(super) fn options(&self, options: &PlanOptions) -> PlanOptions {
        let (bar, reached) = (self.bar.clone(), self.reached.clone());
        let progress = Progress::new(move |progress| {
            let text = text::progress(&progress);
            bar.set_message(text.clone());
            if let Ok(mut reached) = reached.lock() {
                *reached = text;
            }
        });
        PlanOptions { stop: self.stop.clone(), progress: Some(progress), ..options.clone() }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.done.take());
        if let Some(shows) = self.shows.take() {
            // It only fails where it panicked, and has nothing to say then.
            let _ = shows.join();
        }
        self.bar.finish_and_clear();
    }
}
