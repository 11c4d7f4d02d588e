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
# The last that fits counts. This variable separates flags by the character 1F, so that a folder may
# have a blank in its name.
CARGO_ENCODED_RUSTFLAGS=$(printf '%s\037%s\037%s' "--remap-path-prefix=$crates=/registry" \
    "--remap-path-prefix=$PWD=/migplan" "--remap-path-prefix=$target=/migplan/target")
export CARGO_ENCODED_RUSTFLAGS
# HiGHS, which is C++ in the crate highs-sys. These flags are split at blanks.
case $crates in
*[[:space:]]*) echo "warning: $crates has a blank in it, so its path stays in the binary" >&2 ;;
*) export CXXFLAGS="${CXXFLAGS:-} -ffile-prefix-map=$crates=/registry" ;;
esac
cargo build --release --locked --bin migplan >&2
echo "$target/release/migplan"
