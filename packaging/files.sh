#!/bin/sh
# Writes the man pages and completions of a migplan binary.
# Usage: packaging/files.sh BINARY FOLDER
set -eu
migplan=$1
folder=$2
rm -rf "$folder"
mkdir -p "$folder/man"
"$migplan" man-pages "$folder/man"
for shell in bash zsh fish; do
    "$migplan" completions "$shell" >"$folder/migplan.$shell"
done
