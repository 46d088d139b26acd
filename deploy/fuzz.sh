#!/usr/bin/env bash
# Runs every fuzz target for a while: FUZZTIME each, by default 20s.
set -euo pipefail
source "$(dirname "$0")/steps.sh"
cd "$root"

status=0 count=0
while read -r package; do
	while read -r target; do
		count=$((count + 1))
		say "$target in ${package#github.com/tasvir-pacs/tasvir/} for ${FUZZTIME:-20s}"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-20s}" "$package" || status=1
	done < <(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true)
done < <(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./... | grep .)
say "$count fuzz targets"
exit "$status"
