"""Boundaries, partitions and Terraform's own checks turn red when they are broken."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lint import sources, tools

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("module", "text", "rule"),
    [
        ("cut/cutting.py", "import time\nnow = time.time()", "clock-boundary"),
        ("cut/cutting.py", "from datetime import UTC, datetime\nnow = datetime.now(UTC)", "clock-boundary"),
        ("cut/cutting.py", "import os\nbucket = os.environ['INPUT_BUCKET']", "environment-boundary"),
        ("finish/orphaned_parts.py", 'part = f"{unit}-{number:03d}"', "name-boundary"),
        ("finish/orphaned_parts.py", 'unit = f"{shard}-a{attempt}"', "name-boundary"),
        ("finish/orphaned_parts.py", 'LANE = ("reprocess-", 1)', "name-boundary"),
    ],
)
def test_logic_with_a_time_an_environment_or_a_grammar_of_its_own_is_found(module: str, text: str, rule: str) -> None:
    assert [finding.rule for finding in sources.check_module("file", module, text)] == [rule]


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("aws/s3.py", "import boto3\nimport time\nnow = time.time()"),
        ("handlers/stop_run.py", "from aws_lambda_powertools import Logger"),
        ("core/environment.py", "import os\nbucket = os.environ['INPUT_BUCKET']"),
        ("core/names.py", 'unit = f"{shard}-a{attempt}"'),
        ("cut/cutting.py", "import time\ndef pace(clock=time.monotonic): ..."),
    ],
)
def test_what_belongs_there_passes(module: str, text: str) -> None:
    assert list(sources.check_module("file", module, text)) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('resources = ["arn:aws:s3:::${var.bucket}"]', True),
        ('arn = "arn:aws-us-gov:s3:::bucket"', True),
        ('arn = "arn:${local.partition}:s3:::bucket"', False),
        ("# for instance arn:aws:s3:::bucket", False),
        ('  description = "ARN, such as arn:aws:kms:us-east-1:123456789012:key/…"', False),
    ],
)
def test_literal_partition_is_found(line: str, found: bool) -> None:
    assert bool(list(sources.check_partition("main.tf", line))) is found


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder with the wrapper script and one module that is sound."""
    (tmp_path / "tests" / "harness").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "harness" / "terraform.sh", tmp_path / "tests" / "harness")
    (tmp_path / "modules" / "one").mkdir(parents=True)
    (tmp_path / "modules" / "one" / "main.tf").write_text('variable "name" {\n  type = string\n}\n')
    return tmp_path


def test_terraform_format_names_the_file(repository: Path) -> None:
    assert list(tools.terraform_format(repository)) == []
    (repository / "modules" / "one" / "main.tf").write_text('variable "name" {\n      type = string\n}\n')
    assert [finding.file for finding in tools.terraform_format(repository)] == ["modules/one/main.tf"]


def test_terraform_validate_names_file_and_line(repository: Path) -> None:
    module = repository / "modules" / "one"
    assert tools.terraform_folders(repository) == [module]
    assert list(tools.terraform_validate(repository, [module], repository / "data")) == []
    (module / "outputs.tf").write_text('output "name" {\n  value = local.nothing\n}\n')
    (finding,) = tools.terraform_validate(repository, [module], repository / "data")
    assert (finding.file, finding.where, finding.rule) == ("modules/one/outputs.tf", "line 2", "terraform-validate")


PACKAGES = {
    "bundle/__init__.py": "",
    "bundle/core/__init__.py": "",
    "bundle/corpus/__init__.py": "",
    "bundle/corpus/rows.py": "from bundle.core import errors",
    "bundle/core/errors.py": "",
    "bundle/cut/__init__.py": "",
    "bundle/cut/cutting.py": "from bundle.corpus import rows",
}


@pytest.mark.parametrize(
    ("module", "text", "broken"),
    [
        ("bundle/cut/cutting.py", "from bundle.corpus import rows", None),
        ("bundle/corpus/rows.py", "from bundle.cut import cutting", "`corpus` may not import `cut`"),
        ("bundle/fresh/__init__.py", "from bundle.corpus import rows", "`fresh` may not import `corpus`"),
    ],
)
def test_a_package_imports_only_what_its_row_names(tmp_path: Path, module: str, text: str, broken: str | None) -> None:
    for name, content in {**PACKAGES, module: text}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "pyproject.toml").write_text(
        '[tool.importlinter]\nroot_package = "bundle"\n'
        'contract_types = ["packages: tests.lint.package_contract.PackagesContract"]\n'
        '[[tool.importlinter.contracts]]\nname = "rows"\ntype = "packages"\nroot = "bundle"\nshared = "core"\n'
        'allowed = ["corpus:", "cut: corpus"]\n'
    )
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) is (broken is None), done.stdout + done.stderr
    assert broken is None or broken in done.stdout
