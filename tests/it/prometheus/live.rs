//! A server that is busy, down, guarded, or no Prometheus at all.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{demand, failure};

const SERIES: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"DCGM_FI_DEV_FB_USED","UUID":"GPU-1","namespace":"nlp","pod":"rerank-0"},"values":[[1795344000,"3000"]]}]}}"#;

/// What to answer: status line, further headers, body; `None` for the body cuts it off.
struct Answer {
    status: &'static str,
    headers: &'static str,
    body: String,
    cut: bool,
}

fn ok(body: &str) -> Answer {
    Answer { status: "200 OK", headers: "", body: body.into(), cut: false }
}

fn status(status: &'static str, body: &str) -> Answer {
    Answer { status, ..ok(body) }
}

/// Answers request after request as `script` says (the last one again and again); returns the
/// address and the requests seen.
fn serve(script: Vec<Answer>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let requests = seen.clone();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let answer = &script[number.min(script.len() - 1)];
            let _ = respond(stream, answer, &requests);
        }
    });
    (url, seen)
}

fn respond(
    mut stream: TcpStream,
    answer: &Answer,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => break,
            read => request.extend_from_slice(&buffer[..read]),
        }
    }
    // Before the answer, so that whoever has the answer finds the request.
    seen.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
    let length = answer.body.len() + usize::from(answer.cut) * 1000;
    write!(
        stream,
        "HTTP/1.1 {}\r\n{}Content-Length: {length}\r\nConnection: close\r\n\r\n{}",
        answer.status, answer.headers, answer.body
    )
}

fn parameter(request: &str, name: &str) -> f64 {
    let line = request.lines().next().unwrap_or("");
    let start = line.find(&format!("{name}=")).unwrap() + name.len() + 1;
    line[start..].split(['&', ' ']).next().unwrap().parse().unwrap()
}

#[test]
fn a_busy_server_is_asked_again() {
    let busy =
        Answer { headers: "Retry-After: 0\r\n", ..status("503 Service Unavailable", "starting") };
    let cut = Answer { cut: true, ..ok(&SERIES[..SERIES.len() - 20]) };
    let (url, seen) = serve(vec![busy, cut, ok(SERIES)]);
    let found = demand(&["-q", "--prometheus-url", &url, "--window", "1h"]);
    assert_eq!(found, ["nlp,rerank,3000,1"]);
    assert_eq!(seen.lock().unwrap().len(), 3);
}

#[test]
fn a_long_window_is_asked_in_parts_without_gaps() {
    let (url, seen) = serve(vec![ok(SERIES)]);
    demand(&["-q", "--prometheus-url", &url, "--window", "3d", "--step", "10s"]);
    let mut next = None;
    let mut steps = 0.0;
    for request in seen.lock().unwrap().iter() {
        let (start, end) = (parameter(request, "start"), parameter(request, "end"));
        assert!(next.is_none_or(|next| next == start), "{request}");
        let points = (end - start) / 10.0 + 1.0;
        assert!(points < 11_000.0);
        next = Some(end + 10.0);
        steps += points;
    }
    assert_eq!(steps, 3.0 * 86_400.0 / 10.0 + 1.0);
}

#[test]
fn a_server_that_finds_it_too_much_is_asked_for_less() {
    let much = r#"{"status":"error","errorType":"execution","error":"query processing would load too many samples into memory in query execution"}"#;
    let (url, seen) = serve(vec![status("422 Unprocessable Entity", much), ok(SERIES)]);
    demand(&["-q", "--prometheus-url", &url, "--window", "1h", "--step", "1m"]);
    let points: Vec<f64> = seen
        .lock()
        .unwrap()
        .iter()
        .map(|r| (parameter(r, "end") - parameter(r, "start")) / 60.0 + 1.0)
        .collect();
    assert_eq!(points, [61.0, 30.0, 30.0, 1.0]);
    let (url, _) = serve(vec![status("422 Unprocessable Entity", much)]);
    let (code, text) = failure(&["--prometheus-url", &url, "--window", "1h"]);
    assert_eq!(code, 3);
    assert!(text.contains("too many samples") && text.contains("--step longer"), "{text}");
}

#[test]
fn refusals_of_size_are_answered_by_smaller_parts() {
    for (code, body) in [
        (
            "503 Service Unavailable",
            r#"{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}"#,
        ),
        (
            "422 Unprocessable Entity",
            r#"{"status":"error","errorType":"execution","error":"the query exceeded the maximum number of chunks (err-mimir-max-chunks-per-query)"}"#,
        ),
        (
            "422 Unprocessable Entity",
            r#"{"status":"error","errorType":"execution","error":"expanding series: exceeded samples limit"}"#,
        ),
    ] {
        let (url, seen) = serve(vec![status(code, body), ok(SERIES)]);
        let found = demand(&["-q", "--prometheus-url", &url, "--window", "1h", "--step", "1m"]);
        assert_eq!(found, ["nlp,rerank,3000,1"], "{body}");
        let points = |r: &String| (parameter(r, "end") - parameter(r, "start")) / 60.0 + 1.0;
        let points: Vec<f64> = seen.lock().unwrap().iter().map(points).collect();
        assert_eq!(points, [61.0, 30.0, 30.0, 1.0], "{body}");
    }
}

#[test]
fn secrets_are_sent_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token").display().to_string();
    std::fs::write(&file, "s3cret\n").unwrap();
    let (url, seen) = serve(vec![ok(SERIES)]);
    demand(&[
        "-q",
        "--prometheus-url",
        &url,
        "--bearer-token-file",
        &file,
        "--header",
        "X-Scope-OrgID: ml",
        "--window",
        "1h",
    ]);
    demand(&[
        "-q",
        "--prometheus-url",
        &url,
        "--username",
        "me",
        "--password-file",
        &file,
        "--window",
        "1h",
    ]);
    let requests = seen.lock().unwrap().clone();
    assert!(requests[0].to_lowercase().contains("authorization: bearer s3cret"), "{}", requests[0]);
    assert!(requests[0].to_lowercase().contains("x-scope-orgid: ml"));
    assert!(requests[1].contains("Basic bWU6czNjcmV0"), "{}", requests[1]);
    let (url, _) = serve(vec![status("401 Unauthorized", "no")]);
    let url = url.replace("http://", "http://me:s3cret@");
    let (code, text) = failure(&["--prometheus-url", &url, "--bearer-token-file", &file]);
    assert_eq!(code, 3);
    assert!(text.contains("answered 401 Unauthorized: no"), "{text}");
    assert!(text.contains("--bearer-token-file") && !text.contains("s3cret"), "{text}");
}

#[test]
fn each_trouble_has_its_own_words() {
    for (answer, parts) in [
        (ok("<html>Log in</html>"), ["HTML page", "login"]),
        (ok(""), ["is empty", "check"]),
        (
            ok("{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[]}}"),
            ["has no series for", "dcgm-exporter"],
        ),
        (
            status("404 Not Found", "404 page not found"),
            ["answered 404 Not Found: 404 page not found", "/prometheus"],
        ),
        (
            status("503 Service Unavailable", "<html>"),
            ["answered 503 Service Unavailable (asked 2 times)", "is the server up"],
        ),
        (
            ok(
                "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[{\"metric\":{}",
            ),
            ["ends in the middle", "fetch it again"],
        ),
    ] {
        let (url, _) = serve(vec![answer]);
        let (code, text) = failure(&["--prometheus-url", &url, "--retries", "1", "--window", "1h"]);
        assert_eq!(code, 3, "{text}");
        for part in parts {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

#[test]
fn a_silent_server_and_no_server_end_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (code, text) =
        failure(&["--prometheus-url", &url, "--retries", "0", "--request-timeout", "300ms"]);
    assert_eq!(code, 3);
    assert!(text.contains("no answer in time"), "{text}");
    drop(listener);
    let (_, text) = failure(&["--prometheus-url", &url, "--retries", "0"]);
    assert!(text.contains("connection refused"), "{text}");
    let (code, text) = failure(&["--prometheus-url", "ftp://x"]);
    assert_eq!(code, 2);
    assert!(text.contains("neither http nor https"), "{text}");
    let (_, text) = failure(&["--prometheus-url", "http://no-such-host.invalid", "--retries", "0"]);
    assert!(text.contains("no such host") || text.contains("cannot be asked"), "{text}");
}
