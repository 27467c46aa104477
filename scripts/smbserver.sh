#!/bin/sh
# smbserver.sh DIR SHAREDIR PORT   export SHAREDIR as //127.0.0.1/symbols on PORT
# smbserver.sh DIR stop            stop it
#
# A private smbd for tests and the demo, with deploy/samba/smb.conf and all of its
# state in DIR: smb.conf, smbd.pid, log.*. The caller's own rights decide what can
# be read. start returns once the share can be listed. To read from it:
#
#   smbclient -N -p PORT //127.0.0.1/symbols -c 'ls'
#
# Needs: scripts/need.sh smb.
set -eu

usage() { sed -n '2,/^set/p' "$0" | sed -n 's/^# \{0,1\}//p' >&2; exit 2; }
[ $# -eq 3 ] || { [ $# -eq 2 ] && [ "$2" = stop ]; } || usage
here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
dir=$(cd "$1" && pwd)
PATH=$PATH:/usr/sbin:/sbin

running() { [ -s "$dir/smbd.pid" ] && kill -0 "$(cat "$dir/smbd.pid")" 2>/dev/null; }
if [ "$2" = stop ]; then
	if running; then
		pid=$(cat "$dir/smbd.pid")
		kill "$pid"
		n=0
		while kill -0 "$pid" 2>/dev/null && [ $((n = n + 1)) -le 100 ]; do sleep 0.1; done
	fi
	rm -f "$dir/smbd.pid"
	exit 0
fi
[ -d "$2" ] || { echo "smbserver.sh: $2: not a directory, start a node with --share-dir $2 first" >&2; exit 1; }
share=$(cd "$2" && pwd)
port=$3
case $port in *[!0-9]* | '') usage ;; esac
running && { echo "smbserver.sh: already running, process $(cat "$dir/smbd.pid")" >&2; exit 1; }
for c in smbd smbclient; do
	command -v $c >/dev/null || { echo "smbserver.sh: no $c here, run scripts/need.sh smb" >&2; exit 1; }
done

mkdir -p "$dir/private" "$dir/ncalrpc"
chmod 755 "$dir" "$dir/ncalrpc"
chmod 700 "$dir/private"
sed -e "s|@SHARE_DIR@|$share|g" -e "s|@USER@|$(id -un)|g" -e "s|@STATE_DIR@|$dir|g" \
	-e "s|@INTERFACES@|127.0.0.1|g" -e "s|@PORT@|$port|g" "$here/deploy/samba/smb.conf" >"$dir/smb.conf"
smbd -D -s "$dir/smb.conf" -l "$dir" </dev/null >"$dir/start" 2>&1 ||
	{ cat "$dir/start" >&2; echo "smbserver.sh: smbd does not start" >&2; exit 1; }
n=0
until running && smbclient -N -s "$dir/smb.conf" -p "$port" //127.0.0.1/symbols -c ls >"$dir/ls" 2>&1; do
	[ $((n = n + 1)) -le 50 ] || { cat "$dir/ls" "$dir"/log.* >&2; echo "smbserver.sh: no share on port $port" >&2; exit 1; }
	sleep 0.1
done
echo "smbserver.sh: //127.0.0.1/symbols on port $port shows $share" >&2
