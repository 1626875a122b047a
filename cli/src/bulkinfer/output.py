"""What commands print: data on stdout in the form that was asked for, words and progress on stderr."""

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

FORMS: Final = ("table", "json", "jsonl", "csv")
PROGRESS: Final = ("auto", "bar", "lines", "json", "none")


@dataclass
class Output:
    """How this invocation prints."""

    form: str = "table"
    columns: Sequence[str] | None = None
    color: bool = True
    quiet: bool = False
    progress: str = "auto"
    terminal: bool = field(default_factory=sys.stderr.isatty)

    @property
    def progress_form(self) -> str:
        """`auto` is a bar on a terminal, else lines."""
        if self.quiet and self.progress == "auto":
            return "none"
        if self.progress != "auto":
            return self.progress
        return "bar" if self.terminal else "lines"

    def rows(self, rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
        """Rows of one kind. JSONL and CSV go out as they come; a table and JSON are gathered first."""
        shown = self.columns or columns
        if self.form == "jsonl":
            for row in rows:
                print(json.dumps(_picked(row, self.columns), default=_plain, ensure_ascii=False))
            return
        found = [dict(row) for row in rows]
        if self.form == "json":
            print(
                json.dumps([_picked(row, self.columns) for row in found], default=_plain, indent=2, ensure_ascii=False)
            )
        elif self.form == "csv":
            names = list(shown or dict.fromkeys(name for row in found for name in row))
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(names)
            writer.writerows([_cell(row.get(name)) for name in names] for row in found)
        else:
            self._table(found, shown)

    def one(self, value: Mapping[str, Any]) -> None:
        """One thing: its members, a line each."""
        picked = _picked(value, self.columns)
        if self.form == "json":
            print(json.dumps(picked, default=_plain, indent=2, ensure_ascii=False))
        elif self.form == "jsonl":
            print(json.dumps(picked, default=_plain, ensure_ascii=False))
        elif self.form == "csv":
            self.rows([picked])
        else:
            width = max((len(name) for name in picked), default=0)
            for name, member in picked.items():
                print(f"{name:<{width}}  {_cell(member)}")

    def say(self, words: str) -> None:
        """To the person, not to the next program."""
        if not self.quiet:
            print(words, file=sys.stderr, flush=True)

    def _table(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None) -> None:
        from rich.console import Console
        from rich.table import Table

        names = list(columns or dict.fromkeys(name for row in rows for name in row))
        console = Console(no_color=not self.color, highlight=False, width=None if sys.stdout.isatty() else 200)
        table = Table(box=None, pad_edge=False, header_style="bold" if self.color else None)
        for name in names:
            numbers = all(isinstance(row.get(name), int | float | None) for row in rows)
            table.add_column(name, justify="right" if numbers else "left", overflow="fold")
        for row in rows:
            table.add_row(*(_shown(row.get(name)) for name in names))
        if names:
            console.print(table)


def _picked(row: Mapping[str, Any], columns: Sequence[str] | None) -> dict[str, Any]:
    return dict(row) if columns is None else {name: row.get(name) for name in columns}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return json.dumps(value, default=_plain, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _shown(value: Any) -> str:
    from rich.markup import escape

    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return escape(_cell(value))
