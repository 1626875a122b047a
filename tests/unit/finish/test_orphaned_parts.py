"""Result parts of units that died before they noted them."""

import pytest

from bulk_inference.core.keys import Places
from bulk_inference.core.names import unit_of_part
from bulk_inference.core.runs_table import cut_sk, run_pk, shard_sk
from bulk_inference.finish.finishing import check
from bulk_inference.sync import infer_batch
from tests.worlds import item_batch_world
from tests.worlds.inference_world import RUN, Killed
from tests.worlds.item_batch_world import event, step


@pytest.mark.parametrize(
    ("part", "unit"),
    [
        ("00007", "00007-a1"),
        ("00007-s2", "00007-a1"),
        ("00007-a3", "00007-a3"),
        ("00007-a3-s12", "00007-a3"),
        ("sync-0b1c-000", "sync-0b1c"),
        ("sync-0b1c-001-f2", "sync-0b1c"),
        ("sync-00001-000-00012-000", "sync-00001-000-00012"),
        ("sync-00007-a1-002-f3", "sync-00007-a1"),
        ("00007-t2", "00007-a1"),
        ("00007-a3-s12-t1", "00007-a3"),
        ("sync-00007-a1-002-f3-t4", "sync-00007-a1"),
        ("reprocess-0b1c-t1", "reprocess-0b1c"),
        ("stray", None),
    ],
)
def test_a_part_tells_its_unit(part: str, unit: str | None) -> None:
    assert unit_of_part(part) == unit


def test_an_item_batch_that_died_after_a_part_has_landed_what_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulk_inference.core.names.CHUNK", 5)
    monkeypatch.setattr(infer_batch, "infer_all", item_batch_world.sequential)
    made = item_batch_world.stage()
    pk = run_pk(RUN)
    counts = {"read": 12, "accepted": 12, "rejected": 0, "duplicate": 0}
    made.runs.put({"pk": pk, "sk": cut_sk("00001"), "cut": "00001", **counts})
    made.runs.put(
        {
            "pk": pk,
            "sk": shard_sk(item_batch_world.PIECE),
            "mode": "sync",
            "piece": item_batch_world.PIECE,
            "accepted": 12,
        }
    )
    parts = 0

    def second_part(effect: str) -> None:
        nonlocal parts
        parts += effect.startswith(f"put out-bucket {Places('default', RUN).results_prefix}")
        if parts == 2:
            raise Killed(effect)

    made.world.strike = second_part  # type: ignore[method-assign]
    with pytest.raises(Killed):
        step(made, event(made))
    summed, problems = check(made.spec, made.output, made.runs)
    assert problems == []
    assert (summed.landed, summed.pending, summed.shards[0].landed) == (10, 2, 10)
