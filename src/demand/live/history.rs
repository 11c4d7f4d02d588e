//! What a server is asked, over which times and in which parts.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Server;
use super::http::Failure;
use crate::demand::time::{DAY_MS, Span, seconds};
use crate::demand::usage::{Reading, Usage};
use crate::error::{Diagnostic, Error, Result};

/// The most points per series that Prometheus gives in one answer.
const MAX_POINTS: i64 = 11_000;
/// Small answers make no better progress bar.
const MIN_POINTS: i64 = 60;
/// The first pause before a server is asked again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// No pause is longer, whatever the server wishes.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What to ask.
#[derive(Debug, Clone)]
pub struct Query {
    /// The expression; `None` is for all that [`Usage::reading`] understands.
    pub promql: Option<String>,
    /// How far back from now.
    pub window: Span,
    /// Distance of the samples.
    pub step: Span,
    /// Whether memory is the highest value that the server has, instead of those at the steps.
    pub peaks: bool,
}

/// How far a query is.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Steps of time answered.
    pub done: u64,
    /// Steps of time in all.
    pub steps: u64,
    /// Why it is waiting.
    pub waiting: Option<String>,
}

/// Times at one distance, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Times {
    first: i64,
    step: i64,
    count: i64,
}

impl Times {
    fn last(self) -> i64 {
        self.first + (self.count - 1) * self.step
    }

    /// The window up to now: its steps, at whole multiples of the step, so that servers answer from
    /// their caches; and the present moment, where that is later than the last of them.
    fn of(query: &Query) -> (Times, Option<Times>) {
        let step = query.step.ms();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let end = now.div_euclid(step) * step;
        let count = query.window.ms() / step + 1;
        let steps = Times { first: end - (count - 1) * step, step, count };
        // Thanos moves times to multiples of the step.
        let unit = step.min(1_000);
        let present = Times { first: now.div_euclid(unit) * unit, step: unit, count: 1 };
        (steps, (present.first > end).then_some(present))
    }
}

/// One history as it is being asked for.
struct Asking<'a> {
    server: &'a Server,
    agent: ureq::Agent,
    /// How many points to ask for at once: fewer once the server found it too much.
    points: i64,
    progress: Progress,
    report: &'a mut dyn FnMut(Progress),
    /// What the server warned of, each once.
    warnings: Vec<Diagnostic>,
}

impl Server {
    /// Asks for everything in the window up to now and hands it to `usage`. Returns the server's
    /// warnings.
    ///
    /// # Errors
    /// The server cannot be reached, refuses, or has no such series (exit 3).
    pub fn ask(
        &self,
        query: &Query,
        usage: &mut Usage,
        report: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Diagnostic>> {
        let (steps, present) = Times::of(query);
        let times: Vec<Times> = [Some(steps), present].into_iter().flatten().collect();
        let of_all: u64 = times.iter().map(|times| times.count.unsigned_abs()).sum();
        let mut asking = Asking {
            server: self,
            agent: self.agent(),
            points: (DAY_MS / steps.step).clamp(MIN_POINTS, MAX_POINTS - 1),
            progress: Progress { steps: of_all, ..Progress::default() },
            report,
            warnings: Vec::new(),
        };
        let by_default = || usage.reading().promql(steps.first, steps.step);
        let promql = query.promql.clone().unwrap_or_else(by_default);
        if query.peaks {
            usage.expect_peaks();
        }
        for times in &times {
            usage.begin_parts(&self.shown);
            asking.ask(&promql, *times, usage)?;
        }
        if usage.sources().last().is_some_and(|source| source.matched == 0) {
            return Err(asking.nothing(query, usage));
        }
        let metrics = usage.noted_metrics();
        asking.progress.steps += of_all * metrics.len() as u64;
        for metric in metrics {
            usage.begin_peaks(&metric, steps.step);
            // Up to the present moment it is less than a step.
            let since = present.map_or(steps.step, |present| present.first - steps.last());
            let windows = [steps.step, since];
            let asked = times.iter().zip(windows).try_for_each(|(times, window)| {
                asking.ask(&Reading::highest(&metric, window), *times, usage)
            });
            usage.end_peaks();
            if let Err(refused) = asked {
                let why = refused.problems.first().map_or("", |problem| &problem.message);
                asking.warnings.push(self.problem(format!(
                    "memory is the highest at the steps of {}, since what is between them cannot be asked for: {why}; a shorter --step sees more",
                    query.step
                )));
                break;
            }
        }
        Ok(asking.warnings)
    }
}

impl Asking<'_> {
    /// Asks for an expression at all these times, part by part.
    fn ask(&mut self, promql: &str, times: Times, usage: &mut Usage) -> Result<()> {
        let mut done = 0;
        while done < times.count {
            let count = self.points.min(times.count - done);
            let part = Times { first: times.first + done * times.step, count, ..times };
            match self.part(promql, part, usage) {
                Ok(warnings) => {
                    for warning in warnings {
                        if !self.warnings.contains(&warning) {
                            self.warnings.push(warning);
                        }
                    }
                    done += count;
                    self.progress.done += count.unsigned_abs();
                }
                Err(Failure::TooMuch(_)) if count > 1 => self.points = (count / 2).max(1),
                Err(Failure::TooMuch(problem)) => {
                    return Err(Error::input(problem).hint(
                        "ask for less: narrow the labels with --query, or make --step longer",
                    ));
                }
                Err(Failure::Busy(problem, _)) => {
                    return Err(Error::input(problem).hint(
                        "is the server up? curl URL/-/ready tells; from outside Kubernetes: kubectl port-forward svc/prometheus-operated 9090",
                    ));
                }
                Err(Failure::Final(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// One request, again and again while the server is down or busy.
    fn part(
        &mut self,
        promql: &str,
        times: Times,
        usage: &mut Usage,
    ) -> std::result::Result<Vec<Diagnostic>, Failure> {
        (self.report)(self.progress.clone());
        let range = [
            ("query", promql.to_string()),
            ("start", seconds(times.first)),
            ("end", seconds(times.last())),
            ("step", seconds(times.step)),
        ];
        let mut tries = 0;
        loop {
            match self.server.request(&self.agent, &range, usage) {
                Err(Failure::Busy(problem, wish)) if tries < self.server.retries => {
                    let pause = wish.unwrap_or(FIRST_PAUSE * 2u32.saturating_pow(tries));
                    let waiting = Some(format!("waiting: {}", problem.message));
                    (self.report)(Progress { waiting, ..self.progress.clone() });
                    thread::sleep(pause.min(LONGEST_PAUSE));
                    tries += 1;
                }
                Err(Failure::Busy(problem, wish)) if tries > 0 => {
                    let message = format!("{} (asked {} times)", problem.message, tries + 1);
                    return Err(Failure::Busy(Diagnostic { message, ..problem }, wish));
                }
                outcome => return outcome,
            }
        }
    }

    /// Nothing was found: what is there instead?
    fn nothing(&self, query: &Query, usage: &Usage) -> Error {
        let matching = r#"{__name__=~"(?i).*(fb_used|gpu.*mem.*used|mem.*used.*gpu|vram).*"}"#;
        let parameters = [("match[]", matching.to_string())];
        let answer = self.server.get(&self.agent, "/api/v1/label/__name__/values", &parameters);
        let json =
            answer.ok().and_then(|answer| answer.into_body().read_json::<serde_json::Value>().ok());
        let names = json.as_ref().and_then(|json| json.get("data")?.as_array());
        let names = names.into_iter().flatten().filter_map(|name| name.as_str());
        let asked = if query.promql.is_some() { Vec::new() } else { usage.reading().asked() };
        let (known, others): (Vec<&str>, Vec<&str>) = names.partition(|name| asked.contains(name));
        let what = query.promql.clone().unwrap_or_else(|| asked.join(", "));
        let problem = self.server.problem(format!(
            "has no series for {} in the last {}",
            super::http::shorten_more(&what),
            query.window
        ));
        let few = |names: &[&str]| names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
        Error::input(problem).hint(match (&known[..], &others[..]) {
            ([], []) => "is dcgm-exporter running and scraped? its target shows on the server's /targets page; else name your metric with --metric".into(),
            ([], others) => format!("it has {}: give one with --metric", few(others)),
            (known, _) => format!("it has {} of another time: make --window longer", few(known)),
        })
    }
}
