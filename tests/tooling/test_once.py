"""make fills .venv and node_modules alone, once, and never through a link."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import once

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work tree with the Makefile, the script and the lists of packages; the working directory."""
    folder = tmp_path / "tree"
    for file in ("Makefile", "tests/harness/once.py", "requirements/dev.txt", "package-lock.json"):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, folder / file)
    monkeypatch.chdir(folder)
    return folder


def make(target: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", f"PYTHON={sys.executable}", target],
        env={**os.environ, "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("folder", [".venv", "node_modules"])
def test_link_is_left_alone(tree: Path, folder: str) -> None:
    """`python -m venv --clear` and `npm ci` follow a link and empty what it names."""
    other = tree.parent / "of-somebody-else"
    other.mkdir()
    (other / "precious").touch()
    (tree / folder).symlink_to(other)
    done = make(f"{folder}/.ready")
    assert done.returncode != 0
    assert f"{folder} is a link to {other}" in done.stderr
    assert [path.name for path in other.iterdir()] == ["precious"]


def test_two_makes_at_once_fill_a_folder_once(tree: Path) -> None:
    command = "mkdir -p folder && echo filled >> log && sleep 0.5"
    arguments = [sys.executable, "tests/harness/once.py", "folder", "package-lock.json", command]
    started = [subprocess.Popen(arguments) for _ in range(3)]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert (tree / "log").read_text() == "filled\n"


def test_folder_is_filled_again_when_its_source_is_younger(tree: Path) -> None:
    folder, source = Path("folder"), Path("package-lock.json")
    command = "mkdir -p folder && echo filled >> log"
    for _ in range(2):
        assert once.fill(folder, source, command) == 0
    assert (tree / "log").read_text() == "filled\n"
    later = (folder / ".ready").stat().st_mtime + 1
    os.utime(source, (later, later))
    assert once.fill(folder, source, command) == 0
    assert (tree / "log").read_text() == "filled\nfilled\n"


def test_failed_command_leaves_the_folder_unfilled(tree: Path) -> None:
    assert once.fill(Path("folder"), Path("package-lock.json"), "mkdir folder; false; true") != 0
    assert not (tree / "folder" / ".ready").exists()
