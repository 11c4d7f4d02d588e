//! One request to a Prometheus server and its answer, read as a stream; what a refusal means.

use std::io::{self, Read};
use std::time::Duration;

use ureq::http::StatusCode;
use ureq::tls::{RootCerts, TlsConfig};

use super::Server;
use crate::demand::prometheus;
use crate::demand::usage::Usage;
use crate::error::{Diagnostic, Error};

/// How much of an error's text is read.
const ERROR_BYTES: u64 = 64 * 1024;

/// Why one request brought nothing.
pub(super) enum Failure {
    /// Worth another try, after this long if the server said so.
    Busy(Diagnostic, Option<Duration>),
    /// The server asks for smaller queries.
    TooMuch(Diagnostic),
    /// It will not become better.
    Final(Error),
}

impl Server {
    pub(super) fn agent(&self) -> ureq::Agent {
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

    pub(super) fn problem(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(message).in_file(self.shown.clone())
    }

    pub(super) fn get(
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

    pub(super) fn request(
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
pub(super) fn shorten_more(text: &str) -> String {
    text.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
