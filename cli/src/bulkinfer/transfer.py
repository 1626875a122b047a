"""Uploads of corpora and downloads of results: in parallel, and never twice what is there already."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bulkinfer.aws import Aws, told
from bulkinfer.errors import UsageError

_WORKERS: Final = 16
_DIGEST: Final = "bulkinfer-sha256"
_STATE: Final = ".bulkinfer.json"
_HIDDEN: Final = (".", "_")


@dataclass(frozen=True)
class LocalFile:
    path: Path
    name: str
    """Below the folder that was named, with `/`."""
    size: int


@dataclass(frozen=True)
class Sent:
    """What an upload did."""

    uploaded: int
    unchanged: int
    bytes: int


def local_files(sources: Sequence[str], pattern: str | None = None) -> list[LocalFile]:
    """Files that are named, and those below folders that are; hidden files and folders are left out, as the pipeline
    leaves them out. Raises UsageError for a source that is not there or holds nothing."""
    found: dict[str, LocalFile] = {}
    for source in sources:
        path = Path(source)
        if path.is_dir():
            inside = [
                one for one in sorted(path.rglob(pattern or "*")) if one.is_file() and _shown(one.relative_to(path))
            ]
            entries = [(one, one.relative_to(path).as_posix()) for one in inside]
        elif path.is_file():
            entries = [(path, path.name)]
        else:
            raise UsageError(f"{source} is no file or folder", "name files, folders or s3:// URIs")
        if not entries:
            raise UsageError(f"{source} holds no file" + (f" that matches {pattern}" if pattern else ""))
        for one, name in entries:
            if name in found and found[name].path != one:
                raise UsageError(
                    f"{one} and {found[name].path} would both be uploaded as {name}", "upload one at a time"
                )
            found[name] = LocalFile(one, name, one.stat().st_size)
    return list(found.values())


def _shown(relative: Path) -> bool:
    return not any(part.startswith(_HIDDEN) for part in relative.parts)


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def upload(
    aws: Aws,
    files: Sequence[LocalFile],
    bucket: str,
    prefix: str,
    on_progress: Callable[[int, int], None] | None = None,
) -> Sent:
    """Files as objects below a prefix. One that lies there with the same content is left alone: an upload that broke
    off goes on where it was. `on_progress(bytes done, bytes in all)`. Large files go in parts."""
    client, total, done = aws.client("s3"), sum(one.size for one in files), 0
    uploaded = unchanged = sent = 0
    there = {one.key: one.size for one in parts(aws, bucket, prefix)}

    def send(one: LocalFile) -> bool:
        digest, key = digest_of(one.path), f"{prefix}{one.name}"
        with told("s3:PutObject", f"uploading {one.path}"):
            # Only what is listed is looked at: S3 answers "access denied" for what is not there to callers who may list
            # some prefixes only.
            if there.get(key) == one.size and _digest_there(client, bucket, key) == digest:
                return False
            client.upload_file(str(one.path), bucket, key, ExtraArgs={"Metadata": {_DIGEST: digest}})
            return True

    with ThreadPoolExecutor(_WORKERS, "upload") as pool:
        for one, new in zip(files, pool.map(send, files), strict=True):
            uploaded, unchanged = uploaded + new, unchanged + (not new)
            sent += one.size if new else 0
            done += one.size
            if on_progress is not None:
                on_progress(done, total)
    return Sent(uploaded, unchanged, sent)


def _digest_there(client: Any, bucket: str, key: str) -> str | None:
    found: str | None = client.head_object(Bucket=bucket, Key=key)["Metadata"].get(_DIGEST)
    return found


@dataclass(frozen=True)
class Part:
    """One object of a run."""

    key: str
    size: int
    etag: str


def parts(aws: Aws, bucket: str, prefix: str) -> list[Part]:
    """Objects below a prefix that hold something, by name."""
    with told("s3:ListBucket", f"listing s3://{bucket}/{prefix}"):
        pages = aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        found = [Part(one["Key"], one["Size"], one["ETag"]) for page in pages for one in page.get("Contents", [])]
    return sorted((one for one in found if one.size), key=lambda one: one.key)


def download(
    aws: Aws, bucket: str, wanted: Sequence[Part], folder: Path, on_progress: Callable[[int, int], None] | None = None
) -> list[Path]:
    """Parts into a folder, each under its own name. Those that are there from an earlier call, and have not changed in
    S3 since, are left alone; a file is there whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / _STATE
    known: dict[str, str] = json.loads(state.read_text(encoding="utf-8")) if state.exists() else {}
    client, total, done = aws.client("s3"), sum(one.size for one in wanted), 0
    paths = [folder / one.key.rpartition("/")[2] for one in wanted]

    def fetch(job: tuple[Part, Path]) -> Part:
        one, path = job
        if known.get(path.name) != one.etag or not path.exists():
            half = path.with_name(f".{path.name}.part")
            with told("s3:GetObject", f"downloading {one.key}"):
                client.download_file(bucket, one.key, str(half))
            half.replace(path)
        return one

    with ThreadPoolExecutor(_WORKERS, "download") as pool:
        for one, path in zip(pool.map(fetch, zip(wanted, paths, strict=True)), paths, strict=True):
            known[path.name] = one.etag
            done += one.size
            _save(state, known)
            if on_progress is not None:
                on_progress(done, total)
    return paths


def _save(state: Path, known: Mapping[str, str]) -> None:
    half = state.with_suffix(".tmp")
    half.write_text(json.dumps(known), encoding="utf-8")
    half.replace(state)


def lines(aws: Aws, bucket: str, wanted: Iterable[Part]) -> Iterator[bytes]:
    """Lines of parts, straight from S3. They end at `\\n` alone: U+2028 and its like are characters in answers."""
    for part in wanted:
        rest = b""
        with told("s3:GetObject", f"reading {part.key}"):
            body = aws.client("s3").get_object(Bucket=bucket, Key=part.key)["Body"]
            for chunk in body.iter_chunks(1 << 20):
                *whole, rest = (rest + chunk).split(b"\n")
                yield from (line for line in whole if line.strip())
        if rest.strip():
            yield rest
