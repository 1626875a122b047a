"""`make mutants`: changes the core's code, one place at a time, and sees whether the unit tests notice.

mutmut works in a copy below `.build/`. What survives is compared with the table in docs/mutants.md, which says why a
mutant may live; the status is 1 if one survives that is not there. `ARGS="ledger"` chooses packages by words of their
path; `ARGS="--update"` writes the table anew and keeps the reasons that still apply.
"""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
WORK: Final = ROOT / ".build" / "mutants-work"
TABLE: Final = ROOT / "docs" / "mutants.md"

CORE: Final = (
    "core/leases.py",
    "ledger/",
    "land/",
    "batch/",
    "sync/",
    "failure_lane/",
    "cut/cut_run.py",
    "cut/seal_run.py",
    "cut/item_batches.py",
    "finish/conservation.py",
    "finish/updating.py",
    "aws/dynamodb.py",
)
"""What decides whose a record is, what is written down of it, and in which order."""

_OPEN: Final = "not looked at"


def prepare(paths: list[str]) -> None:
    """A copy in the layout that mutmut knows."""
    shutil.rmtree(WORK, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", "accounts")
    shutil.copytree(ROOT / "lambdas" / "bulk_inference", WORK / "src" / "bulk_inference", ignore=ignored)
    shutil.copytree(ROOT / "tests" / "unit", WORK / "tests" / "unit", ignore=ignored)
    for name in ("worlds", "events"):
        shutil.copytree(ROOT / "tests" / name, WORK / "tests" / name, ignore=ignored)
    shutil.copy(ROOT / "tests" / "__init__.py", WORK / "tests")
    wanted = ", ".join(f'"src/bulk_inference/{path}"' for path in paths)
    (WORK / "pyproject.toml").write_text(
        "[tool.pytest.ini_options]\n"
        'pythonpath = ["src", "."]\n'
        'addopts = "--import-mode=importlib -p no:cacheprovider -W ignore"\n\n'
        "[tool.mutmut]\n"
        f"paths_to_mutate = [{wanted}]\n"
        f"tests_dir = [{', '.join(_tests(paths))}]\n"
        'also_copy = ["src/", "tests/", "pyproject.toml"]\n'
    )


def _tests(paths: list[str]) -> list[str]:
    """Folders of the unit tests that mirror the packages, and of the handlers and the machine over all of them."""
    packages = sorted({path.split("/")[0] for path in paths} | {"handlers", "land"})
    return [f'"tests/unit/{one}/"' for one in packages if (ROOT / "tests" / "unit" / one).is_dir()]


def mutmut(*arguments: str) -> str:
    """What it printed."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    done = subprocess.run(command, cwd=WORK, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout


def survivors() -> dict[str, tuple[str, str]]:
    """Names of the mutants that live, each with the line as it is and as it was changed."""
    names = re.findall(r"^\s*(\S+__mutmut_\d+): survived", mutmut("results"), re.MULTILINE)
    return {name: _change(mutmut("show", name)) for name in names}


def _change(diff: str) -> tuple[str, str]:
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    old = " ".join(line[1:].strip() for line in lines if line.startswith("-"))
    new = " ".join(line[1:].strip() for line in lines if line.startswith("+"))
    return old, new


def place_of(name: str) -> str:
    """`ledger.claims._insert` of mutmut's name."""
    module, _, function = name.removeprefix("bulk_inference.").rpartition(".")
    found = function.rpartition("__mutmut_")[0].removeprefix("x_").replace("xǁ", "").replace("ǁ", ".")
    return f"{module}.{found}"


def row_of(name: str, change: tuple[str, str]) -> str:
    """The beginning of a row of the table, which names a mutant whatever number mutmut gives it."""
    old, new = (_cell(one) for one in change)
    return f"| {place_of(name)} | `{old}` | `{new}` |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'")[:160]


def known() -> dict[str, str]:
    """Reasons by row."""
    if not TABLE.exists():
        return {}
    rows = re.findall(r"^(\| [^|]+ \| `.*?` \| `.*?` \|) (.*) \|$", TABLE.read_text(), re.MULTILINE)
    return dict(rows)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.harness.mutants", description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--update", action="store_true", help="writes docs/mutants.md anew")
    parser.add_argument("--processes", default="2")
    given = parser.parse_args(arguments)
    paths = [path for path in CORE if not given.words or any(word in path for word in given.words)]
    prepare(paths)
    closing = mutmut("run", "--max-children", given.processes).splitlines()[-2:]
    rows = {row_of(name, change): name for name, change in survivors().items()}
    reasons = known()
    if given.update:
        _write(rows, reasons, closing)
    news = {row: name for row, name in rows.items() if reasons.get(row, _OPEN) == _OPEN}
    for row, name in news.items():
        print(f"{name}\n  {row}")
    print(f"{re.sub(r'.*[⠀-⣿]', '', ' '.join(closing))}\n{len(rows)} survive, {len(news)} of them without a reason")
    return 1 if news else 0


def _write(rows: dict[str, str], reasons: dict[str, str], closing: list[str]) -> None:
    head = TABLE.read_text().partition("| Where |")[0] if TABLE.exists() else "# Mutants that live\n\n"
    table = ["| Where | As it is | Mutant | Why it lives |", "| --- | --- | --- | --- |"]
    table += [f"{row} {reasons.get(row, _OPEN)} |" for row in sorted(rows)]
    TABLE.write_text(head + "\n".join(table) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
