#!/bin/sh
# Fuzzes every reader of migplan with libFuzzer, each for so many seconds (default 60), from the
# seeds in fuzz/seeds. Usage: tests/fuzz.sh [SECONDS [TARGET...]]
# `cargo test --test it seeds` needs no libFuzzer: it tries the seeds and faulty copies of them,
# as many as MIGPLAN_FUZZ=SEED:RUNS says.
# What is found is kept in fuzz/artifacts: repair it and put the file into fuzz/seeds/TARGET, where
# `cargo test --test it seeds` runs it from then on. The corpus that grows in fuzz/corpus is not
# part of the repository. Needs cargo-fuzz (cargo install cargo-fuzz); works on stable Rust, since
# no sanitizer is used: migplan's readers have no unsafe code.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# -gt 0 ] && shift
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "error: cargo-fuzz is not installed" >&2
    echo "hint: cargo install --locked cargo-fuzz" >&2
    exit 1
fi
if [ $# -eq 0 ]; then
    set -- $(cargo fuzz list)
fi
for target in "$@"; do
    mkdir -p "fuzz/corpus/$target"
    # RUSTC_BOOTSTRAP: the coverage flags of libFuzzer are unstable options of the stable compiler.
    RUSTC_BOOTSTRAP=1 cargo fuzz run -s none "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -max_len=65536 -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 2>&1 |
        tee "fuzz/corpus/$target.log" | grep -E '^stat::number_of_executed_units|^==|panicked|SUMMARY|Test unit' |
        sed "s/^/$target: /" || true
    if ! grep -q '^stat::number_of_executed_units' "fuzz/corpus/$target.log" || grep -q 'Test unit written' "fuzz/corpus/$target.log"; then
        tail -n 20 "fuzz/corpus/$target.log" >&2
        exit 1
    fi
done
