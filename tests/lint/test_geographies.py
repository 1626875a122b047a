"""Terraform and the functions know the same geographies of inference profiles."""

import re
from pathlib import Path

from bulk_inference.core.model_families import GEOGRAPHIES, geography_of

ROOT = Path(__file__).parents[2]


def test_models_tf_has_the_list_of_the_functions() -> None:
    (found,) = re.findall(r'geographies\s*=\s*"([a-z|-]+)"', (ROOT / "models.tf").read_text(encoding="utf-8"))
    assert sorted(found.split("|")) == sorted(GEOGRAPHIES)


def test_no_other_source_has_a_list_of_its_own() -> None:
    sources = [*ROOT.glob("*.tf"), *ROOT.glob("modules/*/*.tf"), *ROOT.glob("lambdas/bulk_inference/**/*.py")]
    owners = {
        path.name for path in sources if re.search(r"\bapac\b.{0,80}\bglobal\b", path.read_text(encoding="utf-8"))
    }
    assert owners == {"models.tf", "model_families.py"}


def test_each_of_them_is_told_from_a_vendor() -> None:
    assert [geography_of(f"{one}.anthropic.claude-x") for one in GEOGRAPHIES] == list(GEOGRAPHIES)
    assert geography_of("anthropic.claude-x") is None
