#!/usr/bin/env bash
# Installs a folder's npm packages from its lock file, if they are not there yet.
#
#   npm-ci.sh FOLDER
set -euo pipefail
source "$(dirname "$0")/steps.sh"
folder=$1
cd "$root/$folder"

stamp=node_modules/.tasvir-installed
wanted="$(node --version) $(sha256sum <package-lock.json)"
if [[ -e $stamp && $(<"$stamp") == "$wanted" ]]; then
	exit 0
fi
# No package of ours needs an install script, and so none may run one. "npm ci"
# refuses a lock file that lacks packages for other kinds of machines, as npm
# writes it where the registry doesn't offer those; "npm install" takes the
# locked versions all the same, and must leave the file as it is.
install() {
	npm ci --ignore-scripts --no-audit --no-fund && return
	local before
	before=$(<package-lock.json)
	npm install --ignore-scripts --no-audit --no-fund --no-save || return 1
	if [[ $(<package-lock.json) != "$before" ]]; then
		printf '%s\n' "$before" >package-lock.json
		printf 'package.json and package-lock.json do not fit each other: run npm install in %s\n' "$folder"
		return 1
	fi
}
step "Installing npm packages in $folder" install
printf '%s\n' "$wanted" >"$stamp"
