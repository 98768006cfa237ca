#!/bin/sh
# Sizes against their limits: lines of code (promise P7), the library's text (W12), objects. A measure,
# as the benchmarks are: what is over its limit says so, and the exit status is 0.
set -u
out=${1:-build}

# lines FILES...: lines that are neither blank nor comment alone
lines() {
  cat "$@" /dev/null | awk '
    /^[ \t]*\/\*/ { inside = 1 }
    inside { if (/\*\//) inside = 0; next }
    /^[ \t]*$/ { next }
    /^[ \t]*\/\// { next }
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

# The callback style: what a program needs that never writes a coroutine.
callback_style=
for name in base handle memory slot thread private error value private_value callback context ready \
  shared loop timer watcher signal exception_handler; do
  for file in reactor/$name.[ch]; do
    [ -f "$file" ] && callback_style="$callback_style $file"
  done
done
for name in future awaitable gather wait shield sleep run; do
  for file in futures/$name.[ch]; do
    [ -f "$file" ] && callback_style="$callback_style $file"
  done
done

# shellcheck disable=SC2086
limit "callback style, code" "$(lines $callback_style)" 4000 lines
# shellcheck disable=SC2086
limit "callback style, with comments" "$(cat $callback_style | wc -l)" 4000 lines
all=$(find reactor futures sync queue -name '*.[ch]' 2>/dev/null)
# shellcheck disable=SC2086
limit "reactor, futures, sync and queue, with comments" "$(cat $all | wc -l)" 20000 lines

text=$(size "$out/libcora.so.0" | awk 'NR == 2 { print $1 }')
limit "text of libcora.so" "$text" 153600 bytes
"$out/size/sizes"
