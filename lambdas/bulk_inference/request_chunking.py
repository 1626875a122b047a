"""Section `chunking` of a request: how a long document becomes several records."""

from bulk_inference.request_fields import Fields

_KEYS = ()


def parse_chunking(request: Fields) -> None:
    request.section("chunking", _KEYS)
