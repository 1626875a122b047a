"""manifest.json: the run in numbers and places, for people and for the next stage."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from bulk_inference.core.keys import Places
from bulk_inference.core.prices import account_in_money
from bulk_inference.core.run_spec import RunSpec
from bulk_inference.core.stored_run import beside
from bulk_inference.finish.conservation import Account

MANIFEST_VERSION: Final = 1

_SHOWN_ERRORS: Final = 20


def manifest(
    spec: RunSpec,
    summed: Account,
    *,
    status: str,
    problems: Sequence[str],
    finished_at: str,
    bucket: str,
    stopped: Mapping[str, Any] | None = None,
    assembled: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The run in numbers and places, without a word of any record; what was planned beside what came of it. `stopped`:
    why it did not come to its end. `money` is there only if the user gave prices. `assembled`: members about documents
    and results in other forms (assembly.summary)."""
    places = Places(spec.tenant, spec.run)
    seconds = (datetime.fromisoformat(finished_at) - datetime.fromisoformat(spec.created_at)).total_seconds()
    tokens = (summed.input_tokens, summed.output_tokens)
    in_batch = (summed.batch_input_tokens, summed.batch_output_tokens)
    money = account_in_money(spec.prices, spec.report, tokens, in_batch)
    return {
        "version": MANIFEST_VERSION,
        "run": spec.run,
        "tenant": spec.tenant,
        "scope": spec.scope,
        "status": status,
        "problems": list(problems),
        "stopped": None if stopped is None else dict(stopped),
        "mode": spec.mode,
        "model": {"id": spec.model.id, "invokeId": spec.model.invoke_id, "api": spec.model.api},
        "source": spec.source.to_json(),
        "counts": summed.counts,
        "corpus": {**summed.rows.to_json(), "emptyFields": summed.empty_fields},
        "rejections": [one.to_json() for one in summed.rejections],
        "tokens": {
            "input": summed.usage.input_tokens,
            "output": summed.usage.output_tokens,
            "cacheRead": summed.usage.cache_read_tokens,
            "cacheWrite": summed.usage.cache_write_tokens,
            "reasoning": summed.usage.reasoning_tokens,
            "unknown": summed.usage.unknown,
        },
        "ends": summed.usage.ends,
        "seconds": round(seconds, 3),
        "createdAt": spec.created_at,
        "finishedAt": finished_at,
        "late": summed.late,
        "errors": [kind.to_json() for kind in summed.errors[:_SHOWN_ERRORS]],
        "oddLines": summed.odd,
        "contradictions": summed.contradictions,
        "results": {
            "bucket": bucket,
            "prefix": places.results_prefix,
            "parts": len(summed.parts),
            "bytes": sum(summed.parts.values()),
        },
        "failures": {"bucket": bucket, "prefix": places.failures_prefix},
        **(assembled or {}),
        "report": {"bucket": bucket, "key": places.report},
        "plan": beside(spec.report),
        **({} if money is None else {"money": money}),
        "quotas": spec.quotas.to_json(),
        "shards": [shard.to_json() for shard in summed.shards],
    }
