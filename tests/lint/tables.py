"""Tables of inputs and outputs, made from the HCL: docs/module.md for the root module, README.md for each nested one.

    python -m tests.lint.tables           # write them
    python -m tests.lint                  # says which are out of date

What stands between the two markers is generated; the rest of a page is somebody's own text.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.lint import hcl
from tests.lint.findings import Finding
from tests.lint.hcl import ROOT

BEGIN = "<!-- Inputs and outputs, from the HCL: make docs -->"
END = "<!-- End of inputs and outputs -->"

_SHORT = 40
"""Characters of a type or default that a table shows."""


def pages(root: Path) -> dict[Path, Path]:
    """Page by the folder whose interface it shows."""
    found = {root: root / "docs" / "module.md"}
    for folder in sorted((root / "modules").glob("*")):
        if hcl.files(folder):
            found[folder] = folder / "README.md"
    return found


def generated(folder: Path, *, details: bool) -> str:
    """What belongs between the markers. `details`: sections of their own for grouped inputs, as the root has many."""
    inputs = [*_blocks(folder, "variable")]
    lines = ["## Inputs", "", "| Name | Type | Default | Meaning |", "| --- | --- | --- | --- |"]
    for name, body in inputs:
        shown = f"[`{name}`](#{name})" if details and _grouped(body) else f"`{name}`"
        meaning = _lines(body)[0] if details and _grouped(body) else "<br>".join(_lines(body))
        lines.append(f"| {shown} | `{_kind(body)}` | {_default(body)} | {_cell(meaning)} |")
    lines += ["", "## Outputs", "", "| Name | Meaning |", "| --- | --- |"]
    lines += [f"| `{name}` | {_cell('<br>'.join(_lines(body)))} |" for name, body in _blocks(folder, "output")]
    if details:
        lines += ["", "## Inputs in detail"]
        for name, body in inputs:
            if _grouped(body):
                first, *rest = _lines(body)
                listed = ["", *rest] if rest else []
                lines += ["", f"### {name}", "", first, *listed, "", "```hcl", *_written_type(folder, name), "```"]
    return "\n".join(lines)


def rendered(page: str, text: str) -> str:
    """The page with `text` between its markers, which are added at its end if it has none."""
    if BEGIN not in page:
        page = f"{page.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, rest = page.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def check(root: Path) -> Iterator[Finding]:
    """Each page that is missing or does not say what the HCL says."""
    for folder, path in pages(root).items():
        file = path.relative_to(root).as_posix()
        page = path.read_text(encoding="utf-8") if path.exists() else ""
        if page != rendered(page, generated(folder, details=folder == root)):
            yield Finding(file, "whole file", "tables", "inputs and outputs are out of date: make docs")


def _blocks(folder: Path, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in hcl.files(folder):
        for (name,), body in hcl.blocks(hcl.load(path), kind):
            yield name, body


def _lines(body: dict[str, Any]) -> list[str]:
    """A description's lines: one, or the lines of a heredoc without their indentation."""
    described = hcl.text(body.get("description", "")).replace('\\"', '"')
    if described.startswith("<<"):
        described = "\n".join(described.splitlines()[1:-1])
    return [line.strip() for line in described.splitlines() if line.strip()] or [""]


def _type(body: dict[str, Any]) -> str:
    plain = hcl.text(body.get("type", "any"))
    return plain[2:-1] if plain.startswith("${") else plain


def _kind(body: dict[str, Any]) -> str:
    plain = _type(body)
    return plain if len(plain) <= _SHORT else re.sub(r"object\(\{.*\}\)", "object", plain, flags=re.DOTALL)


def _grouped(body: dict[str, Any]) -> bool:
    return "object(" in _type(body)


def _default(body: dict[str, Any]) -> str:
    if "default" not in body:
        return "required"
    value = body["default"]
    if isinstance(value, dict):
        value = "{}" if not [*hcl.entries(value)] else "{ default = {} }" if "default" in value else "…"
    shown = {"None": "null", "True": "true", "False": "false", "[]": "[]"}.get(str(value), str(value))
    return f"`{shown}`" if len(shown) <= _SHORT else "…"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _written_type(folder: Path, name: str) -> list[str]:
    """The lines of a variable's type as they stand in its file."""
    for path in hcl.files(folder):
        text = path.read_text(encoding="utf-8")
        match = re.search(
            rf'^variable "{name}" \{{$.*?^  type +=\s*(?P<type>.+?)(?=^  (?:[a-z_]+ +=|[a-z]+ \{{)|^\}})',
            text,
            re.M | re.S,
        )
        if match:
            return [line.removeprefix("  ") for line in match["type"].rstrip().splitlines()]
    return []


def main() -> None:
    for folder, path in pages(ROOT).items():
        page = path.read_text(encoding="utf-8") if path.exists() else f"# {folder.name}\n"
        path.write_text(rendered(page, generated(folder, details=folder == ROOT)), encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
