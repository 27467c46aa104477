#!/bin/bash
# upgrade-check.sh [COMMIT]   rehearse a rolling upgrade from COMMIT to this tree
#
# Builds the program of COMMIT (efd278f) from the git history, runs a cluster of it
# behind haproxy and replaces its nodes one by one by this tree's program, under load:
# e2e/upgrade_test.go. Run it before a release; CI may have no history.
# Needs: git history, go, haproxy.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -le 1 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/src"
git archive "${1:-efd278f}" | tar x -C "$tmp/src"
(cd "$tmp/src" && CGO_ENABLED=0 go build -trimpath -o "$tmp/symkeep-old" ./cmd/symkeep)
CI=true SYMKEEP_OLD_BIN=$tmp/symkeep-old go test -tags upgrade -count 1 -timeout 10m -v -run 'TestRollingUpgrade|TestOldData' ./e2e/
