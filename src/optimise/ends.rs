//! What ends a search before it is done: time, or someone. Knows no model.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::options::PlanOptions;
use crate::error::{Error, ExitCode};

/// When a search ends before it is done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    /// At this time.
    pub deadline: Option<Instant>,
    /// Once it is true.
    pub stop: Option<Arc<AtomicBool>>,
    /// The time from the begin of the search to the deadline, for messages.
    limit: Option<Duration>,
}

impl Ends {
    /// Of a search that begins now.
    pub(crate) fn of(options: &PlanOptions) -> Ends {
        let limit = options.time_limit;
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        Ends { deadline, stop: options.stop.clone(), limit }
    }

    /// Whether someone has ended the search.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    /// Whether the search must end.
    pub(crate) fn now(&self) -> bool {
        self.stopped() || self.deadline.is_some_and(|d| Instant::now() >= d)
    }

    /// Why there is no plan where the search ended before it had one (exit 5).
    pub(crate) fn no_plan(&self) -> Error {
        let error = |message| Error::new(ExitCode::TimeLimit, message);
        match self.limit {
            _ if self.stopped() => error("interrupted before a plan was found".to_string()),
            Some(limit) => error(format!("no plan within {} s", limit.as_secs_f64()))
                .hint("give more time with --time-limit"),
            None => error("no plan was found".to_string()),
        }
    }
}
