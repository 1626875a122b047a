"""Images and documents that a request names by their place in S3.

Converse takes `s3Location` for the models that the page "Supported models and model features" lists under Amazon S3
links, which are Amazon's Nova; the others refuse it. Page "Format and upload your batch inference data": in a job, all
that records point to lies in the folder that is the job's input, in the same bucket.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from local_aws.bedrock import objects, roles, shapes
from local_aws.bedrock.models import Model
from local_aws.bedrock.wire import AwsError


class Reference(NamedTuple):
    """One object of a request; `place` is where in the request it is named."""

    kind: str
    format: str
    uri: str
    owner: str | None
    place: str


class Reader(NamedTuple):
    """Whose rights an object is read with. `role_arn` is None for the account's own user; `folder` is a job's input."""

    account: str
    role_arn: str | None
    folder: objects.Uri | None = None

    def read(self, reference: Reference) -> bytes:
        """Raises ValidationException as far as AWS's texts are known, else with a text that says the same."""
        uri = objects.parse(reference.uri)
        if reference.owner is not None and reference.owner != self.account:
            raise _invalid(f"The bucket of {reference.uri} is not owned by {reference.owner}.")
        if self.folder is not None and not _inside(uri, self.folder):
            raise _invalid(
                f"{reference.place}: {reference.uri} is not in the input folder {self.folder} of the batch job."
            )
        try:
            return objects.read(self.role_arn, objects.InputFile(uri, uri.key, 0))
        except roles.RoleDeniedError as problem:
            raise _invalid(f"Access to the provided S3Location is denied: {problem}") from None
        except objects.StorageError:
            raise _invalid("Provided S3Location not found") from None


def _inside(uri: objects.Uri, folder: objects.Uri) -> bool:
    # An input that is a single file is no folder, whatever lies beside it.
    return uri.bucket == folder.bucket and not folder.key.endswith(".jsonl") and uri.key.startswith(folder.folder)


def of_converse(model: Model, messages: list[Any]) -> tuple[Reference, ...]:
    """What the messages name. Raises ValidationException for a model that cannot have it."""
    return tuple(_found(model, messages))


def _found(model: Model, messages: list[Any]) -> Iterator[Reference]:
    for number, message in enumerate(messages):
        names = []
        for position, block in enumerate(message.get("content") or []):
            place = f"messages.{number}.content.{position}"
            for kind in ("image", "document"):
                if block.get(kind) is None:
                    continue
                if kind not in model.reads:
                    raise _invalid(
                        f"This model doesn't support the {kind} content block that you provided. Remove it and try "
                        "again."
                    )
                if kind == "document":
                    names.append(block[kind].get("name"))
                location = (block[kind].get("source") or {}).get("s3Location")
                if location is not None:
                    yield _reference(model, kind, block[kind].get("format", ""), location, place)
        if len(names) != len(set(names)):
            raise _invalid(f"messages.{number}: the documents of a message must have different names.")


def of_image(model: Model, image: Any, place: str) -> tuple[Reference, ...]:
    """What the image of an embedding names."""
    if not isinstance(image, dict) or image.get("format") not in ("png", "jpeg", "gif", "webp"):
        raise _invalid(f"Malformed input request: #/{place}: format must be png, jpeg, gif or webp")
    location = (image.get("source") or {}).get("s3Location")
    if not isinstance(location, dict) or "uri" not in location:
        raise _invalid(f"Malformed input request: #/{place}/source: bytes or s3Location with uri")
    return (_reference(model, "image", image["format"], location, place),)


def _reference(model: Model, kind: str, form: str, location: dict[str, Any], place: str) -> Reference:
    if not model.reads_s3:
        raise _invalid("This model doesn't support the s3Uri field. Remove s3Uri and try again.")
    # The members and their patterns are the API's.
    block = {
        kind: {"format": form, "source": {"s3Location": location}, **({"name": "n"} if kind == "document" else {})}
    }
    shapes.check("bedrock-runtime", "Converse", {"modelId": "a.b", "messages": [{"role": "user", "content": [block]}]})
    return Reference(kind, form, location["uri"], location.get("bucketOwner"), place)


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)
