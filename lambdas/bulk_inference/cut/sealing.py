"""Pieces to legal shards: which stay as they were cut, which are merged, which go the sync way.

A batch shard holds at least the smallest job's records. Small pieces, the tails of the cuts, are merged up to the
quotas; what still is too small for a job goes on demand.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bulk_inference.core import names
from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.runs_table import run_pk, shard_sk
from bulk_inference.corpus.rows import Row
from bulk_inference.cut.cutting import PieceCount, PieceSink

MERGE_BYTES: Final = 4_000_000_000
"""Copied in one seal, at most: about a minute's work. Beyond it, small pieces that are legal stay alone."""

TAIL_DIVISOR: Final = 10
"""A piece below this part of a full shard is worth merging: one large job beats several small ones."""


@dataclass(frozen=True)
class Sealing:
    """What becomes of the pieces; each of them is in exactly one of the lists."""

    kept: list[PieceCount] = field(default_factory=list)
    """Batch shards as they were cut."""
    merges: list[list[PieceCount]] = field(default_factory=list)
    """Groups of two or more, each to be one batch shard (unless its duplicates leave too little)."""
    sync: list[PieceCount] = field(default_factory=list)


@dataclass(frozen=True)
class MergedShards:
    """records + duplicate = the records of the merged pieces."""

    piece: str
    records: int
    bytes: int
    duplicate: int


def missing_cuts(count: int, items: Iterable[dict[str, Any]]) -> list[str]:
    """Names of the planned cuts of which there is no item."""
    present = {item["cut"] for item in items}
    return [name for name in map(names.cut, range(1, count + 1)) if name not in present]


def shard_item(
    run: str, shard: str, mode: str, piece: PieceCount, *, expires_at: int, duplicate: int = 0
) -> dict[str, Any]:
    """The item of a shard, or of a sync piece, whose shard has the piece's name. `duplicate`: found in merging it."""
    return {
        "pk": run_pk(run),
        "sk": shard_sk(shard),
        "expires_at": expires_at,
        "shard": shard,
        "piece": piece.piece,
        "mode": mode,
        "accepted": piece.records,
        "bytes": piece.bytes,
        "duplicate": duplicate,
    }


def require_all_cuts(run: str, count: int, items: Sequence[dict[str, Any]]) -> None:
    """Raises InvalidRequestError that names the cuts without counts: sealing them away would lose their records."""
    missing = missing_cuts(count, items)
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise InvalidRequestError(
            f"run {run}: {len(missing)} of {count} cuts have no counts in the runs table ({shown}): their cut_shards "
            "did not finish; redrive the run"
        )


def pieces_of(items: Iterable[dict[str, Any]]) -> list[PieceCount]:
    """All pieces of the cuts' items, by name."""
    pieces = [PieceCount(one["piece"], one["records"], one["bytes"]) for item in items for one in item["pieces"]]
    return sorted(pieces, key=lambda piece: piece.piece)


def seal(pieces: Sequence[PieceCount], mode: str, *, min_records: int, max_records: int, max_bytes: int) -> Sealing:
    """Decides for each piece. The same pieces give the same decision, in whatever order they come."""
    ordered = sorted(pieces, key=lambda piece: piece.piece)
    if mode == "sync":
        return Sealing(sync=ordered)
    threshold = max(min_records, max_records // TAIL_DIVISOR)
    kept = [piece for piece in ordered if piece.records >= threshold]
    # The smallest first: those cannot be jobs alone, so that they must not be the ones the copying budget leaves out.
    small = sorted((piece for piece in ordered if piece.records < threshold), key=lambda one: (one.records, one.piece))
    sealing = Sealing(kept=kept)
    for group in _groups(small, max_records, max_bytes):
        if len(group) > 1 and sum(piece.records for piece in group) >= min_records:
            sealing.merges.append(group)
            continue
        for piece in group:
            (sealing.kept if piece.records >= min_records else sealing.sync).append(piece)
    sealing.kept.sort(key=lambda piece: piece.piece)
    sealing.sync.sort(key=lambda piece: piece.piece)
    return sealing


def _groups(pieces: Iterable[PieceCount], max_records: int, max_bytes: int) -> list[list[PieceCount]]:
    groups: list[list[PieceCount]] = []
    records = size = copied = 0
    for piece in pieces:
        copied += piece.bytes
        if copied > MERGE_BYTES:
            groups.append([piece])
            continue
        if not groups or records + piece.records > max_records or size + piece.bytes > max_bytes:
            groups.append([])
            records = size = 0
        groups[-1].append(piece)
        records += piece.records
        size += piece.bytes
    return groups


def merge(name: str, sources: Iterable[tuple[Iterable[Row], Iterable[Row]]], sink: PieceSink) -> MergedShards:
    """Copies pieces, each a pair of its shard lines and its index lines, into one. A recordId that an earlier piece
    brought is left out, because a job must not hold it twice. The sink is left open for the caller to close.

    Raises ValueError if a piece's shard and index are not of equal length. Memory: the ids of the merged shard.
    """
    ids: set[str] = set()
    offset = duplicate = 0
    for shard_lines, index_lines in sources:
        for shard_line, index_line in zip(shard_lines, index_lines, strict=True):
            if shard_line.data is None or index_line.data is None:
                raise ValueError(f"{name}: a line of a piece is longer than any that is written")
            pointer = json.loads(index_line.data)
            if pointer["recordId"] in ids:
                duplicate += 1
                continue
            ids.add(pointer["recordId"])
            pointer |= {"shard": name, "offset": offset}
            sink.write(
                shard_line.data + b"\n",
                json.dumps(pointer, ensure_ascii=False, separators=(",", ":")).encode() + b"\n",
            )
            offset += len(shard_line.data) + 1
    return MergedShards(name, len(ids), offset, duplicate)


def job_line(shard: str, piece: PieceCount) -> bytes:
    """One item of the map Submit Shards."""
    line = {"shard": shard, "piece": piece.piece, "records": piece.records, "bytes": piece.bytes}
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"
