#!/usr/bin/env bash
# "make bench": measures the archive beside dcmtk's storescp and Orthanc, one
# after the other in one run; see deploy/bench/README.md. Everything must have
# been built before.
set -euo pipefail
source "$(dirname "$0")/steps.sh"
cd "$root"

deploy/install-debian.sh bench ||
	fail 'the systems to compare with can not be installed: Debian 12 has them as dcmtk, orthanc, orthanc-postgresql and orthanc-dicomweb'
minio=$(deploy/minio.sh)
[[ -x $minio ]] || fail 'MinIO is needed and could not be built: run deploy/minio.sh'
mkdir -p bin
step 'Building the benchmark' go build -o bin/bench ./deploy/bench
exec bin/bench
