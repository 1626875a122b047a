"""Section `output` of a request: what the results must look like, and in which other forms they are wanted."""

from bulk_inference.request_fields import Fields

_KEYS = ()


def parse_output(request: Fields) -> None:
    request.section("output", _KEYS)
