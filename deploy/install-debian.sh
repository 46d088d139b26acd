#!/usr/bin/env bash
# Installs the Debian packages that are missing. Nothing to do: says nothing.
#
#   install-debian.sh run     what "make run" needs
#   install-debian.sh test    what "make test" needs besides
#
# Each need is a probe and the package that satisfies it, so that a program
# installed in another way counts too, on any distribution.
set -euo pipefail
source "$(dirname "$0")/steps.sh"

missing=()
need() { # need PACKAGE PROBE...
	local package=$1
	shift
	"$@" >/dev/null 2>&1 || missing+=("$package")
}
has() { command -v "$1"; }
has_postgresql() {
	[[ -x ${TASVIR_PG_BIN:-}/postgres ]] || compgen -G '/usr/lib/postgresql/*/bin/postgres' || compgen -G '/usr/pgsql-*/bin/postgres' || has postgres
}
has_chromium() { has chromium || has chromium-browser || has google-chrome; }
has_font() { [[ -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ]] || { has fc-list && fc-list | grep -qi dejavu; }; }

need ca-certificates test -e /etc/ssl/certs/ca-certificates.crt
need postgresql has_postgresql
case ${1:-} in
run) ;;
test)
	need gcc has cc # the race detector links with C
	need libc6-dev test -e /usr/include/stdlib.h
	need dcmtk has storescu
	need libgdcm-tools has gdcmconv
	need chromium has_chromium
	need fonts-dejavu-core has_font
	need poppler-utils has pdftotext
	need unzip has unzip
	;;
*) fail "say what for: $0 run|test" ;;
esac
((${#missing[@]})) || exit 0

if ! has apt-get >/dev/null; then
	fail "these are missing and there is no apt-get to install them with: ${missing[*]}"
fi
sudo=()
if ((EUID != 0)); then
	if ! has sudo >/dev/null; then
		fail "these packages are missing: run as root: apt-get install ${missing[*]}"
	fi
	sudo=(sudo)
	sudo -v || fail "these packages are missing: run as root: apt-get install ${missing[*]}"
fi

apt() {
	"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
		-o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=300 "$@"
}
install() { apt install --no-install-recommends "${missing[@]}"; }

# Debian's PostgreSQL creates and starts a cluster of its own when it is
# installed. Tasvir brings its own: this file is in the way of that while it is
# installed, and no longer.
hold=/etc/postgresql-common/createcluster.d/tasvir-install.conf
if [[ " ${missing[*]} " == *" postgresql "* ]]; then
	"${sudo[@]}" mkdir -p "${hold%/*}"
	printf 'create_main_cluster = false\n' | "${sudo[@]}" tee "$hold" >/dev/null
	trap '"${sudo[@]}" rm -f "$hold"' EXIT
fi

# The lists of packages are fetched only if what there is doesn't do.
if ! apt install --dry-run --no-install-recommends "${missing[@]}" >/dev/null 2>&1; then
	step "Fetching Debian's package lists" apt update
fi
if ! step "Installing Debian packages: ${missing[*]}" install; then
	step "Fetching newer package lists" apt update
	step "Installing Debian packages: ${missing[*]}" install
fi
