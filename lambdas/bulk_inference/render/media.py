"""Images and documents by their place in S3: what may be named, and the block that a request body carries for it.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_S3Location.html: `uri` and, where the bucket belongs
to another account, `bucketOwner`. Converse and Amazon Nova's native bodies hold the same blocks.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bulk_inference.core.reach import Reach
from bulk_inference.core.run_spec import Media

IMAGE: Final = "image"
DOCUMENT: Final = "document"

FORMATS: Final[Mapping[str, tuple[str, ...]]] = {
    IMAGE: ("png", "jpeg", "gif", "webp"),
    DOCUMENT: ("pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"),
}
"""https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ImageBlock.html, …_DocumentBlock.html"""

_SPELT: Final = {"jpg": "jpeg", "htm": "html", "text": "txt", "markdown": "md"}

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
    reach: Reach

    def resolve(self, value: str) -> str:
        """An S3 URI, from one or from a key. Raises IllegalMediaError."""
        uri = value if value.startswith("s3://") else f"s3://{self.bucket}/{value}"
        if (refusal := self.reach.refused_uri(uri)) is not None:
            raise IllegalMediaError(refusal)
        return uri


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
