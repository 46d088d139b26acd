# Sourced by the scripts beside it: messages, and steps that take their time.

# The folder of the repository.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Where tools are kept that are built once per machine.
cache=${TASVIR_CACHE:-$HOME/.cache/tasvir}

say() { printf '%s\n' "$*"; }

fail() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# step TITLE COMMAND... runs a command that may take more than two seconds. It
# shows the title, the time while it lasts, and the command's output only if it
# fails.
step() {
	local title=$1 log status=0 began=$SECONDS
	shift
	log=$(mktemp)
	printf '%s ...\n' "$title"
	"$@" >"$log" 2>&1 </dev/null &
	local pid=$! next=$((SECONDS + 10))
	# A background command of a script ignores Ctrl-C, so it must be told.
	trap 'kill "$pid" 2>/dev/null; rm -f "$log"; exit 130' INT TERM
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.2
		if ((SECONDS >= next)); then
			printf '  %s: %d s\n' "$title" $((SECONDS - began))
			next=$((SECONDS + 20))
		fi
	done
	wait "$pid" || status=$?
	trap - INT TERM
	if ((status == 0)); then
		printf '  done (%d s)\n' $((SECONDS - began))
	else
		if (($(wc -l <"$log") > 100)); then
			head -n 30 "$log"
			printf '[...]\n'
			tail -n 70 "$log"
		else
			cat "$log"
		fi
		printf 'error: failed after %d s: %s\n' $((SECONDS - began)) "$title" >&2
	fi
	rm -f "$log"
	return "$status"
}
