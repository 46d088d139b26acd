#!/usr/bin/env bash
# Installs the Debian packages that are missing. Nothing to do: says nothing.
#
#   install-debian.sh run     what "make run" needs
#   install-debian.sh test    what "make test" needs besides
#   install-debian.sh bench   what "make bench" needs besides "make run"
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
has_orthanc() { has Orthanc || test -x /usr/sbin/Orthanc; }
has_nginx() { has nginx || test -x /usr/sbin/nginx; }
has_orthanc_plugin() { compgen -G "/usr/share/orthanc/plugins/lib$1.so*"; }
has_font() { [[ -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ]] || { has fc-list && fc-list | grep -qi dejavu; }; }

need ca-certificates test -e /etc/ssl/certs/ca-certificates.crt
need postgresql has_postgresql
case ${1:-} in
run) ;;
test)
	need gcc has cc # the race detector links with C
	need libc6-dev test -e /usr/include/stdlib.h
	need pkg-config has pkg-config
	need libcharls-dev test -e /usr/include/charls/charls.h # JPEG-LS
	need libopenjp2-7-dev test -e /usr/include/openjpeg-2.5/openjpeg.h # JPEG 2000
	need libopenjp2-tools has opj_compress
	need openjph-tools has ojph_compress
	need dcmtk has storescu
	need libgdcm-tools has gdcmconv
	need orthanc has_orthanc
	need orthanc-dicomweb has_orthanc_plugin OrthancDicomWeb
	need chromium has_chromium
	need fonts-dejavu-core has_font
	need poppler-utils has pdftotext
	need unzip has unzip
	;;
bench)
	need dcmtk has storescu
	need dcmtk has storescp
	need orthanc has_orthanc
	need orthanc-postgresql has_orthanc_plugin OrthancPostgreSQLIndex
	need orthanc-dicomweb has_orthanc_plugin OrthancDicomWeb
	need nginx-light has_nginx
	;;
*) fail "say what for: $0 run|test|bench" ;;
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
# installed, and those of Orthanc and nginx start their servers. Tasvir brings its
# own cluster, and the benchmark its own Orthanc and nginx: these files are in the way of that
# while the packages are installed, and no longer.
in_the_way=()
trap '((${#in_the_way[@]} == 0)) || "${sudo[@]}" rm -f "${in_the_way[@]}"' EXIT
put_in_the_way() { # put_in_the_way FILE MODE TEXT; a file that is there already stays
	[[ -e $1 ]] && return 0
	in_the_way+=("$1")
	"${sudo[@]}" mkdir -p "${1%/*}"
	printf '%s\n' "$3" | "${sudo[@]}" tee "$1" >/dev/null
	"${sudo[@]}" chmod "$2" "$1"
}
if [[ " ${missing[*]} " == *" postgresql "* ]]; then
	put_in_the_way /etc/postgresql-common/createcluster.d/tasvir-install.conf 644 'create_main_cluster = false'
fi
if [[ " ${missing[*]} " == *" orthanc"* || " ${missing[*]} " == *" nginx"* ]]; then
	put_in_the_way /usr/sbin/policy-rc.d 755 $'#!/bin/sh\nexit 101 # "not allowed": invoke-rc.d starts nothing'
fi

# The lists of packages are fetched only if what there is doesn't do.
if ! apt install --dry-run --no-install-recommends "${missing[@]}" >/dev/null 2>&1; then
	step "Fetching Debian's package lists" apt update
fi
if ! step "Installing Debian packages: ${missing[*]}" install; then
	step "Fetching newer package lists" apt update
	step "Installing Debian packages: ${missing[*]}" install
fi
