"""What Terraform says of events and metrics is what the functions send."""

import re
from pathlib import Path

import pytest

from bulk_inference.finish import finishing, updating

ROOT = Path(__file__).parents[2]


def test_patterns_for_other_stacks_name_the_events_that_are_sent() -> None:
    written = (ROOT / "modules/completion/main.tf").read_text(encoding="utf-8")
    written += (ROOT / "modules/completion/outputs.tf").read_text(encoding="utf-8")
    assert sorted(re.findall(r'"detail-type"\s*= \["([^"]+)"\]', written)) == sorted(
        [finishing.DETAIL_TYPE, updating.DETAIL_TYPE]
    )


def _alarms() -> list[tuple[str, str]]:
    """Handler and metric of each alarm on a metric of the functions."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("modules/*/alarms.tf")))
    troubles = re.findall(r'function = "(\w+)"\s+metric   = "(\w+)"', text)
    others = re.findall(r'metric_name\s*= "(\w+)"\s+dimensions\s*= \{ service = "\$\{var.name\}-(\w+)" \}', text)
    return troubles + [(handler, metric) for metric, handler in others]


def test_alarms_are_found() -> None:
    assert len(_alarms()) >= 4


@pytest.mark.parametrize(("handler", "metric"), _alarms())
def test_an_alarm_watches_a_metric_that_its_function_sends(handler: str, metric: str) -> None:
    """An alarm on a metric that nobody sends is silent for ever."""
    source = (ROOT / f"lambdas/bulk_inference/handlers/{handler}.py").read_text(encoding="utf-8")
    assert f'"{metric}"' in source
