#!/bin/sh
# breakpad.sh DIR [testdata]   install Breakpad's own tools into DIR, if missing,
# and print the directory that holds dump_syms and minidump_stackwalk. With
# testdata also their crash dumps, in DIR/node_modules/breakpad/src/processor/testdata.
#
# They come prebuilt in the npm package minidump. Needs: scripts/need.sh node.
set -eu
[ $# -ge 1 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
bin=$dir/node_modules/minidump/bin/linux-x64
get() { # get PACKAGE@VERSION: its build script would ask for a git checkout
	npm install --ignore-scripts --no-audit --no-fund --silent --prefix "$dir" "$1" >"$dir/npm.log" 2>&1 ||
		{ cat "$dir/npm.log" >&2; echo "breakpad.sh: npm does not install $1" >&2; exit 1; }
}
[ -x "$bin/dump_syms" ] || get minidump@0.26.0
[ "${2:-}" != testdata ] || [ -d "$dir/node_modules/breakpad/src/processor/testdata" ] || get breakpad@11.2.0
find "$dir/node_modules" -name '*.go' -delete # DIR may be in a Go module, which they are no part of
[ -x "$bin/dump_syms" ] || { echo "breakpad.sh: minidump has no tools for $(uname -sm)" >&2; exit 1; }
echo "$bin"
