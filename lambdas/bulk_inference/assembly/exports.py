"""Results in other forms: Parquet files, and one file in the order of the corpus."""

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from bulk_inference.assembly.assembly import AssemblyServices, put_over, read_slice
from bulk_inference.assembly.part_groups import Group
from bulk_inference.core.result_line import split
from bulk_inference.core.runs_table import ASSEMBLY, run_pk
from bulk_inference.corpus.jsonl_rows import lines_of_range
from bulk_inference.corpus.ranges import Cut

if TYPE_CHECKING:
    import pyarrow

ROW_GROUP: Final = 10_000
"""Rows held at a time."""

MAX_ORDERED_BYTES: Final = 256 * 1024 * 1024
"""Of all result parts: they are sorted in the memory of one function."""

_NO_LIMIT: Final = 1 << 62
_LAST: Final = 1 << 62


# Parquet.


def export_parquet(services: AssemblyServices, group: Group) -> dict[str, Any]:
    """One Parquet file of the result lines of a group. Raises WorkInProgressError as sort_chunks."""
    key = services.places.parquet(group.name)
    seen = services.output.find(key)
    lines = (row.data for one in group.slices for row in _rows(services, one) if row.data)
    body, rows = parquet(lines)
    put_over(services.output, key, seen, body, "application/vnd.apache.parquet")
    return {"group": group.name, "rows": rows, "bytes": len(body)}


def _rows(services: AssemblyServices, one: Any) -> Iterator[Any]:
    return lines_of_range(read_slice(services, one), one.start, one.end, _NO_LIMIT)


def parquet(lines: Iterable[bytes]) -> tuple[bytes, int]:
    """A Parquet file of result lines, and how many rows it has. The columns, the same for every
    run, are named in docs/run-request.md.

    What is no Unicode text (half a surrogate pair) is null in `text`; `model_output` has it, escaped.
    """
    import pyarrow
    import pyarrow.parquet

    schema = _schema(pyarrow)
    file = io.BytesIO()
    count = 0
    with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in _batched((_row(json.loads(line)) for line in lines), ROW_GROUP):
            count += len(batch)
            writer.write_table(pyarrow.Table.from_pylist(batch, schema=schema))
    return file.getvalue(), count


def _schema(arrow: Any) -> "pyarrow.Schema":
    text, whole = arrow.string(), arrow.int64()
    columns = {
        "record_id": text,
        "text": text,
        "value": text,
        "model_output": text,
        "input_tokens": whole,
        "output_tokens": whole,
        "sequence": text,
        "carry": text,
        "document_id": text,
        "chunk": arrow.int32(),
        "chunks": arrow.int32(),
        "source": text,
    }
    return arrow.schema(list(columns.items()))


def _row(line: Mapping[str, Any]) -> dict[str, Any]:
    usage, document, sequence = line.get("usage") or {}, line.get("document") or {}, line.get("sequence")
    return {
        "record_id": _unicode(line.get("recordId")),
        "text": _unicode(line.get("text")),
        "value": _json(line["value"]) if "value" in line else None,
        "model_output": _json(line.get("modelOutput")),
        "input_tokens": usage.get("inputTokens"),
        "output_tokens": usage.get("outputTokens"),
        "sequence": _unicode(sequence) if isinstance(sequence, str) or sequence is None else _json(sequence),
        "carry": _json(line["carry"]) if "carry" in line else None,
        "document_id": _unicode(document.get("id")),
        "chunk": document.get("chunk"),
        "chunks": document.get("chunks"),
        "source": _json(line["source"]) if "source" in line else None,
    }


def _unicode(text: Any) -> str | None:
    try:
        return text if isinstance(text, str) and text.encode() is not None else None
    except UnicodeEncodeError:
        return None


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if _unicode(text) is not None else json.dumps(value, separators=(",", ":"))


def _batched(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


# Order.


def order_results(services: AssemblyServices) -> dict[str, Any]:
    """Writes all result lines as one object: by sequence where the run has a sequence_field (numbers before texts, what
    has none last), else as their rows lie in the corpus. Of a run that is too large for that it says so instead."""
    seen = services.output.find(services.places.ordered)
    parts = list(services.output.list(services.places.results_prefix))
    size = sum(one.size for one in parts)
    if size > MAX_ORDERED_BYTES:
        told: dict[str, Any] = {
            "written": False,
            "why": f"the results have {size} bytes, more than the {MAX_ORDERED_BYTES} that are put in order",
        }
    else:
        by_sequence = services.spec.source.sequence_field is not None
        objects = {} if by_sequence else _object_order(services)
        lines = [raw for one in parts for raw, _ in split(services.output.read(one.key)) if raw]
        lines.sort(key=lambda raw: _order(json.loads(raw), by_sequence, objects))
        body = b"".join(raw + b"\n" for raw in lines)
        put_over(services.output, services.places.ordered, seen, body, "application/x-ndjson")
        told = {
            "written": True,
            "key": services.places.ordered,
            "lines": len(lines),
            "by": "sequence" if by_sequence else "place in the corpus",
        }
    services.runs.update(run_pk(services.spec.run), ASSEMBLY, {"ordered": told})
    return told


def _object_order(services: AssemblyServices) -> dict[str, int]:
    """Objects of the corpus as the cut plan lists them."""
    order: dict[str, int] = {}
    for raw, _ in split(services.input.read(services.spec.cuts.key)):
        for part in Cut.from_json(json.loads(raw)).parts:
            order.setdefault(part.key, len(order))
    return order


def _order(line: Mapping[str, Any], by_sequence: bool, objects: Mapping[str, int]) -> tuple[Any, ...]:
    chunk = (line.get("document") or {}).get("chunk", 0)
    if by_sequence:
        sequence = line.get("sequence")
        if isinstance(sequence, str):
            return 1, 0, sequence, chunk
        return (2, 0, "", chunk) if sequence is None else (0, sequence, "", chunk)
    source = line.get("source") or {}
    at = (source.get(name) or 0 for name in ("rowGroup", "offset", "row"))
    return objects.get(source.get("key", ""), _LAST), *at, chunk
