#!/bin/sh
# Builds the binary that is given to others; aims at the same bytes from the same sources, toolchain and
# C++ compiler, in whatever folder, since the paths of this machine are taken out of it.
# Usage: packaging/build-release.sh; prints the path of the binary.
set -eu
cd "$(dirname "$0")/.."
. examples/build-tools.sh
need_build_tools
crates=${CARGO_HOME:-$HOME/.cargo}/registry/src
target=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
# The last that fits counts.
export RUSTFLAGS="--remap-path-prefix=$crates=/registry --remap-path-prefix=$PWD=/migplan --remap-path-prefix=$target=/migplan/target"
# HiGHS, which is C++ in the crate highs-sys.
export CXXFLAGS="${CXXFLAGS:-} -ffile-prefix-map=$crates=/registry"
cargo build --release --locked --bin migplan >&2
echo "$target/release/migplan"
