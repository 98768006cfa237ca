#!/usr/bin/env python3
"""shrink.py PROGRAM EPISODE [SECONDS]: cuts an episode of fuzz_steps down while it ends as badly.

Records the choices of the episode, then leaves out parts: first those that belong together, from
large to small, then single ones; then makes the rest 0. What is left is in shrunk.choices, and the
trace of it is printed; FUZZ_REPLAY=shrunk.choices PROGRAM 60 1 plays it again. random.c tells more.
"""
import os
import re
import subprocess
import sys
import time

RECORD, TRY, RESULT = 'recorded.choices', 'try.choices', 'shrunk.choices'


def run(program, *arguments, **environment):
    environment = dict(os.environ, ASAN_OPTIONS='detect_leaks=0', FUZZ_PATIENCE='6', **environment)
    done = subprocess.run([program, '60', '1', *arguments], env=environment, capture_output=True)
    return done.returncode, (done.stdout + done.stderr).decode(errors='replace')


def signature(code, output):
    """What went wrong, and where; None if nothing did."""
    if code == 0:
        return None
    for pattern in r'takes too long', r'fuzz_steps: (?!episode)([^\n:]*)':
        if found := re.search(pattern, output):
            return found.group(0)
    kind = re.search(r'AddressSanitizer: (\S+)|runtime error: (.{0,40})', output)
    frames = re.findall(r'#\d+ 0x\w+ in (\w+) \S*(?:futures|reactor|sync|queue)/', output)
    return kind and kind.group(0), frames[:2]


def spans(choices):
    """The parts that belong together, largest first; one that was not over ends at the end."""
    begins, found = [], []
    for i, choice in enumerate(choices):
        if choice == '(':
            begins.append(i)
        elif choice == ')' and begins:
            found.append((begins.pop(), i + 1))
    found += [(begin, len(choices)) for begin in begins]
    return sorted(found, key=lambda span: span[0] - span[1])


def read(path):
    with open(path) as file:
        return file.read().split()


def main():
    program, episode = sys.argv[1:3]
    end = time.time() + float(sys.argv[3] if len(sys.argv) > 3 else 120)
    wanted = signature(*run(program, episode, FUZZ_RECORD=RECORD))
    best = read(RECORD)
    print(f'{wanted}: {len(best)} choices')
    if not wanted:
        return

    def still(choices):
        """Whether these end as badly; then they are the best, as they were really used."""
        nonlocal best
        with open(TRY, 'w') as file:
            file.write('\n'.join(choices))
        if time.time() > end or signature(*run(program, FUZZ_REPLAY=TRY, FUZZ_RECORD=RECORD)) != wanted:
            return False
        used = read(RECORD)
        while used and used[-1] in '0()':
            used.pop()
        best = min(used, choices, key=len)
        return True

    before = None
    while best != before and time.time() < end:
        before, skipped, size = best, 0, len(best) // 2
        while size > 8:
            for i in range(0, len(best), size):
                while i < len(best) and still(best[:i] + best[i + size:]):
                    pass
            size //= 2
        while skipped < len(parts := spans(best)):
            begin, over = parts[skipped]
            skipped += not still(best[:begin] + best[over:])
        for size in 8, 4, 2, 1:
            for i in range(len(best) - size, -1, -1):
                if i < len(best):
                    still(best[:i] + best[i + size:])
        for i in range(len(best)):
            if i < len(best) and best[i] not in '0()':
                still(best[:i] + ['0'] + best[i + 1:])
    with open(RESULT, 'w') as file:
        file.write('\n'.join(best))
    print(f'{len(best)} choices left')
    print(run(program, FUZZ_REPLAY=RESULT, FUZZ_TRACE='1')[1])


main()
