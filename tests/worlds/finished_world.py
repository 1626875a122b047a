"""A run of one shard that is collected, and its end."""

from dataclasses import replace
from typing import Any

from bulk_inference.batch.collect_results import ShardTask, collect
from bulk_inference.core.runs_table import META, cut_sk, run_pk, shard_sk
from bulk_inference.finish.finishing import finish
from tests.worlds.inference_world import RUN, Stage, finish_services, make_spec
from tests.worlds.shard_world import IDS, PIECE, SHARD, bad, event, ok
from tests.worlds.shard_world import stage as collected


def stage(failing: int = 1) -> Stage:
    """A run of one batch shard, collected."""
    made = collected([*[bad(one) for one in IDS[:failing]], *[ok(one) for one in IDS[failing:]]])
    made.spec = replace(made.spec, settings=replace(make_spec().settings, tolerated_failure_percentage=100))
    pk = run_pk(RUN)
    meta = {"run": RUN, "tenant": "default", "scope": RUN, "status": "running"}
    made.runs.put({"pk": pk, "sk": META, **meta, "executionArn": made.spec.execution_arn})
    counts = {"read": 14, "accepted": 12, "rejected": 1, "duplicate": 1}
    made.runs.put({"pk": pk, "sk": cut_sk("00001"), "cut": "00001", **counts})
    made.runs.put({"pk": pk, "sk": shard_sk(SHARD), "mode": "batch", "piece": PIECE, "accepted": 12, "duplicate": 0})
    collect(ShardTask.from_event(event()), made.unit_context)
    made.world.effects.clear()
    return made


def go(made: Stage) -> dict[str, Any]:
    return finish(made.spec, finish_services(made))
