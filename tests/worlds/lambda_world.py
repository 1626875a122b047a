"""What Lambda hands to a handler."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EVENTS = Path(__file__).parents[1] / "events"


@dataclass
class Context:
    """What Powertools reads of Lambda's context."""

    function_name: str = "f"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:f"
    aws_request_id: str = "00000000-0000-0000-0000-000000000000"
    left: int = 900_000

    def get_remaining_time_in_millis(self) -> int:
        return self.left


def load(name: str) -> Any:
    return json.loads((EVENTS / f"{name}.json").read_text())
