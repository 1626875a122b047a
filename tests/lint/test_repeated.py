"""Files of modules/ that say the same at length are found, and only those; HCL that nothing uses, too."""

from pathlib import Path

from tests.lint import repeated, unused

LINES = [f"line {n}" for n in range(repeated.MOST + 1)]


def test_one_line_more_than_allowed_is_found_wherever_it_stands_and_however_it_is_indented() -> None:
    other = ["something else", *(f"   {line}" for line in LINES), "the end"]
    assert repeated.shared({"a.tf": LINES, "b.tf": other}) == {("a.tf", "b.tf"): (1, len(LINES))}


def test_the_longest_run_is_told() -> None:
    longer = [*LINES, *(f"more {n}" for n in range(5))]
    assert repeated.shared({"a.tf": longer, "b.tf": ["x", *longer]})["a.tf", "b.tf"] == (1, len(longer))


def test_what_is_allowed_is_no_finding() -> None:
    assert repeated.shared({"a.tf": LINES[:-1], "b.tf": LINES[:-1]}) == {}
    changed = [*LINES[:10], "another", *LINES[11:]]
    assert repeated.shared({"a.tf": LINES, "b.tf": changed}) == {}


def test_a_file_may_repeat_itself() -> None:
    assert repeated.shared({"a.tf": [*LINES, *LINES]}) == {}


def test_files_and_size_of_modules_are_told(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / "modules" / name).mkdir(parents=True)
        (tmp_path / "modules" / name / "main.tf").write_text("\n".join(LINES))
    (finding,) = repeated.check(tmp_path)
    assert (finding.file, finding.where) == ("modules/one/main.tf", "line 1")
    (tmp_path / "modules" / "two" / "main.tf").write_text("x\n" * (repeated.MOST_LINES + 1))
    (finding,) = repeated.check(tmp_path)
    assert f"more than {repeated.MOST_LINES}" in finding.message


def test_declarations_that_nothing_uses_are_found() -> None:
    text = """
variable "used" {}
variable "idle" {}
locals {
  named = var.used
  spare = 1
}
data "aws_region" "current" {}
output "it" { value = local.named }
"""
    assert list(unused.unused(text, text)) == ["var.idle", "local.spare", "data.aws_region.current"]
