"""Result parts that no unit has noted: what a worker left that died between writing a part and saying so.

If its unit is tried again, it writes the same keys and notes them. If it never is, the records of these parts have
landed all the same, and the run's account must say so. Failures are another matter: their messages were not sent, or
not all, so that a failure counts only when its unit has noted it.
"""

import json
import re
from collections.abc import Iterator
from typing import Final

from bulk_inference.core.jobs import attempt_id
from bulk_inference.core.keys import Places
from bulk_inference.core.ports import Bucket
from bulk_inference.core.result_line import Usage, parse_id, split
from bulk_inference.finish.conservation import Account

_JOB_PART: Final = re.compile(r"(?P<shard>\d{5})(?:-a(?P<attempt>\d+))?(?:-s\d+)?")
_CHUNK_PART: Final = re.compile(r"(?P<unit>.+?)-\d{3,}(?:-f\d+)?")
"""Of an item batch: chunk and flush."""


def unit_of(part: str) -> str | None:
    """The unit whose results are called so; None for parts of no unit."""
    if job := _JOB_PART.fullmatch(part):
        return attempt_id(job["shard"], int(job["attempt"] or 1))
    chunk = _CHUNK_PART.fullmatch(part)
    return chunk["unit"] if chunk else None


def adopt(account: Account, places: Places, stored: dict[str, int], output: Bucket) -> None:
    """Adopts what open units have landed and not noted to the account. `stored`: result parts that were there before
    the account was made (key, bytes). Memory: the ids of one worker's lines for each unit that died.
    """
    landed: dict[str, dict[str, Usage]] = {}
    parts: dict[str, dict[str, int]] = {}
    for key in sorted(stored.keys() - account.parts.keys()) if account.open else ():
        unit = unit_of(key.removeprefix(f"{places.results_prefix}part-").removesuffix(".jsonl"))
        if unit is not None and unit in account.open:
            parts.setdefault(unit, {})[key] = stored[key]
            landed.setdefault(unit, {}).update(_lines(output, key))
    for unit, lines in landed.items():
        used = Usage(
            sum(usage.input_tokens for usage in lines.values()), sum(usage.output_tokens for usage in lines.values())
        )
        if account.adopt(unit, len(lines), used):
            account.parts.update(parts[unit])


def _lines(output: Bucket, key: str) -> Iterator[tuple[str, Usage]]:
    """recordId and tokens of each line."""
    for raw, _ in split(output.read(key)):
        if (record_id := parse_id(raw)) is not None:
            usage = json.loads(raw).get("usage") or {}
            yield record_id, Usage(usage.get("inputTokens", 0), usage.get("outputTokens", 0))
