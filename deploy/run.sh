#!/usr/bin/env bash
# Starts the demo in the foreground; Ctrl-C ends it. "make run" has built
# everything before. TASVIR_DATA names another data folder.
set -euo pipefail
source "$(dirname "$0")/steps.sh"

data=${TASVIR_DATA:-}
if [[ -z $data ]]; then
	if ((EUID == 0)); then
		# Not below /root: PostgreSQL, which can't run as root, must get there.
		data=/var/lib/tasvir-demo
	else
		data=$HOME/.local/share/tasvir-demo
	fi
fi
cd "$root"
# The second viewer is for those who can fetch it; the demo does without.
ohif=$(deploy/ohif.sh) || say "The demo starts without OHIF, the second viewer."
exec bin/tasvir demo --data "$data" ${ohif:+--ohif-dist "$ohif"}
