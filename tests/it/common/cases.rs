//! How many cases a property is tried on, where a failing one is kept, and what cases several
//! properties have.
use migplan::plan::{MigModePolicy, Policy, Strategy as SiteStrategy};
use proptest::prelude::*;
use proptest::test_runner::Config;

/// So many cases, unless `PROPTEST_CASES` says another number: `PROPTEST_CASES=10000` for a night,
/// `PROPTEST_CASES=8` for a look. A failing case is kept below `tests/proptest-regressions/`, is
/// tried first from then on, and belongs into the commit that repairs it.
pub fn cases(usual: u32) -> Config {
    let config = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { usual };
    Config { cases, ..config }
}

/// Rules of a site that go together.
pub fn policy() -> impl Strategy<Value = Policy> {
    (any::<bool>(), any::<bool>(), 0u32..3, any::<bool>()).prop_map(
        |(single, per_node, keep_whole, one_profile_per_workload)| Policy {
            strategy: if single { SiteStrategy::Single } else { SiteStrategy::Mixed },
            mig_mode: if per_node { MigModePolicy::PerNode } else { MigModePolicy::PerGpu },
            keep_whole: if single || per_node { 0 } else { keep_whole },
            one_profile_per_workload,
        },
    )
}
