"""Result parts that no unit has noted: what a worker left that died between writing a part and saying so.

If its unit is tried again, they are withdrawn (core/leases.py). Until then what lies there has landed, and the run's
account must say so. Failures are another matter: their messages were not sent, so that a failure counts only when its
unit has noted it.
"""

import json
from collections.abc import Iterator

from bulk_inference.core.keys import Places
from bulk_inference.core.names import unit_of_part
from bulk_inference.core.ports import Bucket
from bulk_inference.core.result_line import ENDS, OTHER, Usage, parse_id, split
from bulk_inference.finish.conservation import Account


def adopt(account: Account, places: Places, stored: dict[str, int], output: Bucket) -> None:
    """Adopts what open units have landed and not noted to the account. `stored`: result parts that were there before
    the account was made (key, bytes). Memory: the ids of one worker's lines for each unit that died.
    """
    landed: dict[str, dict[str, Usage]] = {}
    parts: dict[str, dict[str, int]] = {}
    for key in sorted(stored.keys() - account.parts.keys()) if account.open else ():
        unit = unit_of_part(key.removeprefix(f"{places.results_prefix}part-").removesuffix(".jsonl"))
        if unit is not None and unit in account.open:
            parts.setdefault(unit, {})[key] = stored[key]
            landed.setdefault(unit, {}).update(_lines(output, key))
    for unit, lines in landed.items():
        used = sum(lines.values(), Usage())
        if account.adopt(unit, len(lines), used):
            account.parts.update(parts[unit])


def _lines(output: Bucket, key: str) -> Iterator[tuple[str, Usage]]:
    """recordId and tokens of each line."""
    for raw, _ in split(output.read(key)):
        if (record_id := parse_id(raw)) is not None:
            line = json.loads(raw)
            end = line.get("ended")
            ends = {} if end is None else {"ends": {end if end in ENDS else OTHER: 1}}
            yield record_id, Usage.from_json({**(line.get("usage") or {}), **ends})
