"""Claim, then write what is owned."""

import json
from collections.abc import Iterator

import pytest

from bulk_inference.core.backoff import DeadlineBackoff
from bulk_inference.core.errors import ThrottledError
from bulk_inference.core.index_line import Pointer
from bulk_inference.land.landing import Landed, Owner, PartStream, land
from bulk_inference.land.units import Part
from tests.worlds.inference_world import Killed, Stage, converse


def entries(*ids: str) -> list[tuple[Pointer, object]]:
    return [(Pointer(one), converse(one)) for one in ids]


def given(made: Stage, records: list[tuple[Pointer, object]], owner: str) -> Landed:
    patience = DeadlineBackoff(made.time.clock, 30.0)
    return land(
        records, owner=Owner(owner, 1), spec=made.spec, ledger=made.ledger, patience=patience, now=made.time.now
    )


def test_only_owned_records_become_lines_in_the_order_given() -> None:
    made = Stage()
    given(made, entries("b"), "r/other")
    landed = given(made, entries(*"cba"), "r/u")
    assert [json.loads(line)["recordId"] for line in landed.lines] == ["c", "a"]
    assert [pointer.record_id for pointer in landed.lost] == ["b"]
    assert landed.usage.input_tokens == 9, "what lost its claim was paid for, too"


def test_many_claims_go_side_by_side_and_none_is_forgotten() -> None:
    made = Stage()
    ids = [f"{n}" for n in range(333)]
    landed = given(made, entries(*ids), "r/u")
    assert len(landed.lines) == 333
    assert set(made.ledger.owners) == set(ids)
    assert made.world.effects == ["claim"] * 14


def test_nothing_is_written_before_it_is_claimed() -> None:
    made = Stage()
    made.ledger.throttle = lambda one: True
    with pytest.raises(ThrottledError):
        given(made, entries("a"), "r/u")


def test_claims_live_as_long_as_the_run_says() -> None:
    made = Stage()
    given(made, entries("a"), "r/u")
    (one,) = made.ledger.claims.values()
    assert one.expires_at == int(made.time.now) + 90 * 86_400


def test_a_part_without_lines_is_no_object() -> None:
    made = Stage()
    with PartStream(made.output, lambda: "k") as stream:
        stream.write([])
    assert stream.parts == []
    assert made.output.objects == {}


def test_a_part_that_is_broken_off_is_no_object() -> None:
    made = Stage()

    def lines() -> Iterator[bytes]:
        yield b"a\n"
        raise Killed

    with pytest.raises(Killed), PartStream(made.output, lambda: "k") as stream:
        stream.write(lines())
    assert made.output.objects == {}


def test_a_part_knows_its_lines_and_bytes() -> None:
    made = Stage()
    with PartStream(made.output, lambda: "k") as stream:
        stream.write([b"a\n", b"bc\n"])
    assert stream.parts == [Part("k", 5, 2)]
    assert made.output.objects == {"k": b"a\nbc\n"}
