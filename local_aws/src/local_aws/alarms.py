"""DescribeAlarms in the query protocol, with every member that an alarm has.

Ministack stores them all and answers ten in XML, so that who reads back an alarm (Terraform does) sees it changed.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricAlarm.html
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from local_aws import seams

_CLOUDWATCH = "ministack.services.cloudwatch"
_NAMESPACE = "http://monitoring.amazonaws.com/doc/2010-08-01/"


@seams.replaces(
    _CLOUDWATCH, "_describe_alarms", sha256="ab8f092ff9ae6f023a72ecbaf2ae1ee6145f61fea5ff80c20d48293c87458316"
)
def describe_alarms(params: dict[str, Any], cbor_data: dict[str, Any], is_cbor: bool, is_json: bool = False) -> Any:
    """As ministack answers; a query is answered by what it says in JSON, written as XML."""
    stock = seams.original(_CLOUDWATCH, "_describe_alarms")
    if is_cbor or is_json:
        return stock(params, cbor_data, is_cbor, is_json)
    status, headers, body = stock({}, _members(params), False, True)
    if status != 200:
        return stock(params, cbor_data, is_cbor, is_json)
    result = _xml(json.loads(body))
    answer = (
        f'<DescribeAlarmsResponse xmlns="{_NAMESPACE}"><DescribeAlarmsResult>{result}</DescribeAlarmsResult>'
        f"<ResponseMetadata><RequestId>{headers.get('x-amzn-RequestId', 'local')}</RequestId></ResponseMetadata>"
        "</DescribeAlarmsResponse>"
    )
    return status, {**headers, "Content-Type": "text/xml"}, answer.encode()


def _members(params: dict[str, Any]) -> dict[str, Any]:
    """`AlarmNames.member.1=a` → `{"AlarmNames": ["a"]}`."""
    found: dict[str, Any] = {}
    for name, value in params.items():
        text = value[0] if isinstance(value, list) else value
        if match := re.fullmatch(r"(\w+)\.member\.\d+", name):
            found.setdefault(match[1], []).append(text)
        elif name not in ("Action", "Version"):
            found[name] = text
    return found


def _xml(value: Any, name: str = "") -> str:
    if isinstance(value, dict):
        return "".join(
            f"<{key}>{_xml(member, key)}</{key}>" for key, member in value.items() if member not in (None, "")
        )
    if isinstance(value, list):
        return "".join(f"<member>{_xml(each)}</member>" for each in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if name.endswith("Timestamp") and isinstance(value, (int, float)):
        return datetime.fromtimestamp(value, UTC).isoformat().replace("+00:00", "Z")
    return escape(str(value))
