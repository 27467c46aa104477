#!/bin/sh
# need.sh GROUP... installs what a make target runs, if it is missing.
#
#   race       a C compiler, for go test -race
#   cab        cabextract, gcab, 7z, bsdtar: other people's cabinet readers
#   archives   xz, zstd, bzip2, dpkg-deb, rpmbuild: what archives are made with, beside those
#   debuggers  gdb, debuginfod-find, elfutils, lldb, llvm tools, clang, lld, binutils
#   clients    valgrind, dwz, and delve in tmp/delve; wants debuggers and Go
#   smb        smbd and smbclient
#   mail       an SMTP server (exim4) and openssl
#   curl       curl
#   node       node and npm
#   net        nftables, iproute2, e2fsprogs, util-linux, fuse3, procps: what breaks networks and disks
#   lb         haproxy
#   truth      dump_syms, minidump_stackwalk, their dumps and sentry-cli, in tmp/npm; wants node
#   sweep      detached debug files of C and C++ programs, and libraries in tmp/npm; wants node
#   bench      nginx, debuginfod and wrk: what make bench compares with, and the load
#
# A group whose commands are all there costs nothing and needs no rights. The rest
# is installed with apt, as root or through sudo; no service that a package brings
# is started. Exit status 1 names the commands that are still missing.
set -eu

LLVM=19 # Debian 12 has it; its tools carry the suffix
DELVE=v1.27.2

# A command may be written with alternatives: lldb-19|lldb.
commands() {
	case $1 in
	race) echo "gcc" ;;
	cab) echo "cabextract gcab 7z|7za bsdtar" ;;
	archives) echo "xz zstd bzip2 dpkg-deb rpmbuild" ;;
	debuggers)
		echo "gdb debuginfod-find eu-readelf eu-stack eu-addr2line objcopy strip readelf gcc" \
			"lldb-$LLVM|lldb clang-$LLVM|clang lld-link-$LLVM|lld-link" \
			"llvm-pdbutil-$LLVM|llvm-pdbutil llvm-symbolizer-$LLVM|llvm-symbolizer" \
			"llvm-debuginfod-find-$LLVM|llvm-debuginfod-find"
		;;
	clients) echo "valgrind dwz" ;;
	smb) echo "smbd smbclient" ;;
	mail) echo "exim4|exim openssl" ;;
	curl) echo "curl" ;;
	node) echo "node npm" ;;
	net) echo "ip tc nft nsenter losetup mount umount fsfreeze mkfs.ext4 fusermount3 ps" ;;
	lb) echo "haproxy" ;;
	truth | sweep) ;; # files, not commands: see missing and beyond_apt
	bench) echo "nginx debuginfod wrk" ;;
	*) return 1 ;;
	esac
}

packages() {
	case $1 in
	race) echo "gcc libc6-dev" ;;
	cab) echo "cabextract gcab p7zip-full libarchive-tools" ;;
	archives) echo "xz-utils zstd bzip2 dpkg rpm" ;;
	debuggers) echo "gdb debuginfod elfutils binutils gcc libc6-dev lldb-$LLVM llvm-$LLVM clang-$LLVM lld-$LLVM" ;;
	clients) echo "valgrind dwz" ;;
	smb) echo "samba smbclient" ;;
	mail) echo "exim4-daemon-light openssl" ;;
	curl) echo "curl ca-certificates" ;;
	node) echo "nodejs npm" ;;
	net) echo "nftables iproute2 e2fsprogs util-linux mount fuse3 procps" ;;
	lb) echo "haproxy" ;;
	sweep) echo "libc6-dbg cupt-dbg" ;;
	bench) echo "nginx-light debuginfod wrk" ;;
	esac
}

has() { # has NAME|NAME...: one of them is on the path, /usr/sbin included
	for alt in $(echo "$1" | tr '|' ' '); do
		PATH=$PATH:/usr/sbin:/sbin command -v "$alt" >/dev/null 2>&1 && return 0
	done
	return 1
}

missing() { # missing GROUP: the commands that are not there
	for c in $(commands "$1"); do
		has "$c" || echo "$c"
	done
	case $1 in
	race | debuggers) [ -e /usr/include/stdio.h ] || echo "/usr/include/stdio.h" ;;
	sweep) for p in libc6-dbg cupt-dbg; do [ -d "/usr/share/doc/$p" ] || echo "$p"; done ;;
	esac
}

beyond_apt() { # beyond_apt GROUP: what it wants from npm and from Go modules
	here=$(dirname "$0")
	case $1 in
	truth) "$here/npmtools.sh" "$here/../tmp/npm" minidump breakpad sentry >&2 ;;
	sweep) "$here/npmtools.sh" "$here/../tmp/npm" prebuilds >&2 ;;
	clients) delve "$here/../tmp/delve" ;;
	esac
}

delve() { # delve DIR: DIR/dlv, of the pinned version
	mkdir -p "$1"
	[ "$("$1/dlv" version 2>/dev/null | awk '$1 == "Version:" {print "v" $2}')" = $DELVE ] ||
		CGO_ENABLED=0 GOBIN=$(cd "$1" && pwd) go install -ldflags=-s "github.com/go-delve/delve/cmd/dlv@$DELVE" >&2
}

usage() {
	sed -n '2,/^set/p' "$0" | sed -n 's/^# \{0,1\}//p' >&2
	exit 2
}

[ $# -gt 0 ] || usage
want=
for group in "$@"; do
	commands "$group" >/dev/null || { echo "need.sh: group \"$group\": unknown" >&2; usage; }
	lack=$(missing "$group" | tr '\n' ' ')
	[ -z "$lack" ] && continue
	echo "need.sh: $group lacks: $lack" >&2
	want="$want $(packages "$group")"
done
[ -n "$want" ] || {
	for group in "$@"; do beyond_apt "$group"; done
	exit 0
}

fail() {
	echo "need.sh: $1" >&2
	exit 1
}

command -v apt-get >/dev/null 2>&1 ||
	fail "no apt-get here: install the commands named above by other means (Debian calls them:$want)"
as_root=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null 2>&1 || fail "not root and no sudo: as root run: apt-get install$want"
	as_root=sudo
fi

# One installation at a time on this machine, since each places and removes the
# policy file. The lock of apt itself is waited for by apt.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2016 # expanded by the inner shell
locked='
	set -u
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		printf "#!/bin/sh\nexit 101\n" >$policy && chmod 755 $policy || exit 1
		trap "rm -f $policy" EXIT
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt="apt-get -q -y -o DPkg::Lock::Timeout=900 -o Acquire::Retries=3"
	install() { $apt install --no-install-recommends "$@" </dev/null; }
	try=0
	install "$@" && exit 0
	while try=$((try + 1)); [ $try -le 5 ]; do
		# The lists may be old or being replaced by somebody else.
		$apt update </dev/null && install "$@" && exit 0
		sleep $((try * 4))
	done
	exit 1
'
echo "need.sh: installing:$want" >&2
# shellcheck disable=SC2086 # want is a list
$as_root flock /var/lock/symkeep-need.lock sh -c "$locked" sh $want >"$log" 2>&1 || {
	tail -n 20 "$log" >&2
	fail "apt-get did not install:$want"
}
rc=0
for group in "$@"; do
	lack=$(missing "$group" | tr '\n' ' ')
	[ -z "$lack" ] || { echo "need.sh: $group still lacks: $lack" >&2; rc=1; }
done
[ $rc = 0 ] || exit $rc
for group in "$@"; do beyond_apt "$group"; done
