#!/usr/bin/env bash
# Fetches OHIF's web application, the second viewer that "tasvir serve --ohif"
# offers, as its project publishes it on npm, and prints the folder it is in. It
# is kept in the cache; what is there already is not fetched again.
#
#   ohif.sh [--where]     --where only prints the folder
set -euo pipefail
source "$(dirname "$0")/steps.sh"
version=3.13.2
integrity=sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA==
form=1 # of the folder; another number has it made anew
folder=$cache/ohif/$version-$form

fetch() (
	mkdir -p "$cache/ohif"
	temp=$(mktemp -d "$cache/ohif/fetch.XXXXXX")
	trap 'rm -rf --one-file-system "$temp"' EXIT
	cd "$temp"
	npm pack --silent --ignore-scripts "@ohif/app@$version" >/dev/null
	got=sha512-$(node -e 'process.stdout.write(crypto.createHash("sha512").update(fs.readFileSync(process.argv[1])).digest("base64"))' ohif-app-*.tgz)
	if [[ $got != "$integrity" ]]; then
		echo "@ohif/app $version is not what it was: $got"
		return 1
	fi
	# Without source maps, and without the 136 MB of a program that segments by
	# itself (ort), which is fetched from elsewhere when it is asked for.
	tar -xzf ohif-app-*.tgz --exclude='*.map' --exclude=package/dist/ort package/dist
	find package/dist -type f \( -name '*.js' -o -name '*.css' -o -name '*.wasm' -o -name '*.svg' -o -name '*.json' \) -size +1k -exec gzip -9kn {} +
	mv -T package/dist "$folder" 2>/dev/null || [[ -e $folder/index.html ]] # somebody else was faster
)

[[ ${1:-} == --where || -e $folder/index.html ]] || step "Fetching OHIF $version (once, 50 MB)" fetch >&2
echo "$folder"
