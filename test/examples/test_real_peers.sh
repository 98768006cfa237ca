#!/bin/sh
# Our client against nginx, and our server against curl and wrk: peers that nobody of us has
# written. What is not installed is skipped. Prints TAP.
#
#     test_real_peers.sh [WORD]     the library is OUT/libcora.a; default build; nothing is done
#                                   unless "real_peers" contains the word (as run.sh says it)
set -u
out=${OUT:-build}
here=$(dirname "$0")
# shellcheck disable=SC2194
case real_peers in *"${1:-}"*) ;; *) echo "TAP version 13"; echo "1..0"; exit 0 ;; esac

root=$(mktemp -d) || exit 1
server=
cleanup() {
  [ -n "$server" ] && kill "$server" 2>/dev/null
  [ -s "$root/nginx.pid" ] && kill "$(cat "$root/nginx.pid")" 2>/dev/null
  rm -rf "$root"
}
trap cleanup EXIT
trap 'exit 1' INT TERM
number=0
failed=0

# report STATUS SENTENCE: one line of TAP, with the log of what failed
report() {
  number=$((number + 1))
  if [ "$1" = 0 ]; then
    echo "ok $number - real_peers: $2"
  else
    echo "not ok $number - real_peers: $2"
    sed 's/^/# /' "$root/log"
    failed=1
  fi
}

# check SENTENCE COMMAND...: whether it succeeds; what it prints is shown when it does not
check() {
  sentence=$1
  shift
  "$@" >"$root/log" 2>&1
  report $? "$sentence"
}

# skip SENTENCE REASON
skip() {
  number=$((number + 1))
  echo "ok $number - real_peers: $1 # SKIP $2"
}

# same WHAT IS EXPECTED: compares two texts
same() {
  [ "$2" = "$3" ] && return
  echo "$1 is $2, expected $3"
  return 1
}

sum() {
  cksum | tr -d '\n'
}

# build NAME: one of the programs beside this script
build() {
  # The flags are words on purpose.
  # shellcheck disable=SC2086
  ${CC:-gcc} -std=c11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror \
    ${EV_CFLAGS-} -I"$out/include" "$here/$1.c" "$out/libcora.a" ${EV_LIBS:--lev} -pthread \
    -o "$root/$1"
}

echo "TAP version 13"
echo "1..14"
check "the client and the server build without a warning" eval "build fetch_pages && build serve_pages"
[ $failed = 0 ] || exit 1

# ---- our client, nginx ----

PATH=$PATH:/usr/sbin

# Starts nginx on a free port, not as root; it returns when it listens.
nginx_start() {
  user=
  [ "$(id -u)" = 0 ] && user="setpriv --reuid=65534 --regid=65534 --clear-groups"
  [ -n "$user" ] && chown 65534:65534 "$root" "$root/pages"
  chmod 755 "$root"
  for try in 1 2 3 4 5 6 7 8 9; do
    port=$((20000 + ($$ * 9 + try * 1117) % 12000))
    cat >"$root/nginx.conf" <<END
pid $root/nginx.pid;
error_log $root/error.log;
worker_processes 1;
events { worker_connections 64; }
http {
  log_format page '\$connection \$connection_requests \$status \$body_bytes_sent';
  access_log $root/access.log page;
  client_body_temp_path $root/t1; proxy_temp_path $root/t2; fastcgi_temp_path $root/t3;
  uwsgi_temp_path $root/t4; scgi_temp_path $root/t5;
  default_type text/plain;
  server {
    listen 127.0.0.1:$port;
    root $root/pages;
  }
}
END
    # shellcheck disable=SC2086
    $user nginx -p "$root" -e "$root/error.log" -c "$root/nginx.conf" >"$root/log" 2>&1 && return
    grep -q 'in use' "$root/log" "$root/error.log" || return 1
  done
  return 1
}

# fetched FILE... : these, over one connection, have the sums that they have on disk
fetched() {
  paths=
  for file in "$@"; do
    paths="$paths /$file"
  done
  # shellcheck disable=SC2086
  got=$("$root/fetch_pages" "$port" $paths | sum)
  wanted=$(cd "$root/pages" && cat "$@" | sum)
  same "the sum" "$got" "$wanted"
}

# Nine pages over one connection, which nginx counts.
keep_alive() {
  : >"$root/access.log"
  fetched medium empty medium large empty medium medium large medium || return
  for _ in 1 2 3 4 5 6 7 8 9; do # nginx may send first, and then write its log
    [ "$(wc -l <"$root/access.log")" = 9 ] && break
    sleep 0.1
  done
  used=$(awk '{ print $1 }' "$root/access.log" | sort -u | wc -l)
  same "the number of connections" "$used" 1 || return
  same "the last request" "$(awk 'END { print $2, $3 }' "$root/access.log")" "9 200"
}

closed_by_server() {
  got=$("$root/fetch_pages" "$port" --close /large | sum)
  same "the sum" "$got" "$(sum <"$root/pages/large")"
}

not_found() {
  "$root/fetch_pages" "$port" /nowhere 2>"$root/err"
  same "the exit code" $? 1
}

empty="an empty page comes from nginx"
medium="a page of 10 KB comes from nginx whole"
large="a page of 10 MB comes from nginx whole"
alive="nine pages come from nginx over one connection"
closed="a page comes from nginx whole when that then closes the connection"
absent="a page that nginx has not is told, not waited for"
mkdir "$root/pages"
: >"$root/pages/empty"
head -c 10240 /dev/urandom >"$root/pages/medium"
head -c 10485760 /dev/urandom >"$root/pages/large"
if ! command -v nginx >/dev/null; then
  reason="nginx is not installed"
elif ! nginx_start; then
  reason="nginx does not start: $(head -n 1 "$root/log" | tr -d '#')"
else
  reason=
fi
if [ -n "$reason" ]; then
  for sentence in "$empty" "$medium" "$large" "$alive" "$closed" "$absent"; do
    skip "$sentence" "$reason"
  done
else
  check "$empty" fetched empty
  check "$medium" fetched medium
  check "$large" fetched large
  check "$alive" keep_alive
  check "$closed" closed_by_server
  check "$absent" not_found
fi

# ---- our server, curl and wrk ----

mkfifo "$root/said"
"$root/serve_pages" >"$root/said" 2>"$root/server.err" &
server=$!
exec 3<"$root/said"
read -r port <&3
url=http://127.0.0.1:$port

fetch() {
  curl --silent --show-error --fail --max-time 30 "$@"
}

several() {
  got=$(fetch "$url/" "$url/bytes/5" "$url/bytes/0" "$url/" -w '%{num_connects} ' | tr '\n' ' ')
  same "what curl prints" "$got" "Hello, ferry 1 y y y0 0 Hello, ferry 0 "
}

big_body() {
  got=$(fetch "$url/bytes/50000000" | sum)
  same "the sum" "$got" "$(yes | head -c 50000000 | sum)"
}

head_only() {
  got=$(fetch --head "$url/bytes/1000" "$url/" -w '%{num_connects} %{size_download}\n' |
    tr -d '\r' | grep -E '^(HTTP|Content-Length|[01] )' | tr '\n' ' ')
  same "what curl prints" "$got" "HTTP/1.1 200 OK Content-Length: 1000 1 0 \
HTTP/1.1 200 OK Content-Length: 13 0 0 "
}

close_asked() {
  got=$(fetch -H "Connection: close" "$url/bytes/1" "$url/bytes/1" \
    -w ' %{num_connects} %{http_code} ')
  same "what curl prints" "$got" "y 1 200 y 1 200 "
}

# A gigabyte of which a kilobyte is read: nothing of the rest is kept, and others are served.
aborted() {
  for _ in 1 2 3 4 5; do
    fetch "$url/bytes/1000000000" 2>/dev/null | head -c 1000 >/dev/null
  done
  same "the next page" "$(fetch "$url/")" "Hello, ferry" || return
  memory=$(awk '/^VmHWM/ { print $2 }' "/proc/$server/status")
  [ "$memory" -lt 20000 ] && return
  echo "the server took $memory KiB"
  return 1
}

stormed() {
  wrk -t1 -c50 -d2s "$url/" >"$root/wrk" 2>&1
  cat "$root/wrk"
  grep -E 'Socket errors|Non-2xx' "$root/wrk" && return 1
  requests=$(awk '/requests in/ { print $1 }' "$root/wrk")
  [ "${requests:-0}" -ge 2000 ]
}

# It has ended by itself, and counted what came.
ended() {
  kill "$server"
  read -r line <&3
  wait "$server"
  same "the exit code" $? 0 || return
  same "what it says on standard error" "$(cat "$root/server.err")" "" || return
  echo "it says: $line"
  case $line in *" connections, "*" requests") ;; *) return 1 ;; esac
}

several="curl gets several pages of ours over one connection"
big="curl gets 50 MB of ours whole"
heads="curl asks our server for heads"
close="our server closes when curl asks for it"
abort="downloads that curl gives up cost our server nothing"
if command -v curl >/dev/null; then
  check "$several" several
  check "$big" big_body
  check "$heads" head_only
  check "$close" close_asked
  check "$abort" aborted
else
  for sentence in "$several" "$big" "$heads" "$close" "$abort"; do
    skip "$sentence" "curl is not installed"
  done
fi

storm="wrk sends thousands of requests to our server without an error"
if command -v wrk >/dev/null; then
  check "$storm" stormed
else
  skip "$storm" "wrk is not installed"
fi

check "our server ends at a signal, and nothing was reported" ended
server=
exit $failed
