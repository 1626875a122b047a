"""Files that modules cannot share, because siblings do not call each other: they must be the same but for what is said.

`functions.tf` differs in the sizes of functions and in their environment; `state_machines.tf` in nothing. In both, a
local that one module does not need may be missing.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.lint.findings import Finding

_OWN = {
    "functions.tf": (
        re.compile(r"^  default_sizes = \{\n.*?^  \}\n", re.M | re.S),
        re.compile(r"^  environment = merge\(\n    \{\n.*?^    \},\n", re.M | re.S),
    ),
    "state_machines.tf": (),
}
_OPTIONAL = re.compile(r"(?:input|output|ledger|runs) = \"arn:.*")
"""Locals that a module may leave out."""


def check(root: Path) -> Iterator[Finding]:
    for name, own in _OWN.items():
        files = sorted(root.glob(f"modules/*/{name}"))
        texts = {file: _common(file.read_text(encoding="utf-8"), own) for file in files}
        lines = Counter(line for text in texts.values() for line in set(text))
        for file, text in texts.items():
            here = str(file.relative_to(root))
            for line in text:
                if lines[line] * 2 <= len(files):
                    yield Finding(here, line, "copies", f"most modules' {name} do not say this")
            for line, number in lines.items():
                if number * 2 > len(files) and line not in text and not _OPTIONAL.fullmatch(line):
                    yield Finding(here, line, "copies", f"missing here, in other modules' {name}")
        shared = {line for line, number in lines.items() if number == len(files)}
        if len({tuple(line for line in text if line in shared) for text in texts.values()}) > 1:
            yield Finding("modules", name, "copies", "the copies say the same in different order")


def _common(text: str, own: tuple[re.Pattern[str], ...]) -> list[str]:
    """Lines without those that a module has for itself, and without what alignment does to them."""
    for pattern in own:
        text = pattern.sub("", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]
