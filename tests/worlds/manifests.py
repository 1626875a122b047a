"""Manifests of runs that went in different ways: what the report and other views are looked at with."""

from datetime import UTC, datetime, timedelta
from typing import Any

_BEGAN = datetime(2027, 1, 15, 22, 0, tzinfo=UTC)


def _shard(at: int, failed: int = 0, pending: int = 0) -> dict[str, Any]:
    began = _BEGAN + timedelta(minutes=2 + 9 * (at // 20), seconds=at % 20)
    seconds = 420 + 13 * (at % 17)
    return {
        "shard": f"{at + 1:05d}",
        "mode": "batch",
        "records": 5000,
        "landed": 5000 - failed - pending,
        "failed": failed,
        "duplicate": 0,
        "resubmitted": 0,
        "dropped": 0,
        "pending": pending,
        "units": 1 + bool(failed),
        "startedAt": began.isoformat(),
        "endedAt": (began + timedelta(seconds=seconds)).isoformat(),
        "seconds": seconds,
    }


def healthy(shards: int = 12) -> dict[str, Any]:
    """Everything landed."""
    found = [_shard(at) for at in range(shards)]
    return _manifest("succeeded", found, errors=[], rejected=0, duplicate=17)


def with_failures(shards: int = 2000) -> dict[str, Any]:
    """A large run of which a few records failed and a few rows were rejected."""
    found = [_shard(at, failed=3 if at % 331 == 7 else 0) for at in range(shards)]
    failed = sum(one["failed"] for one in found)
    errors = [{"errorClass": "throttle", "errorCode": "429", "count": failed, "recordId": "ticket-0034021"}]
    return _manifest("succeeded", found, errors=errors, rejected=240, duplicate=0)


def failing(shards: int = 12) -> dict[str, Any]:
    """A run that its tolerance stopped."""
    found = [_shard(at, failed=611 if at % 3 else 40, pending=0 if at < 8 else 900) for at in range(shards)]
    errors = [
        {"errorClass": "validation", "errorCode": "400", "count": 4000, "recordId": "ticket-0000003"},
        {"errorClass": "schema", "errorCode": "SchemaMismatch", "count": 1048, "recordId": "ticket-0012007"},
    ]
    stopped = {
        "error": "States.ExceedToleratedFailureThreshold",
        "cause": "The specified tolerated failure threshold was exceeded",
        "thresholds": [{"threshold": "toleratedFailurePercentage", "percentage": 10, "failed": 8, "total": 12}],
        "children": [{"stage": "shard_and_submit", "error": "UnitFailedError", "cause": "12.2 % failed", "sampled": 8}],
    }
    return _manifest("failed", found, errors=errors, rejected=0, duplicate=0, stopped=stopped)


def _manifest(
    status: str,
    shards: list[dict[str, Any]],
    *,
    errors: list[dict[str, Any]],
    rejected: int,
    duplicate: int,
    stopped: dict[str, Any] | None = None,
) -> dict[str, Any]:
    def total(name: str) -> int:
        return sum(int(shard[name]) for shard in shards)

    accepted = total("records")
    minutes = max((datetime.fromisoformat(one["endedAt"]) - _BEGAN).total_seconds() for one in shards) / 60 + 1
    return {
        "version": 1,
        "run": "tickets-2026-11",
        "tenant": "acme",
        "scope": "tickets",
        "status": status,
        "problems": [],
        "stopped": stopped,
        "mode": "batch",
        "model": {"id": "us.anthropic.claude-haiku-4-5-20251001-v1:0", "invokeId": "us.x", "api": "converse"},
        "source": {"bucket": "acme-bulk-input", "prefix": "acme/corpus/tickets/"},
        "counts": {
            "read": accepted + rejected + duplicate,
            "accepted": accepted,
            "landed": total("landed"),
            "failed": total("failed"),
            "rejected": rejected,
            "duplicate": duplicate,
            "pending": total("pending"),
            "resubmitted": 0,
            "dropped": 0,
        },
        "tokens": {
            "input": accepted * 512,
            "output": total("landed") * 96,
            "cacheRead": 0,
            "cacheWrite": 0,
            "reasoning": 0,
            "unknown": 0,
        },
        "seconds": round(minutes * 60, 1),
        "createdAt": _BEGAN.isoformat(),
        "finishedAt": (_BEGAN + timedelta(minutes=minutes)).isoformat(),
        "late": 0,
        "errors": errors,
        "oddLines": {},
        "contradictions": [],
        "results": {
            "bucket": "acme-bulk-output",
            "prefix": "acme/runs/tickets-2026-11/results/",
            "parts": len(shards),
            "bytes": total("landed") * 700,
        },
        "failures": {"bucket": "acme-bulk-output", "prefix": "acme/runs/tickets-2026-11/failures/"},
        "report": {"bucket": "acme-bulk-output", "key": "acme/runs/tickets-2026-11/report.html"},
        "plan": {
            "plannedAt": _BEGAN.isoformat(),
            "mode": {"value": "batch", "why": "60,000 records are enough for jobs of their own"},
            "corpus": {
                "bytes": 91_000_000,
                "cuts": 4,
                "records": accepted + 1200,
                "sampledRecords": 500,
                "exact": False,
            },
            "work": {"shards": len(shards), "jobs": len(shards), "waves": 1, "syncRecords": 0, "syncBatches": 0},
            "concurrency": {
                "cutting": {"value": 4, "limit": "cuts", "why": "the corpus is cut in 4"},
                "jobs": {"value": 20, "limit": "job_slots", "why": "20 of the account's 100 slots"},
            },
            "tokens": {"input": accepted * 500, "output": accepted * 90, "total": 0, "outputAtMost": None, "basis": ""},
            "minutes": None,
            "notes": ["estimated from 500 records"],
        },
        "money": {"currency": "USD", "batch": 41.0, "onDemand": 0, "canary": 0.01, "total": 41.01, "estimate": 40.2},
        "shards": shards,
    }
