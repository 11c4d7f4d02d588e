#!/bin/sh
# Builds the Debian package: binary, man pages, completions, systemd unit, documents and the licences
# of what is linked into the binary.
# Usage: packaging/build-deb.sh; prints the path of the package. Needs cargo-deb
# (cargo install --locked cargo-deb).
#
# Aims at the same bytes from the same sources and toolchain: times are those of the last commit
# (SOURCE_DATE_EPOCH), and the binary is that of packaging/build-release.sh.
set -eu
cd "$(dirname "$0")/.."
if ! cargo deb --version >/dev/null 2>&1; then
    echo "error: cargo-deb is not installed" >&2
    echo "hint: cargo install --locked cargo-deb" >&2
    exit 1
fi
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
target=${CARGO_TARGET_DIR:-target}
migplan=$(sh packaging/build-release.sh)
# cargo-deb looks for them there whatever CARGO_TARGET_DIR says: of the paths in Cargo.toml it follows
# that for target/release alone.
sh packaging/files.sh "$migplan" target/package-files
sh packaging/third-party.sh target/package-files/THIRD-PARTY
cargo deb --no-build --quiet --output "$target/debian/" >&2
ls "$PWD/$target"/debian/*.deb 2>/dev/null || ls "$target"/debian/*.deb
