#!/usr/bin/env bash
# Says clearly when Go or Node is missing or too old.
set -euo pipefail
source "$(dirname "$0")/steps.sh"

at_least() { [[ $(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1) == "$1" ]]; }

check() { # check NAME WANTED FOUND ADVICE
	[[ -n $3 ]] || fail "$1 is not installed: Tasvir needs $1 $2 or newer ($4)"
	at_least "$2" "$3" || fail "$1 $3 is too old: Tasvir needs $1 $2 or newer ($4)"
}

go=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null || true)
check Go 1.26 "${go#go}" "see go.dev/dl"
node=$(node --version 2>/dev/null || true)
check Node 20.19 "${node#v}" "see nodejs.org"
command -v npm >/dev/null || fail "npm is not installed: it comes with Node, or as Debian's package npm"
