"""One AWS account in memory with the module applied to it, whose functions are the module's own handlers."""

import importlib
import itertools
import json
import os
import pkgutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures import Future
from functools import cache
from types import BuiltinFunctionType, FunctionType, ModuleType, SimpleNamespace
from typing import Any

from bulk_inference import handlers
from tests.explorer.aws.bedrock import Jobs, Model, Runtime
from tests.explorer.aws.control import Events, Quotas, StepFunctions
from tests.explorer.aws.objects import Objects
from tests.explorer.aws.queues import ACCOUNT, URL, Queue, Queues
from tests.explorer.aws.tables import Tables
from tests.explorer.workers import Killed, Strike, Worker, current

NOW = 1_800_000_000.0
SECONDS = 900
"""How long a function may run."""

INPUT, OUTPUT = "in-bucket", "out-bucket"
LANES = ("lane", "lane-high", "lane-low")
DEAD = "dead"
INTAKE = ("intake-high", "intake-normal", "intake-low")
HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
PIPELINE = f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:tickets-pipeline"
ASSEMBLY = f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:tickets-assemble_results"

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "POWERTOOLS_TRACE_DISABLED": "1",
    "POWERTOOLS_METRICS_DISABLED": "true",
    "POWERTOOLS_METRICS_NAMESPACE": "explorer",
    "POWERTOOLS_SERVICE_NAME": "explorer",
    "POWERTOOLS_LOG_LEVEL": "CRITICAL",
    "NAME": "tickets",
    "INPUT_BUCKET": INPUT,
    "OUTPUT_BUCKET": OUTPUT,
    "LEDGER_TABLE": "ledger",
    "RUNS_TABLE": "runs",
    "REPROCESS_QUEUE_URL": URL + "lane",
    "EVENT_BUS_NAME": "bus",
    "SETTINGS_KEY": "config/settings.json",
    "DEAD_LETTER_QUEUE_URL": URL + DEAD,
    "PIPELINE_ARN": PIPELINE,
    "ASSEMBLY_ARN": ASSEMBLY,
    "INTAKE_QUEUES_URL": URL + "intake",
    "INTAKE_POOLS": json.dumps(
        {name: {"documents": 3, "minutes": 10, "megabytes": 1} for name in ("high", "normal", "low")}
    ),
    "INTAKE_MAX_RECEIVES": "5",
}
ROLE = f"arn:aws:iam::{ACCOUNT}:role/batch"
_MOST = {"maxRecordsPerFile": 1000, "maxFileBytes": 10**9, "maxJobBytes": 10**9, "maxJobsInFlight": 20}
SETTINGS: dict[str, Any] = {
    "name": "tickets",
    "models": {
        HAIKU: {
            "invokeId": HAIKU,
            "overrides": {"minRecordsPerJob": 2, "maxRecordsPerJob": 1000, **_MOST},
            "tokensPerMinute": 10**6,
        }
    },
    "tenants": {"default": {"batchRoleArn": ROLE}},
    "defaults": {"canaryRecords": 0, "toleratedFailurePercentage": 100},
}


class Account:
    """What outlives every worker. `copy` makes another one that shares nothing with it."""

    def __init__(self) -> None:
        self.now = NOW
        self.invocations = 0
        self.pace = 0.0
        """Seconds that each effect takes."""
        self.commands: list[tuple[dict[str, Any], dict[str, Any] | None]] = []
        """What an operator has asked for, and the answers: None of a worker that has brought none."""
        self.s3 = Objects()
        self.s3.buckets = {INPUT: {}, OUTPUT: {}}
        self.dynamodb = Tables({"runs": ("pk", "sk"), "ledger": ("pk",)})
        self.sqs = Queues(self._now)
        for name in LANES:
            self.sqs.queues[name] = Queue(900, DEAD)
        self.sqs.queues[DEAD] = Queue(30)
        for name in INTAKE:
            self.sqs.queues[name] = Queue(900, f"{name}-dead-letter")
            self.sqs.queues[f"{name}-dead-letter"] = Queue(30)
        self.states = StepFunctions(self._now)
        self.events = Events()
        self.quotas = Quotas()
        self.model = Model()
        self.runtime = Runtime(self.model)
        self.bedrock = Jobs(self.s3, self.model, self._now)
        self.put(INPUT, "config/settings.json", json.dumps(SETTINGS).encode())
        self._set_clocks()

    def copy(self) -> "Account":
        new = Account.__new__(Account)
        new.now, new.invocations, new.pace = self.now, self.invocations, self.pace
        new.commands = list(self.commands)
        new.s3, new.dynamodb = self.s3.copy(), self.dynamodb.copy()
        new.sqs, new.states, new.events = self.sqs.copy(new._now), self.states.copy(new._now), self.events.copy()
        new.quotas, new.model = Quotas(), self.model.copy()
        new.runtime = Runtime(new.model)
        new.bedrock = self.bedrock.copy(new.s3, new.model, new._now)
        new._set_clocks()
        return new

    def _set_clocks(self) -> None:
        for client in (self.s3, self.dynamodb, self.sqs, self.states, self.events, self.runtime, self.bedrock):
            client.passes = self._pass

    def _pass(self) -> None:
        self.now += self.pace

    def _now(self) -> float:
        return self.now

    # Objects and items, as a person sees them.

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self.s3.buckets[bucket][key] = body

    def lines(self, bucket: str, key: str) -> list[dict[str, Any]]:
        return [json.loads(raw) for raw in self.s3.buckets[bucket].get(key, b"").split(b"\n") if raw]

    def below(self, bucket: str, prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Lines of all objects below a prefix, each with its object's key."""
        for key in self.s3.keys(bucket, prefix):
            for line in self.lines(bucket, key):
                yield key, line

    def items(self, pk: str, sk: str = "", table: str = "runs") -> list[dict[str, Any]]:
        from bulk_inference.aws.dynamodb import _decode

        found = self.dynamodb.items[table].get(pk, {})
        items = [_decode(found[one]) for one in sorted(found) if one.startswith(sk)]
        return [one for one in items if one.get("expires_at", self.now + 1) > self.now]

    def bodies(self, *queues: str) -> list[dict[str, Any]]:
        return [json.loads(one.body) for name in queues for one in self.sqs.queues[name].messages]

    # Invocations.

    def worker(self, function: str, event: Any, strike: Strike | None = None, seconds: int = SECONDS) -> Worker:
        """An invocation that has not begun."""
        return Worker(function, lambda: self._invoke(function, event, seconds), strike)

    def invoke(self, function: str, event: Any, seconds: int = SECONDS) -> Any:
        """The function's answer. Raises what it raises."""
        worker = self.worker(function, event, seconds=seconds).run()
        if worker.error is not None:
            raise worker.error
        return worker.answer

    def _invoke(self, function: str, event: Any, seconds: int) -> Any:
        _forget_caches()
        self.invocations += 1
        handler = _handler(function)
        if function != "redrive_failures":
            return _json(handler(_json(event), _Context(self, seconds)))
        self.commands.append((event, None))
        number = len(self.commands) - 1
        answer = _json(handler(_json(event), _Context(self, seconds)))
        self.commands[number] = (event, answer)
        return answer

    def sleep(self, seconds: float) -> None:
        worker = current()
        if worker is not None:
            worker.require_alive()
        self.now += seconds

    def __enter__(self) -> "Account":
        _install(self)
        return self

    def __exit__(self, *_: Any) -> None:
        _install(None)


def _json(value: Any) -> Any:
    """As it travels between services."""
    return json.loads(json.dumps(value))


class _Context:
    """Lambda's context of one invocation."""

    function_name = "f"
    memory_limit_in_mb = 512
    invoked_function_arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"

    def __init__(self, account: Account, seconds: int) -> None:
        self._account, self._until = account, account.now + seconds
        self.aws_request_id = f"00000000-0000-0000-0000-{account.invocations:012d}"

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._until - self._account.now) * 1000))


# What stands between the handlers and the world is replaced once for the process; the account is set each time.


class _Installed:
    account: Account | None = None


def account_installed() -> Account:
    assert _Installed.account is not None, "no account is installed"
    return _Installed.account


def _install(account: Account | None) -> None:
    _replace_world()
    _Installed.account = account


@cache
def _replace_world() -> None:
    os.environ.update(ENVIRONMENT)
    os.environ.pop("AWS_ENDPOINT_URL", None)
    from bulk_inference.aws import bedrock, bedrock_runtime, dynamodb, events, s3, service_quotas, sqs, stepfunctions

    clients: dict[ModuleType, str] = {
        bedrock: "bedrock",
        bedrock_runtime: "runtime",
        dynamodb: "dynamodb",
        events: "events",
        s3: "s3",
        service_quotas: "quotas",
        sqs: "sqs",
        stepfunctions: "states",
    }
    for module, name in clients.items():
        module.connect = lambda *_, name=name, **__: getattr(account_installed(), name)  # type: ignore[attr-defined]
    time.time, time.sleep = _now, _sleep  # type: ignore[assignment]
    _replace_clocks()
    _replace_threads()
    _replace_powertools()
    _make_small()


_real_time, _real_sleep = time.time, time.sleep


def _now() -> float:
    return _real_time() if _Installed.account is None else _Installed.account.now


def _sleep(seconds: float) -> None:
    if _Installed.account is None:
        _real_sleep(seconds)
    else:
        _Installed.account.sleep(seconds)


def _replace_clocks() -> None:
    """Clocks that functions have taken as defaults when they were made."""
    replaced: dict[Any, Any] = {_real_time: _now, _real_sleep: _sleep}
    for module in _modules():
        for value in list(vars(module).values()):
            members = vars(value).values() if isinstance(value, type) else [value]
            for one in [member for member in members if isinstance(member, FunctionType)]:
                if one.__defaults__:
                    one.__defaults__ = tuple(_other(replaced, given) for given in one.__defaults__)
                if one.__kwdefaults__:
                    one.__kwdefaults__ = {name: _other(replaced, given) for name, given in one.__kwdefaults__.items()}


def _other(replaced: dict[Any, Any], given: Any) -> Any:
    return replaced.get(given, given) if isinstance(given, BuiltinFunctionType) else given


def _replace_powertools() -> None:
    """The idempotency layer asks datetime, which asks no time.time; and metrics are nobody's."""
    import datetime

    import aws_lambda_powertools.metrics.metrics  # noqa: F401
    from aws_lambda_powertools.utilities.idempotency.persistence import base, datarecord
    from aws_lambda_powertools.utilities.idempotency.persistence import dynamodb as layer

    class Moment(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Moment":
            return cls.fromtimestamp(_now(), tz)

    clock = SimpleNamespace(datetime=Moment, timedelta=datetime.timedelta)
    for module in (base, datarecord, layer):
        module.dt = clock  # type: ignore[attr-defined]
    for name, module in list(sys.modules.items()):
        if name.startswith("aws_lambda_powertools.metrics"):
            module.print = lambda *_, **__: None  # type: ignore[attr-defined]


def _modules() -> list[ModuleType]:
    """Everything that the handlers import."""
    for found in pkgutil.iter_modules(handlers.__path__, "bulk_inference.handlers."):
        importlib.import_module(found.name)
    return [module for name, module in sorted(sys.modules.items()) if name.startswith("bulk_inference.")]


def _make_small() -> None:
    """So that few records are many chunks."""
    for name, usual in (("CHUNK", 50), ("CHUNK_LINES", 1000)):
        found = [module for module in _modules() if getattr(module, name, None) == usual]
        assert found, f"no module has {name} = {usual} any more"
        for module in found:
            setattr(module, name, 3)


def _replace_threads() -> None:
    """Threads of a worker do their work one after the other, in the worker's own thread, when they are waited for."""
    for module in _modules():
        if getattr(module, "ThreadPoolExecutor", None) is futures.ThreadPoolExecutor:
            module.ThreadPoolExecutor = InlineExecutor  # type: ignore[attr-defined]
        if getattr(module, "wait", None) is futures.wait:
            module.wait = _wait  # type: ignore[attr-defined]


_numbers = itertools.count()


class _Lazy(Future[Any]):
    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self.number = next(_numbers)
        self._work: Callable[[], Any] | None = work

    def finish(self) -> None:
        work, self._work = self._work, None
        if work is None or not self.set_running_or_notify_cancel():
            return
        try:
            self.set_result(work())
        except BaseException as error:
            self.set_exception(error)
            if isinstance(error, Killed):
                raise

    def result(self, timeout: float | None = None) -> Any:
        self.finish()
        return super().result(timeout)


class InlineExecutor:
    """A ThreadPoolExecutor without threads."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self._futures: list[_Lazy] = []

    def submit(self, work: Callable[..., Any], *given: Any, **named: Any) -> _Lazy:
        future = _Lazy(lambda: work(*given, **named))
        self._futures.append(future)
        return future

    def map(self, work: Callable[..., Any], *iterables: Iterable[Any]) -> Iterator[Any]:
        coming = [self.submit(work, *given) for given in zip(*iterables, strict=False)]
        return (future.result() for future in coming)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        for future in self._futures:
            if cancel_futures or not wait:
                future.cancel()
            else:
                future.finish()

    def __enter__(self) -> "InlineExecutor":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is None or not issubclass(kind, Killed):
            self.shutdown()


def _wait(waiting: Iterable["_Lazy"], timeout: float | None = None, return_when: str = "") -> Any:
    """The first of them is done, the others are not."""
    pending = sorted(waiting, key=lambda one: one.number)
    pending[0].finish()
    return {pending[0]}, set(pending[1:])


@cache
def _handler(function: str) -> Callable[[Any, Any], Any]:
    return importlib.import_module(f"bulk_inference.handlers.{function}").handler  # type: ignore[no-any-return]


@cache
def _caches() -> list[Any]:
    found = {}
    for module in _modules():
        if module.__name__.startswith(("bulk_inference.handlers", "bulk_inference.aws")):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    found[id(value)] = value
    return list(found.values())


def _forget_caches() -> None:
    """Each worker is a process of its own, which has just begun."""
    for one in _caches():
        one.cache_clear()
