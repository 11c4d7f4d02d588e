//! Use over time: what the replicas of a workload really used, with the quantile that its demand
//! is taken from and the instance that it gets.

/// The figure: one panel for each workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    /// What is shown, in one line.
    pub title: String,
    /// How it is to be read.
    pub subtitle: String,
    /// The panels, in drawing order.
    pub panels: Vec<UsagePanel>,
}

/// One workload.
#[derive(Debug, Clone, PartialEq)]
pub struct UsagePanel {
    /// `team/workload`.
    pub label: String,
    /// One line for each replica: seconds since 1970 (UTC) and GiB, by rising time.
    pub series: Vec<Vec<(f64, f64)>>,
    /// The quantile, such as 0.99.
    pub quantile: f64,
    /// Its value, in GiB.
    pub quantile_gib: f64,
    /// The profile and usable memory (GiB) of the instance, where one is known.
    pub instance: Option<(String, f64)>,
}
