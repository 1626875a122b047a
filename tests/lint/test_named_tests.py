"""Pages that name tests name those that exist: an operator's row whose test is gone proves nothing."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "operating.md", *sorted((ROOT / "docs" / "decisions").glob("*.md"))]

_NAMED = re.compile(r"(?P<file>[\w/]*\.py)?::(?P<test>test_\w+)")


def _defined() -> dict[str, set[str]]:
    """Test functions by the name of their file."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        names = re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.M)
        found.setdefault(path.name, set()).update(names)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_tests_that_exist(page: Path) -> None:
    defined = _defined()
    everything = set().union(*defined.values())
    for named in _NAMED.finditer(page.read_text(encoding="utf-8")):
        where = defined.get(Path(named["file"]).name, set()) if named["file"] else everything
        assert named["test"] in where, named.group()


def test_every_row_of_the_operators_guide_names_a_test() -> None:
    table = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8").partition("## What goes wrong")[2]
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(rows) >= 18
    above = ""
    for row in rows:
        *_, last, _ = row.split("|")
        above = above if last.strip() == "as above" else last
        assert "test_" in above, row[:60]
