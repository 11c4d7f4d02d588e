//! Programs of others that read what migplan writes: a test without its program skips and says so,
//! or fails where `MIGPLAN_REQUIRE_TOOLS=1` says that everything must run, as CI does.
use std::io::Write;

/// Whether all these programs are on the path; see [`skip`] where one is not. `package` is Debian's
/// package that brings them.
pub fn have(programs: &[&str], package: &str) -> bool {
    let missing = programs.iter().find(|program| !on_path(program));
    if let Some(program) = missing {
        skip(&format!("{program} is not installed (Debian: apt-get install {package})"));
    }
    missing.is_none()
}

/// Whether a program is on the path.
pub fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Says that a test is skipped for want of a program.
///
/// # Panics
/// Where `MIGPLAN_REQUIRE_TOOLS` is `1`.
pub fn skip(why: &str) {
    let required = std::env::var("MIGPLAN_REQUIRE_TOOLS").is_ok_and(|v| v == "1");
    assert!(!required, "{why}, and MIGPLAN_REQUIRE_TOOLS=1 asks for every test");
    note(why);
}

/// Says that a test is skipped for want of what no package brings, such as a right of this machine;
/// past the test runner, which keeps what a passing test prints.
pub fn note(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}
