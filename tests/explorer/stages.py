"""Stages: an account at the moment when two workers meet, and what each of them is about to do."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.explorer import invariants
from tests.explorer.account import LANES, PIPELINE, Account
from tests.explorer.assembling import begin_late
from tests.explorer.runs import (
    Child,
    Run,
    delivered,
    delivery,
    drain_lanes,
    drive,
    reduce,
    require_no_refusal,
    tolerant,
    update,
)
from tests.explorer.workers import Fault, Strike, Worker


@dataclass
class Stage:
    account: Account
    runs: list[Run]
    strike: Strike | None = None
    """What has befallen the first worker."""
    effect: str = ""
    """At which of its effects."""
    began: float = 0.0
    """When the first worker began, epoch seconds."""
    paid: dict[str, int] = field(default_factory=dict)
    """Calls of the model by prompt, before that."""

    def copy(self) -> "Stage":
        account = self.account.copy()
        return Stage(account, [run.copy(account) for run in self.runs])

    @property
    def run(self) -> Run:
        return self.runs[0]

    def settle(self) -> None:
        """All that is still to come, until nothing moves any more."""
        for _ in range(3):
            self.finish_runs()
            self.repeat_commands()
            drain_lanes(self.account)
            self.account.now += 7200
            tolerant(self.account, "reconcile_jobs", {})
            for _ in range(3):
                update(self.account)
                self.finish_runs()

    def repeat_commands(self) -> None:
        """An operator repeats a command until it says that it is finished."""
        commands: dict[str, tuple[dict[str, Any], bool]] = {}
        for event, answer in self.account.commands:
            name = json.dumps(event)
            before = commands.get(name, (event, False))[1]
            commands[name] = (event, before or bool(answer and answer["finished"]))
        for event, finished in commands.values():
            for _ in range(0 if finished else 5):
                if tolerant(self.account, "redrive_failures", event)["finished"]:
                    break
                self.account.now += 1000

    def finish_runs(self) -> None:
        """Every execution of the pipeline to its end: those that somebody has started since, too."""
        known = {run.arn for run in self.runs}
        for arn, one in self.account.states.executions.items():
            # What has ended well was played by whoever started it, such as an assembly.
            if one.machine == PIPELINE and arn not in known and one.status != "SUCCEEDED":
                self.runs.append(Run(self.account, one.name, json.loads(one.input)))
        for run in self.runs:
            if not run.sealed:
                run.prepare()
            if not run.status:
                run.finish()
        for late in begin_late(self.account, set()):
            while not late.done:
                drive(late)

    def check(self) -> list[str]:
        return invariants.check(self.account, self.runs)


@dataclass
class Doing:
    """What a worker is about to do, and what its caller makes of it."""

    worker: Worker
    answered: Callable[[], None] = lambda: None
    child: Child | None = None


Act = Callable[[Stage, Strike | None], Doing]
"""Makes an invocation that has not begun."""

Other = Callable[[Stage, Doing], bool]
"""What is done meanwhile; whether anybody still waits for the first worker's answer."""


def function(name: str, event: Callable[[Stage], Any]) -> Act:
    """An invocation by a caller that takes no notice of the answer: a schedule, an event, a person."""
    return lambda stage, strike: Doing(stage.account.worker(name, event(stage), strike))


def state(choose: Callable[[Run], tuple[str, dict[str, Any]]], run: int = 0) -> Act:
    """A state of the pipeline."""

    def act(stage: Stage, strike: Strike | None) -> Doing:
        of = stage.runs[run]
        name, event = choose(of)
        worker = stage.account.worker(name, event, strike)
        return Doing(worker, lambda: require_no_refusal(name, of.name, worker.error))

    return act


def child(name: str, run: int = 0, seconds: int = 900) -> Act:
    """The state in which a child stands."""

    def act(stage: Stage, strike: Strike | None) -> Doing:
        one, of = stage.runs[run].children[name], stage.runs[run]
        worker = stage.account.worker(one.function, of.event_of(one), strike, seconds)
        return Doing(worker, lambda: of.follow(one, worker), one)

    return act


def assembly(stage: Stage, strike: Strike | None) -> Doing:
    """The next state of the run's assembly."""
    one = stage.run.assembly
    assert one is not None
    call = one.calls[0]
    worker = stage.account.worker(*call, strike)

    def answered() -> None:
        if worker.error is None and one.calls[:1] == [call]:
            one.answered(worker.answer, lambda run, request: reduce(one, run, request))

    return Doing(worker, answered)


def assembling(stage: Stage, first: Doing) -> bool:
    """The lane lands what has failed, and a whole pass of another execution follows: a redrive."""
    drain_lanes(stage.account)
    stage.run.redrives += 1
    stage.run.begin_assembly()
    stage.run.assemble()
    return False


def lane(words: str = "", queue: str = LANES[0], consumer: str = "reprocess_records") -> Act:
    """The consumer of a queue, with the first message that holds some words: hidden or not, because SQS delivers at
    least once. Without such a message nothing is done."""

    def act(stage: Stage, strike: Strike | None) -> Doing:
        event = delivery(stage.account, queue, words)
        if event is None:
            return Doing(Worker("nothing", lambda: None))
        worker = stage.account.worker(consumer, event, strike)
        return Doing(worker, lambda: delivered(stage.account, queue, event, worker))

    return act


# What the other does.


def also(act: Act) -> Other:
    """Another function, whole; the first worker's caller still waits."""

    def other(stage: Stage, first: Doing) -> bool:
        second = act(stage, None)
        second.worker.run()
        require_own_error(second.worker)
        second.answered()
        return True

    return other


def retry(stage: Stage, first: Doing) -> bool:
    """The state machine tries the state of the child again: the first worker's answer goes nowhere."""
    assert first.child is not None
    run = next(one for one in stage.runs if first.child in one.children.values())
    run.step(first.child)
    return False


def shortly(seconds: int) -> Other:
    """As `retry`, with little time, as if the functions were slow; later again with all of it."""

    def other(stage: Stage, first: Doing) -> bool:
        assert first.child is not None
        run = next(one for one in stage.runs if first.child in one.children.values())
        stage.account.pace = 1.0
        if first.child.function:
            worker = stage.account.worker(first.child.function, run.event_of(first.child), seconds=seconds).run()
            run.follow(first.child, worker)
        stage.account.pace = 0.0
        return False

    return other


def tandem(at: int) -> Other:
    """The state machine tries the child's state again, and that worker freezes too, before an effect of its own: the
    first goes on to its end, and then the second."""

    def other(stage: Stage, first: Doing) -> bool:
        assert first.child is not None
        run = next(one for one in stage.runs if first.child in one.children.values())
        if not first.child.function:
            return False
        event = run.event_of(first.child)
        second = stage.account.worker(first.child.function, event, Strike(Fault.FREEZE_BEFORE, at)).run()
        if first.worker.frozen:
            first.worker.run()
        if second.frozen:
            second.run()
        require_own_error(second)
        run.follow(first.child, second)
        return False

    return other


def aborted(stage: Stage, first: Doing) -> bool:
    """Somebody aborts the execution; later it is redriven."""
    stage.run.stop()
    return False


def redriven(stage: Stage, first: Doing) -> bool:
    """The execution was aborted and redriven: the children begin anew."""
    stage.run.stop()
    stage.run.redrive()
    if first.child is not None:
        stage.run.step(stage.run.children[first.child.name])
    return False


def again(choose: Callable[[Run], tuple[str, dict[str, Any]]]) -> Other:
    """The state machine tries a state of the pipeline again."""

    def other(stage: Stage, first: Doing) -> bool:
        stage.run.tried(*choose(stage.run))
        return False

    return other


def rest(stage: Stage, first: Doing) -> bool:
    """All that is to come, without the first worker."""
    stage.settle()
    return False


def require_own_error(worker: Worker) -> None:
    """What a worker raises must be an error of ours."""
    from bulk_inference.core.errors import BulkInferenceError

    error = worker.error
    if error is not None and not isinstance(error, (BulkInferenceError, ExceptionGroup)):
        raise error
