#!/bin/sh
# mailserver.sh DIR PORT [start]   run a private SMTP server on 127.0.0.1:PORT
# mailserver.sh DIR stop           stop it
#
# Debian's exim4 with all of its state in DIR, for tests and the demo. It offers
# STARTTLS under a self-signed certificate and takes mail for every address into
#
#   DIR/Maildir/new/     one file per message
#
#   DIR/cert.pem         the certificate, for smtp://127.0.0.1:PORT?ca=DIR/cert.pem
#   DIR/password         password of user "symkeep"; logging in is optional, under TLS only
#   DIR/log/             mainlog, rejectlog, paniclog
#   DIR/exim.pid
#
# start returns once the server greets. Mail to refused@... is refused for good,
# to later@... for now. Needs: scripts/need.sh mail.
set -eu

usage() { sed -n '2,/^set/p' "$0" | sed -n 's/^# \{0,1\}//p' >&2; exit 2; }
[ $# -ge 2 ] && [ $# -le 3 ] || usage
mkdir -p "$1"
dir=$(cd "$1" && pwd)
PATH=$PATH:/usr/sbin:/sbin

running() { [ -s "$dir/exim.pid" ] && kill -0 "$(cat "$dir/exim.pid")" 2>/dev/null; }
if [ "$2" = stop ]; then
	if running; then
		pid=$(cat "$dir/exim.pid")
		kill "$pid"
		n=0
		while kill -0 "$pid" 2>/dev/null && [ $((n = n + 1)) -le 100 ]; do sleep 0.1; done
	fi
	rm -f "$dir/exim.pid"
	exit 0
fi
port=$2
case $port in *[!0-9]* | '') usage ;; esac
[ "${3:-start}" = start ] || usage
running && { echo "mailserver.sh: already running, process $(cat "$dir/exim.pid")" >&2; exit 1; }
exim=$(command -v exim4 || command -v exim) ||
	{ echo "mailserver.sh: no exim4 here, run scripts/need.sh mail" >&2; exit 1; }

# exim delivers as nobody special: as the caller, or as Debian's user if root.
user=$(id -un) group=$(id -gn)
if [ "$user" = root ]; then user=Debian-exim group=Debian-exim; fi
for d in spool log Maildir/new Maildir/cur Maildir/tmp; do mkdir -p "$dir/$d"; done
[ -s "$dir/password" ] || openssl rand -hex 12 >"$dir/password"
[ -s "$dir/key.pem" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
	-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1,DNS:localhost \
	-keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null
chmod 600 "$dir/key.pem" "$dir/password"

cat >"$dir/exim.conf" <<CONF
primary_hostname = localhost
exim_user = $user
exim_group = $group
spool_directory = $dir/spool
log_file_path = $dir/log/%slog
pid_file_path = $dir/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = $port
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 100
message_size_limit = 20M
keep_environment =
tls_advertise_hosts = *
tls_certificate = $dir/cert.pem
tls_privatekey = $dir/key.pem
auth_advertise_hosts = \${if def:tls_in_cipher {*}{}}
acl_smtp_rcpt = rcpt
acl_smtp_data = data
never_users =
domainlist all = *

begin acl
rcpt:
  deny local_parts = refused
       message = no such user here
  defer local_parts = later
       message = try again later
  accept
data:
  accept

begin routers
all:
  driver = accept
  transport = box

begin transports
box:
  driver = appendfile
  directory = $dir/Maildir
  maildir_format
  create_directory = false
  envelope_to_add
  return_path_add
  user = $user
  group = $group

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = \${if and{{eq{\$auth2}{symkeep}}{eq{\$auth3}{$(cat "$dir/password")}}}}
  server_set_id = \$auth2
CONF
chmod 600 "$dir/exim.conf"
if [ "$(id -u)" = 0 ]; then
	chown -R "$user:$group" "$dir/spool" "$dir/log" "$dir/Maildir" "$dir/key.pem" "$dir/cert.pem"
	chown root:"$group" "$dir/exim.conf"
	chmod 640 "$dir/exim.conf"
	# Its user has to reach the directory: temporary ones are often private.
	d=$dir
	while [ "$d" != / ]; do
		case $d in
		"$dir" | "${TMPDIR:-/tmp}"/*) chmod o+x "$d" ;;
		*) [ -n "$(find "$d" -maxdepth 0 -perm -001)" ] ||
			{ echo "mailserver.sh: $d is closed to user $user, take a DIR elsewhere" >&2; exit 1; } ;;
		esac
		d=$(dirname "$d")
	done
fi
"$exim" -C "$dir/exim.conf" -bd -q10s >"$dir/log/start" 2>&1 ||
	{ cat "$dir/log/start" >&2; echo "mailserver.sh: exim4 does not start" >&2; exit 1; }
n=0
until running && printf 'QUIT\r\n' | timeout 2 openssl s_client -quiet -starttls smtp -connect "127.0.0.1:$port" >/dev/null 2>&1; do
	[ $((n = n + 1)) -le 50 ] || { cat "$dir"/log/* >&2; echo "mailserver.sh: no greeting on port $port" >&2; exit 1; }
	sleep 0.1
done
echo "mailserver.sh: smtp://127.0.0.1:$port?ca=$dir/cert.pem delivers to $dir/Maildir/new" >&2
