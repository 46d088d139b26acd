#!/usr/bin/env bash
# Runs every fuzz target for a while: FUZZTIME each, by default 20s.
set -euo pipefail
source "$(dirname "$0")/steps.sh"
cd "$root"

targets=$(grep -rEo --include='*_test.go' --exclude-dir=node_modules '^func Fuzz[A-Za-z0-9_]*' . | sort || true)
[[ -n $targets ]] || fail "there are no fuzz targets"
status=0
while IFS=: read -r file target; do
	target=${target#func }
	folder=$(dirname "$file")
	printf '\n=== %s in %s for %s\n' "$target" "$folder" "${FUZZTIME:-20s}"
	# Two workers leave room for the rest of the machine.
	go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-20s}" -parallel 2 "$folder" || status=1
done <<<"$targets"
exit "$status"
