#!/bin/bash
# fixture.sh OUT [SALT]   compile small programs with symbols of every kind into OUT
#
#   OUT/good/linux/     app, app.debug (split, linked by name and build id), app.sym, src/
#   OUT/good/windows/   app.exe, app.pdb, src/
#   OUT/truncated/      app.exe, and its app.pdb cut in the middle
#   OUT/mismatch/       app.exe, and the app.pdb of another build
#   OUT/html/           app.exe, and app.pdb that is the error page of some proxy
#   OUT/ids             NAME=value lines for sh: BUILD_ID, PDB_GUID, PDB_AGE, PE_STAMP, PE_SIZE,
#                       PDB_KEY, PE_KEY, SYM_KEY (lookup paths), CRASH_ADDR (of crash_here in app)
#
# Programs of different SALT have different ids. The .sym comes from dump_syms if
# that is on the path or in $BREAKPAD_BIN, else it is written from the symbol table.
# Needs: scripts/need.sh debuggers.
set -euo pipefail
[ $# -ge 1 ] && [ $# -le 2 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
salt=${2:-0}

tool() { # tool NAME: the versioned command of Debian, or the plain one
	command -v "$1-19" || command -v "$1" ||
		{ echo "fixture.sh: no $1 here, run scripts/need.sh debuggers" >&2; exit 1; }
}
clang=$(tool clang) link=$(tool lld-link) readobj=$(tool llvm-readobj) pdbutil=$(tool llvm-pdbutil)
for c in gcc objcopy strip nm readelf; do tool $c >/dev/null; done
rm -rf "$out"/{good,truncated,mismatch,html,ids}
mkdir -p "$out"/good/{linux,windows}/src "$out"/{truncated,mismatch,html}

# Linux: a program that recurses, so that a stack has frames, and can crash.
linux=$out/good/linux
cat >"$linux/src/util.h" <<'C'
static inline int twice(int x) { return 2 * x; }
C
cat >"$linux/src/app.c" <<'C'
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "util.h"
const char salt[] = SALT;
int crash_here(int *p, int depth)
{
    if (depth > 0)
        return crash_here(p, depth - 1) + 1;
    return *p + twice(depth);
}
int main(int argc, char **argv)
{
    int v = argc;
    if (argc > 1 && !strcmp(argv[1], "sleep"))
        sleep(600);
    if (argc > 1 && !strcmp(argv[1], "leak"))
        *(volatile int *)__builtin_malloc(40) = 1;
    printf("salt %s result=%d\n", salt, crash_here(argc > 1 && !strcmp(argv[1], "crash") ? 0 : &v, 3));
    return 0;
}
C
(cd "$linux/src" && gcc -g -O0 -Wl,--build-id -DSALT="\"$salt\"" -o ../app app.c)
full=$(mktemp -d)
trap 'rm -rf "$full"' EXIT
cp "$linux/app" "$full/app"
objcopy --only-keep-debug "$linux/app" "$linux/app.debug"
strip -s "$linux/app"
(cd "$linux" && objcopy --add-gnu-debuglink=app.debug app)
build_id=$(readelf -n "$linux/app" | awk '/Build ID/ {print $3}')
crash=$(nm "$full/app" | awk '$3 == "crash_here" {print $1}')

# The Breakpad id of an ELF file: 16 bytes of build id, the first three fields swapped.
b=$build_id
debug_id=$(echo "${b:6:2}${b:4:2}${b:2:2}${b:0:2}${b:10:2}${b:8:2}${b:14:2}${b:12:2}${b:16:16}0" | tr a-f A-F)
dump_syms=$(PATH=${BREAKPAD_BIN:-}:$PATH command -v dump_syms || true)
if [ -n "$dump_syms" ]; then
	"$dump_syms" -i "$full/app" >"$full/head"
	"$dump_syms" "$full/app" >"$linux/app.sym"
	grep -q "^MODULE Linux .* $debug_id app$" "$linux/app.sym" ||
		{ echo "fixture.sh: dump_syms says $(head -n 1 "$linux/app.sym"), wanted id $debug_id" >&2; exit 1; }
else
	{
		echo "MODULE Linux x86_64 $debug_id app"
		echo "INFO CODE_ID $(echo "$build_id" | tr a-f A-F)"
		nm -S --defined-only "$full/app" | sort | awk '$3 ~ /[Tt]/ && NF == 4 {
			sub(/^0+/, "", $1); sub(/^0+/, "", $2); print "FUNC " $1 " " $2 " 0 " $4 }'
		nm --defined-only "$full/app" | sort | awk '$2 ~ /[Tt]/ { sub(/^0+/, "", $1); print "PUBLIC " $1 " 0 " $3 }'
	} >"$linux/app.sym"
fi

# Windows: no SDK is needed for a program that calls nothing.
windows=$out/good/windows
cat >"$windows/src/app.c" <<'C'
static const char salt[] = SALT;
volatile int result;
__declspec(noinline) int crash_here(int *p, int depth)
{
    if (depth > 0)
        return crash_here(p, depth - 1) + 1;
    return *p + salt[0];
}
int entry(void)
{
    int v = 1;
    result = crash_here(&v, 3);
    return 0;
}
C
pair() { # pair DIR SALT: app.exe and app.pdb
	(
		cd "$1"
		"$clang" --target=x86_64-pc-windows-msvc -g -gcodeview -O0 -DSALT="\"$2\"" -c "$windows/src/app.c" -o "$full/app.obj"
		"$link" /nologo /debug /nodefaultlib /entry:entry /subsystem:console /timestamp:"$3" \
			/out:app.exe /pdb:app.pdb /pdbaltpath:app.pdb "$full/app.obj"
		rm -f app.lib
	)
}
stamp=$((0x60000000 + $(printf %s "$salt" | cksum | cut -d' ' -f1) % 0x10000000))
pair "$windows" "$salt" $stamp
mkdir "$full/other"
pair "$full/other" "$salt again" $((stamp + 1))

for d in truncated mismatch html; do cp "$windows/app.exe" "$out/$d/"; done
size=$(stat -c %s "$windows/app.pdb")
head -c $((size / 2)) "$windows/app.pdb" >"$out/truncated/app.pdb"
cp "$full/other/app.pdb" "$out/mismatch/app.pdb"
cat >"$out/html/app.pdb" <<'HTML'
<!DOCTYPE html>
<html><head><title>502 Bad Gateway</title></head>
<body><h1>502 Bad Gateway</h1><p>The artifact store did not answer.</p></body></html>
HTML

summary=$("$pdbutil" dump -summary "$windows/app.pdb")
guid=$(awk '$1 == "GUID:" {gsub(/[{}-]/, "", $2); print toupper($2)}' <<<"$summary")
age=$(awk '$1 == "Age:" {print $2; exit}' <<<"$summary")
headers=$("$readobj" --file-headers "$windows/app.exe")
pe_stamp=$(printf %08X $stamp)
pe_size=$(printf %x "$(awk '$1 == "SizeOfImage:" {print $2}' <<<"$headers")")
cat >"$out/ids" <<IDS
BUILD_ID=$build_id
PDB_GUID=$guid
PDB_AGE=$age
PE_STAMP=$pe_stamp
PE_SIZE=$pe_size
PDB_KEY=app.pdb/$guid$(printf %x "$age")/app.pdb
PE_KEY=app.exe/$pe_stamp$pe_size/app.exe
SYM_KEY=app/$debug_id/app.sym
CRASH_ADDR=0x$crash
IDS
