#!/bin/bash
# data-fixture.sh [COMMIT [OUT]]   data directories as a released build writes them
#
# Builds the program of COMMIT (efd278f, which is what 0.1 wrote) and runs a cluster of
# three nodes: packages that are good, one that failed, one that was deleted. OUT
# (node/testdata/data-0.1) then has
#
#   clean.tar.gz    n1 n2 n3, after every node was told to stop
#   killed.tar.gz   the same nodes with one more package, after kill -9 of all three
#                   in the middle of a push
#   expect          one line per key: SHA-256 or 404, and the path
#   expect-killed   what killed.tar.gz has beyond that
#
# Ids of nodes and cluster are random, so each run makes other files. What has been
# committed once stays: present and future builds must read it.
# Needs: git history, go, gcc, objcopy, curl.
set -euo pipefail
cd "$(dirname "$0")/.."
commit=${1:-efd278f} out=$PWD/${2:-node/testdata/data-0.1}
[ $# -le 2 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
tmp=$(mktemp -d)
pids=()
cleanup() {
	[ ${#pids[@]} = 0 ] || kill -9 "${pids[@]}" 2>/dev/null || true
	rm -rf "$tmp"
}
trap cleanup EXIT

mkdir -p "$tmp/src" "$out"
git archive "$commit" | tar x -C "$tmp/src"
bin=$tmp/symkeep
(cd "$tmp/src" && CGO_ENABLED=0 go build -trimpath -o "$bin" ./cmd/symkeep)

sym() { # sym FILE NAME LINES: a Breakpad file whose id follows from its name
	local id
	id=$(printf %s "$2" | sha256sum | cut -c1-32 | tr a-f A-F)
	{
		echo "MODULE Linux x86_64 ${id}0 $2"
		echo "FILE 0 $2.c"
		for i in $(seq "$3"); do printf 'FUNC %x 40 0 f%d_%s\n%x 40 %d 0\n' $((i * 64)) "$i" "$2" $((i * 64)) "$i"; done
	} >"$1"
	echo "/$2/${id}0/$2.sym"
}
expect() { echo "$(sha256sum "$1" | cut -d' ' -f1) $2"; }

cd "$tmp"
mkdir one two many bad gone late large
{
	expect one/first.sym "$(sym one/first.sym first 40)"
	expect two/second.sym "$(sym two/second.sym second 300)"
	printf 'int twice(int x) { return 2 * x; }\nint main(int n, char **v) { return twice(n); }\n' >app.c
	gcc -g -O0 -Wl,--build-id -o two/app app.c
	objcopy --only-keep-debug two/app two/app.debug
	objcopy --strip-debug --add-gnu-debuglink=two/app.debug two/app
	id=$(readelf -n two/app | sed -n 's/.*Build ID: //p')
	expect two/app "/buildid/$id/executable"
	expect two/app.debug "/buildid/$id/debuginfo"
	for i in 1 2 3 4 5 6; do expect "many/m$i.sym" "$(sym "many/m$i.sym" "m$i" $((i * 50)))"; done
	echo "404 $(sym bad/half.sym half 20)"
	echo "404 $(sym gone/gone.sym gone 20)"
} >"$out/expect"
echo '<html>no such file</html>' >bad/half.pdb
expect late/late.sym "$(sym late/late.sym late 100)" >"$out/expect-killed"
head -c 8388608 /dev/urandom | od -An -v -tx8 -w8 | tr -d ' ' | awk '
	BEGIN { print "MODULE Linux x86_64 00112233445566778899AABBCCDDEEFF0 large" }
	{ printf "FUNC %x 40 0 f%s\n", NR * 64, $1 }' >large/large.sym
echo "404 /large/00112233445566778899AABBCCDDEEFF0/large.sym" >>"$out/expect-killed"

base=$((20000 + RANDOM % 8000))
server=http://127.0.0.1:$base
start() { # start N: a node, in pids[N]
	local port=$((base + 3 * $1)) join=()
	[ "$1" = 0 ] || join=(--join "127.0.0.1:$((base + 2))")
	"$bin" node --name "n$(($1 + 1))" --data-dir "n$(($1 + 1))" --cache-bytes 0 --http-addr "127.0.0.1:$port" \
		--peer-addr "127.0.0.1:$((port + 1))" --gossip-addr "127.0.0.1:$((port + 2))" "${join[@]}" >>"n$(($1 + 1)).log" 2>&1 &
	pids[$1]=$!
}
healthy() {
	for _ in $(seq 600); do
		[[ $("$bin" cluster status --json --server "$server" 2>/dev/null || true) == *'"healthy":true'* ]] &&
			[ "$("$bin" cluster status --json --server "$server" | grep -o '"role":"voter"' | wc -l)" = 3 ] && return
		sleep 0.1
	done
	tail -n 20 n?.log >&2
	echo "data-fixture.sh: no healthy cluster after a minute" >&2
	exit 1
}
push() { "$bin" push --server "$server" --product fixture --version "$1" "$1" >>push.log 2>&1; }

for i in 0 1 2; do start $i; done
healthy
for p in one two many gone; do push $p; done
code=0
push bad || code=$?
[ $code = 3 ] || { echo "data-fixture.sh: the bad package: exit status $code, wanted 3" >&2; exit 1; }
gone=$(curl -sf "$server/api/v1/packages?version=gone" | grep -o '"id":"[^"]*"' | head -n 1 | cut -d'"' -f4)
"$bin" package delete "$gone" --yes --server "$server" >>push.log
while read -r want path; do # as the old build answers
	got=$(curl -s "$server$path" | sha256sum | cut -d' ' -f1)
	[ "$want" = 404 ] && want=$(sha256sum </dev/null | cut -d' ' -f1)
	[ "$got" = "$want" ] || { echo "data-fixture.sh: $path: $got, wanted $want" >&2; exit 1; }
done <"$out/expect"
healthy
for i in 2 1 0; do # the founder, perhaps the leader, last
	kill "${pids[$i]}"
	wait "${pids[$i]}"
done
pack() { tar c --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -S n1 n2 n3 | gzip -9n >"$out/$1"; }
pack clean.tar.gz

for i in 0 1 2; do start $i; done
healthy
push late
push large &
pushing=$!
for _ in $(seq 200); do # until bytes of it have arrived
	[ -n "$(find n?/tmp -type f -size +256k 2>/dev/null | head -n 1)" ] && break
	sleep 0.02
done
kill -9 "${pids[@]}"
wait "${pids[@]}" 2>/dev/null || true
pids=()
kill "$pushing" 2>/dev/null || true
wait "$pushing" || true
find n?/tmp -type f -exec truncate -s 32K {} + # the half of an upload, not all of it
pack killed.tar.gz
ls -l "$out"
