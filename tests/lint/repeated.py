"""No two files of modules/ say the same at length: what several capabilities need stands in a leaf, once.

Lines are compared without their indentation and alignment. The modules' own examples count, too.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.lint.findings import Finding

MOST = 20
"""Consecutive lines that two files may share."""

MOST_LINES = 6500
"""Lines of HCL in modules/, their examples aside."""


def check(root: Path) -> Iterator[Finding]:
    """Every pair of files that shares more than MOST lines, and modules/ if it outgrows MOST_LINES."""
    paths = [path for path in sorted((root / "modules").rglob("*.tf")) if ".terraform" not in path.parts]
    texts = {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8").splitlines() for path in paths}
    for (file, other), (line, count) in sorted(shared(texts).items()):
        yield Finding(file, f"line {line}", "repeated", f"{count} lines stand in {other}, too: write them once")
    total = sum(len(lines) for file, lines in texts.items() if "/examples/" not in file)
    if total > MOST_LINES:
        yield Finding("modules", "whole", "repeated", f"{total} lines of HCL, more than {MOST_LINES}")


def shared(texts: Mapping[str, list[str]]) -> dict[tuple[str, str], tuple[int, int]]:
    """Pairs of files that share more than MOST consecutive lines: where in the first, and how many, the longest run."""
    plain = {file: [" ".join(line.split()) for line in lines] for file, lines in texts.items()}
    windows: dict[tuple[str, ...], list[tuple[str, int]]] = {}
    for file, lines in plain.items():
        for start in range(len(lines) - MOST):
            windows.setdefault(tuple(lines[start : start + MOST + 1]), []).append((file, start))
    longest: dict[tuple[str, str], tuple[int, int]] = {}
    for places in windows.values():
        for number, (file, start) in enumerate(places):
            for other, begin in places[number + 1 :]:
                if other != file:
                    length = _length(plain[file][start:], plain[other][begin:])
                    if length > longest.get((file, other), (0, 0))[1]:
                        longest[file, other] = (start + 1, length)
    return longest


def _length(lines: list[str], others: list[str]) -> int:
    return next((n for n, (one, other) in enumerate(zip(lines, others, strict=False)) if one != other),
                min(len(lines), len(others)))  # fmt: skip
