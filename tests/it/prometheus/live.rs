//! A server that is busy, down, guarded, or no Prometheus at all.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{demand, failure};

const SERIES: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"DCGM_FI_DEV_FB_USED","UUID":"GPU-1","namespace":"nlp","pod":"rerank-0"},"values":[[1795344000,"3000"]]}]}}"#;

/// What to answer: status line, further headers, body; `None` for the body cuts it off.
#[derive(Clone)]
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
    let mut script = script.into_iter();
    let mut last = None;
    serve_by(move |_| {
        last = script.next().or(last.take());
        last.clone().unwrap()
    })
}

/// Answers each request as `answer` says; returns the address and the requests seen.
fn serve_by(
    mut answer: impl FnMut(&str) -> Answer + Send + 'static,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let requests = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = respond(stream, &mut answer, &requests);
        }
    });
    (url, seen)
}

fn respond(
    mut stream: TcpStream,
    answer: &mut impl FnMut(&str) -> Answer,
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
    let request = String::from_utf8_lossy(&request).into_owned();
    let answer = answer(&request);
    // Before the answer, so that whoever has the answer finds the request.
    seen.lock().unwrap().push(request);
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

/// The requests for steps; that for the present moment is between two.
fn at_steps(seen: &Mutex<Vec<String>>, step_s: f64) -> Vec<String> {
    let mut requests = seen.lock().unwrap().clone();
    requests.retain(|request| parameter(request, "start") % step_s == 0.0);
    requests
}

/// How many points a request asks for.
fn points(request: &str, step_s: f64) -> f64 {
    (parameter(request, "end") - parameter(request, "start")) / step_s + 1.0
}

/// One question alone, whose answers are not followed by a second.
const ONE: [&str; 2] = ["--query", "DCGM_FI_DEV_FB_USED"];

#[test]
fn a_busy_server_is_asked_again() {
    let busy =
        Answer { headers: "Retry-After: 0\r\n", ..status("503 Service Unavailable", "starting") };
    let cut = Answer { cut: true, ..ok(&SERIES[..SERIES.len() - 20]) };
    let (url, seen) = serve(vec![busy, cut, ok(SERIES)]);
    let found = demand(&[&["-q", "--prometheus-url", &url, "--window", "1h"], &ONE[..]].concat());
    assert_eq!(found, ["nlp,rerank,3000,1"]);
    assert_eq!(at_steps(&seen, 300.0).len(), 3);
}

#[test]
fn a_long_window_is_asked_in_parts_without_gaps() {
    let (url, seen) = serve(vec![ok(SERIES)]);
    let window = ["-q", "--prometheus-url", &url, "--window", "3d", "--step", "10s"];
    demand(&[&window, &ONE[..]].concat());
    let mut next = None;
    let mut steps = 0.0;
    for request in &at_steps(&seen, 10.0) {
        let (start, end) = (parameter(request, "start"), parameter(request, "end"));
        assert!(next.is_none_or(|next| next == start), "{request}");
        let points = points(request, 10.0);
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
    let window = ["-q", "--prometheus-url", &url, "--window", "1h", "--step", "1m"];
    demand(&[&window, &ONE[..]].concat());
    let asked: Vec<f64> = at_steps(&seen, 60.0).iter().map(|r| points(r, 60.0)).collect();
    assert_eq!(asked, [61.0, 30.0, 30.0, 1.0]);
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
        let window = ["-q", "--prometheus-url", &url, "--window", "1h", "--step", "1m"];
        let found = demand(&[&window, &ONE[..]].concat());
        assert_eq!(found, ["nlp,rerank,3000,1"], "{body}");
        let asked: Vec<f64> = at_steps(&seen, 60.0).iter().map(|r| points(r, 60.0)).collect();
        assert_eq!(asked, [61.0, 30.0, 30.0, 1.0], "{body}");
    }
}

/// The answer to the question for the highest values: they have no name.
fn highest(values: &str) -> Answer {
    ok(&format!(
        r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{"UUID":"GPU-1","pod":"rerank-0","namespace":"nlp"}},"values":[{values}]}},{{"metric":{{"UUID":"GPU-2","namespace":"nlp","pod":"short-0"}},"values":[{values}]}}]}}}}"#
    ))
}

/// stderr of a `migplan demand` that asks this server, and its rows.
fn asked(url: &str, more: &[&str]) -> (String, Vec<String>) {
    let window = ["--prometheus-url", url, "--window", "1h", "--retries", "0"];
    let arguments = [&window, more].concat();
    let output = super::migplan(&[&["demand"], &arguments[..]].concat());
    assert!(output.status.success(), "{}", super::stderr(&output));
    (super::stderr(&output), demand(&arguments))
}

#[test]
fn what_is_higher_between_the_steps_is_asked_for() {
    let is_peaks = |request: &&String| request.contains("max_over_time");
    // Whatever it is asked, it answers the same: nothing counts twice.
    let (url, seen) = serve(vec![ok(SERIES)]);
    let (said, rows) = asked(&url, &[]);
    assert_eq!(rows, ["nlp,rerank,3000,1"]);
    assert!(said.contains("1 workload from 1 sample of 1 pod"), "{said}");
    assert!(!said.contains("between"), "{said}");
    assert!(seen.lock().unwrap().iter().any(|request| is_peaks(&request)));
    let facts = seen.lock().unwrap().iter().any(|request| request.contains("kube_pod_owner"));
    assert!(facts, "{:?}", seen.lock().unwrap());
    // Samples at the steps are what a smaller quantile and a query of one's own are about.
    for more in [&["--quantile", "0.99"][..], &ONE] {
        let (url, seen) = serve(vec![ok(SERIES)]);
        asked(&url, more);
        assert!(!seen.lock().unwrap().iter().any(|request| is_peaks(&request)), "{more:?}");
    }
}

#[test]
fn the_highest_values_raise_samples_and_add_none() {
    // Before the first sample, at it, and within a step after the last; too late; no number; and all
    // that of a pod that no step shows.
    for (values, mib) in [
        (r#"[1795343700,"9000"]"#, 3000),
        (r#"[1795344000,"9000.5"],[1795344900,"9500"]"#, 9001),
        (r#"[1795344000,"2000"],[1795344300,"9100"]"#, 9100),
        (r#"[1795344000,"NaN"],[1795344001,"2147483647"]"#, 3000),
    ] {
        let (url, _) = serve_by(move |request| match request.contains("max_over_time") {
            true => highest(values),
            false => ok(SERIES),
        });
        let (said, rows) = asked(&url, &[]);
        assert_eq!(rows, [format!("nlp,rerank,{mib},1")], "{values}");
        assert!(said.contains("1 workload from 1 sample of 1 pod"), "{said}");
    }
}

#[test]
fn a_server_that_keeps_what_is_between_to_itself_is_named() {
    let refused =
        r#"{"status":"error","errorType":"bad_data","error":"functions are not allowed"}"#;
    let (url, _) = serve_by(|request| match request.contains("max_over_time") {
        true => status("422 Unprocessable Entity", refused),
        false => ok(SERIES),
    });
    let (said, rows) = asked(&url, &[]);
    assert_eq!(rows, ["nlp,rerank,3000,1"]);
    let warned: Vec<&str> = said.lines().filter(|line| line.contains("functions are")).collect();
    assert_eq!(warned.len(), 1, "{said}");
    assert!(warned[0].contains("memory is the highest at the steps of 5m"), "{said}");
}

#[test]
fn a_partial_answer_is_told() {
    let partial = SERIES.replacen('{', "{\"isPartial\":true,", 1);
    let (url, _) = serve(vec![ok(&partial)]);
    let (said, rows) = asked(&url, &[]);
    assert_eq!(rows, ["nlp,rerank,3000,1"]);
    assert_eq!(said.matches("its answer is partial").count(), 1, "{said}");
    let (url, _) = serve(vec![ok(&partial.replacen("true", "false", 1))]);
    assert!(!asked(&url, &[]).0.contains("partial"));
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
    let last = requests.last().unwrap();
    assert!(last.contains("Basic bWU6czNjcmV0"), "{last}");
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
