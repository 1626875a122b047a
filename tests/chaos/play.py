"""Playing rows: each on a corpus and a run of its own, several side by side, and then the checker judges them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

from tests.chaos import checker
from tests.chaos.field import MODEL, Field
from tests.chaos.rows import Row, filled, healed_by

#: Rows side by side: enough that those that wait leave no core idle.
SIDE_BY_SIDE = 4


@dataclass(frozen=True)
class Size:
    """Records of a row, by mode."""

    batch: int
    sync: int

    def of(self, row: Row) -> int:
        return row.records or getattr(self, row.mode)


SHORT = Size(batch=300, sync=120)
WHOLE = Size(batch=1800, sync=240)


@dataclass
class Outcome:
    """One row of the table as it was played."""

    row: Row
    run: str
    injected: int
    verdict: checker.Verdict
    healed: str
    seconds: float
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.problems

    def cells(self) -> list[str]:
        """Cells of the table, as text."""
        verdict = self.verdict
        numbers = (self.injected, verdict.records, verdict.landed, verdict.failed + verdict.waiting)
        return [
            self.row.fault,
            self.row.mode,
            *(f"{number:,}" for number in numbers),
            f"{verdict.pending:,}",
            str(len(verdict.lost)),
            str(len(verdict.doubled)),
            self.healed if self.good else f"**not good**: {'; '.join(self.problems)}",
        ]


class Play:
    """One row while it is played."""

    model = MODEL

    def __init__(self, field: Field, row: Row, number: int, size: Size) -> None:
        self.field = field
        self.row = row
        self.name = f"c{number:02d}"
        slug = re.sub(r"[^a-z0-9]+", "-", row.fault.lower()).strip("-")[:28].strip("-")
        self.runs = [f"{self.name}-{row.mode}-{slug}"]
        self.executions: list[str] = []
        self.records = size.of(row)
        self.injected = 0
        self.notes: list[str] = []
        self.idle: list[str] = []
        self.seconds = 0.0
        self.error: str | None = None
        self._ended = ""

    @property
    def run(self) -> str:
        """The latest run."""
        return self.runs[-1]

    @property
    def execution(self) -> str:
        return self.executions[-1]

    def play(self) -> None:
        """Uploads, injects, starts, and does what the row does until the run has ended."""
        began = time.monotonic()
        try:
            self.field.stack.upload(f"default/corpus/{self.name}/tickets.jsonl", corpus(self.name, self.records))
            names = {"run": self.runs[0], "me": self.name}
            self.field.inject({"name": self.name, **filled(rule, names)} for rule in self.row.rules)
            self.execute()
            (self.row.act or Play.finish)(self)
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"
        self.seconds += time.monotonic() - began

    def start(self, suffix: str) -> None:
        """Start one more run over the same corpus."""
        self.runs.append(f"{self.runs[0]}-{suffix}")
        self.execute()

    def execute(self) -> None:
        self.executions.append(self.field.stack.start(self.run, self._request()))

    def _request(self) -> dict[str, Any]:
        limits: dict[str, Any] = {
            # The canary would use up errors that are meant for the run.
            **({"canary_records": 0} if any(rule["target"] == "record" for rule in self.row.rules) else {}),
            "max_records_per_shard": max(100, self.records // 4),
            "items_per_batch": max(20, min(60, self.records // 4)),
            "job_concurrency": 4,
            "infer_concurrency": 2,
        }
        return {
            "run": {"mode": self.row.mode, **({"scope": f"{self.name}-set"} if self.row.scope else {})},
            "source": {"prefix": f"default/corpus/{self.name}/", "id_field": "id"},
            "model": {"id": MODEL},
            "prompt": {"template": "{{text}}", "inference": {"maxTokens": 100}},
            "limits": {**limits, **self.row.limits},
        }

    def finish(self) -> None:
        """Wait for the end of the latest execution."""
        self._ended = self.field.wait(self.execution)

    def running(self) -> bool:
        return self.field.status(self.execution) == "RUNNING"

    def planned(self) -> bool:
        key = f"default/runs/{self.run}/plan/jobs.jsonl"
        listed = self.field.client("s3").list_objects_v2(Bucket=self.field.outputs["input_bucket"], Prefix=key)
        return bool(listed.get("KeyCount"))

    def note(self, text: str) -> None:
        """Something to say in the last column."""
        self.notes.append(text)

    def heal(self) -> None:
        """The row's faults strike no more."""
        self._count()
        self.field.heal(self.name)

    def _count(self) -> None:
        """Adds up what has struck; a rule that never has is a row that shows nothing."""
        fired = self.field.fired(self.name)
        self.injected += sum(fired)
        if not all(fired):
            self.idle.append(f"rules have fired {fired} times")

    def look(self) -> checker.Verdict:
        """What the checker says of the run as it stands."""
        return checker.check(self.field.evidence(self.name, self.runs, []), mark)

    def dead(self) -> list[dict[str, Any]]:
        return [body for body in self.field.dead() if body.get("run") in self.runs]

    def judge(self, messages: Iterable[Mapping[str, Any]]) -> Outcome:
        """What became of the row. `messages`: bodies of everything that lies in a queue."""
        self._count()
        scope = f"{self.name}-set" if self.row.scope else None
        verdict = checker.check(self.field.evidence(self.name, self.runs, messages, scope), mark)
        problems = [*([self.error] if self.error else []), *self.idle]
        if not verdict.good:
            problems.append(str(verdict))
        if self._ended != self.row.ends and not self.error:
            cause = self.field.stack.describe(self.execution)
            problems.append(f"the run ended as {self._ended}: {cause.get('error')} {str(cause.get('cause'))[:300]}")
        if self.row.everything_lands and verdict.landed != verdict.records and verdict.good:
            problems.append(f"only {verdict.landed} of {verdict.records} landed")
        if not self.injected:
            problems.append("no fault has struck")
        return Outcome(self.row, self.run, self.injected, verdict, self._healing(), self.seconds, problems)

    def _healing(self) -> str:
        """How the row came to its end, from what it left behind."""
        said = []
        for execution in self.executions:
            retried = self.field.retried(execution)
            if retried:
                said.append("retry after " + ", ".join(f"{name} ×{number}" for name, number in retried.most_common(3)))
        keys = [key for run in self.runs for key in self._keys(f"default/runs/{run}/results/")]
        jobs = [key for run in self.runs for key in self._keys(f"default/jobs/{run}/")]
        if attempts := len({match[1] for key in jobs if (match := re.search(r"/(\w+-a[2-9])/", key))}):
            said.append(f"next attempt ×{attempts}")
        if self.row.mode == "batch" and any("/part-sync-" in key for key in keys):
            said.append("sync remainder")
        if late := sum("/part-reprocess-" in key for key in keys):
            said.append(f"reprocessed ×{late}")
        by = healed_by(self.row)
        return "; ".join(said + self.notes + ([by] if by else [])) or "nothing to heal"

    def _keys(self, prefix: str) -> list[str]:
        return self.field.stack.keys(self.field.outputs["output_bucket"], prefix)


def corpus(name: str, records: int) -> bytes:
    """Tickets whose id stands in their text, and so in the answer to them."""
    tickets = ((f"{name}-{n:05d}", f"the pump in hall {n % 7} is loud.") for n in range(records))
    return b"".join(json.dumps({"id": one, "text": f"Ticket {one}: {text}"}).encode() + b"\n" for one, text in tickets)


def mark(record: Mapping[str, Any]) -> str:
    """What the answer to a record must contain."""
    return f"Ticket {record['id']}:"


def play(field: Field, rows: Iterable[Row], size: Size) -> Iterator[Outcome]:
    """Plays rows: those that may, side by side; then, one after the other, those that touch the queues or need other
    knobs. An outcome is given when the failure lane has come to rest."""
    plays = [Play(field, row, number, size) for number, row in enumerate(rows, start=1)]
    shared = [one for one in plays if one.row.alone is None]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for done in as_completed([pool.submit(one.play) for one in shared]):
            done.result()
    yield from _judged(field, shared)
    for one in plays:
        if one.row.alone is not None:
            with field.knobs(**one.row.alone):
                one.play()
            yield from _judged(field, [one])


def _judged(field: Field, plays: list[Play]) -> Iterator[Outcome]:
    if not plays:
        return
    field.drain()
    messages = field.dead()
    for one in plays:
        yield one.judge(messages)
