"""Claim, then write what is owned."""

import json
from collections.abc import Iterator

import pytest

from bulk_inference.core.errors import ThrottledError
from bulk_inference.core.index_line import Pointer
from bulk_inference.land.landing import PartStream, land, owner_of
from bulk_inference.land.units import Part
from tests.worlds.inference_world import Killed, Stage, converse


def entries(*ids: str) -> list[tuple[Pointer, object]]:
    return [(Pointer(one), converse(one)) for one in ids]


def test_only_owned_records_become_lines_in_the_order_given() -> None:
    made = Stage()
    args = {"spec": made.spec, "ledger": made.ledger, "clock": made.time.clock, "reserve": 30.0}
    land(entries("b"), owner=owner_of("r", "other"), **args)  # type: ignore[arg-type]
    landed = land(entries(*"cba"), owner=owner_of("r", "u"), **args)  # type: ignore[arg-type]
    assert [json.loads(line)["recordId"] for line in landed.lines] == ["c", "a"]
    assert [pointer.record_id for pointer in landed.lost] == ["b"]
    assert landed.usage.input_tokens == 9, "what lost its claim was paid for, too"


def test_many_claims_go_side_by_side_and_none_is_forgotten() -> None:
    made = Stage()
    ids = [f"{n}" for n in range(333)]
    landed = land(entries(*ids), owner="r/u", spec=made.spec, ledger=made.ledger, clock=made.time.clock, reserve=30.0)
    assert len(landed.lines) == 333
    assert set(made.ledger.owners) == set(ids)
    assert made.world.effects == ["claim"] * 14


def test_nothing_is_written_before_it_is_claimed() -> None:
    made = Stage()
    made.ledger.throttle = lambda one: True
    with pytest.raises(ThrottledError):
        land(entries("a"), owner="r/u", spec=made.spec, ledger=made.ledger, clock=made.time.clock, reserve=30.0)


def test_claims_live_as_long_as_the_run_says() -> None:
    made = Stage()
    land(entries("a"), owner="r/u", spec=made.spec, ledger=made.ledger, clock=made.time.clock, reserve=30.0)
    (one,) = made.ledger.claims.values()
    assert one.expires_at == int(made.time.now) + 90 * 86_400


def test_a_part_without_lines_is_no_object() -> None:
    made = Stage()
    with PartStream(made.output, "k") as stream:
        stream.write([])
    assert stream.parts == []
    assert made.output.objects == {}


def test_a_part_that_is_broken_off_is_no_object() -> None:
    made = Stage()

    def lines() -> Iterator[bytes]:
        yield b"a\n"
        raise Killed

    with pytest.raises(Killed), PartStream(made.output, "k") as stream:
        stream.write(lines())
    assert made.output.objects == {}


def test_a_part_knows_its_lines_and_bytes() -> None:
    made = Stage()
    with PartStream(made.output, "k") as stream:
        stream.write([b"a\n", b"bc\n"])
    assert stream.parts == [Part("k", 5, 2)]
    assert made.output.objects == {"k": b"a\nbc\n"}
