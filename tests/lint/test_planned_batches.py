"""The pipeline's item batches are its own: fan_out must hand each of them to a child as it is."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def states(file: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "asl" / file).read_text(encoding="utf-8"))["States"]
    return found


def test_the_pipeline_has_one_planned_batch_handed_to_each_child() -> None:
    """More than one would make units of work of what ItemBatcher happens to put together."""
    (fan_out,) = [
        branch["States"]["Fan Out"]
        for branch in states("pipeline.asl.json")["Run Inference"]["Branches"]
        if "Fan Out" in branch["States"]
    ]
    assert fan_out["Parameters"]["Input"]["settings"]["itemsPerBatch"] == 1
    assert fan_out["Parameters"]["Input"]["source.$"] == "$.sealing.sealed.sync"


def test_fan_out_batches_a_ready_corpus_by_its_settings() -> None:
    infer = states("fan_out.asl.json")["Infer Batches"]
    assert infer["ItemBatcher"]["MaxItemsPerBatchPath"] == "$.settings.itemsPerBatch"
    assert infer["ItemReader"]["ReaderConfig"] == {"InputType": "JSONL", "Transformation": "LOAD_AND_FLATTEN"}
    assert "ResultWriter" in infer
