#!/bin/sh
# npmtools.sh DIR NAME...   install other people's prebuilt tools and files into DIR,
# by version, if missing, and print DIR/node_modules as an absolute path.
#
#   minidump   Breakpad's dump_syms and minidump_stackwalk, in minidump/bin/linux-x64
#   breakpad   its crash dumps and symbols, in breakpad/src/processor/testdata
#   sentry     sentry-cli, in @sentry/cli-linux-x64/bin
#   prebuilds  libraries for Windows, macOS, Linux and Android, with and without PDBs
#
# Needs: scripts/need.sh node. Nothing of the packages is run.
set -eu
[ $# -ge 2 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
shift
modules=$dir/node_modules

versions() {
	case $1 in
	minidump) echo "minidump@0.26.0" ;;
	breakpad) echo "breakpad@11.2.0" ;;
	sentry) echo "@sentry/cli-linux-x64@3.8.0" ;;
	prebuilds) echo "node-pty@1.1.0 sodium-native@4.3.1 classic-level@3.0.0 node-api-dotnet@0.9.27" \
		"@vscode/windows-process-tree@0.8.0 fsevents@2.3.3" ;;
	*) echo "npmtools.sh: name \"$1\": unknown" >&2; exit 2 ;;
	esac
}

want=
for name in "$@"; do
	list=$(versions "$name")
	for package in $list; do
		[ -d "$modules/${package%@*}" ] || want="$want $package"
	done
done
# Install scripts would build things or ask for a git checkout; --force is for the
# packages of other platforms. What is there stays: npm would prune it otherwise.
# shellcheck disable=SC2086 # want is a list
[ -z "$want" ] || npm install --force --ignore-scripts --no-audit --no-fund --silent --prefix "$dir" $want >"$dir/npm.log" 2>&1 ||
	{ cat "$dir/npm.log" >&2; echo "npmtools.sh: npm does not install$want" >&2; exit 1; }
find "$modules" -name '*.go' -delete # DIR may be in a Go module, which they are no part of
for name in "$@"; do
	for package in $(versions "$name"); do
		[ -d "$modules/${package%@*}" ] || { echo "npmtools.sh: $package is not for $(uname -sm)" >&2; exit 1; }
	done
done
echo "$modules"
