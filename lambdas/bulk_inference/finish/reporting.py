"""What a run leaves for people and for the next stage: manifest.json and report.html."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any, Final

from bulk_inference.core.keys import Places
from bulk_inference.core.prices import account_in_money
from bulk_inference.core.run_spec import RunSpec
from bulk_inference.core.stored_run import beside
from bulk_inference.finish.conservation import Account

MANIFEST_VERSION: Final = 1

_SHOWN_SHARDS: Final = 1000
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
        "tokens": {
            "input": summed.usage.input_tokens,
            "output": summed.usage.output_tokens,
            "cacheRead": summed.usage.cache_read_tokens,
            "cacheWrite": summed.usage.cache_write_tokens,
            "reasoning": summed.usage.reasoning_tokens,
            "unknown": summed.usage.unknown,
        },
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


def report(document: Mapping[str, Any]) -> str:
    """One page without scripts or outside references, so that it opens from anywhere."""
    counts, tokens = document["counts"], document["tokens"]
    facts = [
        ("status", document["status"]),
        ("mode", document["mode"]),
        ("model", document["model"]["id"]),
        ("tenant", document["tenant"]),
        ("scope", document["scope"]),
        ("started", document["createdAt"]),
        ("seconds", document["seconds"]),
        ("input tokens", f"{tokens['input']:,}"),
        ("output tokens", f"{tokens['output']:,}"),
        ("results", f"s3://{document['results']['bucket']}/{document['results']['prefix']}"),
        ("failures", f"s3://{document['failures']['bucket']}/{document['failures']['prefix']}"),
    ]
    shards = document["shards"]
    columns = [
        "shard",
        "mode",
        "records",
        "landed",
        "failed",
        "duplicate",
        "resubmitted",
        "dropped",
        "pending",
        "units",
    ]
    errors = [[kind[name] for name in ("errorClass", "errorCode", "count", "recordId")] for kind in document["errors"]]
    body = [
        f"<h1>Run {escape(str(document['run']))}</h1>",
        _table(["records", ""], ([name, f"{number:,}"] for name, number in counts.items())),
        _table(["", ""], facts),
    ]
    if "documents" in document:
        told = document["documents"]["counts"]
        body.append(_table(["documents", ""], ([name, f"{number:,}"] for name, number in told.items())))
    if document.get("plan"):
        body += ["<h2>Planned and come true</h2>", *_planned(document)]
    if document["problems"]:
        body.append("<h2>What does not add up</h2>")
        body.append("<ul>" + "".join(f"<li>{escape(problem)}</li>" for problem in document["problems"]) + "</ul>")
    if document.get("stopped"):
        body += ["<h2>Why it stopped</h2>", *_stopped(document["stopped"])]
    if errors:
        body += ["<h2>Errors</h2>", _table(["class", "code", "records", "such as"], errors)]
    body += [f"<h2>{len(shards):,} shards</h2>"]
    body.append(_table(columns, ([shard[name] for name in columns] for shard in shards[:_SHOWN_SHARDS])))
    if len(shards) > _SHOWN_SHARDS:
        body.append(f"<p>The first {_SHOWN_SHARDS:,}; manifest.json has all.</p>")
    return _PAGE.format(title=escape(f"Run {document['run']}"), body="\n".join(body))


def _planned(document: Mapping[str, Any]) -> list[str]:
    plan, shards, money = document["plan"], document["shards"], document.get("money")
    batch = [shard for shard in shards if shard["mode"] == "batch"]
    minutes = plan["minutes"]
    rows = [
        ("records", plan["corpus"]["records"], document["counts"]["accepted"]),
        ("input tokens", plan["tokens"]["input"], document["tokens"]["input"]),
        ("output tokens", plan["tokens"]["output"], document["tokens"]["output"]),
        ("shards", plan["work"]["shards"], len(shards)),
        ("shards sent as jobs", plan["work"]["jobs"], len(batch)),
        ("minutes", minutes["value"] if minutes else None, round(document["seconds"] / 60, 1)),
    ]
    if money is not None:
        rows.append((f"money ({money['currency']})", money["estimate"], money["total"]))
    at_once = [
        (name, one["value"], one["limit"], one["why"]) for name, one in plan["concurrency"].items() if one is not None
    ]
    return [
        _table(["", "planned, about", "came true"], ([name, *map(_number, numbers)] for name, *numbers in rows)),
        f"<p>{escape(str(plan['mode']['value']))}: {escape(str(plan['mode']['why']))}</p>",
        _table(["at once", "", "limit that decided", ""], at_once),
        "<ul>" + "".join(f"<li>{escape(str(note))}</li>" for note in plan["notes"]) + "</ul>",
    ]


def _number(value: float | None) -> str:
    return "not estimated" if value is None else f"{value:,}"


def _stopped(why: Mapping[str, Any]) -> list[str]:
    thresholds = [
        [one["threshold"], ", ".join(f"{k} {v}" for k, v in list(one.items())[1:])] for one in why["thresholds"]
    ]
    children = [[one[name] for name in ("stage", "error", "cause", "sampled")] for one in why["children"]]
    return [
        f"<p>{escape(str(why['error']))} {escape(str(why['cause']))}</p>",
        _table(["threshold", ""], thresholds),
        _table(["stage", "error", "cause", "children of the sample"], children),
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    header = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = ("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{header}</tr>{''.join(lines)}</table>"


_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }}
table {{ border-collapse: collapse; margin: 1rem 0 }}
td, th {{ border-bottom: 1px solid #ccc; padding: .2rem .8rem .2rem 0; text-align: left }}
</style></head><body>
{body}
</body></html>
"""
