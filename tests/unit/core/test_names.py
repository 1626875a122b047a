"""What a builder of a name makes, its parser reads back, over the whole range; and no two things have one name."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_inference.core import names
from bulk_inference.core.names import Attempt, Owner

numbers = st.integers(1, 10**9) | st.sampled_from([1, 9, 99_999, 100_000, 100_001, 999_999, 1_000_000])
few = st.integers(1, 10**5) | st.sampled_from([1, 9, 10, 999, 1000, 1001])
generations = st.integers(0, 10**4)
digests = st.text("0123456789abcdef", min_size=40, max_size=40)
pieces = st.builds(lambda of, number: names.piece(names.cut(of), number), numbers, few) | st.builds(
    names.merged_piece, few
)
attempts = st.builds(Attempt, numbers.map(names.shard), few)
sync_units = st.one_of(
    st.builds(names.item_batch, pieces, numbers),
    attempts.map(lambda attempt: attempt.name),
    digests.map(lambda digest: digest[:20]),
).map(names.sync_unit)
lone_units = st.builds(
    lambda kind, digest: f"{kind}{digest[:24]}", st.sampled_from([names.REPROCESSED, names.DOCUMENT]), digests
)
runs = st.from_regex(names.RUN, fullmatch=True)


@given(attempts)
def test_an_attempt(attempt: Attempt) -> None:
    assert names.parse_attempt(attempt.name) == attempt
    assert names.parse_attempt(attempt.rest) is None


@given(attempts, few, generations)
def test_a_part_of_an_attempt_leads_to_its_unit(attempt: Attempt, segment: int, generation: int) -> None:
    part = names.in_generation(attempt.part(segment), generation)
    assert names.unit_of_part(part) == attempt.name
    assert names.generation_of(part) == (attempt.part(segment), generation)


@given(sync_units, st.integers(0, 10**5), few, generations)
def test_a_part_of_an_item_batch_leads_to_its_unit(unit: str, block: int, flush: int, generation: int) -> None:
    part = names.in_generation(names.block_part(unit, block, flush), generation)
    assert names.unit_of_part(part) == unit
    assert names.parse_attempt(unit) is None


@given(lone_units, generations)
def test_a_part_of_a_single_record_leads_to_its_unit(unit: str, generation: int) -> None:
    """The failure lane writes one part for a record; a document is an item batch of one."""
    part = unit if unit.startswith(names.REPROCESSED) else names.block_part(unit, 0)
    assert names.unit_of_part(names.in_generation(part, generation)) == unit
    assert names.stands_alone(unit)


@given(st.lists(st.one_of(attempts.map(lambda attempt: attempt.name), sync_units, lone_units), min_size=2, unique=True))
def test_parts_of_one_unit_are_told_from_those_of_all_others(units: list[str]) -> None:
    """The case that landed records twice: shard 100000, whose parts nobody found, and shard 10000, whose name begins
    its name."""

    def part(unit: str) -> str:
        attempt = names.parse_attempt(unit)
        if attempt is not None:
            return attempt.part(2)
        return unit if unit.startswith(names.REPROCESSED) else names.block_part(unit, 3, 2)

    for unit in units:
        begin, belongs = names.parts_of_unit(unit)
        assert part(unit).startswith(begin)
        assert [other for other in units if belongs(part(other))] == [unit]


@given(runs, st.one_of(sync_units, lone_units, attempts.map(lambda attempt: attempt.name)))
def test_an_owner(run: str, unit: str) -> None:
    assert names.parse_owner(Owner(run, unit).name) == Owner(run, unit)


@given(digests, digests, st.integers(1, 9999))
def test_a_chunk(one: str, other: str, number: int) -> None:
    document = names.chunked_document(one, other)
    record_id = names.chunk(document, number)
    assert names.parse_chunk(record_id) == (document, number)
    assert names.is_ours(record_id)
    assert names.RECORD.fullmatch(record_id)
    again = names.asked_again(document, one)
    assert names.of_same_id(again) == names.of_same_id(document)
    assert names.partition_of(again, 7) == names.partition_of(document, 7)


@given(st.text(max_size=80))
def test_an_alias_is_ours_and_fits_bedrock(caller_id: str) -> None:
    try:
        encoded = caller_id.encode()
    except UnicodeEncodeError:
        return
    for made in (names.alias(caller_id), names.content_id(encoded)):
        assert names.is_ours(made)
        assert names.RECORD.fullmatch(made)
        assert names.parse_chunk(made) is None


@given(st.lists(st.one_of(numbers), min_size=2, unique=True))
def test_numbers_make_names_of_their_own(found: list[int]) -> None:
    assert len({names.shard(one) for one in found}) == len(found)
    assert len({names.cut(one) for one in found}) == len(found)


@pytest.mark.parametrize("part", ["", "00001-t0", "x", "part", "00001-a0", "1-a1", "000001-a1", "00001-s0"])
def test_what_no_builder_makes_belongs_to_no_unit(part: str) -> None:
    assert names.unit_of_part(part) is None


@given(runs, numbers, digests)
def test_runs_that_follow_are_runs(run: str, number: int, digest: str) -> None:
    assert names.RUN.fullmatch(names.resubmission(run, digest))
    assert names.own_scope(run) != names.own_scope(names.resubmission(run, digest))
    assert not names.SCOPE.fullmatch(names.own_scope(run))
    pool = names.pool_run("high", "prompt", "20261128T05", digest)
    assert names.RUN.fullmatch(pool)
    assert names.is_pool_run(pool, "high")
    assert not names.is_pool_run(pool, "low")
    assert json.dumps(names.reduction(run, number))
