"""Copies of one file in several modules stay the same."""

import shutil
from pathlib import Path

import pytest

from tests.lint import copies

ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("functions.tf", "state_machines.tf"):
        for file in ROOT.glob(f"modules/*/{name}"):
            target = tmp_path / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    return tmp_path


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_copies_are_the_same(root: Path) -> None:
    assert list(copies.check(root)) == []


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("functions.tf", '"kms:Decrypt", "kms:GenerateDataKey"', '"kms:*"'),
        ("functions.tf", '      sid = "AttachToVpc"\n', ""),
        ("state_machines.tf", '      "logs:PutResourcePolicy",\n', ""),
        ("state_machines.tf", "aws:SourceAccount", "aws:PrincipalAccount"),
    ],
)
def test_a_copy_that_goes_its_own_way_is_found(root: Path, file: str, old: str, new: str) -> None:
    change(root / "modules/batch_inference" / file, old, new)
    found = list(copies.check(root))
    assert found
    assert all("batch_inference" in str(one) for one in found)


def test_sizes_and_environments_are_each_modules_own(root: Path) -> None:
    file = root / "modules/batch_inference/functions.tf"
    change(file, "memory_mb = 512, timeout_seconds = 900", "memory_mb = 513, timeout_seconds = 9")
    change(file, "      NAME  ", "      OTHER = 1\n      NAME  ")
    assert list(copies.check(root)) == []
