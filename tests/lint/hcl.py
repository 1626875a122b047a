"""HCL as data, by python-hcl2: the files of a folder, their blocks, the text of their expressions."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import hcl2

ROOT = Path(__file__).resolve().parents[2]

_META = {"__is_block__", "__comments__", "__inline_comments__"}


def folders(root: Path) -> list[Path]:
    """The root module, every nested module, every example: each folder that holds HCL."""
    found = [root, *(root / "modules").glob("**/"), *(root / "examples").glob("**/"), root / "demo"]
    return sorted({folder for folder in found if ".terraform" not in folder.parts and any(folder.glob("*.tf"))})


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.tf"))


@cache
def load(path: Path) -> dict[str, Any]:
    """Raises ValueError naming the file that is no HCL."""
    with path.open(encoding="utf-8") as file:
        try:
            parsed: dict[str, Any] = hcl2.load(file)
        except Exception as error:  # python-hcl2 raises its parser's own classes
            raise ValueError(f"{path}: {error}") from error
    return parsed


def text(value: Any) -> str:
    """A string as it stands in the file, without its quotes."""
    plain = str(value)
    return plain[1:-1] if len(plain) > 1 and plain[0] == plain[-1] == '"' else plain


def entries(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The attributes and blocks of a body, without what the parser adds."""
    yield from ((name, value) for name, value in body.items() if name not in _META)


def blocks(parsed: dict[str, Any], kind: str) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """(labels, body) of each block of a kind: `resource` has two labels, `variable` one, `locals` none."""
    labels = {"resource": 2, "data": 2}.get(kind, 0 if kind in ("locals", "terraform") else 1)
    for block in parsed.get(kind, []):
        yield from _unwrap(block, labels, ())


def _unwrap(
    block: dict[str, Any], depth: int, above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    if depth == 0:
        yield above, block
        return
    for label, body in entries(block):
        yield from _unwrap(body, depth - 1, (*above, text(label)))


def strings(value: Any) -> Iterator[str]:
    """Every expression and string of a parsed value."""
    if isinstance(value, dict):
        for _, item in entries(value):
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value
