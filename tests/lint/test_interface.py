"""Rules about the interface find what breaks them, and the tables are what the HCL says."""

from pathlib import Path

import hcl2
import pytest

from tests.lint import interface, tables

VARIABLE = """
variable "size" {
  description = "Size of a thing, in bytes."
  type        = number

  validation {
    condition     = var.size > 0
    error_message = "size must be positive."
  }

  validation {
    condition     = var.size < 9
    error_message = "size must be small."
  }
}
"""

ONE_RUN = 'run "a" {\n  variables {\n    size = 0\n  }\n\n  expect_failures = [var.size]\n}\n'


def test_each_validation_needs_a_run_that_breaks_it() -> None:
    parsed = hcl2.loads(VARIABLE)
    assert [f.where for f in interface.check_validations("x.tf", parsed, ONE_RUN)] == ["size"]
    assert [*interface.check_validations("x.tf", parsed, ONE_RUN * 2)] == []


@pytest.mark.parametrize(
    "line",
    [
        'ephemeral "random_password" "this" {}',
        'output "x" {\n  ephemeral = true\n}',
        'resource "aws_x" "y" {\n  password_wo = "a"\n}',
        'locals {\n  a = provider::aws::arn_parse("x")\n}',
        "locals {\n  a = ephemeralasnull(1)\n}",
    ],
)
def test_newer_features_are_found(line: str) -> None:
    assert [*interface.check_features("x.tf", line, hcl2.loads(line))]


def test_what_is_not_described_is_found() -> None:
    assert [
        *interface.check_described("x.tf", hcl2.loads('variable "a" {\n  type = any\n}\noutput "b" {\n  value = 1\n}'))
    ]
    assert [*interface.check_described("x.tf", hcl2.loads(VARIABLE))] == []


def test_a_table_follows_its_hcl(tmp_path: Path) -> None:
    module = tmp_path / "modules" / "thing"
    module.mkdir(parents=True)
    (tmp_path / "main.tf").write_text("", encoding="utf-8")
    (tmp_path / "docs").mkdir()
    (module / "variables.tf").write_text(VARIABLE, encoding="utf-8")
    page = tables.rendered("# thing\n\nMine.\n", tables.generated(module, details=False))
    assert "| `size` | `number` | required | Size of a thing, in bytes. |" in page
    assert page.startswith("# thing\n\nMine.\n")
    (module / "README.md").write_text(page, encoding="utf-8")
    assert not [f for f in tables.check(tmp_path) if "thing" in f.file]
    (module / "README.md").write_text(page.replace("bytes", "feet"), encoding="utf-8")
    assert [f for f in tables.check(tmp_path) if "thing" in f.file]


def test_a_type_is_shown_as_it_is_written(tmp_path: Path) -> None:
    written = "object({\n    b = optional(map(object({\n      c = string\n    })), {})\n  })"
    text = f'variable "a" {{\n  type = {written}\n  default = {{}}\n}}\n'
    (tmp_path / "v.tf").write_text(text, encoding="utf-8")
    assert tables.generated(tmp_path, details=True).split("```hcl\n")[1] == (
        "object({\n  b = optional(map(object({\n    c = string\n  })), {})\n})\n```"
    )
