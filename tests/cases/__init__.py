"""Where the cases lie."""

import json
from pathlib import Path
from typing import Any, Final

CASES: Final = Path(__file__).parent


def corpus(case: str, *, leave_out: tuple[str, ...] = ("request.json",)) -> dict[str, bytes]:
    """A case's objects by their names below its prefix."""
    folder = CASES / case
    folder = folder / "corpus" if (folder / "corpus").is_dir() else folder
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files if path.name not in leave_out}


def request(case: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CASES / case / "request.json").read_text())
    return found
