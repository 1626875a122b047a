"""The fault plan of the local AWS: which records, calls, jobs, events and workers go wrong, and how.

A plan is a JSON list of rules (or ``{"rules": [...]}``), given by ``--faults FILE`` or ``PUT /_local/faults`` while
the local AWS runs; ``GET`` shows the plan with how often each rule matched and fired, ``POST`` adds rules,
``DELETE`` clears (``?name=…``: the rules of that name). A plan with a mistake is refused whole, naming the rule and the
field.

    {"target": "record", "match": {"recordId": "poison-*"}, "do": "error", "errorCode": 400, "errorMessage": "…"}
    {"target": "call", "match": {"service": "bedrock", "operation": "CreateModel*"}, "do": "throttle", "times": 2}
    {"target": "job", "match": {"jobName": {"contains": "-a1-"}}, "do": "end", "as": "Expired", "fraction": 0.4}
    {"target": "event", "match": {"status": "Completed"}, "do": "drop", "times": 1}
    {"target": "worker", "match": {"function": "*-worker", "call": "PutObject"}, "do": "kill", "at": "after"}

Fields of every rule: ``target``, ``do``, and optionally ``name`` (a label), ``match`` (facts that must all fit; no
``match`` fits everything), ``after`` (leave the first n fits alone), ``times`` (fire at most n times), ``rate`` (0 to
1: fire on that share of the fits). A rate is drawn from the knob ``seed`` and the identity of what is struck, so the
same record is poison in batch and on demand and on every retry; what has no identity (calls, events) is drawn by its
ordinal. Other fields belong to the action, see ``ACTIONS``.

A match value is text (glob with ``*`` and ``?``; for ``prompt`` and ``request``: contained text), a number, a list
(any of them), or one of ``{"prefix"|"suffix"|"contains"|"regex"|"not": …}``.
"""

from __future__ import annotations

import fnmatch
import hashlib
import importlib
import json
import re
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from local_aws import knobs

SHAPES = ("fenced", "chatty", "twice", "truncated", "wrong")

Handler = Callable[[dict[str, str], bytes], Awaitable[tuple[int, object]]]
Target = Literal["record", "call", "job", "event", "worker"]

TERMINAL_STATUSES = ("Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired")

#: What a rule of each target may match on.
FACTS: dict[str, frozenset[str]] = {
    "record": frozenset({"recordId", "prompt", "modelId", "mode", "jobName", "attempt"}),
    # request: path and body of the call, as text.
    "call": frozenset({"service", "operation", "caller", "resource", "modelId", "prompt", "request"}),
    "job": frozenset({"jobName", "jobArn", "modelId", "roleArn", "inputUri"}),
    "event": frozenset({"source", "detailType", "status", "jobName", "jobArn", "inputUri"}),
    # call: an operation that the function calls, or Invoke: the invocation itself, whose request is its event.
    "worker": frozenset({"function", "service", "call", "resource", "request"}),
}


class FaultPlanError(ValueError):
    """The plan is not acceptable; the message names the rule, the field and what it must be."""


def _text(value: object) -> str | None:
    return None if isinstance(value, str) else "must be text"


def _count(value: object) -> str | None:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return None if whole else "must be a whole number of 0 or more"


def _seconds(value: object) -> str | None:
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
    return None if fits else "must be a number of seconds of 0 or more"


def _share(value: object) -> str | None:
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1
    return None if fits else "must be a number between 0 and 1"


def _http_status(value: object) -> str | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599
    return None if fits else "must be an HTTP status between 400 and 599"


def _terminal_status(value: object) -> str | None:
    return None if value in TERMINAL_STATUSES else f"must be one of {', '.join(TERMINAL_STATUSES)}"


def _shape(value: object) -> str | None:
    return None if value in SHAPES else f"must be one of {', '.join(SHAPES)}"


def _point(value: object) -> str | None:
    return None if value in ("before", "after") else "must be before or after"


Check = Callable[[object], str | None]


@dataclass(frozen=True)
class Action:
    """What a rule does: its own fields (name → check), which of them it cannot do without, their defaults."""

    fields: Mapping[str, Check] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    defaults: Mapping[str, object] = field(default_factory=dict)


#: target → do → action.
ACTIONS: dict[str, dict[str, Action]] = {
    "record": {
        # The model answers with an error: an error line in batch, an error response on demand.
        "error": Action(
            {"errorCode": _http_status, "errorMessage": _text},
            defaults={"errorCode": 400, "errorMessage": "The model refused the request."},
        ),
        "lose": Action(),  # no output line at all, although it counts as processed
        "duplicate": Action(),  # its output line stands in the file twice
        "truncate": Action(),  # its output line is cut in the middle
        "garble": Action(),  # the model's text is not what was asked for: a success with unusable text
        # The model's answer as models give it at times: fenced, chatty, twice, truncated, wrong.
        "reshape": Action({"as": _shape}, frozenset({"as"})),
        "delay": Action({"seconds": _seconds}, frozenset({"seconds"})),
    },
    "call": {
        "error": Action(
            {"code": _text, "status": _http_status, "message": _text},
            frozenset({"code"}),
            {"status": 400, "message": "Injected by the fault plan."},
        ),
        # As the service itself throttles: its own code and status unless the rule names others.
        "throttle": Action(
            {"code": _text, "status": _http_status, "message": _text},
            defaults={"message": "Too many requests, please wait before trying again."},
        ),
        "delay": Action({"seconds": _seconds}, frozenset({"seconds"})),
        # The call is carried out, and then its answer is replaced by an error.
        "lose_reply": Action(
            {"code": _text, "status": _http_status, "message": _text},
            defaults={"code": "InternalServerException", "status": 500, "message": "The reply was lost (fault plan)."},
        ),
    },
    "job": {
        "end": Action(
            {"as": _terminal_status, "fraction": _share, "message": _text},
            frozenset({"as"}),
            {"fraction": 0.0, "message": ""},
        ),
        "lose": Action({"fraction": _share}, frozenset({"fraction"})),
        "duplicate": Action({"fraction": _share}, frozenset({"fraction"})),
        "truncate": Action(),  # the last line of the output file is cut in the middle
        "no_manifest": Action(),
        "late_manifest": Action({"seconds": _seconds}, frozenset({"seconds"})),
        "delay": Action({"seconds": _seconds}, frozenset({"seconds"})),  # longer in Scheduled
    },
    "event": {
        "drop": Action(),
        "duplicate": Action({"copies": _count}, defaults={"copies": 2}),
        "delay": Action({"seconds": _seconds}, frozenset({"seconds"})),
    },
    "worker": {
        # Its process ends before the call is carried out, or after it and before the answer arrives.
        "kill": Action({"at": _point}, defaults={"at": "before"}),
        "pause": Action({"seconds": _seconds, "at": _point}, frozenset({"seconds"}), {"at": "before"}),
        # Of an invocation: the same event runs once more in another environment, which begins so much later.
        "repeat": Action({"seconds": _seconds}, defaults={"seconds": 0}),
    },
}

_COMMON: dict[str, Check] = {"name": _text, "after": _count, "times": _count, "rate": _share}
_OPERATORS = ("prefix", "suffix", "contains", "regex", "not")


@dataclass
class Rule:
    """One rule of the plan. ``options`` holds the action's own fields, defaults filled in."""

    number: int
    target: str
    do: str
    name: str
    match: dict[str, object]
    options: dict[str, Any]
    after: int = 0
    times: int | None = None
    rate: float | None = None
    matched: int = 0
    fired: int = 0

    def fits(self, facts: Mapping[str, object]) -> bool:
        """Whether every fact that the rule names has the value it wants; a fact that is not known never fits."""
        return all(_fits(wanted, facts.get(fact), fact) for fact, wanted in self.match.items())

    def to_json(self) -> dict[str, object]:
        shown: dict[str, object] = {"target": self.target, "do": self.do, "match": self.match, **self.options}
        for name in ("after", "times", "rate"):
            if getattr(self, name) not in (None, 0) or (name != "after" and getattr(self, name) == 0):
                shown[name] = getattr(self, name)
        return {**({"name": self.name} if self.name else {}), **shown, "matched": self.matched, "fired": self.fired}


_rules: list[Rule] = []
_lock = threading.Lock()


def active(target: Target, do: str | None = None) -> bool:
    """Whether any rule has this target (and action): lets hot paths skip gathering facts."""
    return any(rule.target == target and do in (None, rule.do) for rule in _rules)


def strike(target: Target, identity: str | None = None, **facts: object) -> Rule | None:
    """The first rule that fires on this, or None. ``identity`` makes the draw of a rate repeatable."""
    with _lock:
        return next(_firing(target, identity, facts), None)


def strikes(target: Target, identity: str | None = None, **facts: object) -> list[Rule]:
    """Every rule that fires on this, in the order of the plan."""
    with _lock:
        return list(_firing(target, identity, facts))


def share(share_of: float, *identity: object) -> bool:
    """Whether something falls into a share of 0 to 1: the same answer for the same identity and knob ``seed``."""
    if share_of <= 0:
        return False
    return draw(*identity) < share_of


def draw(*identity: object) -> float:
    """A number in [0, 1) that depends on the identity and the knob ``seed`` only."""
    text = "\x1f".join(str(each) for each in (knobs.current.seed, *identity))
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") / 2**64


def _firing(target: str, identity: str | None, facts: Mapping[str, object]) -> Iterator[Rule]:
    for rule in _rules:
        if rule.target != target or not rule.fits(facts):
            continue
        rule.matched += 1
        if rule.matched <= rule.after or (rule.times is not None and rule.fired >= rule.times):
            continue
        if rule.rate is not None and not share(rule.rate, rule.number, identity or rule.matched):
            continue
        rule.fired += 1
        yield rule


def _fits(wanted: object, actual: object, fact: str) -> bool:
    if actual is None:
        return False
    if isinstance(wanted, list):
        return any(_fits(each, actual, fact) for each in wanted)
    if isinstance(wanted, dict):
        ((operator, operand),) = wanted.items()
        if operator == "not":
            return not _fits(operand, actual, fact)
        return _operator_fits(operator, operand, str(actual))
    if isinstance(wanted, str):
        return wanted in str(actual) if fact in ("prompt", "request") else fnmatch.fnmatchcase(str(actual), wanted)
    return wanted == actual


def _operator_fits(operator: str, operand: str, actual: str) -> bool:
    if operator == "prefix":
        return actual.startswith(operand)
    if operator == "suffix":
        return actual.endswith(operand)
    if operator == "contains":
        return operand in actual
    return re.search(operand, actual) is not None


def load(plan: object) -> None:
    """Replace the plan. Raises FaultPlanError and changes nothing when a rule is malformed."""
    rules = _parsed(plan, first=1)
    with _lock:
        _rules[:] = rules


def add(plan: object) -> None:
    """Add rules behind those there are. Raises FaultPlanError and changes nothing when one is malformed."""
    with _lock:
        _rules.extend(_parsed(plan, first=len(_rules) + 1))


def load_file(path: Path) -> None:
    """Replace the plan by the one in a JSON file. Raises FaultPlanError, also when the file is no JSON."""
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise FaultPlanError(f"fault plan {path}: {problem}") from None
    load(plan)


def clear(name: str | None = None) -> None:
    """No faults any more; with a name: none of the rules that bear it."""
    with _lock:
        _rules[:] = [rule for rule in _rules if name is not None and rule.name != name]


def described() -> dict[str, object]:
    """The plan with its counts, as ``GET /_local/faults`` answers it."""
    with _lock:
        return {"rules": [rule.to_json() for rule in _rules]}


def _parsed(plan: object, first: int) -> list[Rule]:
    rules = plan.get("rules") if isinstance(plan, dict) and set(plan) == {"rules"} else plan
    if isinstance(rules, dict):
        rules = [rules]
    if not isinstance(rules, list):
        raise FaultPlanError('the plan must be a list of rules, one rule, or {"rules": [...]}')
    return [_rule(number, each) for number, each in enumerate(rules, start=first)]


def _rule(number: int, given: object) -> Rule:
    def refuse(field_name: str, problem: str) -> FaultPlanError:
        return FaultPlanError(f"rule {number}: field {field_name!r}: {problem}")

    if not isinstance(given, dict):
        raise FaultPlanError(f"rule {number}: must be an object, not {type(given).__name__}")
    target = given.get("target")
    if target not in ACTIONS:
        raise refuse("target", f"must be one of {', '.join(ACTIONS)}, not {target!r}")
    actions = ACTIONS[target]
    do = given.get("do")
    if do not in actions:
        raise refuse("do", f"must be one of {', '.join(actions)} for target {target}, not {do!r}")
    action = actions[do]
    allowed = {**_COMMON, **action.fields}
    for name, value in given.items():
        if name in ("target", "do", "match"):
            continue
        if name not in allowed:
            raise refuse(name, f"is not a field of {target}/{do}; there are: match, {', '.join(allowed)}")
        if problem := allowed[name](value):
            raise refuse(name, f"{problem}, not {value!r}")
    for name in sorted(action.required - given.keys()):
        raise refuse(name, f"is required for {target}/{do}")
    return Rule(
        number=number,
        target=target,
        do=do,
        name=given.get("name", ""),
        match=_match(target, given.get("match", {}), refuse),
        options={**action.defaults, **{name: given[name] for name in action.fields if name in given}},
        after=given.get("after", 0),
        times=given.get("times"),
        rate=given.get("rate"),
    )


def _match(target: str, given: object, refuse: Callable[[str, str], FaultPlanError]) -> dict[str, object]:
    if not isinstance(given, dict):
        raise refuse("match", f"must be an object, not {given!r}")
    for fact, wanted in given.items():
        if fact not in FACTS[target]:
            known = ", ".join(sorted(FACTS[target]))
            raise refuse(f"match.{fact}", f"is not a fact of target {target}; there are: {known}")
        if problem := _wanted_problem(wanted):
            raise refuse(f"match.{fact}", problem)
    return dict(given)


def _wanted_problem(wanted: object) -> str | None:
    if isinstance(wanted, list):
        return next(filter(None, map(_wanted_problem, wanted)), None) if wanted else "must not be an empty list"
    if isinstance(wanted, dict):
        if len(wanted) != 1 or next(iter(wanted)) not in _OPERATORS:
            return f"must hold exactly one of {', '.join(_OPERATORS)}"
        ((operator, operand),) = wanted.items()
        if operator == "not":
            return _wanted_problem(operand)
        if not isinstance(operand, str):
            return f"{operator} must be text, not {operand!r}"
        if operator == "regex":
            try:
                re.compile(operand)
            except re.error as problem:
                return f"regex {operand!r} does not compile: {problem}"
        return None
    fits = isinstance(wanted, (str, int, float)) and not isinstance(wanted, bool)
    return None if fits else f"must be text, a number, a list or an object, not {wanted!r}"


def install() -> None:
    """Put the faults of targets `call` and `worker` in the way of every service."""
    importlib.import_module("local_aws.call_faults")


async def _get(query: dict[str, str], body: bytes) -> tuple[int, object]:
    return 200, described()


async def _put(query: dict[str, str], body: bytes) -> tuple[int, object]:
    return _taken(load, body)


async def _post(query: dict[str, str], body: bytes) -> tuple[int, object]:
    return _taken(add, body)


async def _delete(query: dict[str, str], body: bytes) -> tuple[int, object]:
    clear(query.get("name"))
    return 200, described()


def _taken(take: Callable[[object], None], body: bytes) -> tuple[int, object]:
    try:
        take(json.loads(body))
    except ValueError as problem:
        return 400, {"error": str(problem)}
    return 200, described()


ROUTES: dict[tuple[str, str], Handler] = {
    ("GET", "/_local/faults"): _get,
    ("PUT", "/_local/faults"): _put,
    ("POST", "/_local/faults"): _post,
    ("DELETE", "/_local/faults"): _delete,
}
