"""What each fix is, as text of the bundle: taken_out.py takes it away and wants the explorer to see that."""

from dataclasses import dataclass, replace
from typing import Final

_LAMBDAS: Final = "lambdas/bulk_inference/"


@dataclass(frozen=True)
class Fix:
    row: str
    """What it keeps from breaking."""
    taken_out: str
    """In words."""
    changes: tuple[tuple[str, str, str], ...]
    """File, text that makes the fix, text in its place."""
    plays: tuple[str, ...]
    """What the explorer plays without it."""


def _of(row: str, taken_out: str, file: str, old: str, new: str, *plays: str) -> Fix:
    return Fix(row, taken_out, ((f"{_LAMBDAS}{file}", old, new),), plays)


def _and(fix: Fix, *changes: tuple[str, str, str]) -> Fix:
    """Another place that keeps the same from breaking."""
    return replace(fix, changes=(*fix.changes, *((f"{_LAMBDAS}{file}", old, new) for file, old, new in changes)))


_OPEN_UNTIL_TOLD: Final = (
    "finish/conservation.py",
    '    unsent = tuple(f"/part-{name}.jsonl" for name in unit.unsent)\n',
    "    unsent: tuple[str, ...] = ()\n",
)
"""A run is not over while messages of it are unsent."""


FIXES: Final = (
    _of(
        "a second worker of a unit loses nothing: commits",
        "a commit does not ask for the lease's epoch",
        "core/leases.py",
        'return ConditionalPut({**item, "dirty": False}, "epoch", self.epoch)',
        'return ConditionalPut({**item, "dirty": False}, "sk", LEASE)',
        "items/rest/freeze-before@*+61",
    ),
    _of(
        "a second worker of a unit loses nothing: names",
        "a part has the same name in each generation",
        "core/leases.py",
        "        self._dirty = True\n        return in_generation(name, self.generation)",
        "        self._dirty = True\n        return name",
        "items/rest/freeze-before@*+0",
    ),
    _and(
        _of(
            "messages follow commits",
            "an item batch is settled with messages unsent",
            "sync/infer_batch.py",
            "            if self.unit.unsent:\n                raise ThrottledError",
            "            if False:\n                raise ThrottledError",
            "items/retry/refuse*",
        ),
        _OPEN_UNTIL_TOLD,
    ),
    _of(
        "messages follow commits, of a job",
        "messages that the queue refuses count as sent",
        "batch/collect_results.py",
        "        if not deliver(unit.unsent, unit_context, lambda part: ()):",
        "        if deliver(unit.unsent, unit_context, lambda part: ()) is None:",
        "collect/retry/part*",
    ),
    _of(
        "one odd line of a ready corpus costs itself",
        "an id of any length is a key of the ledger",
        "core/index_line.py",
        '        if len(given.encode("utf-8", "surrogatepass")) > MAX_ID_BYTES:',
        "        if False:",
        "items-poisoned/retry/again*",
    ),
    _of(
        "a record lands once in a scope",
        "a claim of a run that is over is judged without its unit's lease",
        "ledger/rival_claims.py",
        "        with leases.hold(run, unit) as lease:\n            for name",
        "        from contextlib import nullcontext\n        from types import SimpleNamespace as _Loose\n\n"
        "        with nullcontext(_Loose(stale=(), epoch=1 << 40)) as lease:\n            for name",
        "rivals/over/freeze-before@*+0",
    ),
    _of(
        "what a dead worker has left is withdrawn",
        "names of earlier generations are not emptied",
        "land/unit_context.py",
        "        if lease.stale:\n",
        "        if False:\n",
        "items/retry/kill-before@*+0",
    ),
    _and(
        _of(
            "a drop finds what a dead worker of the lane has landed",
            "settling does not look for a line that was left",
            "land/late_outcomes.py",
            "        left = left_over(lease, services.places, services.output)\n",
            "        left = None\n",
            "lane-lands/drop/freeze-before*",
        ),
        ("failure_lane/reprocess.py", "        _withdraw(known, unit_context, lease)\n", ""),
    ),
    _of(
        "the end of a job wakes whoever waits",
        "an attempt keeps one task token, the last one written",
        "batch/task_tokens.py",
        'return f"{_TOKEN}-{hashlib.sha256(token.encode()).hexdigest()[:12]}"',
        "return _TOKEN",
        "submit/retry/freeze-before@*+0",
    ),
    _of(
        "a cutter that thaws changes nothing",
        "pieces have the same names whoever cuts, and are replaced",
        "cut/cut_run.py",
        "            piece_name=lease.part,\n",
        "",
        "cut/elsewhere/freeze-before*",
    ),
    _of(
        "a claim is no landing",
        "every claim of a unit of the lane counts as landed",
        "ledger/rival_claims.py",
        'return landed is None or claim.key.partition("#")[2] in landed',
        "return True",
        "lane-claims/update/kill-before*",
    ),
    _of(
        "a late landing is never overlooked",
        "marks of one kind are alike",
        "land/late_outcomes.py",
        'return f"{why} {uuid.uuid4().hex}"',
        'return "stale"',
        "update/lands/freeze-before*",
    ),
    _of(
        "nothing is paid for while a claim is undecided",
        "the lane asks the model before it looks at the claim",
        "failure_lane/reprocess.py",
        "if unit_context.held_elsewhere(pointer.record_id, owner):",
        "if False:",
        "undecided/twice/freeze-before@*+3700",
    ),
    _of(
        "a name that is used again reads nothing of the old run",
        "what has expired is there until DynamoDB deletes it",
        "aws/dynamodb.py",
        '        return int(item.get("expires_at") or _NEVER) <= self._now()',
        "        return False",
        "plan-used-name/again/freeze-before@*+0",
    ),
    _of(
        "a killed worker costs a minute",
        "a lease is held for the function's whole time",
        "core/leases.py",
        "LEASE_SECONDS: Final = 60",
        "LEASE_SECONDS: Final = 900",
        "items/retry/kill-before@*+0",
    ),
    _of(
        "grant, then redrive",
        "a denied access is a request that cannot be used",
        "aws/s3.py",
        '            raise AccessDeniedError(\n                f"access to {where}',
        '            raise InvalidRequestError(\n                f"access to {where}',
        "plan/again/deny*",
        "cut/again/deny*",
        "seal/again/deny*",
    ),
    _of(
        "a command says when messages are hidden",
        "hidden messages are none",
        "failure_lane/redrive.py",
        "    hidden = services.letters.unseen()\n",
        "    hidden = 0\n",
        "drop-sent-back/again/freeze-before@*+0",
    ),
    _of(
        "a document that is throttled once waits for a pause",
        "an unfinished answer is remembered as the end",
        "intake/urgent_documents.py",
        '            if progress["rest"]:\n',
        "            if False:\n",
        "urgent-d00/again/refuse*",
    ),
    _of(
        "a postponed copy is the same message",
        "a copy is known by its own id",
        "intake/consumer.py",
        "return self.attributes.get(MESSAGE) or self.message_id",
        "return self.message_id",
        "urgent-d03/*/refuse*",
    ),
    _of(
        "what a resubmission lands is no failure of any run that it came from",
        "an update tells nobody else",
        "finish/updating.py",
        "    _tell_others(spec, services)\n",
        "",
        "update-lineage/again/freeze-before@*+0",
    ),
    _and(
        _of(
            "one poison record costs one record, in reductions and small pools",
            "a canary stops at its number",
            "plan/canary.py",
            "if wanted is not None and number >= wanted and not all(_blames_record(one) for one in outcomes):",
            "if wanted is not None and number >= wanted:",
            "follow-poisoned/again/freeze-before@*+0",
            "reduce-poisoned/retry/freeze-before@*+0",
        ),
        ("request/limits.py", "return 0 if records <= CANARY_WORTH else wanted", "return wanted"),
    ),
    _of(
        "a window's failures can be resubmitted",
        "a run without planned cuts has no corpus",
        "failure_lane/redrive.py",
        "        for key in wanted:\n            one = services.input.find(key)",
        "        for key in ():\n            one = services.input.find(key)",
        "close-window/resubmitted/freeze-before@*+0",
    ),
    _of(
        "rubbish under the id of a document fails nobody's document",
        "every message has a say",
        "intake/message.py",
        'return bool(known["messageId"] == message_id or (known["state"] == WAITING and known["content"] == content))',
        "return True",
        "urgent-d00/rubbish/freeze-before@*+61",
    ),
    _of(
        "a partition is joined by one worker",
        "a join is saved whatever was saved since",
        "assembly/assembly.py",
        '        bucket.replace(key, body, "application/x-ndjson", self.lease.check)',
        '        bucket.put(key, body, "application/x-ndjson")',
        "assembly-join/pass/freeze*",
    ),
    _of(
        "a plan and its cuts belong together",
        "all planners write the same cuts",
        "plan/plan_run.py",
        "    key = places.cuts(uuid.uuid4().hex[:12])\n",
        '    key = places.cuts("all")\n',
        "plan-folder/grown/freeze-before*",
    ),
    _of(
        "a pool is not too large for its own run",
        "a pool takes what its run would be refused for",
        "intake/pooling.py",
        '    return bool(slot["documents"]) and not arrivals[0].ceilings.holds(whole)',
        "    return False",
        "pool-ceiling/follow/freeze-before@*+0",
    ),
    _of(
        "a manifest is never older than its account",
        "a manifest is written over whatever lies there",
        "finish/finishing.py",
        '    output.replace(places.manifest, body, "application/json", lease.check)',
        '    output.put(places.manifest, body, "application/json")',
        "update/rest/freeze-before*",
    ),
    _of(
        "a worker that was frozen before it looked does not begin",
        "a unit's item may be younger than the lease",
        "land/unit_context.py",
        'if item is not None and int(item.get("generation", 0)) > lease.generation:',
        "if False:",
        "items/shortly/freeze-after*",
    ),
    _of(
        "a stop that thaws closes nothing that has gone on since",
        "a redrive is looked for before the account is held alone",
        "watch/stop_run.py",
        "    redriven = _is_redriven(stopping, services)\n",
        "    redriven = False\n",
        "stop/rest/freeze-before*",
    ),
    _of(
        "a document is done wherever in the scope it has landed",
        "what failed in the pool's own run has failed",
        "intake/pool_outcomes.py",
        "rest = [one for one in ids if one not in ends or ends[one].state == FAILED]",
        "rest = [one for one in ids if one not in ends]",
        "conclude/resubmitted/freeze-before@*+0",
    ),
    _of(
        "a document's end, its mark and its count are one",
        "they are written one after the other",
        "intake/document_outcomes.py",
        "    beside = window_marks.ended(item, changed)\n",
        "    beside: list[Any] = []\n",
        "urgent-d01/everything/freeze-before@*+0",
        "urgent-d01/everything/kill-before@*+0",
    ),
)
