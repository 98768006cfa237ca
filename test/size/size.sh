#!/bin/sh
# Sizes against their limits: lines of code (promise P7), the library's text (W12), objects. A measure,
# as the benchmarks are: what is over its limit says so, and the exit status is 0.
set -u
out=${1:-build}

# lines FILES...: lines of code: not those that are blank, comment alone, or nothing but braces
lines() {
  cat "$@" /dev/null | awk '
    /^[ \t]*\/\*/ { inside = 1 }
    inside { if (/\*\//) inside = 0; next }
    /^[ \t]*$/ { next }
    /^[ \t]*\/\// { next }
    /^[ \t]*[{}]+[;,]?[ \t]*$/ { next }
    { n++ }
    END { print n + 0 }'
}

# limit WHAT IS MOST UNIT
limit() {
  verdict=ok
  if [ "$2" -gt "$3" ]; then
    verdict="over the limit"
  fi
  printf '%-52s %6d of %6d %s  %s\n' "$1" "$2" "$3" "$4" "$verdict"
}

# The callback style: what a program needs that never writes a coroutine; all of reactor/ but what comes
# after signal and objects, and of futures/ what is named here. Its public headers are declarations and the
# documentation of the interface: they are shown, and not part of the limit.
sources= private= public=
for file in reactor/*.[ch] futures/*.[ch]; do
  name=${file##*/}
  case $file in
  reactor/error_details.* | reactor/fork.* | reactor/object.* | reactor/*child.* | reactor/spawn.* | reactor/*thread_pool.* | reactor/*thread_future.* | reactor/*executor.* | reactor/value_codec.* | reactor/*fork_server.* | reactor/*process* | reactor/*transport* | \
    reactor/outcome.* | reactor/resolver.* | reactor/protocol.* | reactor/connector.* | reactor/server.*) continue ;;
  reactor/*) ;;
  *)
    case ${name%.*} in
    future | private_future | awaitable | gather | wait | shield | sleep | run) ;;
    *) continue ;;
    esac
    ;;
  esac
  case $file in
  *.c) sources="$sources $file" ;;
  *) if head -n 3 "$file" | grep -q '(private)'; then private="$private $file"; else public="$public $file"; fi ;;
  esac
done

# shellcheck disable=SC2086
limit "callback style, sources" "$(lines $sources)" 4000 lines
# shellcheck disable=SC2086
printf '%-52s %6d lines\n' "  its private headers" "$(lines $private)" \
  "  its public headers" "$(lines $public)" \
  "  everything, with comments and blank lines" "$(cat $sources $private $public | wc -l)"
all=$(find reactor futures sync queue -name '*.[ch]' 2>/dev/null)
# shellcheck disable=SC2086
limit "reactor, futures, sync and queue, with comments" "$(cat $all | wc -l)" 20000 lines

text=$(size "$out/libcora.so.0" | awk 'NR == 2 { print $1 }')
limit "text of libcora.so" "$text" 153600 bytes
"$out/size/sizes"
