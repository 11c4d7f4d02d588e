# Sourced by quickstart.sh and tests/run.sh: what building migplan needs beside Rust.
# HiGHS, the solver, is built from source by CMake, and its bindings by libclang.

# Installs Debian or Ubuntu packages where this user may; says nothing where all are there.
# Usage: install_packages PACKAGE...; returns 1 where some are missing and may not be installed.
install_packages() {
    missing=""
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing="$missing $package"
    done
    [ -z "$missing" ] && return 0
    if [ "$(id -u)" = 0 ]; then
        as_root=""
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        as_root="sudo"
    else
        return 1
    fi
    command -v apt-get >/dev/null 2>&1 || return 1
    echo "installing$missing" >&2
    # shellcheck disable=SC2086 # a list of packages
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >/dev/null 2>&1 && return 0
    $as_root apt-get update >/dev/null 2>&1
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >/dev/null
}

# Makes sure that migplan can be built, or ends with the line that would make it so.
need_build_tools() {
    if ! command -v cargo >/dev/null 2>&1; then
        echo "error: cargo is not on the PATH" >&2
        echo "hint: install Rust 1.89 or later from https://rustup.rs" >&2
        exit 1
    fi
    # Another distribution, or tools from elsewhere, are fine as long as they are there.
    if command -v c++ >/dev/null 2>&1 && command -v cmake >/dev/null 2>&1 && has_libclang; then
        return 0
    fi
    if ! install_packages g++ cmake libclang-dev; then
        echo "error: a C++ compiler, cmake or libclang is missing, and this user may not install them" >&2
        echo "hint: sudo apt-get install -y g++ cmake libclang-dev" >&2
        exit 1
    fi
}

has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] || ls /usr/lib/llvm-*/lib/libclang*.so* /usr/lib*/libclang*.so* /usr/lib/*/libclang*.so* 2>/dev/null | grep -q .
}
