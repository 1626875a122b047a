"""`python -m tests.explorer [pattern…]`: plays interleavings and tells what a user would see of those that go wrong.

A pattern names meetings (`collect`), the other worker too (`collect/retry`), or one interleaving
(`collect/retry/freeze-before@3+61`), which is then told in full. `*` stands for anything.
"""

import argparse
import multiprocessing
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch

from tests.explorer.explore import Interleaving, interleavings, named
from tests.explorer.meetings import meetings

_TABLE = {meeting.name: meeting for meeting in meetings()}


def chosen(patterns: list[str]) -> Iterator[Interleaving]:
    """Those whose name a pattern fits; all, without patterns."""
    for pattern in patterns:
        if found := named(pattern, _TABLE):
            yield found
    for meeting in _TABLE.values():
        if patterns and not any(fnmatch(meeting.name, pattern.split("/")[0]) for pattern in patterns):
            continue
        for one in interleavings(meeting):
            if not patterns or any(_fits(one.name, pattern) for pattern in patterns):
                yield one


def _fits(name: str, pattern: str) -> bool:
    depth = pattern.count("/") + 1
    return fnmatch("/".join(name.split("/")[:depth]), pattern)


def _play(name: str) -> tuple[str, bool, str, list[str]]:
    one = named(name, _TABLE)
    assert one is not None
    played = one.play()
    return name, played.struck, played.effect, played.problems


def _clock() -> float:
    return time.monotonic()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.explorer", description=__doc__)
    parser.add_argument("patterns", nargs="*")
    parser.add_argument("--every", type=int, default=1, help="plays one of so many")
    parser.add_argument("--processes", type=int, default=min(os.cpu_count() or 1, 4))
    parser.add_argument("--list", action="store_true", help="names all that would be played")
    given = parser.parse_args(arguments)
    names = list(dict.fromkeys(one.name for one in chosen(given.patterns)))[:: given.every]
    if given.list:
        print("\n".join(names))
        return 0
    if not names:
        print("no interleaving is called so")
        return 2
    begun = _clock()
    with multiprocessing.get_context("fork").Pool(given.processes) as pool:
        played = pool.imap_unordered(_play, names, chunksize=20) if len(names) > 1 else map(_play, names)
        broken, counted, skipped = _tell(played, one=len(names) == 1)
    rest = f"{skipped} that the worker did not come to; {_clock() - begun:.0f} s"
    print(f"\n{counted} interleavings, {broken} broken, {rest}")
    return 1 if broken else 0


def _tell(played: Iterable[tuple[str, bool, str, list[str]]], *, one: bool) -> tuple[int, int, int]:
    broken, counted, skipped = 0, Counter[str](), 0
    kinds: dict[str, list[str]] = {}
    for name, struck, effect, problems in played:
        counted[name.split("/")[0]] += struck
        skipped += not struck
        if problems:
            broken += 1
            where = "/".join(name.split("/")[:2])
            kind = f"{where}: {re.sub('[0-9a-f]{16,}|[0-9]+', '#', problems[0])[:160]}"
            kinds.setdefault(kind, []).append(f"{name} ({effect}): {problems[0][-300:]}")
        if one:
            print("\n".join([f"{name}: {effect}", *problems]))
    for meeting, number in counted.items():
        print(f"{number:>6}  {meeting}")
    for found in sorted(kinds.values(), key=len, reverse=True):
        print(f"\n{len(found)} like {found[0]}")
    return broken, sum(counted.values()), skipped


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
