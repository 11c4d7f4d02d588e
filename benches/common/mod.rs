//! What the benches share: how a piece of work is timed.

use std::time::Instant;

/// Runs, of which the fastest counts: others share the machine.
const RUNS: usize = 5;

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The seconds of the fastest of several runs, and the result of the last.
pub(crate) fn fastest<T>(mut run: impl FnMut() -> Outcome<T>) -> Outcome<(f64, T)> {
    let mut best = f64::INFINITY;
    let mut result = None;
    for _ in 0..RUNS {
        drop(result.take());
        let start = Instant::now();
        result = Some(run()?);
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok((best, result.ok_or("no run")?))
}
