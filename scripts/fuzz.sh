#!/bin/bash
# fuzz.sh [TIME [TARGET...]]   run fuzz targets one after another, TIME each (30s)
#
#   fuzz.sh -l             list the targets: PACKAGE TARGET
#   fuzz.sh 5m             all of them
#   fuzz.sh 1m pe FuzzELF  those whose package or name contains one of the words
#
# The first crasher ends the run with status 1 and its file, which belongs into the
# repository beside the fix. A target that hangs is ended TIME + 3 minutes after its
# start and is a crasher, too. Every target needs seeds: f.Add, or a folder
# testdata/fuzz/TARGET. A line per target goes to tmp/fuzz/log.
set -euo pipefail
cd "$(dirname "$0")/.."

time=30s list=
case ${1:-} in
-l) list=1 && shift ;;
-*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
'') ;;
*) time=$1 && shift ;;
esac

seconds() { # seconds 1h2m3s
	local left=$1 n=0
	while [[ $left =~ ^([0-9]+)([hms])(.*)$ ]]; do
		case ${BASH_REMATCH[2]} in h) n=$((n + BASH_REMATCH[1] * 3600)) ;; m) n=$((n + BASH_REMATCH[1] * 60)) ;; s) n=$((n + BASH_REMATCH[1])) ;; esac
		left=${BASH_REMATCH[3]}
	done
	[ -z "$left" ] && [ $n -gt 0 ] || { echo "fuzz.sh: time \"$1\": wanted one like 30s, 5m or 1h30m" >&2; exit 2; }
	echo $n
}

targets() { # DIR TARGET of all, in the order of their paths
	git ls-files -z --cached --others --exclude-standard '*_test.go' | xargs -0 grep -Ho '^func Fuzz[A-Za-z0-9_]*' |
		sed -E 's|^(.*)/[^/]*:func (.*)$|\1 \2|' | sort
}

wanted() { # wanted DIR TARGET WORD...: one of the words is in it, or there are none
	local what="$1 $2"
	shift 2
	[ $# = 0 ] && return 0
	for word in "$@"; do [[ $what == *"$word"* ]] && return 0; done
	return 1
}

seeded() { # seeded DIR TARGET
	[ -n "$(ls "$1/testdata/fuzz/$2" 2>/dev/null)" ] ||
		awk -v t="func $2(" 'index($0, t) == 1 {on = 1} on && /\.Add\(/ {found = 1} on && /^}/ {on = 0} END {exit !found}' "$1"/*_test.go
}

crashers() { [ ! -d "$1/testdata/fuzz/$2" ] || find "$1/testdata/fuzz/$2" -type f | sort; }

limit=$(seconds "$time")
mkdir -p tmp/fuzz
cache=$(go env GOCACHE)/fuzz
built=
ran=0
while read -r dir target; do
	wanted "$dir" "$target" "$@" || continue
	ran=$((ran + 1))
	if [ -n "$list" ]; then echo "./$dir $target" && continue; fi
	seeded "$dir" "$target" || { echo "fuzz.sh: $dir $target has no seeds" >&2; exit 1; }
	echo "== ./$dir $target"
	if [ "$built" != "$dir" ]; then # one instrumented binary for all targets of a package
		go test -c -fuzz . -o tmp/fuzz/bin "./$dir"
		built=$dir
	fi
	before=$(crashers "$dir" "$target")
	for attempt in 1 2; do
		rc=0
		(cd "$dir" && timeout -k 10 $((limit + 180)) "$OLDPWD/tmp/fuzz/bin" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$time" \
			-test.fuzzminimizetime 20x -test.fuzzcachedir "$cache/$(go list .)") </dev/null 2>&1 | tee tmp/fuzz/last || rc=$?
		[ $rc != 0 ] || break
		# At the end of its time go test may take its own deadline for a failure.
		[ "$(crashers "$dir" "$target")" = "$before" ] && grep -q 'context deadline exceeded' tmp/fuzz/last || break
	done
	execs=$(grep -o 'execs: [0-9]*' tmp/fuzz/last | tail -n 1 || true)
	echo "$(date -u +%FT%TZ) ./$dir $target $time rc=$rc ${execs:-execs: 0}" >>tmp/fuzz/log
	[ $rc = 0 ] || {
		new=$(comm -13 <(echo "$before") <(crashers "$dir" "$target"))
		echo "fuzz.sh: $target of ./$dir failed after ${execs:-no execution}: ${new:-no input was kept}" >&2
		[ -z "$new" ] || echo "fuzz.sh: again: go test -run '$target/$(basename "${new%%$'\n'*}")' ./$dir" >&2
		exit 1
	}
done < <(targets)
[ $ran -gt 0 ] || { echo "fuzz.sh: no target matches: $*" >&2; exit 2; }
