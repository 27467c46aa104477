#!/bin/sh
# Writes the ELF fixtures of this folder. Needs gcc, binutils with zstd, xz, clang and
# llvm-dwp 19, gcc-mips-linux-gnu. Run it in this folder.
set -eu
LD="-nostdlib -shared -fPIC -Wl,-z,noseparate-code -Wl,-z,max-page-size=4096 -Wl,--build-id=sha1"
SRC="-g -O1 -ffile-prefix-map=$PWD=/src tiny.c"
gcc $LD $SRC -o tiny.so
objcopy --only-keep-debug tiny.so tiny.debug
strip -o tiny.stripped tiny.so
objcopy --add-gnu-debuglink=tiny.debug tiny.stripped
for z in zlib zlib-gnu zstd; do objcopy --compress-debug-sections=$z tiny.debug tiny.$z.debug; done
mips-linux-gnu-gcc $LD $SRC -o tiny.mips
clang-19 -g -O1 -gsplit-dwarf -fPIC -ffile-prefix-map=$PWD=/src -fdebug-compilation-dir=/src -c tiny.c -o split5.o
gcc $LD split5.o -o split5.so
llvm-dwp-19 -o split5.dwp split5.dwo
gcc -gdwarf-4 -gsplit-dwarf -O1 -fPIC -ffile-prefix-map=$PWD=/src -c tiny.c -o split4.o
gcc $LD split4.o -o split4.so
strip -g -o tiny.symtab tiny.so
objcopy -S tiny.so bare
objcopy --only-keep-debug bare tiny.empty.debug
objcopy --dump-section .note.gnu.build-id=note tiny.so bare
{ printf 'dwz/tiny.debug\0'; tail -c 20 note; } >link
objcopy --only-keep-debug tiny.symtab mini
xz -k --check=crc32 mini
strip -o tiny.mini tiny.so
objcopy --add-section .gnu_debugdata=mini.xz tiny.mini
printf 'static const char info[] __attribute__((used, section(".modinfo"))) = "license=x"; int other(int v) { return v; }' >other.c
for f in tiny other; do gcc -g -O1 -ffile-prefix-map=$PWD=/src -fno-asynchronous-unwind-tables -c $f.c; done
ld -r --build-id=sha1 other.o tiny.o -o tiny.ko
gcc $LD -O2 $SRC -o alt.so
objcopy --add-section .gnu_debugaltlink=link alt.so
rm -f split5.o split4.o bare note link mini mini.xz other.c other.o tiny.o
