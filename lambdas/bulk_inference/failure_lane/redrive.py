"""What an operator does with records that failed: redrive, resubmit, drop. Each is safe to repeat.

* redrive sends messages of the dead-letter queue back to be tried again: all, by SQS's own move, or those of some error
  classes or of one run, one by one. A message is deleted from there after its copy was sent, so that none is lost; a
  copy too many is found settled by its record's LATE item, or by its claim.
* resubmit makes a run of a run's failed records, in the same scope. Its corpus are byte ranges of the first run's
  corpus, which the failure lines name: nothing is copied, and the records keep their ids. Whatever lands there settles
  the first run's account (updating.py).
* drop takes failed records out of the account, with a reason, and their messages out of the dead-letter queue.

None of them finishes a large piece of work at any price: with `finished` false in the answer, the same command goes on.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bulk_inference.core import names
from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.failure_line import CLASSES, DUPLICATE
from bulk_inference.core.index_line import canonical
from bulk_inference.core.json_text import loads
from bulk_inference.core.keys import Places
from bulk_inference.core.leases import Leases
from bulk_inference.core.ports import Bucket, Clock, DeadLetters, Letter, Pipeline, Runs
from bulk_inference.core.priorities import PRIORITIES
from bulk_inference.core.result_line import encode, split
from bulk_inference.core.run_spec import Csv, RunSpec
from bulk_inference.core.runs_table import CUTS, META, RESUBMISSIONS, late_sk, resubmission_sk, run_pk
from bulk_inference.core.settings import Settings
from bulk_inference.core.times import expiry, iso_time
from bulk_inference.corpus import formats
from bulk_inference.corpus.ranges import CutRange, select
from bulk_inference.failure_lane.reprocess import LaneMessage
from bulk_inference.land.late_outcomes import (
    Choice,
    FailedRecord,
    LateServices,
    failed_records,
    mark_stale,
    settle,
    watch,
)
from bulk_inference.land.units import Late
from bulk_inference.request.fields import kind_of
from bulk_inference.request.limits import canary_of
from bulk_inference.request.parse import MODES
from bulk_inference.request.parse import parse as parse_run_request
from bulk_inference.request.prompt import as_request

MAX_RATE: Final = 500
"""Messages per second that a move may be told to keep to (StartMessageMoveTask)."""

_REASON: Final = (3, 500)
_RESERVE_SHARE: Final = 0.15
_READ_OTHERWISE: Final = frozenset({"csv", "encoding", "id_field", "parquet"})
"""Of a run's source, what may be another one for rows that it rejected."""

_EMPTY_LOOKS: Final = 2
"""A queue that shows nothing so often in a row is taken for empty. Each look asks all of its servers."""

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "redrive": ("run", "tenant", "error_classes", "priority", "max_messages_per_second"),
    "resubmit": (
        "run", "tenant", "rejected", "error_classes", "record_ids", "as", "as_prefix", "mode", "priority", "source",
        "model", "prompt", "limits",
    ),
    "drop": ("run", "tenant", "error_classes", "record_ids", "reason"),
}  # fmt: skip


@dataclass(frozen=True)
class Command:
    """A valid request; what was not given is None or empty."""

    action: str
    run: str | None = None
    tenant: str = "default"
    choice: Choice = field(default_factory=Choice)
    priority: str | None = None
    rate: int | None = None
    reason: str = ""
    new_run: str | None = None
    mode: str | None = None
    model: Mapping[str, Any] = field(default_factory=dict)
    prompt: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    """How rejected rows are to be read instead."""
    rejected: bool = False
    """Whether it is about rows that became no records, and not about records that failed."""

    @property
    def changes(self) -> dict[str, Any]:
        """What the new run is to do otherwise."""
        given: dict[str, Any] = {"mode": self.mode, "model": self.model, "prompt": self.prompt, "limits": self.limits}
        given |= {"rejected": self.rejected, "source": self.source}
        return {key: value for key, value in given.items() if value}


def parse(request: Mapping[str, Any]) -> Command:
    """Raises InvalidRequestError that lists every problem."""
    if not isinstance(request, Mapping):
        raise InvalidRequestError(
            f'the request must be a JSON object such as {{"action": "redrive"}}, not {kind_of(request)}'
        )
    action = request.get("action")
    if action not in _KEYS:
        raise InvalidRequestError(f"action: must be one of {', '.join(_KEYS)}, not {action!r}")
    return _Parser(str(action), request).parse()


class _Parser:
    def __init__(self, action: str, request: Mapping[str, Any]) -> None:
        self._action = action
        self._request = request
        self._problems: list[str] = []

    def parse(self) -> Command:
        known = _KEYS[self._action]
        for name in self._request:
            if name not in known and name != "action":
                self._problem(name, f"unknown key; {self._action} knows: {', '.join(known)}")
        run, new_run = self._run("run"), self._run("as")
        if self._action != "redrive" and run is None and "run" not in self._request:
            self._problem("run", f"missing: the run whose failed records {self._action} is about")
        if new_run is not None and new_run == run:
            self._problem("as", "must be another id than the run's own")
        prefix = self._text("as_prefix") or ""
        if new_run is not None and not new_run.startswith(prefix):
            # A tenant's own way in pins the prefix: else a run of one tenant could take a name of another's.
            self._problem("as", f"must begin with {prefix}, as the names of this tenant's runs do")
        command = Command(
            action=self._action,
            run=run,
            tenant=self._text("tenant") or "default",
            choice=Choice(self._classes(), self._list("record_ids")),
            priority=self._one_of("priority", PRIORITIES),
            rate=self._rate(),
            reason=self._reason(),
            new_run=new_run,
            mode=self._one_of("mode", MODES),
            model=self._object("model"),
            prompt=self._object("prompt"),
            limits=self._object("limits"),
            source=self._source(),
            rejected=self._request.get("rejected") is True,
        )
        if (
            self._action == "redrive"
            and not _moves_all(command)
            and {"priority", "max_messages_per_second"} & {*self._request}
        ):
            self._problem(
                "priority, max_messages_per_second",
                "only without run and error_classes: messages that are picked go back to their run's own priority",
            )
        if self._problems:
            raise InvalidRequestError(f"the request has {len(self._problems)} problem(s): " + "; ".join(self._problems))
        return command

    def _run(self, name: str) -> str | None:
        value = self._text(name)
        if value is not None and not names.RUN.fullmatch(value):
            self._problem(name, "is a run's id: a letter or digit, then up to 63 letters, digits, `_` or `-`")
        return value

    def _classes(self) -> frozenset[str] | None:
        classes = self._list("error_classes")
        if self._request.get("rejected") is True:
            return classes
        for name in sorted((classes or frozenset()) - CLASSES.keys()):
            self._problem("error_classes", f"{name!r} is no class; there are {', '.join(CLASSES)}")
        return classes

    def _reason(self) -> str:
        reason = self._text("reason") or ""
        low, high = _REASON
        if self._action == "drop" and not low <= len(reason.strip()) <= high:
            self._problem("reason", f"must say in {low} to {high} characters why these records are given up")
        return reason.strip()

    def _rate(self) -> int | None:
        name = "max_messages_per_second"
        if name not in self._request:
            return None
        value = self._request[name]
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_RATE:
            self._problem(name, f"must be a whole number from 1 to {MAX_RATE}")
            return None
        return value

    def _text(self, name: str) -> str | None:
        if name not in self._request:
            return None
        value = self._request[name]
        if not isinstance(value, str) or not value.strip():
            self._problem(name, "must be a string that is not empty")
            return None
        return value

    def _one_of(self, name: str, options: Sequence[str]) -> str | None:
        value = self._text(name)
        if value is not None and value not in options:
            self._problem(name, f"must be one of {', '.join(options)}, not {value!r}")
            return None
        return value

    def _list(self, name: str) -> frozenset[str] | None:
        if name not in self._request:
            return None
        value = self._request[name]
        if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
            self._problem(name, "must be a list of strings that are not empty")
            return None
        return frozenset(value)

    def _source(self) -> Mapping[str, Any]:
        given = self._object("source")
        if "rejected" in self._request and not isinstance(self._request["rejected"], bool):
            self._problem("rejected", "must be true or false")
        if given and self._request.get("rejected") is not True:
            self._problem("source", "only with rejected: records that failed were read well")
        for name in sorted(given.keys() - _READ_OTHERWISE):
            self._problem(f"source.{name}", f"is no way to read rows; there are {', '.join(sorted(_READ_OTHERWISE))}")
        return given

    def _object(self, name: str) -> Mapping[str, Any]:
        value = self._request.get(name, {})
        if not isinstance(value, Mapping):
            self._problem(name, "must be an object, as in a run request")
            return {}
        return value

    def _problem(self, name: str, rule: str) -> None:
        self._problems.append(f"{name}: {rule}")


def _moves_all(command: Command) -> bool:
    return command.run is None and command.choice.error_classes is None


@dataclass(frozen=True)
class RedriveServices:
    input: Bucket
    output: Bucket
    runs: Runs
    letters: DeadLetters
    pipeline: Pipeline
    clock: Clock
    spec_of: Callable[[str, str], RunSpec]
    """By tenant and run; raises InvalidRequestError for a run that was never planned, or is gone."""
    settings: Callable[[], Settings]
    leases: Leases


def carry_out(command: Command, services: RedriveServices) -> dict[str, Any]:
    """`{"action", "finished", …}` with what was done. Raises InvalidRequestError, ThrottledError."""
    if command.action == "drop":
        return drop(command, services)
    if command.action == "resubmit":
        return resubmit(command, services)
    return move_all(command, services) if _moves_all(command) else redrive(command, services)


# Redrive.


def move_all(command: Command, services: RedriveServices) -> dict[str, Any]:
    """SQS's own move; it goes on after this answer."""
    priority = command.priority or "normal"
    begun = services.letters.move(priority, command.rate)
    return {"action": "redrive", "finished": True, "move": "begun" if begun else "under way", "priority": priority}


def redrive(command: Command, services: RedriveServices) -> dict[str, Any]:
    """Sends the messages of some error classes, or of one run, back to their lanes."""
    priorities: dict[tuple[str, str], str] = {}

    def priority_of(message: LaneMessage) -> str:
        key = (message.tenant, message.run)
        if key not in priorities:
            try:
                priorities[key] = services.spec_of(*key).priority
            except InvalidRequestError:
                priorities[key] = "normal"
        return priorities[key]

    def deal(found: list[tuple[Letter, LaneMessage]]) -> None:
        lanes: dict[str, list[Letter]] = {}
        for letter, message in found:
            lanes.setdefault(priority_of(message), []).append(letter)
        for priority, letters in lanes.items():
            services.letters.send_back(letters, priority)

    def wanted(message: LaneMessage) -> bool:
        classes = command.choice.error_classes
        return _is_of(message, command) and (classes is None or message.error_class in classes)

    swept = _sweep(wanted, deal, services)
    if command.run is not None and swept.finished and not swept.dealt:
        # Messages outlive a run's plan; a run of which there is neither is a misspelt one.
        _run(command, services)
    return {
        "action": "redrive",
        "finished": swept.finished,
        "sentBack": swept.dealt,
        "left": swept.left,
        "hidden": swept.hidden,
    }


def _is_of(message: LaneMessage, command: Command) -> bool:
    return command.run is None or (message.run, message.tenant) == (command.run, command.tenant)


@dataclass(frozen=True)
class _Swept:
    finished: bool
    """Every message was looked at, and none is hidden that would show later."""
    dealt: int
    left: int
    hidden: int
    """About how many come back within a quarter of an hour: they were held a second time (reprocess.py), or another
    command has them, or had them when it died."""


def _sweep(
    wanted: Callable[[LaneMessage], bool],
    deal: Callable[[list[tuple[Letter, LaneMessage]]], None],
    services: RedriveServices,
) -> _Swept:
    """Looks at every message of the dead-letter queue once, and shows those that are left to others again.

    Messages that are looked at stay hidden until then, so that the next look brings others. If this dies, they show
    again by themselves.
    """
    total = services.clock.remaining()
    reserve = _RESERVE_SHARE * total
    left: list[Letter] = []
    dealt = empty = 0
    try:
        while empty < _EMPTY_LOOKS and services.clock.remaining() > reserve:
            letters = services.letters.receive(int(total) + 60)
            empty = 0 if letters else empty + 1
            chosen: list[tuple[Letter, LaneMessage]] = []
            for letter in letters:
                message = _read(letter)
                if message is not None and wanted(message):
                    chosen.append((letter, message))
                else:
                    left.append(letter)
            deal(chosen)
            dealt += len(chosen)
    finally:
        services.letters.release(left)
    hidden = services.letters.unseen()
    return _Swept(empty >= _EMPTY_LOOKS and not hidden, dealt, len(left), hidden)


def _read(letter: Letter) -> LaneMessage | None:
    try:
        return LaneMessage.from_json(loads(letter.body))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


# Drop.


def drop(command: Command, services: RedriveServices) -> dict[str, Any]:
    """Settles failed records of a run as dropped, and deletes the messages of all its settled records."""
    spec, _ = _run(command, services)
    now = services.clock.now()
    expires_at = expiry(spec, now)
    mark = f"drop@{iso_time(now)}"
    # Before and after: whenever this dies, the manifest is written anew.
    mark_stale(spec.run, spec.tenant, mark, services.runs, expires_at)
    dropped, busy, finished = 0, 0, True
    reserve = 0.5 * services.clock.remaining()
    failed = (one for one in failed_records(spec.run, services.runs, services.output) if one in command.choice)
    places = Places(spec.tenant, spec.run)
    late = LateServices(places, services.output, services.runs, services.leases, expires_at)
    for found in settle(failed, Late.DROPPED, late, reason=command.reason, droppedAt=iso_time(now)):
        dropped += found.done
        busy += found.busy
        if services.clock.remaining() < reserve:
            finished = False
            break
    mark_stale(spec.run, spec.tenant, f"{mark}#{dropped}", services.runs, expires_at)

    def settled(message: LaneMessage) -> bool:
        return _is_of(message, command) and (
            services.runs.get(run_pk(message.run), late_sk(message.unit, message.digest)) is not None
        )

    swept = _sweep(settled, lambda found: services.letters.delete([letter for letter, _ in found]), services)
    return {
        "action": "drop",
        "finished": finished and swept.finished and not busy,
        "run": spec.run,
        "dropped": dropped,
        "busy": busy,
        "messagesDeleted": swept.dealt,
        "hidden": swept.hidden,
        "reason": command.reason,
    }


# Resubmit.


def resubmit(command: Command, services: RedriveServices) -> dict[str, Any]:
    """Starts a run over the failed records, or finds the one that was started over them before."""
    spec, meta = _run(command, services)
    if meta.get("status", "running") == "running":
        raise InvalidRequestError(f"run {spec.run} still goes on: resubmit its failures when it has ended")
    for item in services.runs.query(run_pk(spec.run), RESUBMISSIONS):
        if command.new_run == item["run"]:
            _refuse_another(item, command)
        if command.new_run in (None, item["run"]) and _is_live(item, services):
            _refuse_changes(item, command)
            return _resubmitted(spec, item, "goes on")
    found = _rejected_rows if command.rejected else failed_records
    failed = [one for one in found(spec.run, services.runs, services.output) if one in command.choice]
    usable = [one for one in failed if one.source is not None]
    if not usable:
        return {
            "action": "resubmit",
            "finished": True,
            "run": spec.run,
            "resubmitted": 0,
            "withoutSource": len(failed),
        }
    new_run = command.new_run or _name(spec.run, usable, command)
    known = services.runs.get(run_pk(spec.run), resubmission_sk(new_run))
    if known is not None:
        # The same records with the same changes have had their run.
        return _resubmitted(spec, known, "ended")
    request = _request(spec, new_run, command, len(usable))
    parse_run_request(new_run, request, services.settings(), services.input.name)
    if services.runs.get(run_pk(new_run), META) is not None:
        raise InvalidRequestError(f"as: run {new_run} exists already: choose another id")
    with services.input.writer(Places(spec.tenant, new_run).ranges) as file:
        objects = _objects(spec, usable, services)
        # Another way to read CSV finds other rows: all of the object is read, and what has landed is a duplicate.
        parts = map(_whole, objects.values()) if "csv" in command.source else _rows(usable, objects, spec.source.format)
        for part in parts:
            file.write(encode(part.to_json()))
    expires_at = expiry(spec, services.clock.now())
    item = {
        "pk": run_pk(spec.run),
        "sk": resubmission_sk(new_run),
        "expires_at": expires_at,
        "run": new_run,
        "request": json.dumps(request),
        "asked": _asked(command),
        "changes": canonical(command.changes).decode(),
        "records": len(usable),
        "withoutSource": len(failed) - len(usable),
    }
    # Watched first: once the item says that there is such a run, a second command looks no further.
    watch(spec.run, spec.tenant, new_run, services.runs, expires_at)
    services.runs.put(item)
    if not services.pipeline.start(new_run, request):
        raise InvalidRequestError(f"as: an execution {new_run} exists already: choose another id")
    return _resubmitted(spec, item, "started")


def _rejected_rows(run: str, runs: Runs, output: Bucket) -> Iterator[FailedRecord]:
    """Rows of the run that became no records, as its cuts say. Duplicates are none of them."""
    for item in runs.query(run_pk(run), CUTS):
        if not item.get("failures"):
            continue
        for number, (raw, _) in enumerate(split(output.read(item["failures"]))):
            line = json.loads(raw)
            if line["errorClass"] != DUPLICATE:
                name = f"{item['cut']}-{number}"
                yield FailedRecord(
                    run, name, item["cut"], name, line["recordId"] or name, line["errorClass"], line["source"]
                )


def _run(command: Command, services: RedriveServices) -> tuple[RunSpec, Mapping[str, Any]]:
    run = command.run or ""
    spec = services.spec_of(command.tenant, run)
    meta = services.runs.get(run_pk(run), META)
    if meta is None or meta.get("tenant", command.tenant) != command.tenant:
        raise InvalidRequestError(f"run: tenant {command.tenant} has no run {run}")
    return spec, meta


def _is_live(item: Mapping[str, Any], services: RedriveServices) -> bool:
    """Starts it, in case that the worker died just before; an execution that runs is left as it is."""
    meta = services.runs.get(run_pk(item["run"]), META)
    if meta is not None:
        return str(meta.get("status", "running")) == "running"
    return services.pipeline.start(item["run"], json.loads(item["request"]))


def _asked(command: Command) -> str:
    """Which records, and what is to be done otherwise: the same in a command that is given again."""
    classes, ids = command.choice.error_classes, command.choice.record_ids
    chosen = [None if one is None else sorted(one) for one in (classes, ids)]
    return hashlib.sha256(canonical([*chosen, command.changes, command.priority])).hexdigest()


def _refuse_changes(item: Mapping[str, Any], command: Command) -> None:
    """Other records wait for the run that goes on; another prompt must not be taken for the one that it has."""
    changes = canonical(command.changes).decode()
    if item.get("changes", changes) != changes:
        raise InvalidRequestError(
            f"run {item['run']} goes on with failures of this run, and with another prompt, model, mode or limits than "
            "these: wait for its end or stop it, or give this one an id by as"
        )


def _refuse_another(item: Mapping[str, Any], command: Command) -> None:
    # An item of an older bundle does not say what was asked.
    if item.get("asked", _asked(command)) != _asked(command):
        raise InvalidRequestError(
            f"as: run {item['run']} was made of other records of this run, or with other changes: choose another id"
        )


def _resubmitted(spec: RunSpec, item: Mapping[str, Any], state: str) -> dict[str, Any]:
    return {
        "action": "resubmit",
        "finished": True,
        "run": spec.run,
        "as": item["run"],
        "state": state,
        "resubmitted": item["records"],
        "withoutSource": item["withoutSource"],
    }


def _name(run: str, failed: Sequence[FailedRecord], command: Command) -> str:
    """The same failures with the same changes make the same run, so that a command given twice starts one."""
    content = hashlib.sha256(canonical(command.changes))
    for sk in sorted(one.sk for one in failed):
        content.update(sk.encode())
    return names.resubmission(run, content.hexdigest())


def _request(spec: RunSpec, new_run: str, command: Command, records: int) -> dict[str, Any]:
    source = {
        "bucket": spec.source.bucket,
        "format": spec.source.format,
        "encoding": spec.source.encoding,
        "csv": _csv(spec.source.csv) if spec.source.format == formats.CSV else None,
        "parquet": {"binary": spec.source.parquet_binary} if spec.source.format == formats.PARQUET else None,
        "id_field": spec.source.id_field,
        "sequence_field": spec.source.sequence_field,
        "carry": spec.source.carry or None,
        "record_form": spec.source.record_form,
        "ranges": Places(spec.tenant, new_run).ranges,
        "failures_of": spec.run,
        "reduces": spec.source.reduces,
    }
    prompt = {**as_request(spec.prompt), **command.prompt}
    output = {} if spec.output.schema is None else {"schema": spec.output.schema, "ask": spec.output.ask}
    api = None if command.model else spec.model.api
    limits = {} if canary_of(records, 1) else {"canary_records": 0}
    request = {
        "run": {
            "tenant": spec.tenant,
            "scope": spec.scope,
            "mode": command.mode or "auto",
            "priority": command.priority or spec.priority,
        },
        "source": {**_given(source), **command.source},
        "model": _given({"id": spec.model.id, "api": api, **command.model}),
        "prompt": _given(prompt),
        "chunking": {} if spec.chunking is None else spec.chunking.to_json(),
        "output": output,
        "limits": {**limits, **command.limits},
    }
    return {name: section for name, section in request.items() if section}


def _csv(given: Csv) -> dict[str, Any]:
    section = {
        "delimiter": given.delimiter,
        "quote": given.quote,
        "escape": given.escape or None,
        "header": given.header if given.names is None else given.names,
        "quoted_newlines": given.quoted_newlines,
    }
    return _given(section)


def _given(section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if value is not None}


def _objects(spec: RunSpec, failed: Sequence[FailedRecord], services: RedriveServices) -> dict[str, CutRange]:
    """The corpus objects of the failed records, as the first run found them: a range means nothing in other bytes."""
    wanted = {one.source["key"] for one in failed if one.source is not None}
    found: dict[str, CutRange] = {}
    if spec.cuts.count:
        for raw, _ in split(services.input.read(spec.cuts.key)):
            for part in json.loads(raw)["parts"] if raw.strip() else ():
                if part["key"] in wanted:
                    found.setdefault(part["key"], CutRange.from_json(part))
    else:
        # A window plans no cuts: each of its documents is one, an object that is written once.
        for key in wanted:
            one = services.input.find(key) if key.startswith(Places(spec.tenant, spec.run).pool) else None
            if one is not None:
                found[key] = CutRange(key, 0, one.size, one.size, one.etag)
    if missing := sorted(wanted - found.keys()):
        raise InvalidRequestError(f"run {spec.run} has failures of {missing[0]}, which its plan does not name")
    return found


def _rows(failed: Sequence[FailedRecord], objects: Mapping[str, CutRange], format_: str) -> Iterator[CutRange]:
    """The failed rows: bytes where a range of bytes is enough to read them, else their numbers in the whole object, and
    documents as they are."""
    ranges: set[tuple[str, int, int]] = set()
    numbers: dict[str, set[tuple[int, ...]]] = {}
    for one in failed:
        source = one.source or {}
        if "row" in source:
            place = (source["rowGroup"], source["row"]) if "rowGroup" in source else (source["row"],)
            numbers.setdefault(source["key"], set()).add(place)
        elif source:
            ranges.add((source["key"], source["offset"], source["length"]))
    if format_ == formats.TEXT:
        for key in sorted({key for key, _, _ in ranges}):
            yield _whole(objects[key])
        return
    yield from _ranges(sorted(ranges), objects)
    for key, places in sorted(numbers.items()):
        yield from select(_whole(objects[key]), sorted(places))


def _whole(part: CutRange) -> CutRange:
    return CutRange(part.key, 0, part.size, part.size, part.etag)


def _ranges(lines: Sequence[tuple[str, int, int]], objects: Mapping[str, CutRange]) -> Iterator[CutRange]:
    """One range a line, neighbours together. A range owns the lines that begin in it: it ends with its own line."""
    held: CutRange | None = None
    for key, offset, length in lines:
        of = objects[key]
        part = CutRange(key, offset, min(offset + length + 1, of.size), of.size, of.etag)
        # Between neighbours lies nothing, or the second half of a CR LF, or an empty line.
        if held is not None and held.key == key and 0 <= part.start - held.end <= 1:
            held = CutRange(key, held.start, part.end, of.size, of.etag)
            continue
        if held is not None:
            yield held
        held = part
    if held is not None:
        yield held
