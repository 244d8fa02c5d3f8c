#!/bin/sh
# Copies what a binary is linked with, the loader included, to the same places below a folder:
# image-libraries.sh BINARY FOLDER
set -eu
binary=$1
folder=$2
libraries=$(ldd "$binary")
case $libraries in
*"not found"*)
    echo "$libraries" >&2
    exit 1
    ;;
esac
for library in $(echo "$libraries" | grep -o '/[^ ]*'); do
    mkdir -p "$folder$(dirname "$library")"
    cp -L "$library" "$folder$library"
done
