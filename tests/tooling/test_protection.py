"""modules/protection: a destroy is refused before anything is gone, and goes through once protection is off."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TERRAFORM = ROOT / "tests" / "harness" / "terraform.sh"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "modules" / "protection", tmp_path / "protection")
    return tmp_path / "protection" / "examples" / "alone"


def terraform(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(TERRAFORM), f"-chdir={folder}", *arguments, "-no-color"], capture_output=True, text=True, check=False
    )


def left(folder: Path) -> list[str]:
    state = folder / "terraform.tfstate"
    return [resource["name"] for resource in json.loads(state.read_text(encoding="utf-8"))["resources"]]


def test_nothing_is_gone_while_it_is_protected(folder: Path) -> None:
    assert terraform(folder, "init", "-input=false").returncode == 0
    applied = terraform(folder, "apply", "-auto-approve", "-input=false")
    assert applied.returncode == 0, applied.stderr
    before = left(folder)
    assert "precious" in before
    refused = terraform(folder, "destroy", "-auto-approve", "-input=false")
    assert refused.returncode != 0
    assert "set deletion_protection = false and apply before destroying" in " ".join(refused.stderr.split())
    assert left(folder) == before

    off = ("-auto-approve", "-input=false", "-var=protected=false")
    assert terraform(folder, "apply", *off).returncode == 0
    gone = terraform(folder, "destroy", *off)
    assert gone.returncode == 0, gone.stderr
    assert left(folder) == []
