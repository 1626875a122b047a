"""A world for the logic of inference: fakes of the services, built from AWS's documentation, that can kill the worker.

Every side effect calls `strike`. With `kill_at = n` the worker dies right after its n-th one, as a Lambda function
does when its time is up or its machine goes: nothing of ours may catch that.
"""

import builtins
import copy
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import md5
from typing import Any, Self

from bulk_inference.batch.submit_job import SubmitServices
from bulk_inference.core.errors import InvalidRequestError, WorkInProgressError
from bulk_inference.core.jobs import Job, JobNameTakenError, JobRequest
from bulk_inference.core.keys import Places
from bulk_inference.core.leases import Leases, unattended
from bulk_inference.core.ports import Clock, ConditionalPut, Execution, Increment, MapRun, Put, Remove, Update, Write
from bulk_inference.core.reach import Reach
from bulk_inference.core.run_spec import (
    Cuts,
    Estimate,
    Limits,
    Model,
    Prompt,
    Quota,
    Quotas,
    RunSettings,
    RunSpec,
    Source,
)
from bulk_inference.core.runs_table import COUNT, LEASE, STALE, Item
from bulk_inference.core.settings import Settings, SourceBucket, TenantSettings
from bulk_inference.cut import item_batches
from bulk_inference.finish.finishing import FinishServices
from bulk_inference.land.unit_context import UnitContext
from bulk_inference.ledger.claims import Claim, Insertion
from bulk_inference.watch.stop_run import StopServices

NOW = 1_800_000_000.0
RUN, TENANT = "run-1", "default"


SETTINGS = Settings(
    name="tickets",
    models={},
    tenants={TENANT: TenantSettings("arn:aws:iam::123456789012:role/batch")},
    source_buckets={"archive": SourceBucket()},
)
REACH = Reach(SETTINGS, TENANT, "in-bucket")


class Killed(BaseException):
    """The worker is gone."""


@dataclass
class World:
    kill_at: int | None = None
    effects: list[str] = field(default_factory=list)
    runs: "FakeRuns | None" = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def revive(self) -> None:
        """Nobody is killed any more, and the lease of whoever was has lapsed: it was not given back."""
        self.kill_at = None
        if self.runs is not None:
            self.runs.lapse()

    def strike(self, effect: str) -> None:
        with self._lock:
            self.effects.append(effect)
            if self.kill_at is not None and len(self.effects) >= self.kill_at:
                raise Killed(effect)


@dataclass(frozen=True)
class Stored:
    key: str
    size: int
    etag: str


class FakeWriter:
    def __init__(self, bucket: "FakeBucket", key: str, *, new: bool = False) -> None:
        self._bucket, self._key, self._body, self._new = bucket, key, b"", new

    @property
    def size(self) -> int:
        return len(self._body)

    def write(self, data: bytes) -> None:
        self._body += data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None and self._new:
            self._bucket.create(self._key, self._body)
        elif kind is None:
            self._bucket.put(self._key, self._body)


class FakeBucket:
    def __init__(self, name: str, world: World) -> None:
        self.name, self.world = name, world
        self.objects: dict[str, bytes] = {}
        self.elsewhere: dict[str, bytes] = {}
        """Objects of other buckets, by bucket and key."""

    def list(self, prefix: str, *, limit: int | None = None) -> Iterator[Stored]:
        for key in sorted(self.objects):
            if key.startswith(prefix):
                yield Stored(key, len(self.objects[key]), md5(self.objects[key]).hexdigest())

    def find(self, key: str) -> Stored | None:
        return next((one for one in self.list(key) if one.key == key), None)

    def read(self, key: str, *, start: int = 0, etag: str | None = None) -> Iterator[bytes]:
        if etag not in (None, md5(self.objects[key]).hexdigest()):
            raise InvalidRequestError(f"{key} has changed")
        body = self.objects[key][start:]
        # Odd chunks, so that lines cross their bounds.
        yield from (body[at : at + 777] for at in range(0, len(body), 777))

    def get_json(self, key: str) -> Any | None:
        return json.loads(self.objects[key]) if key in self.objects else None

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        return self.objects[key][offset : offset + length]

    def put(self, key: str, body: bytes, content_type: str = "") -> None:
        self.objects[key] = body
        self.world.strike(f"put {self.name} {key}")

    def copy_from(self, bucket: str, key: str, target: str, owner: str | None) -> bool:
        body = self.elsewhere.get(f"{bucket}/{key}") if bucket != self.name else self.objects.get(key)
        if body is not None:
            self.put(target, body)
        return body is not None

    def put_json(self, key: str, value: Any) -> None:
        self.put(key, json.dumps(value).encode())

    def writer(self, key: str) -> FakeWriter:
        return FakeWriter(self, key)

    def create(self, key: str, body: bytes, content_type: str = "") -> None:
        if key not in self.objects:
            self.put(key, body)
        elif self.objects[key] != body:
            raise WorkInProgressError(f"{key} is taken")

    def creator(self, key: str) -> FakeWriter:
        return FakeWriter(self, key, new=True)

    def empty(self, key: str) -> None:
        self.put(key, b"")

    def occupy(self, key: str) -> None:
        if key not in self.objects:
            self.put(key, b"")

    def replace(self, key: str, body: bytes, content_type: str, check: Callable[[], None]) -> None:
        seen = self.objects.get(key)
        # Whoever is frozen here thaws with what it has seen.
        self.world.strike(f"look {self.name} {key}")
        check()
        self.world.strike(f"checked {self.name} {key}")
        if self.objects.get(key) != seen:
            raise WorkInProgressError(f"{key} has changed")
        self.put(key, body)

    def lines(self, prefix: str) -> builtins.list[dict[str, Any]]:
        return [json.loads(line) for one in self.list(prefix) for line in self.objects[one.key].split(b"\n") if line]


class FakeRuns:
    def __init__(self, world: World) -> None:
        self.world = world
        self.items: dict[tuple[str, str], Item] = {}

    def lapse(self) -> None:
        """Every lease that has not been given back has lapsed."""
        for (_, sk), item in self.items.items():
            if sk == LEASE and item["until"]:
                item["until"] = 1

    def get(self, pk: str, sk: str) -> Item | None:
        return copy.deepcopy(self.items.get((pk, sk)))

    def put(self, item: Item) -> None:
        self.items[(item["pk"], item["sk"])] = copy.deepcopy(item)
        self.world.strike(f"item {item['sk']}")

    def put_new(self, item: Item) -> Item | None:
        found = self.get(item["pk"], item["sk"])
        if found is None:
            self.put(item)
        return found

    def put_if(self, item: Item, attribute: str, expected: str | int | None) -> bool:
        found = self.get(item["pk"], item["sk"])
        if (found is None) != (expected is None) or (found is not None and found.get(attribute) != expected):
            return False
        self.put(item)
        return True

    def update(self, pk: str, sk: str, values: Mapping[str, Any], *, defaults: Mapping[str, Any] | None = None) -> Item:
        item = {**(defaults or {}), **self.items.get((pk, sk), {"pk": pk, "sk": sk}), **values}
        self.put(item)
        return copy.deepcopy(item)

    def delete_if(self, pk: str, sk: str, attribute: str, expected: str | int) -> bool:
        if self.items.get((pk, sk), {}).get(attribute) != expected:
            return False
        del self.items[(pk, sk)]
        self.world.strike(f"delete {sk}")
        return True

    def take(self, pk: str, sk: str, *, below: int, stamp: str) -> bool:
        item = self.items.get((pk, sk), {})
        if item.get("stamp") != stamp or item["taken"] >= below:
            return False
        item["taken"] += 1
        self.world.strike(f"take {pk}")
        return True

    def query(self, pk: str, sk_prefix: str = "") -> Iterator[Item]:
        for key in sorted(self.items):
            if key[0] == pk and key[1].startswith(sk_prefix):
                yield copy.deepcopy(self.items[key])

    def write_all(self, writes: Sequence[Write]) -> bool:
        assert 0 < len(writes) <= 100
        keys = [
            (one.item["pk"], one.item["sk"]) if isinstance(one, (Put, ConditionalPut)) else (one.pk, one.sk)
            for one in writes
        ]
        assert len(set(keys)) == len(keys), "DynamoDB refuses two writes of one item in a transaction"
        for key, one in zip(keys, writes, strict=True):
            found = self.items.get(key)
            if isinstance(one, ConditionalPut) and (
                (found is None) != (one.expected is None)
                or (found is not None and found.get(one.attribute) != one.expected)
            ):
                return False
        for key, one in zip(keys, writes, strict=True):
            if isinstance(one, Update):
                self.items[key] = {"pk": one.pk, "sk": one.sk, **self.items.get(key, {}), **copy.deepcopy(one.values)}
            elif isinstance(one, Increment):
                self._add(one.pk, one.sk, one.numbers, one.values)
            elif isinstance(one, Remove):
                self.items.pop(key, None)
            else:
                self.items[key] = copy.deepcopy(one.item)
        self.world.strike(f"transaction {' '.join(sk for _, sk in keys)}")
        return True

    def _add(self, pk: str, sk: str, numbers: Mapping[str, int], values: Mapping[str, Any]) -> None:
        item = self.items.setdefault((pk, sk), {"pk": pk, "sk": sk})
        item |= {name: item.get(name, 0) + number for name, number in numbers.items()} | dict(values)

    def add(self, pk: str, sk: str, numbers: Mapping[str, int], values: Mapping[str, Any]) -> None:
        self._add(pk, sk, numbers, values)
        self.world.strike(f"add {sk}")


class FakeLedger:
    def __init__(self, world: World) -> None:
        self.world = world
        self.claims: dict[str, Claim] = {}
        self.throttle: Callable[[Claim], bool] = lambda claim: False
        self._lock = threading.Lock()

    def insert(self, claims: Sequence[Claim]) -> list[Insertion]:
        assert 0 < len(claims) <= 25
        outcomes = []
        with self._lock:
            for one in claims:
                if self.throttle(one):
                    outcomes.append(Insertion.THROTTLED)
                elif one.key in self.claims:
                    outcomes.append(Insertion.EXISTS)
                else:
                    self.claims[one.key] = one
                    outcomes.append(Insertion.WRITTEN)
        self.world.strike("claim")
        return outcomes

    def find(self, keys: Sequence[str]) -> dict[str, Claim]:
        assert 0 < len(keys) <= 100
        return {key: self.claims[key] for key in keys if key in self.claims}

    def take_over(self, claim: Claim, now: int, seen: Claim | None = None) -> bool:
        found = self.claims.get(claim.key)
        as_seen = found is not None and seen is not None and (found.owner, found.epoch) == (seen.owner, seen.epoch)
        if found is not None and found.expires_at > now and not as_seen:
            return False
        self.claims[claim.key] = claim
        self.world.strike("take over")
        return True

    def give_back(self, seen: Claim) -> bool:
        found = self.claims.get(seen.key)
        if found is None or (found.owner, found.epoch) != (seen.owner, seen.epoch):
            return False
        del self.claims[seen.key]
        self.world.strike("give back")
        return True

    @property
    def owners(self) -> dict[str, str]:
        return {key.partition("#")[2]: one.owner for key, one in self.claims.items()}


def freeze(world: World, at: int, meanwhile: Callable[[], object]) -> Callable[[], bool]:
    """Freezes the worker right after its `at`-th effect from here on, while `meanwhile` happens; the answer says
    whether it came to that. Other workers' effects in between are not counted."""
    strike, counted, frozen = world.strike, [0], [False]

    def counting(effect: str) -> None:
        strike(effect)
        if frozen[0]:
            return
        counted[0] += 1
        if counted[0] == at:
            frozen[0] = True
            meanwhile()

    world.strike = counting  # type: ignore[method-assign]
    return lambda: frozen[0]


class FakeQueue:
    def __init__(self, world: World) -> None:
        self.world = world
        self.messages: list[dict[str, Any]] = []

    def send(self, messages: Sequence[Mapping[str, Any]]) -> None:
        self.messages += [dict(message) for message in messages]
        self.world.strike("send")

    @property
    def distinct(self) -> set[str]:
        return {json.dumps(message, sort_keys=True) for message in self.messages}


class FakeJobs:
    def __init__(self, world: World) -> None:
        self.world = world
        self.jobs: dict[str, Job] = {}
        self.requests: list[JobRequest] = []
        self.on_create: Callable[[JobRequest], None] = lambda request: None
        self.stopped: list[str] = []
        self.older: set[str] = set()
        """Names of jobs that were submitted before any time that is asked for."""
        self.listed: Callable[[Job], None] = lambda job: None

    def add(self, name: str, status: str, *, model: str = "m", message: str = "", processed: int | None = None) -> Job:
        arn = f"arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/{md5(name.encode()).hexdigest()[:12]}"
        self.jobs[arn] = Job(arn, name, status, model, message, processed)
        return self.jobs[arn]

    def set(self, name: str, status: str, **more: Any) -> Job:
        (job,) = (job for job in self.jobs.values() if job.name == name)
        self.jobs[job.arn] = replace(job, status=status, **more)
        return self.jobs[job.arn]

    def create(self, request: JobRequest) -> str:
        self.on_create(request)
        if any(job.name == request.name for job in self.jobs.values()):
            raise JobNameTakenError(request.name)
        self.requests.append(request)
        arn = self.add(request.name, "Submitted", model=request.model_id).arn
        self.world.strike("create job")
        return arn

    def get(self, arn: str) -> Job | None:
        return self.jobs.get(arn)

    def find(self, name: str) -> Job | None:
        return next((job for job in self.jobs.values() if job.name == name), None)

    def list(
        self, *, status: str | None = None, name_contains: str | None = None, submitted_after: float | None = None
    ) -> Iterator[Job]:
        for job in list(self.jobs.values()):
            if job.name in self.older and submitted_after is not None:
                continue
            if status in (None, job.status) and (name_contains or "") in job.name:
                yield job
            self.listed(job)

    def stop(self, arn: str) -> bool:
        if self.jobs[arn].terminal:
            return False
        self.jobs[arn] = replace(self.jobs[arn], status="Stopping")
        self.stopped.append(arn)
        self.world.strike("stop job")
        return True


class FakeTasks:
    def __init__(self, world: World) -> None:
        self.world = world
        self.waiting: set[str] = set()
        self.answers: dict[str, dict[str, Any]] = {}

    def succeed(self, token: str, output: Mapping[str, Any]) -> bool:
        if token not in self.waiting:
            return False
        self.waiting.discard(token)
        self.answers[token] = dict(output)
        self.world.strike("answer token")
        return True


class FakeExecutions:
    """Executions by ARN; of those that nobody told it of, every one runs."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.known: dict[str, Execution | None] = {}
        self.runs: dict[str, list[MapRun]] = {}
        self.stopped: list[str] = []

    def end(self, arn: str, status: str = "ABORTED", *, at: float = NOW, **more: Any) -> None:
        self.known[arn] = Execution(arn, status, at, **more)

    def describe(self, arn: str) -> Execution | None:
        return self.known.get(arn, Execution(arn, "RUNNING"))

    def ended(self, arn: str) -> float | None:
        found = self.describe(arn)
        return 0.0 if found is None else found.ended_at

    def stop(self, arn: str, cause: str) -> bool:
        found = self.describe(arn)
        if found is None or found.status != "RUNNING":
            return False
        self.end(arn)
        self.stopped.append(arn)
        self.world.strike("stop execution")
        return True

    def map_runs(self, arn: str) -> list[MapRun]:
        return self.runs.get(arn, [])


class FakeBus:
    def __init__(self, world: World) -> None:
        self.world = world
        self.events: list[tuple[str, dict[str, Any]]] = []

    def put(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        self.events.append((detail_type, copy.deepcopy(dict(detail))))
        self.world.strike("event")


@dataclass(frozen=True)
class FakeOutcome:
    output: dict[str, Any] | None = None
    error_class: str | None = None
    error_code: str | None = None
    error_message: str | None = None

    @property
    def retryable(self) -> bool:
        return self.error_class in ("throttled", "model_error", "model_timeout", "unavailable")


def converse(text: str, tokens: tuple[int, int] = (3, 2)) -> dict[str, Any]:
    """A Converse response body."""
    return {
        "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": tokens[0], "outputTokens": tokens[1], "totalTokens": sum(tokens)},
    }


class FakeModel:
    """Echoes the prompt; `answers` says otherwise by prompt: an outcome, or a list of them to be given in turn."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.calls: list[str] = []
        self._lock = threading.Lock()

    def infer(self, model_id: str, api: str, body: Mapping[str, Any], reach: Reach) -> FakeOutcome:
        if (why := reach.misplaced(body)) is not None:
            return FakeOutcome(error_class="invalid_request", error_code="IllegalMedia", error_message=why)
        prompt = body.get("prompt", "")
        with self._lock:
            self.calls.append(prompt)
            answer = self.answers.get(prompt)
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if answer is not None:
            return answer  # type: ignore[no-any-return]
        return FakeOutcome(output=converse(f"said {prompt}"))


@dataclass
class FakeTime:
    now: float = NOW
    remaining: float = 900.0
    slept: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.now += seconds
        self.remaining -= seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: self.remaining, self.sleep)


def make_spec(**changes: Any) -> RunSpec:
    quota = Quota(100, "default")
    spec = RunSpec(
        run=RUN,
        tenant=TENANT,
        scope=RUN,
        execution_arn="arn:aws:states:us-east-1:123456789012:execution:p:run-1",
        mode="batch",
        priority="normal",
        source=Source(bucket="in-bucket", prefix="default/corpus/x/"),
        model=Model("m", "us.vendor.m-v1:0", "claude", "converse", True),
        prompt=Prompt(),
        quotas=Quotas(Quota(5, "override"), quota, quota, quota, quota, Quota(3, "override")),
        limits=Limits(5, 100, 10**6, 10**6, 10**6, 0, 3, 24, 90),
        settings=RunSettings(1, 1, 1, 100, 200_000, 10.0, 90_000, 90_000),
        cuts=Cuts("default/runs/run-1/plan/cuts.jsonl", 1, 1),
        estimate=Estimate(),
        created_at="2027-01-15T07:59:00.000+00:00",
        request_digest="d",
    )
    return replace(spec, **changes)


class Stage:
    """One run's services. `unit_context` is what the logic gets."""

    def __init__(self, spec: RunSpec | None = None) -> None:
        self.world = World()
        self.spec = spec or make_spec()
        self.places = Places(self.spec.tenant, self.spec.run)
        self.input, self.output = FakeBucket("in-bucket", self.world), FakeBucket("out-bucket", self.world)
        self.runs, self.ledger, self.queue = FakeRuns(self.world), FakeLedger(self.world), FakeQueue(self.world)
        self.jobs, self.tasks, self.bus = FakeJobs(self.world), FakeTasks(self.world), FakeBus(self.world)
        self.model, self.time = FakeModel(), FakeTime()
        self.executions = FakeExecutions(self.world)
        self.world.runs = self.runs

    @property
    def unit_context(self) -> UnitContext:
        return UnitContext(
            self.spec,
            self.input,
            self.output,
            self.runs,
            self.ledger,
            self.queue,
            self.jobs,
            self.model,
            self.time.clock,
            self.executions,
            self.leases,
            lambda: SETTINGS,
        )

    @property
    def leases(self) -> Leases:
        return Leases(self.runs, lambda: self.time.now, keeper=unattended)

    @property
    def stop_world(self) -> StopServices:
        return StopServices(
            name="tickets",
            output=self.output,
            runs=self.runs,
            jobs=self.jobs,
            executions=self.executions,
            bus=self.bus,
            clock=self.time.clock,
            spec_of=lambda tenant, run: self.spec,
            leases=self.leases,
        )

    def piece(self, piece: str, ids: Sequence[str], *, sync: bool = False) -> list[dict[str, Any]]:
        """Writes a piece and its index as cut_shards does; the index lines."""
        shard, index = b"", []
        for record_id in ids:
            line = json.dumps({"recordId": record_id, "modelInput": {"prompt": record_id}}).encode()
            index.append(
                {
                    "recordId": record_id,
                    "shard": piece,
                    "offset": len(shard),
                    "length": len(line),
                    "source": {"key": "default/corpus/x/a.jsonl", "offset": len(shard), "length": len(line)},
                }
            )
            shard += line + b"\n"
        self.input.objects[self.places.shard(piece)] = shard
        lines = [json.dumps(line).encode() + b"\n" for line in index]
        self.input.objects[self.places.index(piece)] = b"".join(lines)
        if sync:
            settings = self.spec.settings
            batches = item_batches.cut(
                piece, map(len, lines), items=settings.items_per_batch, size=settings.bytes_per_batch
            )
            self.input.objects[self.places.batches(piece)] = b"".join(one.line() for one in batches)
        return index

    def state(self) -> dict[str, Any]:
        """What outlives the worker and means something; messages as a set, since a queue may hold one twice.

        Whose word it was, and when, means nothing: neither leases, epochs and generations nor the names that follow
        from them, nor objects that nobody has committed.
        """
        items = {
            key: {name: value for name, value in item.items() if name not in _WHOSE}
            for key, item in self.runs.items.items()
            # A count of slots is a cache: a slot that a dead worker took is free again at the next one.
            if key[1] not in (COUNT, LEASE)
        }
        for key, item in items.items():
            if key[0] == STALE:
                # Marks of stale manifests are unlike any other: what they say first is why.
                item["mark"] = item["mark"].rpartition(" ")[0]
        return {
            "input": {_bare(key): _bare(body.decode()) for key, body in self.input.objects.items()},
            "output": meaningful(self.output, self.runs),
            "runs": {key: json.loads(_bare(json.dumps(item))) for key, item in items.items()},
            "ledger": self.ledger.owners,
            "queue": self.queue.distinct,
            "jobs": dict(self.jobs.jobs),
            "bus": {json.dumps(event, sort_keys=True) for event in self.bus.events},
        }


_WHOSE = ("generation", "version", "epoch", "expires_at", "openedAt", "dueAt")
_PART = re.compile(r"/(results|failures|parked)/")


def meaningful(output: FakeBucket, runs: FakeRuns) -> dict[str, str]:
    """Objects that are no parts, and parts that somebody has committed."""
    named = json.dumps([*runs.items.values()])
    return {
        _bare(key): _bare(body.decode("latin-1"))
        for key, body in output.objects.items()
        if not _PART.search(key) or (body and key in named)
    }


def _bare(text: str) -> str:
    return re.sub(r"-t\d+(?=\.jsonl|[\"'])|\"epoch\": \d+|<!-- epoch \d+ -->", "", text)


def assert_survives_kills(make: Callable[[], Stage], work: Callable[[Stage], Any], *, at_least: int) -> None:
    """Kills the worker after each of its side effects in turn, tries again, and wants the undisturbed end state."""
    calm = make()
    expected = _outcome(work, calm)
    effects = calm.world.effects
    assert len(effects) >= at_least, f"only {effects}"
    for number in range(1, len(effects) + 1):
        stage = make()
        stage.world.kill_at = number
        try:
            work(stage)
            raise AssertionError(f"nobody died at effect {number}")
        except Killed:
            pass
        stage.world.revive()
        assert _outcome(work, stage) == expected, f"killed after {effects[number - 1]} ({number})"
        assert stage.state() == calm.state(), f"killed after {effects[number - 1]} ({number})"
    again = _outcome(work, calm)
    assert again == expected, "a second, undisturbed invocation"


def _outcome(work: Callable[[Stage], Any], stage: Stage) -> Any:
    try:
        return _bare(repr(work(stage)))
    except Exception as error:
        return type(error), str(error)


def submit_services(made: Stage) -> SubmitServices:
    return SubmitServices(
        settings=SETTINGS,
        input_bucket=made.input,
        output_bucket="out-bucket",
        runs=made.runs,
        jobs=made.jobs,
        tasks=made.tasks,
        now=made.time.now,
    )


def finish_services(made: Stage) -> FinishServices:
    return FinishServices(made.output, made.runs, made.bus, made.time.clock, made.leases)
