"""Images and documents by their place in S3: what may be named, and the block that a request body carries for it.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_S3Location.html: `uri` and, where the bucket belongs
to another account, `bucketOwner`. Converse and Amazon Nova's native bodies hold the same blocks.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bulk_inference.core import tenants
from bulk_inference.core.model_families import UNKNOWN, family_named
from bulk_inference.core.run_spec import Media, RunSpec
from bulk_inference.core.settings import Settings, SourceBucket

IMAGE: Final = "image"
DOCUMENT: Final = "document"

FORMATS: Final[Mapping[str, tuple[str, ...]]] = {
    IMAGE: ("png", "jpeg", "gif", "webp"),
    DOCUMENT: ("pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"),
}
"""https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ImageBlock.html, …_DocumentBlock.html"""

_SPELT: Final = {"jpg": "jpeg", "htm": "html", "text": "txt", "markdown": "md"}

MAX_URI: Final = 1024

URI: Final = re.compile(r"s3://([a-z0-9][.\-a-z0-9]{1,61}[a-z0-9])/([^\x00-\x1f]+)")

NAME: Final = re.compile(r"(?!.*\s\s)[A-Za-z0-9\s\-()\[\]]{1,200}")
"""Of a document: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_DocumentBlock.html"""

MOST: Final = 20
"""Images or documents that one field may name."""


class IllegalMediaError(Exception):
    """A field names no image or document that may be sent; the text says why, and does not quote the field."""


@dataclass(frozen=True)
class MediaPlaces:
    """Where the images and documents of a run may lie."""

    bucket: str
    """What a bare key is a key of: the corpus's bucket."""
    refusal: Callable[[str, str], str | None]
    """Why the run may not read (bucket, key), or None: tenants.refusal."""

    def resolve(self, value: str) -> str:
        """An S3 URI, from one or from a key. Raises IllegalMediaError."""
        uri = value if value.startswith("s3://") else f"s3://{self.bucket}/{value}"
        match = URI.fullmatch(uri)
        if match is None or len(uri) > MAX_URI:
            raise IllegalMediaError(f"must be an S3 URI or a key, at most {MAX_URI} characters as a URI")
        refusal = self.refusal(*match.groups())
        if refusal is not None:
            raise IllegalMediaError(refusal)
        return uri


def places_of(
    source_bucket: str, input_bucket: str, tenant: str, open_buckets: Mapping[str, SourceBucket]
) -> MediaPlaces:
    """Of a run: `open_buckets` are the module's source buckets."""
    settings = Settings("", {}, {}, source_buckets=dict(open_buckets))

    def refusal(bucket: str, key: str) -> str | None:
        if bucket == input_bucket and not key.startswith(f"{tenant}/corpus/"):
            # What the roles of the functions may read, and nothing of the run's own.
            return f"must start with {tenant}/corpus/ in the input bucket"
        return tenants.refusal(settings, tenant, input_bucket, bucket, key)

    return MediaPlaces(source_bucket, refusal)


def block(kind: str, media: Media, uri: str, number: int) -> dict[str, Any]:
    """A content block. `number` tells the documents of one request apart. Raises IllegalMediaError."""
    form = media.format or format_of(uri)
    if form not in FORMATS[kind]:
        raise IllegalMediaError(
            f"its name must end in one of {', '.join(FORMATS[kind])}, or prompt.{kind}s must state the format"
        )
    location = {"uri": uri, **({"bucketOwner": media.bucket_owner} if media.bucket_owner else {})}
    content: dict[str, Any] = {"format": form, "source": {"s3Location": location}}
    if kind == DOCUMENT:
        # A neutral name: the model reads it, and a file's own name may hold instructions.
        content["name"] = f"{media.name or 'document'} {number}" if number > 1 or not media.name else media.name
    return {kind: content}


def format_of(uri: str) -> str:
    """By the extension; empty without one."""
    extension = uri.rpartition("/")[2].rpartition(".")[2].lower() if "." in uri.rpartition("/")[2] else ""
    return _SPELT.get(extension, extension)


def values(field: str, value: Any) -> list[str]:
    """What a row's field names: one place or a list of them. Raises IllegalMediaError."""
    named = value if isinstance(value, list) else [value]
    if not named or len(named) > MOST or not all(isinstance(one, str) and one.strip() for one in named):
        raise IllegalMediaError(f"must be the place of an object in S3, or a list of 1 to {MOST} of them")
    return list(named)


def may_point(spec: RunSpec) -> bool:
    """Whether records of the run can point to objects: if the prompt does, or lines that were records already may."""
    family = family_named(spec.model.family)
    return spec.prompt.media or (spec.prompt.template is None and bool(family.media or family is UNKNOWN))


def locations(body: Any) -> list[dict[str, Any]]:
    """Every `s3Location` object in a request body, in place."""
    if isinstance(body, list):
        return [found for item in body for found in locations(item)]
    if not isinstance(body, dict):
        return []
    found = []
    for key, value in body.items():
        if key == "s3Location" and isinstance(value, dict):
            found.append(value)
        else:
            found += locations(value)
    return found
