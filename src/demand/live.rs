//! A live Prometheus (or Thanos, Mimir, VictoriaMetrics): asked in parts, each read as a stream.
//!
//! A server refuses more than 11,000 points per series and limits the samples of one query, so a
//! window is asked in parts, and in smaller ones where it still refuses. What is busy or down is
//! asked again. Only HTTP and query_range are known here; which PromQL asks for what, and what the
//! samples mean, is `usage`'s.

mod history;
mod http;

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use ureq::http::{HeaderName, HeaderValue};
use ureq::tls::{Certificate, PemItem, parse_pem};

pub use history::{Progress, Query};

use crate::error::{Diagnostic, Error, Result};
use crate::table::shorten;

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
    fn headers_tokens_and_certificates_are_checked() {
        let mut server = Server::new("h").unwrap();
        assert!(server.header("X-Scope-OrgID: ml").is_ok());
        assert!(server.header("nothing").is_err());
        assert!(server.bearer_token("a\nb").is_err());
        assert!(server.trust(b"no pem").is_err());
    }
}
