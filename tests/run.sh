#!/bin/sh
# Runs everything that must pass: format, lints, docs and all tests. Installs what it may. A test
# whose tool is missing says that it skips and why; with MIGPLAN_REQUIRE_TOOLS=1, which CI=true
# implies, it fails instead.
set -eu
cd "$(dirname "$0")/.."
. examples/build-tools.sh
need_build_tools
if [ "${CI:-}" = true ]; then
    export MIGPLAN_REQUIRE_TOOLS="${MIGPLAN_REQUIRE_TOOLS:-1}"
fi
for component in fmt clippy; do
    cargo "$component" --version >/dev/null 2>&1 && continue
    echo "error: cargo $component is not installed" >&2
    echo "hint: rustup component add rustfmt clippy" >&2
    exit 1
done
# Readers of what migplan writes; one that cannot be had costs only its own test.
for package in prometheus chromium poppler-utils systemd slurmctld slurmd python3-yaml procps; do
    install_packages "$package" || echo "note: the package $package is missing and cannot be installed here" >&2
done
cargo fmt --all --check
cargo clippy --workspace --all-targets -- -D warnings
# The library without the command, and with each of its features alone.
for features in "" http charts nvml; do
    cargo check --quiet --lib --no-default-features --features "$features"
done
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
if cargo deny --version >/dev/null 2>&1; then
    # Not the advisories: they need a download.
    cargo deny check bans licenses sources
else
    echo "note: cargo-deny is not installed; licences and sources of dependencies are not checked" >&2
fi
# Not cargo-nextest, which starts the one large test program anew for each of its tests.
cargo test --workspace
