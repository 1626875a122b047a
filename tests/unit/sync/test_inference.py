"""The pace of on-demand inference, and when it stops."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from bulk_inference.core.ports import Clock
from bulk_inference.sync.inference import AdaptiveLimiter, infer_all, infer_one
from tests.worlds.inference_world import REACH, FakeModel, FakeOutcome, FakeTime

THROTTLED = FakeOutcome(error_class="throttled", error_code="ThrottlingException")
BROKEN = FakeOutcome(error_class="model_error", error_code="ModelErrorException")
REFUSED = FakeOutcome(error_class="invalid_request", error_code="ValidationException")
DONE = FakeOutcome(output={"x": 1})


def one(model: FakeModel, time: FakeTime) -> Any:
    pace = AdaptiveLimiter(4, time.clock, jitter=lambda: 0.0)
    return infer_one(lambda: model.infer("m", "converse", {"prompt": "p"}, REACH), pace, time.clock)


def test_a_throttle_is_waited_out_and_blames_no_record() -> None:
    model, time = FakeModel(), FakeTime()
    model.answers["p"] = [*[THROTTLED] * 9, DONE]
    assert one(model, time) is DONE
    assert time.slept > 9


def test_an_erring_model_is_tried_a_few_times() -> None:
    model, time = FakeModel(), FakeTime()
    model.answers["p"] = [BROKEN, BROKEN, DONE]
    assert one(model, time) is DONE
    model.answers["p"] = [BROKEN]
    model.calls.clear()
    assert one(model, time) is BROKEN
    assert len(model.calls) == 4


def test_a_refused_record_is_not_tried_again() -> None:
    model, time = FakeModel(), FakeTime()
    model.answers["p"] = [REFUSED]
    assert one(model, time) is REFUSED
    assert len(model.calls) == 1


def test_a_storm_of_throttles_ends_at_the_deadline_with_the_record_unsettled() -> None:
    model, time = FakeModel(), FakeTime(remaining=200.0)
    model.answers["p"] = [THROTTLED]
    assert one(model, time) is None
    assert time.remaining > 0


def test_throttles_that_come_together_halve_the_pool_once() -> None:
    time = FakeTime()
    pace = AdaptiveLimiter(8, time.clock, jitter=lambda: 0.0)
    for _ in range(8):
        assert pace.enter()
    for _ in range(8):
        pace.leave(throttled=True)
    assert pace.limit == 4


def test_successes_widen_the_pool_again_up_to_its_width() -> None:
    time = FakeTime()
    pace = AdaptiveLimiter(4, time.clock, jitter=lambda: 0.0)
    pace.enter()
    pace.leave(throttled=True)
    assert pace.limit == 2
    for _ in range(50):
        pace.enter()
        pace.leave(throttled=False)
    assert pace.limit == 4


def test_no_more_requests_run_at_once_than_the_width() -> None:
    time, lock = FakeTime(), threading.Lock()
    running, most = 0, 0
    # The first three wait for each other, so that they do run at once; a fourth would be seen.
    together = threading.Barrier(3)

    def call() -> FakeOutcome:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait(timeout=30)
        with lock:
            running -= 1
        return DONE

    found = list(infer_all(range(9), lambda at: call, time.clock, width=3))
    assert sorted(at for at, _ in found) == list(range(9))
    assert most == 3


def test_nothing_is_started_when_no_time_is_left() -> None:
    model, time = FakeModel(), FakeTime(remaining=900.0)
    answers = iter([900.0, *[10.0] * 1000])
    clock = Clock(lambda: time.now, lambda: next(answers), time.sleep)
    call = lambda: model.infer("m", "c", {}, REACH)  # noqa: E731
    assert list(infer_all(range(5), lambda at: call, clock)) == []
    assert model.calls == []


def test_a_request_that_hangs_is_given_up_in_time_to_land_the_others() -> None:
    time, release = FakeTime(remaining=900.0), threading.Event()
    passed = threading.Event()

    def call(at: int) -> FakeOutcome:
        if at == 0:
            release.wait(timeout=30)
        return DONE

    def remaining() -> float:
        return 1.0 if passed.is_set() else 900.0

    clock = Clock(lambda: time.now, remaining, time.sleep)
    found = []
    for at, _ in infer_all(range(4), lambda at: lambda: call(at), clock, width=4):
        found.append(at)
        if len(found) == 3:
            passed.set()
    release.set()
    assert sorted(found) == [1, 2, 3]


def test_an_error_of_ours_ends_the_work() -> None:
    def call_of(at: int) -> Callable[[], FakeOutcome]:
        raise KeyError(at)

    with pytest.raises(KeyError):
        list(infer_all(range(3), call_of, FakeTime().clock))
