//! A real Prometheus scrapes an exporter of the tests' own, with labels honoured and not: its API,
//! promtool, its files and the live query all give the same demand.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::demand;
use crate::common::tools::have;

/// What dcgm-exporter 4.x would write; idle devices have empty labels, as 3.x writes them.
fn exposition() -> String {
    let mut text = String::from(
        "# HELP DCGM_FI_DEV_FB_USED Framebuffer memory used (in MiB).\n# TYPE DCGM_FI_DEV_FB_USED gauge\n",
    );
    for (gpu, instance, namespace, pod, mib) in [
        (0, 7, "nlp", "embed-api-7d9c5b6f4-x2x7k", 6_900),
        (0, 8, "nlp", "embed-api-7d9c5b6f4-b4c5d", 5_800),
        (0, 9, "nlp", "rerank-0", 3_000),
        (1, 1, "vision", "train-seg-0", 35_000),
        (1, 2, "", "", 12),
        (2, 7, "research", "jupyter-alice", 7_000),
        (2, 8, "research", "jupyter-bob", 1_500),
        (2, 9, "", "", 12),
    ] {
        let container = if pod.is_empty() { "" } else { "main" };
        text.push_str(&format!(
            "DCGM_FI_DEV_FB_USED{{gpu=\"{gpu}\",UUID=\"GPU-{gpu}\",device=\"nvidia{gpu}\",modelName=\"NVIDIA A100-SXM4-80GB\",GPU_I_PROFILE=\"1g.10gb\",GPU_I_ID=\"{instance}\",Hostname=\"n\",container=\"{container}\",namespace=\"{namespace}\",pod=\"{pod}\"}} {mib}\n"
        ));
    }
    text
}

const EXPECTED: [&str; 4] = [
    "nlp,embed-api,6900,2",
    "nlp,rerank,3000,1",
    "research,jupyter,7000,2",
    "vision,train-seg,35000,1",
];

/// Serves the exposition until the process ends.
fn exporter() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = answer(stream);
        }
    });
    port
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            read => request.extend_from_slice(&buffer[..read]),
        }
    }
    let body = exposition();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Ends its process whatever happens to the test.
pub(super) struct Guard(Child);

impl Guard {
    /// Asks the server to stop and waits, so that its files are whole.
    fn stop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if matches!(self.0.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path, exporter: u16) -> (Guard, String) {
    let config = format!(
        "global:\n  scrape_interval: 1s\nscrape_configs:\n\
         - job_name: nvidia-dcgm-exporter\n  honor_labels: false\n  static_configs:\n\
         \x20 - targets: ['127.0.0.1:{exporter}']\n    labels: {{namespace: gpu-operator, pod: nvidia-dcgm-exporter-k8f9t, container: nvidia-dcgm-exporter}}\n\
         - job_name: honoured\n  honor_labels: true\n  static_configs:\n\
         \x20 - targets: ['127.0.0.1:{exporter}']\n    labels: {{namespace: gpu-operator, pod: nvidia-dcgm-exporter-k8f9t, container: nvidia-dcgm-exporter}}\n"
    );
    start_with(folder, &config)
}

/// Starts a server with what `folder` has in `tsdb`.
pub(super) fn start_with(folder: &Path, config: &str) -> (Guard, String) {
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, config).expect("a temporary file");
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    let address = format!("127.0.0.1:{port}");
    let child = Command::new("timeout")
        .arg("120")
        .arg("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(folder.join("log")).expect("a log"))
        .spawn()
        .expect("prometheus starts");
    (Guard(child), format!("http://{address}"))
}

pub(super) fn get(url: &str, parameters: &[(&str, &str)]) -> Option<String> {
    let request = ureq::get(url).query_pairs(parameters.iter().copied());
    request.call().ok()?.into_body().read_to_string().ok()
}

pub(super) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| t.as_secs())
}

/// Waits until the server has a few scrapes of both jobs, eight devices each.
fn await_scrapes(url: &str, folder: &Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let counted = ("query", "count_over_time(DCGM_FI_DEV_FB_USED[1m])>3");
    let seen = || get(&format!("{url}/api/v1/query"), &[counted]).unwrap_or_default();
    while seen().matches("\"metric\"").count() < 16 {
        assert!(
            Instant::now() < deadline,
            "prometheus has no data: {}",
            std::fs::read_to_string(folder.join("log")).unwrap_or_default()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// What `promtool` prints.
pub(super) fn promtool(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("promtool").args(arguments).output().expect("promtool runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    output.stdout
}

/// A metric that is not there, and a query that is none.
fn what_cannot_be_answered_is_told(url: &str) {
    let asked = |what: [&str; 2]| {
        let [flag, value] = what;
        super::failure(&["--prometheus-url", url, flag, value, "--window", "1m"])
    };
    let (code, text) = asked(["--metric", "gpu_memory_gone"]);
    assert_eq!(code, 3);
    assert!(text.contains("has no series for gpu_memory_gone in the last 1m"), "{text}");
    assert!(text.contains("it has DCGM_FI_DEV_FB_USED"), "{text}");
    let (code, text) = asked(["--query", "sum("]);
    assert_eq!(code, 3);
    assert!(text.contains("answered 400 Bad Request: 1:5: parse error"), "{text}");
}

#[test]
fn every_way_out_of_a_real_prometheus_gives_the_same_demand() {
    if !have(&["prometheus", "promtool", "timeout", "kill"], "prometheus procps") {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut server, url) = start(folder.path(), exporter());
    await_scrapes(&url, folder.path());
    let (start, end) = (now() - 60, now());
    let save = |name: &str, text: &[u8]| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).expect("a temporary file");
        file.display().to_string()
    };
    let from_file = |file: &str| demand(&["-q", "--prometheus", file]);
    let (from, to) = (format!("--start={start}"), format!("--end={end}"));
    for job in ["{job=\"nvidia-dcgm-exporter\"}", "{job=\"honoured\"}", ""] {
        let query = format!("DCGM_FI_DEV_FB_USED{job}");
        let live = demand(&[
            "-q",
            "--prometheus-url",
            &url,
            "--query",
            &query,
            "--window",
            "1m",
            "--step",
            "1s",
        ]);
        assert_eq!(live, EXPECTED, "live {job}");
        let (from_s, to_s) = (start.to_string(), end.to_string());
        let times = [("start", from_s.as_str()), ("end", to_s.as_str()), ("step", "1")];
        for (name, path, times) in
            [("range.json", "query_range", &times[..]), ("instant.json", "query", &[])]
        {
            let parameters = [&[("query", query.as_str())], times].concat();
            let text = get(&format!("{url}/api/v1/{path}"), &parameters).expect("an answer");
            assert_eq!(from_file(&save(name, text.as_bytes())), EXPECTED, "{name} {job}");
        }
        let range =
            promtool(&["query", "range", "-o", "json", &from, &to, "--step=1s", &url, &query]);
        assert_eq!(
            from_file(&save("promtool_range.json", &range)),
            EXPECTED,
            "promtool range {job}"
        );
        let instant = promtool(&["query", "instant", "-o", "json", &url, &query]);
        assert_eq!(
            from_file(&save("promtool_instant.json", &instant)),
            EXPECTED,
            "promtool instant {job}"
        );
    }
    let live = demand(&["-q", "--prometheus-url", &url, "--window", "1m", "--step", "1s"]);
    assert_eq!(live, EXPECTED, "live by metric");
    // No whole step has passed since the first sample.
    let live = demand(&["-q", "--prometheus-url", &url, "--step", "1d"]);
    assert_eq!(live, EXPECTED, "live, the present moment");
    let federate =
        get(&format!("{url}/federate"), &[("match[]", "DCGM_FI_DEV_FB_USED")]).expect("an answer");
    assert_eq!(from_file(&save("federate", federate.as_bytes())), EXPECTED, "federate");
    assert_eq!(from_file(&save("scrape", exposition().as_bytes())), EXPECTED, "scrape");

    what_cannot_be_answered_is_told(&url);

    server.stop();
    let dump = promtool(&["tsdb", "dump", &folder.path().join("tsdb").display().to_string()]);
    assert_eq!(from_file(&save("dump", &dump)), EXPECTED, "tsdb dump");
    let (code, text) = super::failure(&["--prometheus-url", &url, "--retries", "1"]);
    assert_eq!(code, 3);
    assert!(text.contains("cannot be asked: connection refused (asked 2 times)"), "{text}");
}
