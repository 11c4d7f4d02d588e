#!/bin/sh
# Writes the licence texts of everything that is linked into the binary: the crates that Cargo.lock
# pins, as their own packages carry them, HiGHS, the Rust standard library and the font of pictures.
# Usage: packaging/third-party.sh FILE
#
# Says too much rather than too little: of a choice of licences every text is there, and of HiGHS
# those of parts that are not compiled. Texts that are equal stand once. The same sources and
# toolchain give the same bytes.
set -eu
LC_ALL=C
export LC_ALL
cd "$(dirname "$0")/.."
output=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/texts"
: >"$work/names"

# add NAME FOLDER: notes every licence text in a folder under a name; fails where there is none.
add() {
    find "$2" -type f | grep -iE '/(licen[sc]es?|copying|notice|unlicense|third_party_notices)[^/]*$|/licenses/[^/]*\.txt$' |
        grep -vE '\.(rs|py|html|json|toml|tera|hbs|sh|spdx)$' | sort >"$work/found"
    [ -s "$work/found" ] || return 1
    while read -r file; do
        # Line ends and blanks at the end of lines are no difference.
        sum=$(sed 's/[[:space:]]*$//' "$file" | sha256sum | cut -c1-64)
        [ -e "$work/texts/$sum" ] || sed 's/[[:space:]]*$//' "$file" >"$work/texts/$sum"
        echo "$sum $1" >>"$work/names"
    done <"$work/found"
}

registry=$(echo "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*)
cargo tree --locked --edges normal,no-proc-macro --prefix none --no-dedupe --format '{p}|{l}' |
    sed 's/ v/|/; s/ (.*)|/|/' | sort -u | grep -v '^migplan|' >"$work/crates"
: >"$work/list"
while IFS='|' read -r name version licence; do
    for place in $registry; do
        folder=$place/$name-$version
        [ ! -d "$folder" ] || break
    done
    if ! add "$name $version" "$folder"; then
        echo "error: $name $version carries no licence text in $folder" >&2
        echo "hint: add its text to packaging/third-party.sh, or leave the crate out" >&2
        exit 1
    fi
    echo "$name $version: $licence" >>"$work/list"
done <"$work/crates"
# The crate highs-sys says that it is MIT and carries the texts of HiGHS only; its own is that of the
# crate highs, by the same people.
rust=$(rustc --version | cut -d' ' -f2)
# The licences of the library; those of the compiler's other parts stand beside them.
mkdir "$work/licenses"
for licence in Apache-2.0 LLVM-exception MIT Unicode-3.0; do
    cp "$(rustc --print sysroot)/share/doc/rust/licenses/$licence.txt" "$work/licenses/"
done
add "the Rust standard library $rust" "$work/licenses"
echo "the Rust standard library $rust: MIT OR Apache-2.0" >>"$work/list"
add "DejaVu Sans, the font of pictures" data/fonts
echo "DejaVu Sans, the font of pictures: Bitstream Vera" >>"$work/list"

mkdir -p "$(dirname "$output")"
{
    echo "migplan is built from the following, which others have written and licensed as said."
    echo "After the list stands each licence text with the names of those that it came with."
    echo
    sed 's/^/  /' "$work/list"
    # In the order of the first name that each came with.
    sort -k2 -k1,1 "$work/names" | awk '!seen[$1]++ { print $1 }' | while read -r sum; do
        printf '\n%s\n' "----------------------------------------------------------------------"
        sort -u "$work/names" | sed -n "s/^$sum //p"
        echo
        cat "$work/texts/$sum"
    done
} >"$output.part"
mv "$output.part" "$output"
