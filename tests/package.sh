#!/bin/sh
# Builds the Debian package, installs it, tries what it brings, removes it, and looks for what is left.
# Usage: tests/package.sh [ROOT]; with ROOT, a folder that debootstrap filled, everything but the
# build happens in there; with DEB=FILE that package is tried and none is built. Needs root, and
# cargo-deb to build.
set -eu
cd "$(dirname "$0")/.."
root=${1:-}
deb=${DEB:-$(sh packaging/build-deb.sh | tail -n 1)}
echo "trying $deb ($(stat -c %s "$deb") bytes)"

in_root() {
    if [ -n "$root" ]; then chroot "$root" "$@"; else "$@"; fi
}
fail() {
    echo "error: $*" >&2
    exit 1
}

name=$(dpkg-deb --field "$deb" Package)
if in_root dpkg-query -W "$name" >/dev/null 2>&1; then
    fail "$name is installed already; this test would remove it"
fi
files=$(dpkg-deb --contents "$deb" | awk '$1 !~ /^d/ { sub(/^\.?\/?/, "/", $6); print $6 }')
for wanted in /usr/bin/migplan /usr/share/man/man1/migplan.1.gz /usr/share/man/man1/migplan-suggest.1.gz \
    /usr/share/bash-completion/completions/migplan /usr/share/zsh/vendor-completions/_migplan \
    /usr/share/fish/vendor_completions.d/migplan.fish /usr/share/doc/migplan/copyright /usr/share/doc/migplan/THIRD-PARTY; do
    echo "$files" | grep -qx "$wanted" || fail "the package lacks $wanted"
done
echo "$files" | grep -q '/systemd/system/migplan.service$' || fail "the package lacks the systemd unit"

cp "$deb" "$root/tmp/migplan.deb"
trap 'in_root dpkg --purge "$name" >/dev/null 2>&1 || true; rm -f "$root/tmp/migplan.deb"' EXIT
# Its dependencies, libc and the C++ library, are those of any system with apt.
in_root dpkg -i /tmp/migplan.deb >/dev/null || in_root apt-get install -y -f --no-install-recommends >/dev/null
in_root migplan --version
printf 'team,workload,memory\na,b,9GiB\n' | in_root migplan suggest -q -w - --gpus 1xa100-80gb | grep -q 'mig-devices' ||
    fail "the installed binary does not plan"
# What is linked into the binary comes with its licences.
for work in 'highs-sys [0-9]' 'serde_json [0-9]' 'the Rust standard library [0-9]' 'DejaVu Sans'; do
    [ "$(grep -c "^$work" "$root/usr/share/doc/migplan/THIRD-PARTY")" -gt 0 ] || fail "no licence of $work"
done
grep -q 'Copyright (c) [0-9]* HiGHS' "$root/usr/share/doc/migplan/THIRD-PARTY" || fail "no licence of HiGHS"
in_root sh -c 'zcat /usr/share/man/man1/migplan-suggest.1.gz' | grep -q 'workloads' || fail "the man page is empty"
in_root bash -n /usr/share/bash-completion/completions/migplan || fail "bash cannot read its completions"
completed=$(in_root bash -c '. /usr/share/bash-completion/completions/migplan
    COMP_WORDS=(migplan sugg) COMP_CWORD=1
    _migplan migplan sugg migplan && echo "${COMPREPLY[*]}"')
[ "$completed" = suggest ] || fail "bash completes 'sugg' to '$completed'"
if in_root sh -c 'command -v systemd-analyze' >/dev/null; then
    in_root systemd-analyze verify --man=no migplan.service || fail "systemd does not take the unit"
    in_root systemctl is-enabled migplan.service 2>/dev/null | grep -qx disabled || fail "the unit must be off until somebody enables it"
fi

in_root dpkg --purge "$name" >/dev/null
for file in $files; do
    [ ! -e "$root$file" ] || fail "$file is left behind"
done
echo "1 passed, 0 failed: installed, tried and removed"
