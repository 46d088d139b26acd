#!/usr/bin/env bash
# Everything that must pass before a change lands; "make test" and .ci/run call
# it. Each part is shown as it goes, with its time. A part that fails does not
# keep the others from running. The last line counts the tests.
#
#   test.sh [PART...]     only these parts; see the list at the end
set -uo pipefail
source "$(dirname "$0")/steps.sh"
cd "$root" || exit 1

export TASVIR_TEST_REQUIRE=1 # what is missing is a failure, not a reason to skip
export TASVIR_BIN=$root/bin/tasvir
counts=$(mktemp -d)
trap 'rm -rf "$counts"' EXIT
names=() states=() times=()
passed=0 failed=0 skipped=0 only=" $* "

# part NAME COMMAND... A command that counts its tests leaves them in
# $counts/NAME.json; any other counts as one.
part() {
	local name=$1 began=$SECONDS state=ok file=$counts/$1.json
	shift
	[[ $only == "  " || $only == *" $name "* ]] || return 0
	printf '\n=== %s\n' "$name"
	count_file=$file "$@" </dev/null || state=FAILED
	local p=0 f=0 s=0
	if [[ -s $file ]]; then
		read -r p f s < <(node -p 'const c = JSON.parse(fs.readFileSync(process.argv[1])); `${c.passed} ${c.failed} ${c.skipped}`' "$file")
		[[ $state == FAILED && $f == 0 ]] && f=1
		[[ $f != 0 ]] && state=FAILED
	elif [[ $state == ok ]]; then
		p=1
	else
		f=1
	fi
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	names+=("$name") states+=("$state") times+=($((SECONDS - began)))
	printf '=== %s: %s (%d s)\n' "$name" "$state" $((SECONDS - began))
}

install() { deploy/check-tools.sh && deploy/install-debian.sh test; }
codecs() { # what was just installed is built in, and tested
	local flags=${GOFLAGS:--buildvcs=false}
	[[ $flags =~ ^(.*)-tags=[a-z,]*(.*)$ ]] && flags=${BASH_REMATCH[1]}${BASH_REMATCH[2]}
	export GOFLAGS="$flags $(deploy/codec-tags.sh)"
}
tools() { deploy/minio.sh && deploy/golangci-lint.sh && deploy/ohif.sh; }
build() { make --no-print-directory build deploy/fhir-sandbox/node_modules; }

lint() {
	local linter scripts status=0
	linter=$(deploy/golangci-lint.sh) || return 1
	"$linter" run ./... || status=1
	for scripts in deploy/*.sh .ci/run; do
		bash -n "$scripts" || status=1
	done
	return "$status"
}

go_tests() {
	say 'compiling; the first package may take some minutes'
	go test -race -count=1 -timeout 40m -json ./... 2>&1 | node deploy/report-go-test.mjs "$count_file"
	((PIPESTATUS[0] == 0 && PIPESTATUS[1] == 0))
}

in_viewer() { deploy/npm-ci.sh viewer && (cd viewer && npm --silent "$@"); }
in_sandbox() { deploy/npm-ci.sh deploy/fhir-sandbox && (cd deploy/fhir-sandbox && npm --silent "$@"); }

viewer_typecheck() { in_viewer run typecheck; }
viewer_lint() { in_viewer run lint; }

viewer_tests() {
	local report=$counts/vitest.json status=0
	in_viewer test -- --reporter=default --reporter=json --outputFile.json="$report" || status=1
	[[ -s $report ]] && node -e '
		const r = JSON.parse(fs.readFileSync(process.argv[1]));
		fs.writeFileSync(process.argv[2], JSON.stringify({
			passed: r.numPassedTests, failed: r.numFailedTests, skipped: r.numPendingTests + (r.numTodoTests ?? 0) }));
	' "$report" "$count_file"
	return "$status"
}

sandbox_tests() {
	local out=$counts/sandbox.txt status=0
	in_sandbox test 2>&1 | tee "$out"
	((PIPESTATUS[0] == 0)) || status=1
	counted "$out"
	return "$status"
}

browser() {
	local out=$counts/browser.txt status=0
	in_viewer run test:browser 2>&1 | tee "$out"
	((PIPESTATUS[0] == 0)) || status=1
	counted "$out"
	return "$status"
}

# counted takes the counts from a runner's closing lines: "N passed, N failed"
# or those of Node's own runner. There being none, the part counts as one.
counted() {
	node -e '
		const text = fs.readFileSync(process.argv[1], "utf8");
		const plain = [...text.matchAll(/^(?:\w+: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/gm)].at(-1);
		const node = (word) => Number([...text.matchAll(new RegExp(`^(?:#|ℹ) ${word} (\\d+)$`, "gm"))].at(-1)?.[1] ?? NaN);
		let c;
		if (plain) c = { passed: +plain[1], failed: +plain[2], skipped: +(plain[3] ?? 0) };
		else if (node("tests") > 0) c = { passed: node("pass"), failed: node("fail"), skipped: node("skipped") || 0 };
		if (c) fs.writeFileSync(process.argv[2], JSON.stringify(c));
	' "$1" "$count_file"
}

part install install
codecs
part tools tools
part build build
part lint lint
part go go_tests
part viewer-types viewer_typecheck
part viewer-lint viewer_lint
part viewer viewer_tests
part fhir-sandbox sandbox_tests
part browser browser

printf '\n'
for i in "${!names[@]}"; do
	printf '%-14s %-7s %5d s\n' "${names[i]}" "${states[i]}" "${times[i]}"
done
printf '%-14s %-7s %5d s\n\n' total '' "$SECONDS"
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
((failed == 0))
