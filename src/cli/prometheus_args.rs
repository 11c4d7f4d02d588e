//! The flags that turn Prometheus data into demand, shared by every command that takes demand.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files::{name_of, open_any, read_text};
use super::output::{Console, bar};
use super::values::whole;
use crate::demand::gather::Seen;
use crate::demand::live::{Query, Server};
use crate::demand::pods::Listed;
use crate::demand::prometheus;
use crate::demand::sizing::{self, Quantile, Rules};
use crate::demand::time::Span;
use crate::demand::usage::{
    DEFAULT_METRIC, GroupBy, Reading, Usage, UsageUnit, label_name, objection,
};
use crate::error::{Diagnostic, Error, ExitCode, Result};
use crate::hardware::Catalogue;
use crate::view::text;

const HEADING: &str = "Demand from Prometheus";
/// The flags that name samples: how they are read is of no use without one of them.
const SAMPLES: &str = "samples";

/// Demand from the memory that the teams' pods were seen to use.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(group = clap::ArgGroup::new(SAMPLES).args(["prometheus", "prometheus_url"]).multiple(true))]
pub struct PrometheusArgs {
    /// GPU memory from Prometheus or dcgm-exporter (repeatable; - is stdin)
    ///
    /// Answers of the HTTP API, what promtool prints, a scrape of dcgm-exporter or /federate; plain or
    /// gzip.
    #[arg(long, help_heading = HEADING, value_name = "FILE")]
    pub prometheus: Vec<PathBuf>,
    /// Ask this Prometheus, Thanos or Mimir, such as http://localhost:9090
    #[arg(long, help_heading = HEADING, value_name = "URL")]
    pub prometheus_url: Option<String>,
    /// The metric that holds GPU memory in use [default: DCGM_FI_DEV_FB_USED in whatever spelling,
    /// HAMi's and slurm-job-exporter's; where no sample shows a pod's memory, what it asks for]
    #[arg(long, help_heading = HEADING, value_name = "NAME", requires = SAMPLES, hide_short_help = true)]
    pub metric: Option<String>,
    /// The metric's unit, MiB or bytes [default: as its name or help text says, else MiB]
    #[arg(long, help_heading = HEADING, value_name = "UNIT", requires = SAMPLES, hide_short_help = true)]
    pub unit: Option<UsageUnit>,
    /// A replica's memory covers this share of the samples; 1 is the highest sample
    ///
    /// With 1 a server tells the highest value that it has, also between the steps; with less, the
    /// samples at the steps count.
    #[arg(long, help_heading = HEADING, value_name = "SHARE", allow_hyphen_values = true, default_value = "1", requires = SAMPLES, hide_short_help = true)]
    pub quantile: Option<Quantile>,
    /// The count covers this share of the time in which any replica ran; 1 is the most at once
    ///
    /// Over time each hour has its own count, the most at once in it, and this flag is refused.
    #[arg(long, help_heading = HEADING, value_name = "SHARE", allow_hyphen_values = true, default_value = "1", requires = SAMPLES, hide_short_help = true)]
    pub count_quantile: Option<Quantile>,
    /// Do not use workloads with fewer samples
    #[arg(long, help_heading = HEADING, value_name = "N", allow_hyphen_values = true, default_value_t = 1, value_parser = whole(0..=u64::MAX), requires = SAMPLES, hide_short_help = true)]
    pub min_samples: u64,
    /// What is one workload: owner (Deployment, Job …), pod, container, or a label's name
    #[arg(long, help_heading = HEADING, value_name = "KEY", default_value = "owner", requires = SAMPLES, hide_short_help = true)]
    pub group_by: Option<GroupBy>,
    /// The label that names the team [default: the namespace]
    #[arg(long, help_heading = HEADING, value_name = "LABEL", value_parser = label_name, requires = SAMPLES, hide_short_help = true)]
    pub team_label: Option<String>,
    /// How far back to ask the server
    #[arg(long, help_heading = HEADING, value_name = "DURATION", allow_hyphen_values = true, default_value = "7d", requires = "prometheus_url", hide_short_help = true)]
    pub window: Option<Span>,
    /// Distance of the samples that the server is asked for
    ///
    /// Pods are counted at these moments, so one that lived for less than a step may not be seen. Memory
    /// is the highest value in between too, unless --quantile is less than 1.
    #[arg(long, help_heading = HEADING, value_name = "DURATION", allow_hyphen_values = true, default_value = "5m", requires = "prometheus_url", hide_short_help = true)]
    pub step: Option<Span>,
    /// Ask the server this PromQL instead of the metric, such as 'DCGM_FI_DEV_FB_USED{cluster="a"}'
    #[arg(long, help_heading = HEADING, value_name = "PROMQL", requires = "prometheus_url", conflicts_with = "metric", hide_short_help = true)]
    pub query: Option<String>,
    /// File with the bearer token for the server
    #[arg(long, help_heading = HEADING, value_name = "FILE", requires = "prometheus_url", hide_short_help = true)]
    pub bearer_token_file: Option<PathBuf>,
    /// User for basic authentication, with --password-file
    #[arg(long, help_heading = HEADING, value_name = "NAME", requires = "password_file", hide_short_help = true)]
    #[arg(conflicts_with = "bearer_token_file")]
    pub username: Option<String>,
    /// File with the password for --username
    #[arg(long, help_heading = HEADING, value_name = "FILE", requires = "username", requires = "prometheus_url", hide_short_help = true)]
    pub password_file: Option<PathBuf>,
    /// Trust the certificates in this PEM file, and no others
    #[arg(long, help_heading = HEADING, value_name = "FILE", requires = "prometheus_url", hide_short_help = true)]
    pub ca_file: Option<PathBuf>,
    /// Send this header along, such as 'X-Scope-OrgID: ml' (repeatable)
    #[arg(long, help_heading = HEADING, value_name = "NAME:VALUE", requires = "prometheus_url", hide_short_help = true)]
    pub header: Vec<String>,
    /// How long one request may take
    #[arg(long, help_heading = HEADING, value_name = "DURATION", allow_hyphen_values = true, default_value = "2m", requires = "prometheus_url", hide_short_help = true)]
    pub request_timeout: Option<Span>,
    /// How often to try again while the server is down or busy
    #[arg(long, help_heading = HEADING, value_name = "N", allow_hyphen_values = true, default_value_t = 3, value_parser = whole(0..=u32::MAX), requires = "prometheus_url", hide_short_help = true)]
    pub retries: u32,
}

impl PrometheusArgs {
    /// The files that are read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let secrets = [&self.bearer_token_file, &self.password_file, &self.ca_file];
        self.prometheus.iter().chain(secrets.into_iter().flatten()).map(PathBuf::as_path)
    }

    /// Whether a file or a server is named.
    pub fn is_given(&self) -> bool {
        !self.prometheus.is_empty() || self.prometheus_url.is_some()
    }

    /// Reads all files and asks the server; `None` where neither is named. What could not
    /// be used goes to the console. `listed`: pods of a list that is read as well, whose samples are
    /// of the list's workloads. `may_be_empty`: that nothing became a workload is a warning only.
    ///
    /// # Errors
    /// Bad files, a server that does not answer, nothing that could be a workload (exit 3).
    pub fn read(
        &self,
        catalogue: &Catalogue,
        listed: Option<Listed>,
        may_be_empty: bool,
        console: &Console,
    ) -> Result<Option<Seen>> {
        if !self.is_given() {
            return Ok(None);
        }
        if let Some((metric, why)) = self.metric.as_deref().and_then(|m| Some((m, objection(m)?))) {
            return Err(Error::input(Diagnostic::new(format!("--metric {metric} {why}")))
                .hint(format!("GPU memory in use is {DEFAULT_METRIC} in dcgm-exporter")));
        }
        let mut usage = Usage::new(Reading {
            metric: self.metric.clone(),
            any_name: self.query.is_some(),
            unit: self.unit,
            group_by: self.group_by.clone().unwrap_or_default(),
            team_label: self.team_label.clone(),
        });
        usage.know(listed.unwrap_or_default());
        let mut warnings = self.read_files(&mut usage)?;
        let defaults = Rules::default();
        let rules = Rules {
            memory: self.quantile.unwrap_or(defaults.memory),
            count: self.count_quantile.unwrap_or(defaults.count),
            min_samples: self.min_samples,
        };
        if let Some(url) = &self.prometheus_url {
            warnings.extend(self.ask(url, rules, &mut usage, console)?);
        }
        let mut sizing = sizing::size(&mut usage, rules, catalogue);
        if !sizing.demand.workloads().is_empty() {
            warnings.append(&mut sizing.warnings);
        }
        console.warn(&warnings);
        match sizing.clone().or_explain(&usage) {
            Ok(_) => text::demand::sources(&sizing).iter().for_each(|line| console.say(line)),
            Err(e) if may_be_empty => console.warn(&e.problems),
            Err(e) => return Err(e),
        }
        Ok(Some(Seen { sizing, usage }))
    }

    /// Reads all files; returns their warnings, or the problems of all of them.
    fn read_files(&self, usage: &mut Usage) -> Result<Vec<Diagnostic>> {
        let mut warnings = Vec::new();
        let mut problems = Vec::new();
        let mut hint = None;
        for file in &self.prometheus {
            let name = name_of(file);
            usage.begin(&name);
            match open_any(file).and_then(|input| prometheus::read(input, &name, usage)) {
                Ok(found) => warnings.extend(found),
                Err(e) if e.code == ExitCode::Usage => return Err(e),
                Err(e) => {
                    problems.extend(e.problems);
                    hint = hint.or(e.hint);
                }
            }
        }
        if problems.is_empty() {
            Ok(warnings)
        } else {
            Err(Error { code: ExitCode::BadInput, problems, hint })
        }
    }

    fn ask(
        &self,
        url: &str,
        rules: Rules,
        usage: &mut Usage,
        console: &Console,
    ) -> Result<Vec<Diagnostic>> {
        let mut server = Server::new(url)?;
        server.retries = self.retries;
        if let Some(timeout) = self.request_timeout {
            server.timeout = Duration::from_millis(timeout.ms().unsigned_abs());
        }
        if let Some(file) = &self.bearer_token_file {
            server.bearer_token(&secret(file)?)?;
        }
        if let (Some(user), Some(file)) = (&self.username, &self.password_file) {
            server.basic_auth(user, &secret(file)?)?;
        }
        for header in &self.header {
            server.header(header)?;
        }
        if let Some(file) = &self.ca_file {
            let pem = fs::read(file).map_err(|e| {
                Error::input(Diagnostic::new(format!("cannot be read: {e}")).in_file(name_of(file)))
            })?;
            server.trust(&pem).map_err(|why| {
                Error::input(Diagnostic::new(why).in_file(name_of(file)))
                    .hint("a PEM file has lines such as -----BEGIN CERTIFICATE-----")
            })?;
        }
        let query = Query {
            promql: self.query.clone(),
            window: self.window.unwrap_or(Span::from_ms(1)),
            step: self.step.unwrap_or(Span::from_ms(1)),
            peaks: self.query.is_none() && rules.memory == Quantile::MAX,
        };
        let bar = console.is_interactive().then(|| {
            let template = "{prefix} {wide_bar} {percent:>3}% {msg} ({eta} left)";
            bar(0, template).with_prefix("asking Prometheus")
        });
        let result = server.ask(&query, usage, &mut |progress| {
            if let Some(bar) = &bar {
                bar.set_length(progress.steps);
                bar.set_position(progress.done);
                bar.set_message(progress.waiting.unwrap_or_default());
            }
        });
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        result
    }
}

/// The first line of a file that holds a token or password.
fn secret(file: &Path) -> Result<String> {
    let text = read_text(file)?;
    let secret = text.lines().next().unwrap_or("").trim();
    if secret.is_empty() {
        return Err(Error::input(Diagnostic::new("is empty").in_file(name_of(file))));
    }
    Ok(secret.to_string())
}
