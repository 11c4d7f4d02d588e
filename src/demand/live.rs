//! A live Prometheus (or Thanos, Mimir, VictoriaMetrics): asked in parts, each read as a stream.
//!
//! A server refuses more than 11,000 points per series and limits the samples of one query, so a
//! window is asked in parts, and in smaller ones where it still refuses. What is busy or down is
//! asked again. This file knows HTTP and query_range; what the samples mean is `usage`'s.

use std::io::{self, Read};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::prelude::{BASE64_STANDARD, Engine};
use ureq::http::{HeaderName, HeaderValue, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::prometheus;
use super::time::{DAY_MS, Span};
use super::usage::Usage;
use crate::error::{Diagnostic, Error, Result};
use crate::table::shorten;

/// The most points per series that Prometheus gives in one answer.
const MAX_POINTS: i64 = 11_000;
/// Small answers make no better progress bar.
const MIN_POINTS: i64 = 60;
/// How much of an error's text is read.
const ERROR_BYTES: u64 = 64 * 1024;
/// The first pause before a server is asked again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// No pause is longer, whatever the server wishes.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A server and how to talk to it.
#[derive(Debug, Clone)]
pub struct Server {
    /// Without a slash at its end.
    url: String,
    /// The same without user and password, for messages.
    shown: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    roots: Option<Vec<Certificate<'static>>>,
    /// How long one request may take.
    pub timeout: Duration,
    /// How often to ask again while the server is down or busy.
    pub retries: u32,
}

/// What to ask.
#[derive(Debug, Clone)]
pub struct Query {
    /// The expression.
    pub promql: String,
    /// How far back from now.
    pub window: Span,
    /// Distance of the samples.
    pub step: Span,
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

/// The PromQL that selects all series of these names.
pub fn selector(names: &[&str]) -> String {
    match names {
        [name] if name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':')) => {
            name.to_string()
        }
        [name] => format!("{{__name__={name:?}}}"),
        names => format!("{{__name__=~\"{}\"}}", names.join("|")),
    }
}

/// Why one request brought nothing.
enum Failure {
    /// Worth another try, after this long if the server said so.
    Busy(Diagnostic, Option<Duration>),
    /// The server asks for smaller queries.
    TooMuch(Diagnostic),
    /// It will not become better.
    Final(Error),
}

impl Server {
    /// A server by its address; without a scheme it is http.
    ///
    /// # Errors
    /// No address (exit 2).
    pub fn new(url: &str) -> Result<Server> {
        let url = url.trim().trim_end_matches('/');
        let url = if url.contains("://") { url.to_string() } else { format!("http://{url}") };
        let (scheme, rest) = url.split_once("://").unwrap_or(("", ""));
        let host_end = rest.find('/').unwrap_or(rest.len());
        let host = rest[..host_end].rsplit('@').next().unwrap_or("");
        let wrong = if !matches!(scheme, "http" | "https") {
            Some("is neither http nor https")
        } else if host.is_empty() || host.ends_with(':') || url.contains(['?', '#', ' ']) {
            Some("is not the address of a server")
        } else {
            None
        };
        let shown = format!("{scheme}://{host}{}", &rest[host_end..]);
        if let Some(wrong) = wrong {
            return Err(Error::usage(format!("--prometheus-url '{}' {wrong}", shorten(&shown)))
                .hint("give the server's address alone: --prometheus-url http://localhost:9090"));
        }
        Ok(Server {
            url,
            shown,
            headers: Vec::new(),
            roots: None,
            timeout: Duration::from_secs(120),
            retries: 3,
        })
    }

    /// Sends a bearer token along.
    ///
    /// # Errors
    /// A token that no header can hold (exit 3).
    pub fn bearer_token(&mut self, token: &str) -> Result<()> {
        self.secret_header("authorization", &format!("Bearer {token}"), "the bearer token")
    }

    /// Sends user and password along.
    ///
    /// # Errors
    /// A user with a colon, which the protocol cannot hold (exit 3).
    pub fn basic_auth(&mut self, user: &str, password: &str) -> Result<()> {
        if user.contains(':') {
            return Err(Error::input(Diagnostic::new("a user's name cannot have a ':'")));
        }
        let text = BASE64_STANDARD.encode(format!("{user}:{password}"));
        self.secret_header("authorization", &format!("Basic {text}"), "the password")
    }

    /// Sends a header along, written `Name: value`.
    ///
    /// # Errors
    /// Not of that form (exit 2).
    pub fn header(&mut self, text: &str) -> Result<()> {
        let parsed = text.split_once(':').and_then(|(name, value)| {
            Some((name.trim().parse().ok()?, HeaderValue::from_str(value.trim()).ok()?))
        });
        let Some(header) = parsed else {
            // The value may be a secret, so it is not shown.
            return Err(Error::usage("--header is not of the form 'Name: value'")
                .hint("write for example --header 'X-Scope-OrgID: ml'"));
        };
        self.headers.push(header);
        Ok(())
    }

    fn secret_header(&mut self, name: &'static str, value: &str, what: &str) -> Result<()> {
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            Error::input(Diagnostic::new(format!("{what} has characters that no header can hold")))
        })?;
        value.set_sensitive(true);
        self.headers.push((HeaderName::from_static(name), value));
        Ok(())
    }

    /// Trusts the certificates of a PEM file, and no others.
    ///
    /// # Errors
    /// No certificate in it; a sentence that says so.
    pub fn trust(&mut self, pem: &[u8]) -> std::result::Result<(), String> {
        let mut roots = Vec::new();
        for item in parse_pem(pem) {
            match item {
                Ok(PemItem::Certificate(certificate)) => roots.push(certificate),
                Ok(_) => {}
                Err(e) => return Err(format!("is not a PEM file: {e}")),
            }
        }
        if roots.is_empty() {
            return Err("has no certificate".into());
        }
        self.roots = Some(roots);
        Ok(())
    }

    fn agent(&self) -> ureq::Agent {
        let mut tls = TlsConfig::builder();
        if let Some(roots) = &self.roots {
            tls = tls.root_certs(RootCerts::new_with_certs(roots));
        }
        ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(self.timeout))
            .timeout_connect(Some(self.timeout.min(Duration::from_secs(10))))
            .tls_config(tls.build())
            .user_agent(concat!("migplan/", env!("CARGO_PKG_VERSION")))
            .build()
            .into()
    }

    /// Asks for everything in the window up to now and hands it to `usage`. Returns the server's
    /// warnings.
    ///
    /// # Errors
    /// The server cannot be reached, refuses, or has no such series (exit 3).
    pub fn ask(
        &self,
        query: &Query,
        usage: &mut Usage,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Diagnostic>> {
        let agent = self.agent();
        let step = query.step.ms();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let end = now.div_euclid(step) * step;
        let steps = query.window.ms() / step + 1;
        let mut points = (DAY_MS / step).clamp(MIN_POINTS, MAX_POINTS - 1);
        let mut done = 0;
        let mut warnings: Vec<Diagnostic> = Vec::new();
        usage.begin_parts(&self.shown);
        while done < steps {
            let report = |waiting| Progress {
                done: done.unsigned_abs(),
                steps: steps.unsigned_abs(),
                waiting,
            };
            progress(report(None));
            let asked = points.min(steps - done);
            let from = end - (steps - 1 - done) * step;
            let range = [
                ("query", query.promql.clone()),
                ("start", seconds(from)),
                ("end", seconds(from + (asked - 1) * step)),
                ("step", seconds(step)),
            ];
            let mut tries = 0;
            let outcome = loop {
                match self.request(&agent, &range, usage) {
                    Err(Failure::Busy(problem, wish)) if tries < self.retries => {
                        let pause = wish.unwrap_or(FIRST_PAUSE * 2u32.saturating_pow(tries));
                        progress(report(Some(format!("waiting: {}", problem.message))));
                        thread::sleep(pause.min(LONGEST_PAUSE));
                        tries += 1;
                    }
                    outcome => break outcome,
                }
            };
            match outcome {
                Ok(found) => {
                    for warning in found {
                        if !warnings.contains(&warning) {
                            warnings.push(warning);
                        }
                    }
                    done += asked;
                }
                Err(Failure::TooMuch(_)) if asked > 1 => points = (asked / 2).max(1),
                Err(Failure::TooMuch(problem)) => {
                    return Err(Error::input(problem).hint(
                        "ask for less: narrow the labels with --query, or make --step longer",
                    ));
                }
                Err(Failure::Busy(problem, _)) => {
                    let tried = if tries > 0 {
                        format!(" (asked {} times)", tries + 1)
                    } else {
                        String::new()
                    };
                    let message = format!("{}{tried}", problem.message);
                    return Err(Error::input(Diagnostic { message, ..problem }).hint(
                        "is the server up? curl URL/-/ready tells; from outside Kubernetes: kubectl port-forward svc/prometheus-operated 9090",
                    ));
                }
                Err(Failure::Final(error)) => return Err(error),
            }
        }
        if usage.sources().last().is_some_and(|source| source.matched == 0) {
            return Err(self.nothing(&agent, query));
        }
        Ok(warnings)
    }

    fn problem(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(message).in_file(self.shown.clone())
    }

    fn get(
        &self,
        agent: &ureq::Agent,
        path: &str,
        parameters: &[(&str, String)],
    ) -> std::result::Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let mut request = agent.get(format!("{}{path}", self.url));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.query_pairs(parameters.iter().map(|(name, value)| (*name, value))).call()
    }

    fn request(
        &self,
        agent: &ureq::Agent,
        range: &[(&str, String)],
        usage: &mut Usage,
    ) -> std::result::Result<Vec<Diagnostic>, Failure> {
        let response = match self.get(agent, "/api/v1/query_range", range) {
            Ok(response) => response,
            Err(e) => return Err(self.unreachable(&e)),
        };
        let (head, body) = response.into_parts();
        let limit = if head.status.is_success() { u64::MAX } else { ERROR_BYTES };
        let mut body =
            Watched { inner: body.into_with_config().limit(limit).reader(), error: None };
        if !head.status.is_success() {
            let wish = head.headers.get("retry-after").and_then(|value| value.to_str().ok());
            let wish = wish.and_then(|text| text.parse().ok()).map(Duration::from_secs);
            let mut text = Vec::new();
            // What can be read of it; an answer without its text is an answer too.
            let _ = body.read_to_end(&mut text);
            return Err(self.refused(head.status, &String::from_utf8_lossy(&text), wish));
        }
        let result = prometheus::read(&mut body, &self.shown, usage);
        match (body.error, result) {
            (_, Ok(warnings)) => Ok(warnings),
            // Broken off in the middle: what came already is the same when it comes again.
            (Some(why), Err(_)) => Err(Failure::Busy(self.problem(why), None)),
            (None, Err(error)) => Err(Failure::Final(error)),
        }
    }

    /// A connection that did not come about.
    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let cause = match error {
            ureq::Error::HostNotFound => "no such host".to_string(),
            ureq::Error::Timeout(_) => "no answer in time".to_string(),
            ureq::Error::Io(e) => io_cause(e),
            other => other.to_string(),
        };
        let problem = self.problem(format!("cannot be asked: {cause}"));
        let certificate = matches!(error, ureq::Error::Rustls(_) | ureq::Error::Tls(_))
            || cause.contains("certificate")
            || cause.contains("Certificate");
        match error {
            _ if certificate => Failure::Final(Error::input(problem).hint(
                "the server's certificate is not trusted: give its authority with --ca-file, or check http against https",
            )),
            ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed => {
                Failure::Busy(problem, None)
            }
            _ => Failure::Final(
                Error::input(problem).hint("check the address: --prometheus-url http://localhost:9090"),
            ),
        }
    }

    /// An answer other than success.
    fn refused(&self, status: StatusCode, text: &str, wish: Option<Duration>) -> Failure {
        let json = serde_json::from_str::<serde_json::Value>(text).unwrap_or_default();
        let member = |key: &str| json.get(key).and_then(|value| value.as_str());
        let (kind, said) = (member("errorType").unwrap_or(""), member("error"));
        // An error page in HTML says nothing that the status does not.
        let line = if text.trim_start().starts_with('<') { "" } else { text.trim() };
        let words = said.unwrap_or_else(|| line.lines().next().unwrap_or(""));
        let colon = if words.is_empty() { "" } else { ": " };
        let shown = format!("answered {status}{colon}{}", shorten_more(words));
        let problem = self.problem(shown);
        if is_too_much(status.as_u16(), kind, words) {
            return Failure::TooMuch(problem);
        }
        let hint = match status.as_u16() {
            429 | 500 | 502 | 503 | 504 => return Failure::Busy(problem, wish),
            401 | 403 => {
                "it asks for a login: --bearer-token-file FILE (on OpenShift: oc whoami -t > FILE), or --username with --password-file"
            }
            404 | 405 => {
                "Prometheus' API is not at this address; Mimir has it under /prometheus, Thanos at its query component"
            }
            _ => "try the query on the server's own page first",
        };
        Failure::Final(Error::input(problem).hint(hint))
    }

    /// Nothing was found: what is there instead?
    fn nothing(&self, agent: &ureq::Agent, query: &Query) -> Error {
        let matching = r#"{__name__=~"(?i).*(fb_used|gpu.*mem.*used|mem.*used.*gpu|vram).*"}"#;
        let names = self
            .get(agent, "/api/v1/label/__name__/values", &[("match[]", matching.into())])
            .ok()
            .and_then(|response| response.into_body().read_json::<serde_json::Value>().ok())
            .and_then(|json| {
                let names = json.get("data")?.as_array()?;
                Some(names.iter().filter_map(|n| n.as_str()).take(5).collect::<Vec<_>>().join(", "))
            })
            .filter(|names| !names.is_empty());
        Error::input(self.problem(format!(
            "has no series for {} in the last {}",
            shorten_more(&query.promql),
            query.window
        )))
        .hint(match names {
            Some(names) => format!("it has {names}: give one with --metric"),
            None => "is dcgm-exporter running and scraped? its target shows on the server's /targets page; else name your metric with --metric".into(),
        })
    }
}

/// Whether a refusal is one of a query's size, so that a smaller one may be answered: `kind` and
/// `words` are the answer's `errorType` and `error`.
fn is_too_much(status: u16, kind: &str, words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    let says = |part: &str| words.contains(part);
    match status {
        413 => true,
        // Of a server whose query ran too long. One that is down has no such answer.
        503 if kind == "timeout" || says("query timed out") => true,
        400 | 422 | 500 | 503 => {
            // Prometheus, Mimir and Cortex, Thanos, VictoriaMetrics.
            says("maximum resolution")
                || says("too many samples")
                || says("err-mimir-max-")
                || says("max number of chunks")
                || says("-search.max")
                || (says("exceed") && (says("limit") || says("deadline")))
        }
        _ => false,
    }
}

/// Remembers why reading stopped.
struct Watched<R> {
    inner: R,
    error: Option<String>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).inspect_err(|e| {
            self.error = Some(format!("broke off in the middle of its answer: {}", io_cause(e)));
        })
    }
}

fn io_cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::ConnectionReset => "connection reset".into(),
        io::ErrorKind::TimedOut => "no answer in time".into(),
        io::ErrorKind::UnexpectedEof => "connection closed".into(),
        _ => error.to_string(),
    }
}

/// A message of the server's, short enough and without control characters.
fn shorten_more(text: &str) -> String {
    text.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Milliseconds as the seconds that the API takes.
fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        let shown = |url: &str| Server::new(url).map(|server| server.shown);
        assert_eq!(shown("localhost:9090/").unwrap(), "http://localhost:9090");
        assert_eq!(shown("https://me:secret@host/prometheus").unwrap(), "https://host/prometheus");
        for wrong in ["", "ftp://host", "http://", "http://host/graph?g0=1", "http://a b"] {
            assert!(Server::new(wrong).is_err(), "{wrong}");
        }
        let error = Server::new("ftp://me:secret@host").unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn refusals_of_size_are_known() {
        for (status, kind, words) in [
            (400, "bad_data", "exceeded maximum resolution of 11,000 points per timeseries."),
            (422, "execution", "query processing would load too many samples into memory"),
            (503, "timeout", "query timed out in expression evaluation"),
            (
                422,
                "execution",
                "the query exceeded the maximum number of chunks (limit: 2000000 chunks) (err-mimir-max-chunks-per-query). Consider reducing the time range",
            ),
            (422, "execution", "the query hit the max number of chunks limit (limit: 2000000)"),
            (422, "execution", "expanding series: exceeded samples limit: exceeded limit 100"),
            (500, "internal", "rpc error: code = ResourceExhausted desc = exceeded series limit"),
            (422, "execution", "context deadline exceeded"),
            (422, "422", "cannot select more than -search.maxSamplesPerQuery=1000000000 samples"),
            (413, "", "Request Entity Too Large"),
        ] {
            assert!(is_too_much(status, kind, words), "{status} {words}");
        }
        for (status, kind, words) in [
            (400, "bad_data", "1:5: parse error: unclosed left parenthesis"),
            (422, "execution", "found duplicate series for the match group"),
            (
                429,
                "",
                "the request has been rejected because the tenant exceeded the limit of 10 requests",
            ),
            (503, "", "upstream connect error or disconnect/reset before headers"),
            (503, "unavailable", "starting up"),
        ] {
            assert!(!is_too_much(status, kind, words), "{status} {words}");
        }
    }

    #[test]
    fn selectors_and_headers() {
        assert_eq!(selector(&["a:b"]), "a:b");
        assert_eq!(selector(&["a.b"]), r#"{__name__="a.b"}"#);
        assert_eq!(selector(&["a", "b"]), r#"{__name__=~"a|b"}"#);
        assert_eq!(seconds(1_795_344_105_216), "1795344105.216");
        let mut server = Server::new("h").unwrap();
        assert!(server.header("X-Scope-OrgID: ml").is_ok());
        assert!(server.header("nothing").is_err());
        assert!(server.bearer_token("a\nb").is_err());
        assert!(server.trust(b"no pem").is_err());
    }
}
