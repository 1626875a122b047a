"""The claim rule: there is no claim, or the claim is mine."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_inference.core.backoff import DeadlineBackoff
from bulk_inference.core.errors import ThrottledError, WorkInProgressError
from bulk_inference.ledger.claims import (
    Claim,
    ClaimStanding,
    claim,
    claim_key,
    current_claims,
    give_back,
)
from tests.worlds.inference_world import FakeLedger, FakeTime, World

NOW = 1000


def claims(owner: str, *ids: str, expires_at: int = NOW + 100, epoch: int = 1) -> list[Claim]:
    return [Claim(claim_key("t", "s", one), owner, owner.partition("/")[0], expires_at, epoch) for one in ids]


def lost(ledger: FakeLedger, *wanted: Claim) -> dict[str, str]:
    return claim(ledger, wanted, now=NOW, patience=DeadlineBackoff(FakeTime().clock, 10))


def test_a_record_belongs_to_the_first_unit_that_claims_it() -> None:
    ledger = FakeLedger(World())
    assert lost(ledger, *claims("r/1", "a", "b")) == {}
    assert lost(ledger, *claims("r/2", "b", "c")) == {"t/s#b": "r/1"}
    assert ledger.owners == {"a": "r/1", "b": "r/1", "c": "r/2"}


def test_a_unit_owns_on_retry_what_it_claimed_before_it_died() -> None:
    ledger = FakeLedger(World())
    lost(ledger, *claims("r/1", "a"))
    assert lost(ledger, *claims("r/1", "a", "b")) == {}


def test_an_expired_claim_counts_as_none_although_it_is_still_there() -> None:
    """TTL deletes up to days late: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html"""
    ledger = FakeLedger(World())
    lost(ledger, *claims("old/1", "a", expires_at=NOW))
    assert lost(ledger, *claims("r/1", "a")) == {}
    assert ledger.owners == {"a": "r/1"}


def test_more_claims_than_a_request_takes_are_split() -> None:
    ledger = FakeLedger(World())
    ids = [f"{n}" for n in range(61)]
    lost(ledger, *claims("r/1", *ids))
    assert set(ledger.owners) == set(ids)


def test_throttled_statements_are_sent_again_and_the_others_are_not() -> None:
    ledger, tries = FakeLedger(World()), dict.fromkeys("ab", 0)

    def throttle(one: Claim) -> bool:
        name = one.key[-1]
        tries[name] += 1
        return name == "b" and tries["b"] < 3

    ledger.throttle = throttle
    assert lost(ledger, *claims("r/1", "a", "b")) == {}
    assert tries == {"a": 1, "b": 3}


def test_a_ledger_that_throttles_for_long_is_waited_for_until_the_reserve() -> None:
    ledger, time = FakeLedger(World()), FakeTime(remaining=300)
    ledger.throttle = lambda one: time.remaining > 100
    patience = DeadlineBackoff(time.clock, 60)
    assert claim(ledger, claims("r/1", "a"), now=NOW, patience=patience) == {}
    assert ledger.owners == {"a": "r/1"}
    ledger.throttle = lambda one: True
    with pytest.raises(ThrottledError, match="1 claims"):
        claim(ledger, claims("r/1", "b"), now=NOW, patience=patience)
    assert 60 <= time.remaining < 70


def test_a_ledger_that_refuses_whole_requests_is_waited_for_too() -> None:
    """Insert or lookup: what the SDK gives up on is tried again."""
    ledger, time = FakeLedger(World()), FakeTime(remaining=300)
    lost(ledger, *claims("r/1", "a"))

    def busy(until: float, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            if time.remaining > until:
                raise ThrottledError("ProvisionedThroughputExceededException")
            return work(*given)

        return call

    ledger.insert = busy(250, ledger.insert)  # type: ignore[method-assign]
    ledger.find = busy(200, ledger.find)  # type: ignore[method-assign]
    losers = claim(ledger, claims("r/2", "a", "b"), now=NOW, patience=DeadlineBackoff(time.clock, 60))
    assert (losers, ledger.owners) == ({"t/s#a": "r/1"}, {"a": "r/1", "b": "r/2"})
    assert time.remaining <= 200


def test_those_that_are_throttled_together_do_not_come_back_together() -> None:
    pauses = []
    for jitter in (0.0, 1.0):
        time = FakeTime()
        DeadlineBackoff(time.clock, 10, lambda jitter=jitter: jitter).pause(8, "claims")  # type: ignore[misc]
        pauses.append(time.slept)
    assert pauses == [2.5, 5.0]


def test_standing_claims_are_found_by_record_and_expired_ones_are_not() -> None:
    ledger = FakeLedger(World())
    ids = [f"{n}" for n in range(230)]
    lost(ledger, *claims("r/1", *ids))
    lost(ledger, *claims("old/1", "gone", expires_at=NOW))
    found = current_claims(ledger, "t", "s", [*ids, "gone", "never"], now=NOW)
    assert {record_id: one.owner for record_id, one in found.items()} == dict.fromkeys(ids, "r/1")


def test_a_claim_that_nobody_honours_is_taken_over_and_one_that_stands_is_not() -> None:
    ledger = FakeLedger(World())
    lost(ledger, *claims("dead/1", "a"), *claims("live/1", "b"))

    def stands(one: Claim) -> ClaimStanding:
        return ClaimStanding.FREE if one.run == "dead" else ClaimStanding.HELD

    losers = claim(
        ledger, claims("r/1", "a", "b"), now=NOW, patience=DeadlineBackoff(FakeTime().clock, 10), stands=stands
    )
    assert losers == {"t/s#b": "live/1"}
    assert ledger.owners == {"a": "r/1", "b": "live/1"}


def test_an_abandoned_claim_goes_to_one_of_those_that_want_it() -> None:
    """Between our look and our write another unit took it: the write must fail, and the other be seen as the owner."""
    ledger = FakeLedger(World())
    lost(ledger, *claims("dead/1", "a"))

    def stands(one: Claim) -> ClaimStanding:
        if one.run == "quick":
            return ClaimStanding.HELD
        ledger.claims[one.key] = claims("quick/1", "a")[0]
        return ClaimStanding.FREE

    losers = claim(ledger, claims("r/1", "a"), now=NOW, patience=DeadlineBackoff(FakeTime().clock, 10), stands=stands)
    assert losers == {"t/s#a": "quick/1"}


def test_what_cannot_be_told_yet_is_tried_again_later() -> None:
    ledger = FakeLedger(World())
    lost(ledger, *claims("ending/1", "a"))
    with pytest.raises(WorkInProgressError, match="ending"):
        claim(
            ledger,
            claims("r/1", "a"),
            now=NOW,
            patience=DeadlineBackoff(FakeTime().clock, 10),
            stands=lambda one: ClaimStanding.UNDECIDED,
        )
    assert ledger.owners == {"a": "ending/1"}


def test_only_own_claims_are_given_back() -> None:
    ledger = FakeLedger(World())
    lost(ledger, *claims("r/1", "a", "b"), *claims("r/2", "c"))
    keys = [claim_key("t", "s", one) for one in ("a", "c", "never")]
    assert give_back(ledger, keys, "r/1", 1) == 1
    assert ledger.owners == {"b": "r/1", "c": "r/2"}


def test_a_worker_that_was_frozen_gives_back_nothing_of_the_one_that_has_its_unit_now() -> None:
    ledger = FakeLedger(World())
    lost(ledger, *claims("r/1", "a", "b"))
    assert lost(ledger, *claims("r/1", "a", epoch=2)) == {}, (
        "the next worker finds its unit's claim, and makes it its own"
    )
    assert give_back(ledger, [one.key for one in claims("r/1", "a", "b")], "r/1", 1) == 1
    assert ledger.owners == {"a": "r/1"}
    with pytest.raises(WorkInProgressError, match="a later worker"):
        lost(ledger, *claims("r/1", "a"))


def test_a_claim_that_its_owner_has_made_anew_is_not_taken_over_on_an_older_judgement() -> None:
    """Between the judgement of a dead run's claim and its takeover, the run was redriven."""
    ledger, judged = FakeLedger(World()), list[int]()
    lost(ledger, *claims("dead/1", "a"))

    def stands(one: Claim) -> ClaimStanding:
        judged.append(one.epoch)
        if one.epoch == 1:
            ledger.claims[one.key] = claims("dead/1", "a", epoch=2)[0]
            return ClaimStanding.FREE
        return ClaimStanding.HELD

    losers = claim(ledger, claims("r/1", "a"), now=NOW, patience=DeadlineBackoff(FakeTime().clock, 10), stands=stands)
    assert losers == {"t/s#a": "dead/1"}
    assert judged == [1, 2]


def test_claims_pass_on_from_attempt_to_attempt_and_to_the_remainder_and_to_no_other_shard() -> None:
    """After attempt 1 has claimed and died, and its output is gone, its records are attempt 2's."""
    ledger = FakeLedger(World())
    lost(ledger, *claims("r/00001-a1", "a", "b", "c"))
    assert lost(ledger, *claims("r/00001-a2", "a")) == {}
    assert lost(ledger, *claims("r/sync-00001-a2", "a", "b")) == {}
    assert lost(ledger, *claims("r/00002-a2", "c")) == {"t/s#c": "r/00001-a1"}
    assert lost(ledger, *claims("other/00001-a2", "c")) == {"t/s#c": "r/00001-a1"}


def test_a_winner_that_has_vanished_is_no_winner_and_no_loser() -> None:
    ledger = FakeLedger(World())
    lost(ledger, *claims("r/1", "a"))
    find, looks = ledger.find, list[int]()

    def vanishing(keys: Sequence[str]) -> dict[str, Claim]:
        looks.append(1)
        found = find(keys)
        if len(looks) == 1:
            ledger.claims.clear()
            ledger.claims.update({one.key: one for one in claims("quick/1", "a")})
            return {}
        if len(looks) == 2:
            ledger.claims.clear()
            return found
        return found

    ledger.find = vanishing  # type: ignore[method-assign]
    assert lost(ledger, *claims("r/2", "a")) == {"t/s#a": "quick/1"}, "seen while it was there"
    assert ledger.owners == {}


def test_losers_that_were_found_before_a_throttle_stay_losers() -> None:
    ledger, tries = FakeLedger(World()), list[str]()
    lost(ledger, *claims("r/1", "a"))

    def throttle(one: Claim) -> bool:
        tries.append(one.key[-1])
        return one.key.endswith("b") and tries.count("b") < 3

    ledger.throttle = throttle
    assert lost(ledger, *claims("r/2", "a", "b")) == {"t/s#a": "r/1"}
    assert ledger.owners == {"a": "r/1", "b": "r/2"}


def test_tenants_do_not_share_a_scope() -> None:
    assert claim_key("a", "s", "1") != claim_key("b", "s", "1")


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.sets(st.sampled_from("uvwxyz"), min_size=1)), max_size=12))
def test_whoever_claims_whatever_in_any_order_each_record_has_one_lasting_owner(
    moves: list[tuple[str, set[str]]],
) -> None:
    ledger, first = FakeLedger(World()), dict[str, str]()
    for owner, ids in moves:
        losers = lost(ledger, *claims(f"r/{owner}", *sorted(ids)))
        for one in ids:
            first.setdefault(one, owner)
        assert losers == {claim_key("t", "s", one): f"r/{first[one]}" for one in ids if first[one] != owner}
