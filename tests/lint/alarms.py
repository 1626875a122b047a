"""Alarms: whoever is on call is told, not rung for silence, and finds the alarm in docs/operating.md."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.lint.findings import Finding

_ALARM = re.compile(r'^resource "aws_cloudwatch_metric_alarm" "(\w+)" \{\n(.*?)^\}', re.M | re.S)
_SETS = {
    "alarm_actions": "[var.alarm_topic.arn]",
    "treat_missing_data": '"notBreaching"',
    "alarm_description": "",
}
"""Arguments, and what each must say."""


def check(root: Path) -> Iterator[Finding]:
    page = (root / "docs" / "operating.md").read_text(encoding="utf-8")
    for path in sorted(root.glob("modules/*/*.tf")):
        file = path.relative_to(root).as_posix()
        yield from check_file(file, path.parent.name, path.read_text(encoding="utf-8"), page)


def check_file(file: str, module: str, text: str, page: str) -> Iterator[Finding]:
    """`page`: docs/operating.md, whose table of alarms names each as `module.resource`."""
    for name, body in _ALARM.findall(text):
        for argument, value in _SETS.items():
            if not re.search(rf"^  {argument}\s*=\s*{re.escape(value)}", body, re.M):
                yield Finding(file, name, "alarms", f"set {argument}" + (f" to {value}" if value else ""))
        if f"`{module}.{name}`" not in page:
            yield Finding(file, name, "alarms", f"docs/operating.md, table Alarms, has no row with `{module}.{name}`")
