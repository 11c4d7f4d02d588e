# Sourced by quickstart.sh and tests/run.sh: what building migplan needs beside Rust.
# HiGHS, the solver, is built from source by CMake and make, and its bindings by libclang.
# Knows nothing of what is built or tested.

# The Debian and Ubuntu packages. CMake only recommends make, and cargo needs the certificates to
# fetch the dependencies: a minimal installation has none of them.
build_packages="g++ make cmake libclang-dev ca-certificates"

# Prints those of the named packages that are not installed, each after a blank.
missing_packages() {
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || printf ' %s' "$package"
    done
}

# Installs packages where this user may; says nothing where all are there.
# Usage: install_packages PACKAGE...; returns 1 where some are missing and cannot be installed.
install_packages() {
    missing=$(missing_packages "$@")
    [ -z "$missing" ] && return 0
    command -v apt-get >/dev/null 2>&1 || return 1
    if [ "$(id -u)" = 0 ]; then
        as_root=""
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        as_root="sudo"
    else
        return 1
    fi
    echo "installing$missing" >&2
    # shellcheck disable=SC2086 # a list of packages
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >/dev/null 2>&1 && return 0
    # The package lists may be old, or not be there at all.
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
    [ -z "$(missing_tools)" ] && return 0
    # shellcheck disable=SC2086 # a list of packages
    install_packages $build_packages && [ -z "$(missing_tools)" ] && return 0
    echo "error: migplan cannot be built without:$(missing_tools)" >&2
    if command -v apt-get >/dev/null 2>&1; then
        # shellcheck disable=SC2086
        echo "hint: sudo apt-get update && sudo apt-get install -y$(missing_packages $build_packages)" >&2
    else
        echo "hint: install them with the package manager of this system, then run this again" >&2
    fi
    exit 1
}

# Prints what is missing to build migplan, each after a blank.
missing_tools() {
    for tool in c++ cmake make; do
        command -v "$tool" >/dev/null 2>&1 || printf ' %s' "$tool"
    done
    has_libclang || printf ' libclang'
    has_certificates || printf ' CA-certificates'
}

has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] || ls /usr/lib/llvm-*/lib/libclang*.so* /usr/lib*/libclang*.so* /usr/lib/*/libclang*.so* 2>/dev/null | grep -q .
}

# Where cargo and OpenSSL look, on Debian, Fedora, Alpine and SUSE.
has_certificates() {
    [ -n "${SSL_CERT_FILE:-}${CARGO_HTTP_CAINFO:-}" ] || ls /etc/ssl/certs/*.crt /etc/ssl/certs/*.pem /etc/pki/tls/certs/*.crt /etc/ssl/*.pem /var/lib/ca-certificates/*.pem 2>/dev/null | grep -q .
}
