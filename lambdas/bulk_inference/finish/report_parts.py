"""Pieces of the report's page: sections, tables, bars, the timeline. HTML; every text of others is escaped here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any, Final

_LANES: Final = 40
"""Rows of the timeline at most: more shards share rows, so that 2,000 stay readable."""
_WIDTH, _ROW, _GAP = 900, 12, 3


@dataclass(frozen=True)
class Cell:
    """A number in a table."""

    text: str

    @classmethod
    def of(cls, value: float) -> "Cell":
        return cls(number(value))


def number(value: float) -> str:
    """`12,345`; two decimals at most."""
    return f"{value:,}" if isinstance(value, int) else f"{round(value, 2):,}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 shard`, `2 shards`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def share(part: float, whole: float) -> Cell:
    """Per cent; what is there is never 0 %, and what is not all never 100 %."""
    if not whole or not part:
        return Cell("0 %")
    percent = 100 * part / whole
    if percent < 0.1:
        return Cell("< 0.1 %")
    return Cell("> 99.9 %" if 99.9 < percent < 100 else f"{percent:.1f} %" if percent % 1 else f"{percent:.0f} %")


def section(anchor: str, title: str, body: str) -> str:
    """A landmark with its heading; nothing where there is nothing to say."""
    if not body:
        return ""
    return f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{escape(title)}</h2>{body}</section>'


def table(caption: str, head: Sequence[str], rows: Iterable[Iterable[Cell | str | Any]]) -> str:
    """A table with a caption and scopes; nothing without rows. The first cell of a row names it.

    A column with a number in it is one of numbers. Classes stand on the table, not on each of its cells: a page of
    2,000 shards has 20,000 of these.
    """
    lines, numeric = [], set[int]()
    for row in rows:
        cells = list(row)
        numeric |= {at for at, cell in enumerate(cells) if isinstance(cell, Cell)}
        first, *others = (escape(cell.text if isinstance(cell, Cell) else str(cell)) for cell in cells)
        lines.append(f"<tr><th scope=row>{first}" + "".join(f"<td>{text}" for text in others))
    if not lines:
        return ""
    heads = "".join(f"<th scope=col>{escape(name)}" for name in head)
    kinds = " ".join(f"n{at + 1}" for at in sorted(numeric))
    return (
        f'<div class="wrap"><table class="{kinds}"><caption>{escape(caption)}</caption><thead><tr>{heads}</thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


NUMERIC_CSS: Final = (
    ",".join(f".n{at} :is(td,th):nth-child({at})" for at in range(2, 12))
    + "{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
)


def bars(whole: str, total: int, parts: Sequence[tuple[str, int]]) -> str:
    """A sum as a bar of its parts, and in words: `read 10 = accepted 9 + rejected 1 + duplicate 0`."""
    found = sum(count for _, count in parts)
    holds = "=" if found == total else "≠"
    drawn = "".join(
        f'<span style="flex:{count};background:var(--{name})" title="{name} {count:,}"></span>'
        for name, count in parts
        if count
    )
    words = " + ".join(
        f'<span style="white-space:nowrap"><span class="key" style="background:var(--{name})"></span>{name} '
        f"<b>{count:,}</b></span>"
        for name, count in parts
    )
    label = f"{whole} {total:,} {holds} " + " + ".join(f"{name} {count:,}" for name, count in parts)
    bar = f'<div class="bar" role="img" aria-label="{escape(label)}">{drawn}</div>'
    return f'{bar}<p class="sum">{escape(whole)} <b>{total:,}</b> {holds} {words}</p>'


def timeline(shards: Sequence[Mapping[str, Any]]) -> str:
    """Attempts at shards over time; several shards to a row where there are many. Nothing where no times are known."""
    found = [
        (_epoch(one["startedAt"]), _epoch(one["endedAt"]), bool(one["failed"] or one["pending"]))
        for one in shards
        if one.get("startedAt") and one.get("endedAt")
    ]
    if not found:
        return ""
    begin, end = min(one[0] for one in found), max(one[1] for one in found)
    span = max(end - begin, 1.0)
    rows = _rows(sorted(found))
    height = len(rows) * (_ROW + _GAP) + 18
    drawn = "".join(
        f'<rect x="{_WIDTH * (one[0] - begin) / span:.0f}" y="{at * (_ROW + _GAP)}" height="{_ROW}" rx="2" '
        f'width="{max(2.0, _WIDTH * (one[1] - one[0]) / span):.0f}" fill="var(--{"failed" if one[2] else "landed"})" '
        f'fill-opacity=".75"/>'
        for at, row in enumerate(rows)
        for one in row
    )
    words = f"{plural(len(found), 'shard')} over {_span(span)}; red: with records that failed or are pending"
    axis = (
        f'<text x="0" y="{height - 3}">0</text>'
        f'<text x="{_WIDTH}" y="{height - 3}" text-anchor="end">{_span(span)}</text>'
    )
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(words)}">{drawn}{axis}</svg>'
        f"<figcaption>{escape(words)}</figcaption></figure>"
    )


_Span = tuple[float, float, bool]


def _rows(spans: list[_Span]) -> list[list[_Span]]:
    """Few spans have a row each; many are shared out by their order of beginning, and merged where they touch."""
    if len(spans) <= _LANES:
        return [[one] for one in spans]
    rows = []
    for lane in range(_LANES):
        mine = spans[len(spans) * lane // _LANES : len(spans) * (lane + 1) // _LANES]
        rows.append([(min(one[0] for one in mine), max(one[1] for one in mine), any(one[2] for one in mine))])
    return rows


def _span(seconds: float) -> str:
    return f"{seconds / 60:,.1f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
