"""`python -m tests.corpora`: real corpora through the whole module on a local AWS; prints what was counted.

Ends with 1 if a count is not the one that the files themselves say. docs/measurements.md has a table of one run.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from local_aws import LocalAws
from tests.corpora.fetch import ADDRESSES, MAIL, texts
from tests.end_to_end.conftest import MODEL, QUICK, assert_conserves
from tests.harness.stack import ROOT, Stack

UPLOADERS = 16
CHUNK, OVERLAP = 4000, 200
ENCODING = "cp1252"
TOLERATED = 10
"""Percent of the e-mails: more than a twentieth is no UTF-8, for which a run is refused unless it tolerates that."""
PROMPT = "Which part of this mail matters?\n\n"


def request(name: str, mode: str, template: str, **more: Any) -> dict[str, Any]:
    source = {"prefix": f"default/corpus/{name}/", "format": "text", **more.pop("source", {})}
    return {
        "run": {"mode": mode},
        "source": source,
        "model": {"id": MODEL},
        "prompt": {"template": template, "inference": {"maxTokens": 400}},
        **more,
    }


def upload(stack: Stack, name: str, files: Mapping[str, bytes]) -> None:
    with ThreadPoolExecutor(UPLOADERS) as pool:
        list(pool.map(lambda one: stack.upload(f"default/corpus/{name}/{one[0]}", one[1]), files.items()))


def play(stack: Stack, run: str, body: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """The run's manifest, and its seconds."""
    began = time.monotonic()
    execution = stack.wait(stack.start(run, body), timeout=3600)
    if execution["status"] != "SUCCEEDED":
        raise SystemExit(f"{run}: {execution.get('error')}: {execution.get('cause')}")
    manifest = stack.manifest(run)
    assert manifest is not None
    assert_conserves(manifest)
    return manifest, time.monotonic() - began


def addresses(stack: Stack) -> Iterator[tuple[str, Any, Any]]:
    """Chunked and reduced: (what, expected, found)."""
    files = texts(ADDRESSES)
    upload(stack, "addresses", files)
    for mode in ("batch", "sync"):
        run = f"addresses-{mode}"
        body = request(
            "addresses",
            mode,
            "{{chunk_number}} of {{chunk_count}}. Sum up:\n\n{{chunk}}",
            chunking={"field": "text", "by": "characters", "size": CHUNK, "overlap": OVERLAP},
            output={
                "recombine": {
                    "method": "reduce",
                    "size": 2000,
                    "prompt": {"template": "Sum up {{document_id}}:\n\n{{parts}}", "inference": {"maxTokens": 400}},
                }
            },
        )
        manifest, seconds = play(stack, run, body)
        told = manifest["documents"]
        lines = list(stack.lines(run, "documents"))
        print(
            f"{run}: {len(files)} documents, {sum(map(len, files.values())):,} bytes; {manifest['counts']['landed']:,} "
            f"chunks landed; reductions {[one['prompts'] for one in told['reductions']]}; {seconds:.0f} s"
        )
        yield f"{run}: complete documents", len(files), told["counts"]["complete"]
        yield f"{run}: a line for each", len(files), len({line["documentId"] for line in lines})
        yield f"{run}: each reduced", 0, sum(not line["text"] or line["missing"] != [] for line in lines)
        chunks = sum(line["chunks"] for line in lines)
        yield f"{run}: chunks landed", chunks, manifest["counts"]["landed"]
        found = {line["document"]["id"] for line in stack.lines(run, "results")}
        yield f"{run}: documents among the results", len(files), len(found)


def mail(stack: Stack) -> Iterator[tuple[str, Any, Any]]:
    """Each e-mail one record; what is no UTF-8 is refused by name, or read as what the request declares."""
    files = texts(MAIL)
    upload(stack, "mail", files)
    for run, encoding, read in (
        ("mail-utf8", None, lambda raw: raw.decode()),
        (f"mail-{ENCODING}", ENCODING, lambda raw: raw.decode(ENCODING)),
    ):
        expected = {name: text for name, raw in files.items() if (text := _read(read, raw)) is not None}
        source = {} if encoding is None else {"encoding": encoding}
        limits = {"tolerated_rejected_percentage": TOLERATED}
        body = request("mail", "batch", PROMPT + "{{text}}", source=source, limits=limits)
        manifest, seconds = play(stack, run, body)
        counts = manifest["counts"]
        classes: dict[str, int] = {}
        for line in stack.lines(run, "failures"):
            classes[line["errorClass"]] = classes.get(line["errorClass"], 0) + 1
        print(
            f"{run}: {len(files):,} mails, {sum(map(len, files.values())):,} bytes; {counts['landed']:,} landed, "
            f"{counts['rejected']:,} rejected {classes}; {seconds:.0f} s"
        )
        yield f"{run}: read", len(files), counts["read"]
        yield f"{run}: rejected as undecodable", len(files) - len(expected), classes.get("undecodable", 0)
        told = {kind["errorClass"]: kind["rows"] for kind in manifest["rejections"]}
        yield f"{run}: rejected, as the manifest says", classes, told
        yield f"{run}: no other failure", len(files) - len(expected), sum(classes.values())
        changed = 0
        landed = set()
        for line in stack.lines(run, "results"):
            name = line["source"]["key"].removeprefix("default/corpus/mail/")
            landed.add(name)
            changed += json.loads(line["text"])["chars"] != len(PROMPT) + len(expected[name])
        yield f"{run}: landed", len(expected), len(landed)
        yield f"{run}: prompts of another length than their mail", 0, changed


def _read(read: Callable[[bytes], str], raw: bytes) -> str | None:
    try:
        return read(raw)
    except UnicodeDecodeError:
        return None


def main() -> int:
    wrong = 0
    with LocalAws(knobs=QUICK) as aws:
        stack = Stack(aws, ROOT / ".build" / "corpora-stack", {"reconcile_schedule": "rate(1 minute)"}).apply()
        for corpus in (addresses, mail):
            for what, expected, found in corpus(stack):
                good = expected == found
                wrong += not good
                print(
                    f"{'ok  ' if good else 'FAIL'} {what}: {found}" + ("" if good else f", not {expected}"), flush=True
                )
    print(f"{'All counts are right' if not wrong else f'{wrong} counts are wrong'}.")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
