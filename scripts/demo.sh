#!/bin/bash
# demo.sh        three nodes, one push, every debugger
# demo.sh stop   stop the nodes that it leaves running
#
# Compiles small programs for Linux and Windows, pushes them to one node of a
# cluster and lets real debuggers fetch the symbols from another. All of it is in
# tmp/demo, wiped at the start. Needs: make build, scripts/need.sh debuggers cab curl.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=tmp/demo
bin=bin/symkeep

command_of() { tr '\0' ' ' <"/proc/$1/cmdline" || ps -o args= -p "$1"; } 2>/dev/null
stop() { # those of this demo only, whatever became of their numbers since
	local f pid stopped=
	for f in "$dir"/n?.pid; do
		[ -s "$f" ] || continue
		pid=$(cat "$f")
		if [[ $(command_of "$pid") == *"--data-dir $dir/"* ]]; then
			kill "$pid"
			stopped="$stopped $pid"
		fi
		rm -f "$f"
	done
	for pid in $stopped; do
		for _ in $(seq 200); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
		kill -0 "$pid" 2>/dev/null && { echo "demo.sh: process $pid does not stop" >&2; return 1; }
	done
	[ -z "$stopped" ] || echo "stopped the nodes of the demo"
}

case ${1:-} in
'') ;;
stop) stop; exit ;;
*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
[ $# -le 1 ] || exit 2
[ -x $bin ] || { echo "demo.sh: no $bin here, run make demo" >&2; exit 1; }

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
show() { # show COMMAND...: print it, then run it
	printf '%s$ %s%s\n' "$dim" "$*" "$plain"
	"$@"
}
tool() { command -v "$1-19" || command -v "$1"; }

failed() { # on the way out, if it is not a good one
	echo "demo.sh: failed with status $1; what was said last:" >&2
	tail -n 5 "$dir"/*.log >&2 || true
	stop >&2 || true
}
stop
rm -rf "$dir"
mkdir -p "$dir/desk"
trap 'code=$?; [ $code = 0 ] || failed $code' EXIT

say "Programs for Linux and Windows, compiled here"
# Without Breakpad's dump_syms the .sym is made from the symbol table.
scripts/npmtools.sh tmp/npm minidump >"$dir/npmtools.log" 2>&1 || true
export BREAKPAD_BIN=$PWD/tmp/npm/node_modules/minidump/bin/linux-x64
scripts/fixture.sh "$dir/build" "demo $(date +%s) $$"
. "$dir/build/ids"
(cd "$dir/build/good" && ls -l linux/app* windows/app.* | awk '{printf "  %9d  %s\n", $5, $9}')

say "Three nodes"
taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
for base in 8480 18480 28480 38480 ''; do
	[ -n "$base" ] || { echo "demo.sh: ports 8480 and on are taken, and so are 18480, 28480 and 38480" >&2; exit 1; }
	for port in $(seq "$base" $((base + 8))); do taken "$port" && continue 2; done
	break
done
detach=$(command -v setsid || true)
for i in 1 2 3; do
	port=$((base + 3 * i - 3))
	join=()
	[ $i = 1 ] || join=(--join "127.0.0.1:$((base + 2))")
	command="$bin node --name n$i --data-dir $dir/n$i --http-addr 127.0.0.1:$port --peer-addr 127.0.0.1:$((port + 1)) --gossip-addr 127.0.0.1:$((port + 2)) ${join[*]}"
	echo "$dim\$ $command$plain"
	# shellcheck disable=SC2086 # words
	nohup $detach $command </dev/null >"$dir/n$i.log" 2>&1 &
	echo $! >"$dir/n$i.pid"
done
one=http://127.0.0.1:$base three=http://127.0.0.1:$((base + 6))
for i in $(seq 600); do
	status=$($bin cluster status --json --server "$one" 2>/dev/null || true)
	[[ $status == *'"healthy":true'* ]] && [ "$(grep -o '"role":"voter"' <<<"$status" | wc -l)" = 3 ] && break
	[ "$i" -lt 600 ] || { echo "demo.sh: no healthy cluster after a minute: $status" >&2; false; }
	sleep 0.1
done

say "A build pushes to the first node, its source files as well, and is told the verdict"
show $bin push --server "$one" --product demo --version 1.0 --sources "$dir/build/good" 2>"$dir/push.log"

say "A build whose PDB is of another link is told so, and nothing of it is served"
code=0
show $bin push --server "$one" --product demo --version 1.1 "$dir/build/mismatch" 2>"$dir/push.log" || code=$?
echo "exit status $code"
[ $code = 3 ]

say "From here on only the third node is asked: debuginfod-find"
export DEBUGINFOD_URLS=$three DEBUGINFOD_CACHE_PATH=$PWD/$dir/cache
echo "${dim}\$ export DEBUGINFOD_URLS=$three$plain"
for what in debuginfo executable; do
	printf '%s$ %s%s\n' "$dim" "debuginfod-find $what $BUILD_ID" "$plain"
	got=$(debuginfod-find $what "$BUILD_ID")
	echo "${got#"$PWD"/}"
done
cmp "$DEBUGINFOD_CACHE_PATH/$BUILD_ID/debuginfo" "$dir/build/good/linux/app.debug"
echo "the same bytes as $dir/build/good/linux/app.debug"

say "gdb lists the source of a stripped program, which is alone in its folder: the source is gone from this machine"
cp "$dir/build/good/linux/app" "$dir/desk/"
rm -rf "$DEBUGINFOD_CACHE_PATH" "$dir/build/good/linux/src"
echo "${dim}\$ gdb -nx -batch -iex 'set debuginfod enabled on' -ex 'list main' -ex 'run crash' -ex bt $dir/desk/app$plain"
gdb -nx -batch -iex 'set debuginfod enabled on' -ex 'list main' -ex 'run crash' -ex bt \
	"$dir/desk/app" </dev/null 2>"$dir/gdb.log" |
	tee "$dir/gdb.out" | grep -v -e '^\[' -e '^Using host' -e '^$' -e '^Downloading.*\(ld-linux\|DSO\|libc\)' | sed "s|$PWD/||g"
grep -q 'int main(int argc' "$dir/gdb.out"

say "A Windows debugger takes the cabinet: cabextract reads it"
packed=${PDB_KEY%?}_
show curl -sSf -o "$dir/desk/app.pd_" "$three/$packed"
show cabextract -q -d "$dir/desk" "$dir/desk/app.pd_"
(cd "$dir/desk" && ls -l app.pd_ app.pdb | awk '{printf "  %9d  %s\n", $5, $9}')
cmp "$dir/desk/app.pdb" "$dir/build/good/windows/app.pdb"
echo "the same bytes as $dir/build/good/windows/app.pdb"

say "The same PDB under its own name: llvm-pdbutil reads it"
show curl -sSf --compressed -o "$dir/desk/raw.pdb" "$three/$PDB_KEY"
echo "$dim\$ llvm-pdbutil dump -summary $dir/desk/raw.pdb$plain"
"$(tool llvm-pdbutil)" dump -summary "$dir/desk/raw.pdb" >"$dir/pdbutil.out"
grep -E 'GUID|Age|Has Debug Info' "$dir/pdbutil.out"

say "Crash services fetch the Breakpad symbols"
echo "$dim\$ curl -sSf $three/$SYM_KEY | head -n 2$plain"
curl -sSf -o "$dir/desk/app.sym" "$three/$SYM_KEY"
head -n 2 "$dir/desk/app.sym"

say "The cluster"
show $bin cluster status --server "$three"

cat <<END

${bold}The nodes go on running.${plain}

  symbol path of WinDbg and Visual Studio   srv*C:\\symbols*$one
  gdb, lldb, elfutils                       export DEBUGINFOD_URLS=$one
  health and counters                       $one/readyz  $one/metrics
  packages                                  $bin package list --server $one
  logs and data                             $dir/n1.log  $dir/n1/

To stop them:  scripts/demo.sh stop
END
