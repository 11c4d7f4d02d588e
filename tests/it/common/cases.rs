//! How many cases a property is tried on, and where a failing one is kept.
use proptest::test_runner::Config;

/// So many cases, unless `PROPTEST_CASES` says another number: `PROPTEST_CASES=10000` for a night,
/// `PROPTEST_CASES=8` for a look. A failing case is kept below `tests/proptest-regressions/`, is
/// tried first from then on, and belongs into the commit that repairs it.
pub fn cases(usual: u32) -> Config {
    let config = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { usual };
    Config { cases, ..config }
}
