"""Leases: of several workers of one unit, the word of one counts."""

from collections.abc import Callable

import pytest

from bulk_inference.core.errors import ThrottledError, WorkInProgressError
from bulk_inference.core.leases import LEASE_SECONDS, RENEWAL_SECONDS, Lease, Leases, unattended
from bulk_inference.core.part_names import next_parts
from bulk_inference.core.ports import Put
from bulk_inference.core.runs_table import LEASE, lease_pk
from tests.worlds.inference_world import FakeRuns, FakeTime, Killed, World


class Place:
    def __init__(self) -> None:
        self.time, self.runs = FakeTime(), FakeRuns(World())
        self.leases = Leases(self.runs, lambda: self.time.now, keeper=unattended)

    def acquire(self) -> Lease:
        return self.leases.acquire("r", "u")


ITEM = {"pk": "RUN#r", "sk": "UNIT#u", "n": 1}


def test_one_worker_has_a_unit_and_another_is_refused_at_any_second_of_its_work() -> None:
    """A function may run for 900 s; whatever round or segment another one would be at, the unit is the unit."""
    place = Place()
    with place.leases.hold("r", "u") as lease:
        for _ in range(45):
            place.time.now += RENEWAL_SECONDS
            with pytest.raises(WorkInProgressError, match="unit u of run r is being worked on"):
                place.acquire()
            assert lease.renew()
    assert place.acquire().epoch == lease.epoch + 1, "given back at once"


def test_a_killed_worker_keeps_others_waiting_for_a_minute_and_no_longer() -> None:
    place = Place()
    with pytest.raises(Killed), place.leases.hold("r", "u"):
        raise Killed
    place.time.now += LEASE_SECONDS - 1
    with pytest.raises(WorkInProgressError):
        place.acquire()
    place.time.now += 1
    assert place.acquire().epoch == 2
    assert LEASE_SECONDS <= 60
    assert RENEWAL_SECONDS * 2 < LEASE_SECONDS, "one renewal may be lost"


def test_a_worker_that_raises_gives_its_unit_back_at_once() -> None:
    place = Place()
    with pytest.raises(ValueError), place.leases.hold("r", "u"):
        raise ValueError
    assert place.acquire().epoch == 2


@pytest.mark.parametrize("effect", [lambda lease: lease.commit(Put(ITEM)), lambda lease: lease.check()])
def test_a_worker_that_was_frozen_saves_nothing_once_another_one_has_its_unit(effect: Callable[[Lease], None]) -> None:
    place = Place()
    frozen = place.acquire()
    place.time.now += LEASE_SECONDS
    place.acquire()
    with pytest.raises(WorkInProgressError, match="taken over by another worker"):
        effect(frozen)
    assert not frozen.renew()
    frozen.release()
    assert place.runs.get("RUN#r", "UNIT#u") is None
    with pytest.raises(WorkInProgressError):
        place.acquire()


def test_the_generation_rises_when_something_may_be_left_over_and_only_then() -> None:
    place = Place()
    generations = []
    for what in ("nothing", "committed", "written and raised", "committed at last", "killed", "nothing"):
        lease = place.acquire()
        generations.append(lease.generation)
        if what == "committed":
            lease.part("x")
            lease.commit(Put(ITEM))
        elif what == "written and raised":
            lease.part("x")
        elif what == "committed at last":
            lease.part("x")
            lease.commit(Put(ITEM), last=True)
        if what != "killed":
            lease.release()
        place.time.now += LEASE_SECONDS
    assert generations == [0, 0, 0, 1, 1, 2]


def test_names_of_earlier_generations_are_withdrawn_once_and_none_is_written_by_two() -> None:
    place, emptied = Place(), list[str]()
    first = place.acquire()
    assert first.part("p") == "p"
    place.time.now += LEASE_SECONDS
    second = place.acquire()
    assert (second.part("p"), list(second.stale)) == ("p-t1", [0])
    second.withdraw(["p", "q"], emptied.append)
    assert emptied == ["p", "q"]
    second.commit(Put(ITEM))
    second.release()
    third = place.acquire()
    assert (third.part("p"), list(third.stale)) == ("p-t1", []), "nothing was left over"
    place.time.now += LEASE_SECONDS
    assert list(place.acquire().stale) == [1]


def test_what_was_not_withdrawn_before_a_worker_died_is_for_the_next() -> None:
    place = Place()
    for expected in ([], [0], [0, 1]):
        assert list(place.acquire().stale) == expected
        place.time.now += LEASE_SECONDS


def test_an_answer_that_was_lost_is_known_again() -> None:
    """The SDK tries again, and finds what its first try wrote."""
    place = Place()
    put_new, put_if = place.runs.put_new, place.runs.put_if
    place.runs.put_new = lambda item: put_new(item) or put_new(item)  # type: ignore[method-assign]
    first = place.acquire()
    assert first.epoch == 1
    first.release()
    place.runs.put_new = put_new  # type: ignore[method-assign]
    place.runs.put_if = lambda *given: put_if(*given) and put_if(*given)  # type: ignore[method-assign]
    assert place.acquire().epoch == 2


def test_of_two_that_come_for_a_lapsed_lease_one_gets_it() -> None:
    place = Place()
    place.acquire()
    place.time.now += LEASE_SECONDS
    put_if, met = place.runs.put_if, list[Lease]()

    def slow(*given: object) -> bool:
        place.runs.put_if = put_if  # type: ignore[method-assign]
        met.append(place.acquire())
        return put_if(*given)  # type: ignore[arg-type]

    place.runs.put_if = slow  # type: ignore[method-assign, assignment]
    with pytest.raises(WorkInProgressError):
        place.acquire()
    assert met[0].epoch == 2


def test_a_lease_that_cannot_be_given_back_does_not_hide_what_the_work_raised() -> None:
    place = Place()

    def busy(*given: object) -> bool:
        raise ThrottledError("now")

    def fail() -> None:
        place.runs.put_if = busy  # type: ignore[method-assign, assignment]
        raise ValueError("own")

    with pytest.raises(ValueError, match="own"), place.leases.hold("r", "u"):
        fail()


def test_a_thread_renews_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulk_inference.core.leases.RENEWAL_SECONDS", 0.001)
    place = Place()
    with Leases(place.runs, lambda: place.time.now).hold("r", "u") as lease:
        place.time.now += 1000
        item = place.runs.items[(lease_pk("r", "u"), LEASE)]
        while place.runs.items[(lease_pk("r", "u"), LEASE)]["until"] == item["until"] < place.time.now:
            pass
        with pytest.raises(WorkInProgressError):
            place.acquire()
    assert lease.epoch == 1


@pytest.mark.parametrize(
    ("unit", "item", "expected"),
    [
        ("00001-a1", None, ["00001"]),
        ("00001-a2", {"segment": 3}, ["00001-a2-s3"]),
        ("00001-a2", {"segment": 3, "drained": True}, []),
        ("sync-x", None, []),
        ("sync-x", {"outcomes": "L" * 50 + "." + "F" * 49 + "D", "flushes": {"1": 2}}, ["sync-x-001-f3"]),
        ("sync-x", {"outcomes": "." * 101, "flushes": {}}, ["sync-x-000", "sync-x-001", "sync-x-002"]),
        ("sync-x", {"outcomes": ".", "flushes": {}, "settled": True}, []),
        ("reprocess-abc", None, ["reprocess-abc"]),
    ],
)
def test_what_a_dead_worker_may_have_left_follows_from_its_units_item(
    unit: str, item: dict[str, object] | None, expected: list[str]
) -> None:
    assert next_parts(unit, item) == expected
