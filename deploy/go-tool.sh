#!/usr/bin/env bash
# Builds a tool written in Go into the cache, unless this very version is there.
# The last line it prints is the tool's path.
#
#   go-tool.sh NAME MODULE VERSION PACKAGE TIME
set -euo pipefail
source "$(dirname "$0")/steps.sh"
name=$1 module=$2 version=$3 package=$4 time=$5
binary=$cache/bin/$name

is_there() { go version -m "$binary" 2>/dev/null | grep -qF "	mod	$module	$version	"; }

build() {
	local temp
	temp=$(mktemp -d "$cache/build.XXXXXX")
	# From a folder without a module, with nothing of the caller's flags.
	if (cd "$temp" && GOFLAGS= GOBIN="$temp" CGO_ENABLED=0 go install "$package@$version"); then
		mv "$temp/$name" "$binary"
		rm -rf "$temp"
	else
		rm -rf "$temp"
		return 1
	fi
}

if ! is_there; then
	mkdir -p "$cache/bin"
	step "Building $name $version (once, about $time)" build >&2
fi
echo "$binary"
