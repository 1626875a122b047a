"""A question about documents that came one by one: one by its id, a pool by its run, or the statistics."""

from typing import Any

from aws_lambda_powertools import Logger, Tracer

from bulk_inference.handlers import intake_wiring
from bulk_inference.intake.intake_status import answer

logger = Logger()
tracer = Tracer(auto_patch=False)


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Event: `{"id", "prompt" or "scope", "tenant"?}`, `{"run"}` or `{}`, see docs/intake.md."""
    return answer(event, intake_wiring.status_services(context))
