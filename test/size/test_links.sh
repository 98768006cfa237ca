#!/bin/sh
# Builds small programs against the static library and looks in the linker's map at what they pull in:
# who writes callbacks gets no coroutines, and who needs no futures gets none. Prints TAP.
set -u
out=${OUT:-build}
case "links" in *"${1:-}"*) ;; *) echo "TAP version 13"; echo "1..0"; exit 0 ;; esac

# Of futures/, the callback style; everything else there is for coroutines and tasks.
callback_style="future awaitable operation gather wait shield sleep run"

root=$(mktemp -d) || exit 1
trap 'rm -rf "$root"' EXIT
number=0
failed=0

# report STATUS SENTENCE: one line of TAP, with the log of what failed
report() {
  number=$((number + 1))
  if [ "$1" = 0 ]; then
    echo "ok $number - links: $2"
  else
    echo "not ok $number - links: $2"
    sed 's/^/# /' "$root/log"
    failed=1
  fi
}

# In callback style: everything that brings a result later, and no coroutine.
cat >"$root/futures.c" <<'END'
#include <cora.h>
#include <stdio.h>

static void arrive(cora_args bound)
{
    cora_set_result(cora_arg_future(bound, 0), cora_textf("page %d", (int)cora_arg_int(bound, 1)));
}

static void on_some(cora_args bound, cora_future waited)
{
    cora_value done = cora_list_at(cora_result(waited), 0);
    printf("%d of %d\n", (int)cora_list_size(done), (int)cora_arg_int(bound, 0));
}

static void work(cora_args bound)
{
    cora_loop loop = cora_running_loop();
    cora_future pages[2];
    for (int i = 0; i < 2; i++) {
        pages[i] = cora_future_new(loop);
        cora_call_later(loop, i * 0.002, cora_partial(arrive, pages[i], i));
    }
    cora_when_done(cora_wait(pages, 2, 1, CORA_ALL_COMPLETED), cora_partial(on_some, 2));
    cora_add_done_callback(cora_shield(loop, cora_gather(loop, pages, 2)),
                           cora_partial(cora_copy_outcome, cora_arg_future(bound, 0)));
}

int main(void)
{
    char text[100];
    cora_loop loop = cora_loop_new(NULL);
    cora_future all = cora_future_new(loop);
    cora_call_soon(loop, cora_partial(work, all));
    cora_run_until_complete(loop, cora_sleep(0.001));
    cora_print(cora_run_until_complete(loop, all), text, sizeof text);
    puts(text);
    return cora_loop_close(loop);
}
END

# Callbacks alone: no word of futures.
cat >"$root/callbacks.c" <<'END'
#include <cora.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static int ends[2], left = 5;

static void one_less(cora_args bound)
{
    printf("%s\n", cora_arg_text(bound, 0));
    if (--left == 0)
        cora_stop(cora_running_loop());
}

static void on_readable(cora_args bound)
{
    cora_remove_reader(cora_running_loop(), ends[0]);
    one_less(bound);
}

int main(void)
{
    cora_loop loop = cora_loop_new(NULL);
    if (pipe(ends) < 0 || write(ends[1], "x", 1) != 1)
        return 1;
    cora_call_soon(loop, cora_partial(one_less, "soon"));
    cora_call_soon_threadsafe(loop, cora_partial(one_less, "thread"));
    cora_add_reader(loop, ends[0], cora_partial(on_readable, "reader"));
    cora_add_signal_handler(loop, SIGUSR1, cora_partial(one_less, "signal"));
    raise(SIGUSR1);
    cora_call_later(loop, 0.01, cora_partial(one_less, "timer"));
    int code = cora_run_forever(loop);
    cora_loop_close(loop);
    return code;
}
END

# build NAME WANTED: builds the program with a map, and compares what it prints
build() {
  libraries=$(sed -n 's/^Libs.private: //p' "$out/cora.pc")
  # The libraries are words on purpose.
  # shellcheck disable=SC2086
  ${CC:-gcc} -std=c11 -D_GNU_SOURCE -I"$out/include" "$root/$1.c" "$out/libcora.a" $libraries \
    -Wl,-Map="$root/$1.map" -o "$root/$1" >"$root/log" 2>&1 &&
    timeout 30 "$root/$1" >"$root/printed" 2>>"$root/log" || return 1
  cat "$root/printed" >>"$root/log"
  [ "$(sort "$root/printed" | tr '\n' ';')" = "$2" ]
}

# The members of the library that a program has, by their names without .o
members() {
  sed -n 's/^.*libcora\.a(\([^)]*\)\.o)$/\1/p' "$root/$1.map" | sort -u
}

# extra NAME ALLOWED: what of futures/ a program has beyond what is allowed
extra() {
  for member in $(members "$1"); do
    case " $2 " in *" $member "*) continue ;; esac
    if [ -e "futures/$member.c" ]; then
      echo "$member"
    fi
  done
}

echo "TAP version 13"
echo "1..4"

build futures '2 of 2;["page 0", "page 1"];'
report $? "a program in callback style builds against the static library and runs"

{
  extra futures "$callback_style"
  members futures | grep -xE 'coroutine|task'
  for name in $callback_style; do
    members futures | grep -qx "$name" || echo "without $name"
  done
} >"$root/log"
[ ! -s "$root/log" ]
report $? "of futures/ it has what it uses, and neither coroutine nor task"

build callbacks 'reader;signal;soon;thread;timer;'
report $? "a program with callbacks alone builds and runs, too"

{
  extra callbacks ""
  members callbacks | grep -qx loop || echo "without loop"
} >"$root/log"
[ ! -s "$root/log" ]
report $? "and has nothing of futures/"
exit $failed
