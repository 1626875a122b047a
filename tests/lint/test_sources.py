"""Module boundaries, partitions and Terraform's own checks turn red when they are broken."""

import shutil
from pathlib import Path

import pytest

from tests.lint import sources, tools

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("folder", "text", "rule"),
    [
        ("cutting.py", "import boto3", "import-boundary"),
        ("cutting.py", "from botocore.exceptions import ClientError", "import-boundary"),
        ("handlers", "def handler(event, context):\n    import boto3", "import-boundary"),
        ("cutting.py", "from aws_lambda_powertools import Logger", "import-boundary"),
        ("cutting.py", "import time\nnow = time.time()", "clock-boundary"),
        ("cutting.py", "from datetime import UTC, datetime\nnow = datetime.now(UTC)", "clock-boundary"),
        ("cutting.py", "import os\nbucket = os.environ['INPUT_BUCKET']", "environment-boundary"),
    ],
)
def test_logic_that_reaches_outside_is_found(folder: str, text: str, rule: str) -> None:
    assert [finding.rule for finding in sources.check_module("file", folder, text)] == [rule]


@pytest.mark.parametrize(
    ("folder", "text"),
    [
        ("aws", "import boto3\nimport time\nnow = time.time()"),
        ("handlers", "from aws_lambda_powertools import Logger"),
        ("environment.py", "import os\nbucket = os.environ['INPUT_BUCKET']"),
        ("cutting.py", "import time\ndef pace(clock=time.monotonic): ..."),
    ],
)
def test_what_belongs_there_passes(folder: str, text: str) -> None:
    assert list(sources.check_module("file", folder, text)) == []


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
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "terraform.sh", tmp_path / "tests")
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
    assert list(tools.terraform_validate(repository, module, repository / "data")) == []
    (module / "outputs.tf").write_text('output "name" {\n  value = local.nothing\n}\n')
    (finding,) = tools.terraform_validate(repository, module, repository / "data")
    assert (finding.file, finding.where, finding.rule) == ("modules/one/outputs.tf", "line 2", "terraform-validate")
