#!/bin/sh
# Installs into an empty folder and builds programs against what is there, as a user would: through
# pkg-config, in C and in C++, shared and static, and with the virtual clock. Prints TAP.
set -u
out=${OUT:-build}
make=${MAKE:-make}
case "install" in *"${1:-}"*) ;; *) echo "TAP version 13"; echo "1..0"; exit 0 ;; esac

root=$(mktemp -d) || exit 1
trap 'rm -rf "$root"' EXIT
number=0
failed=0

# report STATUS SENTENCE: one line of TAP, with the log of what failed
report() {
  number=$((number + 1))
  if [ "$1" = 0 ]; then
    echo "ok $number - $2"
  else
    echo "not ok $number - $2"
    sed 's/^/# /' "$root/log"
    failed=1
  fi
}

cat >"$root/program.c" <<'END'
#include <cora.h>
#include <stdio.h>

static void greet(cora_args bound)
{
    cora_set_result(cora_arg_future(bound, 0), cora_arg_value(bound, 1));
}

static void on_greeting(cora_args bound, cora_future done)
{
    printf("%s %d\n", cora_as_text(cora_result(done)), (int)cora_arg_int(bound, 0));
}

int main(void)
{
    cora_loop loop = cora_loop_new(NULL);
    cora_set_current_loop(loop);
    cora_future greeting = cora_future_new(loop);
    cora_call_later(loop, 0.001, cora_partial(greet, greeting, "hello"));
    cora_add_done_callback(greeting, cora_partial(on_greeting, 7));
    cora_awaitable naps[] = { cora_sleep(0.001), cora_awaitable_of(greeting) };
    cora_future both = cora_gather(loop, naps, 2);
    cora_future waited = cora_ensure_future(loop, cora_wait(&both, 1, 2.5, CORA_ALL_COMPLETED));
    cora_when_done(greeting, cora_in_context(cora_copy_context(), cora_partial(on_greeting, 8)));
    cora_cancel(waited);
    cora_value results = cora_run_until_complete(loop, cora_shield(loop, both));
    int code = cora_list_size(results) == 2 ? 0 : 1;
    cora_loop_close(loop);
    return code;
}
END
cat >"$root/clock.c" <<'END'
#include <cora.h>
#include <cora/virtual_clock.h>
#include <stdio.h>

static void stop(cora_args bound)
{
    cora_stop(cora_arg_loop(bound, 0));
}

int main(void)
{
    cora_virtual_clock_start(1000.0);
    cora_loop loop = cora_loop_new(NULL);
    cora_call_later(loop, 3600, cora_partial(stop, loop));
    int code = cora_run_forever(loop);
    cora_loop_close(loop);
    puts("an hour has passed");
    return code;
}
END
cp "$root/program.c" "$root/program.cc"

printed='hello 7
hello 8'

echo "TAP version 13"
echo "1..7"

$make --no-print-directory install DESTDIR="$root/dest" PREFIX=/usr >"$root/log" 2>&1
report $? "install: make install fills a DESTDIR"

flags="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wcast-qual -Werror"
export PKG_CONFIG_SYSROOT_DIR="$root/dest" PKG_CONFIG_PATH="$root/dest/usr/lib/pkgconfig"
export PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1
export LD_LIBRARY_PATH="$root/dest/usr/lib"
shared=$(pkg-config --cflags --libs cora 2>"$root/log")
static=$(pkg-config --static --cflags --libs cora 2>>"$root/log")

# try NAME SENTENCE WANTED COMPILER ARGUMENTS...: builds a program and compares what it prints
try() {
  name=$1 sentence=$2 wanted=$3
  shift 3
  "$@" -o "$root/$name" >"$root/log" 2>&1 && "$root/$name" >"$root/printed" 2>>"$root/log" &&
    [ "$(cat "$root/printed")" = "$wanted" ]
  report $? "install: $sentence"
}

# The flags are words on purpose.
# shellcheck disable=SC2086
{
  try c "a C11 program builds against the shared library without a warning" "$printed" \
    ${CC:-gcc} -std=c11 $flags "$root/program.c" $shared
  try cc "the same program builds as C++17 without a warning" "$printed" \
    ${CXX:-g++} -std=c++17 $flags "$root/program.cc" $shared
  try static "it builds against the static library" "$printed" \
    ${CC:-gcc} -std=c11 $flags "$root/program.c" -Wl,-Bstatic $static -Wl,-Bdynamic
  try clock "a program's own tests use the virtual clock" "an hour has passed" \
    ${CC:-gcc} -std=c11 $flags "$root/clock.c" $shared -lcora_virtual_clock
}

status=0
for header in "$root"/dest/usr/include/cora/*.h; do
  for language in c c++; do
    standard=c11
    [ $language = c++ ] && standard=c++17
    echo "#include <cora/$(basename "$header")>" |
      ${CC:-gcc} -x $language -std=$standard $flags -fsyntax-only -I"$root/dest/usr/include" - \
        >>"$root/log" 2>&1 || status=1
  done
done
report $status "install: every header compiles alone, as C11 and as C++17"

undefined=$(nm -D --defined-only "$root/dest/usr/lib/libcora.so" | awk '{print $3}' | grep -v '^cora_')
echo "$undefined" >"$root/log"
[ -z "$undefined" ]
report $? "install: the shared library shows no name but its own"
exit $failed
