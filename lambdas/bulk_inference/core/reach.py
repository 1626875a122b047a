"""What a run may reach: the one check of a request body, made wherever a body is cut, staged or sent to a model.

The functions serve all tenants, and their roles reach every tenant's folder. So whoever calls a model, copies what a
body points to or writes a shard must hold a Reach, made of the settings that Terraform wrote and of the run's tenant.
The body is checked as it was parsed: how its JSON was spelt makes no difference.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_S3Location.html: `uri` and, where the bucket belongs
to another account, `bucketOwner`. Converse, Nova's native bodies and TwelveLabs' hold the same object.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bulk_inference.core import tenants
from bulk_inference.core.settings import Settings

MAX_URI: Final = 1024

URI: Final = re.compile(r"s3://([a-z0-9][.\-a-z0-9]{1,61}[a-z0-9])/([^\x00-\x1f]+)")

_LOCATION: Final = "s3location"
_NAMES_PLACE: Final = ("uri", "url")
_S3: Final = "s3://"


@dataclass(frozen=True)
class Reach:
    """Of the runs of one tenant."""

    settings: Settings
    tenant: str
    input_bucket: str

    def refusal(self, bucket: str, key: str) -> str | None:
        """Why a body may not point to an object, or None."""
        return tenants.refusal(self.settings, self.tenant, self.input_bucket, bucket, key)

    def planned_refusal(self, bucket: str, key: str) -> str | None:
        """Why a plan may not name an object of a corpus, or None."""
        return tenants.planned_refusal(self.settings, self.tenant, self.input_bucket, bucket, key)

    def refused_uri(self, uri: str) -> str | None:
        """As refusal, of an S3 URI."""
        match = URI.fullmatch(uri)
        if match is None or len(uri) > MAX_URI:
            return f"must be an S3 URI of at most {MAX_URI} characters"
        return self.refusal(*match.groups())

    def misplaced(self, body: Any) -> str | None:
        """Why a request body may not be sent: it names a place in S3 that its tenant may not read, or names one in a
        way that Bedrock does not document. None if it may. The text quotes nothing of the body."""
        for name, value in _named_places(body):
            if value is None:
                return f"{name}: must be an object that holds a uri"
            if (why := self.refused_uri(value)) is not None:
                return f"{name}: {why}"
        return None


def locations(body: Any) -> list[dict[str, Any]]:
    """Every `s3Location` object in a request body, in place."""
    return [value for name, value in _members(body) if name.casefold() == _LOCATION and isinstance(value, dict)]


def _named_places(body: Any) -> Iterator[tuple[str, str | None]]:
    """(a name of ours for the member, the URI in it), None where there should be one."""
    for name, value in _members(body):
        folded = name.casefold()
        if folded == _LOCATION:
            uri = value.get("uri") if isinstance(value, Mapping) else None
            yield "s3Location", uri if isinstance(uri, str) else None
        elif isinstance(value, str) and folded.endswith(_NAMES_PLACE) and value.strip()[:5].casefold() == _S3:
            yield "uri", value


def _members(body: Any) -> Iterator[tuple[str, Any]]:
    """Name and value of every member of every object in a body, however deep. Raises no RecursionError."""
    waiting = [body]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            for name, item in value.items():
                yield str(name), item
                if isinstance(item, (Mapping, list)):
                    waiting.append(item)
        elif isinstance(value, list):
            waiting.extend(item for item in value if isinstance(item, (Mapping, list)))
