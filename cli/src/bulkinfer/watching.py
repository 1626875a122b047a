"""How a run is shown while it goes on: bars on a terminal, lines or JSON elsewhere."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from bulkinfer.client import Status
from bulkinfer.output import Output


def as_json(status: Status) -> dict[str, Any]:
    """What a program gets of one look."""
    return {
        "run": status.run,
        "status": status.status,
        "stage": status.stage,
        "counts": dict(status.counts or {}),
        "total": status.total,
        "error": status.error or None,
        "cause": status.cause or None,
        "startedAt": status.started_at,
        "endedAt": status.ended_at,
    }


def line(status: Status, rate: float | None = None) -> str:
    """One look in one line."""
    said = [status.stage or status.status]
    if status.counts:
        total = f" of {status.total:,}" if status.total else ""
        said.append(f"{status.landed:,}{total} landed")
        said += [
            f"{status.counts[name]:,} {name}" for name in ("failed", "rejected", "pending") if status.counts.get(name)
        ]
    jobs = (status.progress or {}).get("jobs") or {}
    if jobs:
        said.append("jobs " + ", ".join(f"{number} {name}" for name, number in jobs.items()))
    if rate:
        said.append(f"{rate:,.1f}/s")
        if status.total and status.landed < status.total:
            said.append(f"about {_span((status.total - status.landed) / rate)} left")
    return " · ".join(said)


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _Rate:
    """Records a second as they were seen to land: nothing is said before two looks differ."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def of(self, status: Status) -> float | None:
        now = time.monotonic()
        if not status.landed:
            return None
        if self._first is None:
            self._first = now, status.landed
            return None
        then, landed = self._first
        return (status.landed - landed) / (now - then) if status.landed > landed and now > then else None


@contextmanager
def watcher(output: Output, run: str) -> Iterator[Callable[[Status], None]]:
    """A function to be called at each look. What it prints goes to stderr."""
    form, rate = output.progress_form, _Rate()
    if form == "none":
        yield lambda status: None
    elif form == "bar":
        with _bar(output, run, rate) as show:
            yield show
    else:
        last = ""

        def show(status: Status) -> None:
            nonlocal last
            said = (
                json.dumps(as_json(status), default=str)
                if form == "json"
                else f"{run}: {line(status, rate.of(status))}"
            )
            if said != last:
                last = said
                print(said, file=sys.stderr, flush=True)

        yield show


@contextmanager
def _bar(output: Output, run: str, rate: _Rate) -> Iterator[Callable[[Status], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, no_color=not output.color)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[said]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(run, total=None, said="")

        def show(status: Status) -> None:
            progress.update(task, total=status.total, completed=status.landed, said=line(status, rate.of(status)))

        yield show


def outcome(status: Status) -> Mapping[str, Any]:
    """How a run ended, for `show` and at the end of `watch`."""
    manifest, counts = status.manifest or {}, status.counts or {}
    found: dict[str, Any] = {"run": status.run, "status": status.status}
    found |= {
        name: counts[name]
        for name in ("read", "accepted", "landed", "failed", "rejected", "duplicate", "pending")
        if name in counts
    }
    if "tokens" in manifest:
        found |= {"input tokens": manifest["tokens"]["input"], "output tokens": manifest["tokens"]["output"]}
    if "money" in manifest:
        found["money"] = f"{manifest['money']['total']:.2f} {manifest['money']['currency']}"
    if "seconds" in manifest:
        found["seconds"] = manifest["seconds"]
    if status.error:
        found |= {"error": status.error, "cause": status.cause}
    if manifest.get("errors"):
        found["failures"] = ", ".join(
            f"{one['count']} × {one['errorClass']} {one['errorCode']} (such as {one['recordId']})"
            for one in manifest["errors"][:5]
        )
    if "results" in manifest:
        found["results"] = f"s3://{manifest['results']['bucket']}/{manifest['results']['prefix']}"
    return found
