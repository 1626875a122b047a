"""What plan_run tells of a run before it starts: `plan/report.json`, the same in a few lines, and its place in the
manifest beside the numbers that came true."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bulk_inference.core.json_document import Document
from bulk_inference.core.prices import money
from bulk_inference.core.rejections import Rejection, counted
from bulk_inference.core.run_spec import Estimate, Limits, Model, Quotas
from bulk_inference.core.settings import Prices
from bulk_inference.plan.asking import Asking
from bulk_inference.plan.canary import CanaryResult
from bulk_inference.plan.concurrency import RECORDS, Decision
from bulk_inference.plan.sizing import Minutes, Work

REPORT_VERSION: Final = 1


@dataclass(frozen=True)
class Concurrencies(Document):
    cutting: Decision
    jobs: Decision
    inference: Decision
    reprocessing: Decision | None
    """Of failed records, beside the run."""


@dataclass(frozen=True)
class Planned:
    """What the report is made of."""

    run: str
    tenant: str
    scope: str
    dry_run: bool
    planned_at: str
    mode: str
    why: str
    model: Model
    corpus_bytes: int
    cuts: int
    whole: bool
    """Whether all of the corpus was sampled, so that its records are no estimate."""
    rejections: Sequence[Rejection]
    """Rows of the sample that are no records."""
    asking: Asking
    estimate: Estimate
    tokens_basis: str
    work: Work
    concurrency: Concurrencies
    minutes: Minutes | None
    canary: CanaryResult
    prices: Prices | None
    limits: Limits
    quotas: Quotas
    notes: Sequence[str]


def report(planned: Planned) -> dict[str, Any]:
    """JSON; `money` is there only with prices."""
    one, estimate = planned, planned.estimate
    document: dict[str, Any] = {
        "version": REPORT_VERSION,
        "run": one.run,
        "tenant": one.tenant,
        "scope": one.scope,
        "dryRun": one.dry_run,
        "plannedAt": one.planned_at,
        "model": {"id": one.model.id, "invokeId": one.model.invoke_id, "api": one.model.api},
        "mode": {"value": one.mode, "why": one.why},
        "corpus": {
            "bytes": one.corpus_bytes,
            "cuts": one.cuts,
            "records": estimate.records,
            "sampledRecords": estimate.sampled_records,
            "exact": one.whole,
            "rejections": [kind.to_json() for kind in one.rejections],
        },
        "schema": one.asking.to_json() if one.asking.how else None,
        "work": one.work.to_json(),
        "concurrency": one.concurrency.to_json(),
        "tokens": {
            "input": estimate.input_tokens,
            "output": estimate.output_tokens,
            "total": estimate.input_tokens + estimate.output_tokens,
            "outputAtMost": estimate.max_output_tokens or None,
            "basis": one.tokens_basis,
        },
        "minutes": None if one.minutes is None else one.minutes.to_json(),
        "canary": one.canary.to_json(),
        "limits": one.limits.to_json(),
        "quotas": one.quotas.to_json(),
        "notes": list(one.notes),
    }
    if one.prices is not None:
        document["money"] = _estimated_money(one, one.prices)
    return document


def _estimated_money(planned: Planned, prices: Prices) -> dict[str, Any]:
    estimate, work = planned.estimate, planned.work
    share = work.sync_records / estimate.records if planned.mode == "batch" and estimate.records else 1
    if planned.mode == "batch" and not estimate.records:
        share = 0

    def both(output: float) -> float:
        on_demand = money(prices, estimate.input_tokens * share, output * share, batch=False)
        return on_demand + money(prices, estimate.input_tokens * (1 - share), output * (1 - share), batch=True)

    found: dict[str, Any] = {
        "currency": prices.currency,
        "estimate": round(both(estimate.output_tokens), 6),
        "atMost": round(both(estimate.max_output_tokens), 6) if estimate.max_output_tokens else None,
        "canary": money(prices, planned.canary.input_tokens, planned.canary.output_tokens, batch=False),
        "prices": prices.to_json(),
    }
    return found


def as_text(document: Mapping[str, Any]) -> str:
    """The report in a few lines."""
    corpus, work, tokens = document["corpus"], document["work"], document["tokens"]
    about = "" if corpus["exact"] else "about "
    size = f"{counted(corpus['bytes'], 'byte')} in {counted(corpus['cuts'], 'cut')}"
    rows = [
        ("model", f"{document['model']['id']} by {document['model']['api']}"),
        ("mode", f"{document['mode']['value']}: {document['mode']['why']}"),
        *([("schema", _asked(document["schema"]))] if document.get("schema") else []),
        ("corpus", f"{size}, {about}{counted(corpus['records'], 'record')}"),
        ("work", _work(document["mode"]["value"], work, document["limits"])),
        *(
            (
                f"at once: {name}",
                one["why"] if one["limit"] == RECORDS else f"{one['value']:,} ({one['limit']}: {one['why']})",
            )
            for name, one in document["concurrency"].items()
            if one is not None
        ),
        ("tokens", f"about {tokens['input']:,} in, {tokens['output']:,} out{_at_most(tokens['outputAtMost'])}"),
        ("", tokens["basis"]),
    ]
    if document["minutes"] is not None:
        rows.append(("minutes", f"{document['minutes']['value']:,} ({document['minutes']['basis']})"))
    if (cost := document.get("money")) is not None:
        rows.append(("money", f"about {_amount(cost['estimate'])} {cost['currency']}{_at_most_money(cost['atMost'])}"))
    rows.append(("canary", document["canary"]["note"] or _canary(document["canary"])))
    rows += [("note", note) for note in document["notes"]]
    what = "Dry run of" if document["dryRun"] else "Plan of"
    width = max(len(name) for name, _ in rows)
    lines = [f"{what} run {document['run']} of tenant {document['tenant']}, {document['plannedAt']}", ""]
    return "\n".join(lines + [f"{name:<{width}}  {words}".rstrip() for name, words in rows]) + "\n"


def _asked(schema: Mapping[str, str]) -> str:
    return Asking(schema["how"], schema["why"]).in_words


def _work(mode: str, work: Mapping[str, int], limits: Mapping[str, Any]) -> str:
    if mode == "sync":
        batches = f"{work['syncBatches']:,} item batch{'' if work['syncBatches'] == 1 else 'es'}"
        return f"about {counted(work['shards'], 'shard')}, {batches} on demand"
    waves = f"{counted(work['waves'], 'wave')} of at most {limits['jobTimeoutHours']} hours each"
    words = f"about {counted(work['jobs'], 'job')} in {waves}"
    return words + (f", {counted(work['syncRecords'], 'record')} on demand" if work["syncRecords"] else "")


def _canary(canary: Mapping[str, Any]) -> str:
    if not canary["records"]:
        return "none"
    answered = counted(canary["records"], "record")
    return f"{answered} answered, {counted(canary['inputTokens'], 'token')} in, {canary['outputTokens']:,} out"


def _amount(value: float) -> str:
    """Two digits behind the point, and of less than that two that count."""
    return f"{value:,.2f}" if value >= 1 or not value else f"{value:.2g}"


def _at_most_money(value: float | None) -> str:
    return "" if value is None else f", at most {_amount(value)}"


def _at_most(number: float | None) -> str:
    return "" if number is None else f", at most {number:,}"
