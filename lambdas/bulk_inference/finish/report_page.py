"""report.html: the manifest as a page that answers, in this order: did it go well, where is every record, why did it
stop, what failed, when was what done, what did it cost, where does it lie.

A view of the manifest, which holds all of this as data. One file without scripts or outside references, so that it
opens from anywhere, in light and dark, on a phone and on paper. It holds no word of any record: ids, classes, counts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from bulk_inference.core.failure_line import CLASSES
from bulk_inference.core.rejections import place_of
from bulk_inference.finish.report_parts import NUMERIC_CSS, Cell, bars, number, plural, section, share, table, timeline

_SHOWN_ERRORS: Final = 20
_SHOWN_PROBLEMS: Final = 20
_WORST: Final = 20
_FOLDED: Final = 2000
"""Shards beyond these are in the manifest alone."""

GOOD, WARN, BAD = "good", "warn", "bad"


@dataclass(frozen=True)
class Banner:
    """The first thing that is read."""

    tone: str
    """`good`, `warn` or `bad`; the icon says the same to who sees no colour."""
    headline: str
    next_step: str
    """What to do, or nothing."""


_ICONS: Final = {GOOD: "✓", WARN: "!", BAD: "✕"}

_LIMITS: Final = {
    "toleratedFailurePercentage": "more units of work failed than tolerated",
    "unitErrorRatio": "a unit of work had more failures than tolerated",
    "jobFailed": "Bedrock refused a job",
    "conservation": "the sums do not hold",
    "timeout": "the execution ran out of time",
}
"""`stopped.thresholds` (stop_run.py) in words."""

_WHY: Final = {
    "failed": (
        "Failed",
        "Mend what is named under “Why it stopped”, then redrive the execution: what has landed stays.",
    ),
    "aborted": ("Stopped by an operator", "Redrive the execution to go on: what has landed stays."),
    "timed_out": ("Timed out", "Redrive the execution to go on: what has landed stays."),
    "incomplete": ("Incomplete", "Redrive the execution: it infers the records that are pending, and no other."),
    "inconsistent": (
        "Inconsistent",
        "Do not use the results before the sums below are understood: they name the shard or file that breaks them.",
    ),
    "stopped": ("Stopped", "Redrive the execution to go on: what has landed stays."),
}


def banner(document: Mapping[str, Any]) -> Banner:
    """In one line: the outcome and, if it is not the best one, the number that makes it so."""
    counts, status = document["counts"], str(document["status"])
    if status == "empty":
        return Banner(
            WARN, "Empty: no record was read", f"Look whether the corpus lies where it should: {_source(document)}."
        )
    if status == "unchanged":
        return Banner(GOOD, f"Unchanged: all of {plural(counts['read'], 'record')} had landed or failed before", "")
    if status == "nothing_landed":
        return Banner(
            BAD, f"Nothing landed: {_cause(document)}", "Look at the failures: the failure lane may still land some."
        )
    if status == "succeeded":
        return _succeeded(document)
    word, step = _WHY.get(status, (status.replace("_", " ").capitalize(), ""))
    return Banner(BAD, f"{word}: {_cause(document)}", step)


def _succeeded(document: Mapping[str, Any]) -> Banner:
    counts = document["counts"]
    failed, rejected, ended = counts["failed"], counts["rejected"], sum(document.get("ends", {}).values())
    if not failed and not rejected and not ended:
        return Banner(GOOD, f"Succeeded: {plural(counts['landed'], 'record')} landed", "")
    said = [f"{plural(failed, 'failure')}"] if failed else []
    said += [f"{plural(rejected, 'rejected row')}"] if rejected else []
    said += (
        [f"{plural(ended, 'answer')} that did not end by {'itself' if ended == 1 else 'themselves'}"] if ended else []
    )
    steps = ["redrive or resubmit the failures"] if failed else []
    steps += ["mend the rejected rows and run them again"] if rejected else []
    steps += ["look how answers ended"] if ended else []
    return Banner(WARN, f"Succeeded with {' and '.join(said)}", f"{' and '.join(steps).capitalize()} if they matter.")


def _cause(document: Mapping[str, Any]) -> str:
    counts, stopped = document["counts"], document.get("stopped") or {}
    if document["status"] == "incomplete":
        return f"{plural(counts['pending'], 'record')} pending"
    if document["problems"]:
        return f"{plural(len(document['problems']), 'sum')} that do not hold"
    if (passed := [str(one["threshold"]) for one in stopped.get("thresholds", [])]) and (
        said := _LIMITS.get(passed[0])
    ):
        return f"{said} ({number(counts['failed'])} of {number(counts['accepted'])} records failed)"
    if document["errors"]:
        first = document["errors"][0]
        return f"{number(first['count'])} × {first['errorClass']} {first['errorCode']}"
    return str(stopped.get("error") or f"{plural(counts['landed'], 'record')} landed before")


def _source(document: Mapping[str, Any]) -> str:
    source = document["source"]
    where = source.get("key") or source.get("prefix") or source.get("glob") or ""
    return f"s3://{source.get('bucket', '')}/{where}"


def page(document: Mapping[str, Any]) -> str:
    """The whole page. `document`: manifest.json."""
    said = banner(document)
    counts = document["counts"]
    run = escape(str(document["run"]))
    head = (
        f'<header class="{said.tone}" role="status"><p class="icon" aria-hidden="true">{_ICONS[said.tone]}</p><div>'
        f"<h1>{escape(said.headline)}</h1><p>{escape(said.next_step)}</p>"
        f"<p>Run <b>{run}</b> · tenant {escape(str(document['tenant']))} · scope {escape(str(document['scope']))} · "
        f"{escape(str(document['mode']))} · {escape(str(document['model']['id']))}</p></div></header>"
    )
    sections = [
        section("records", "Where every record is", _records(counts)),
        section("why", "Why it stopped", _stopped(document)),
        section("failures", "What failed", _failures(document)),
        section("ends", "How answers ended", _ends(document)),
        section("rejections", "What was rejected", _rejections(document)),
        section("documents", "Documents", _documents(document)),
        section("time", "When", _time(document)),
        section("cost", "Planned and actual", _planned(document)),
        section("shards", "Shards", _shards(document["shards"])),
        section("places", "Where it lies", _places(document)),
    ]
    body = f"{head}<main>{''.join(sections)}</main>"
    title = escape(f"{said.headline} · {document['run']}")
    return _PAGE.replace("{numbers}", NUMERIC_CSS).replace("{title}", title).replace("{body}", body)


def _records(counts: Mapping[str, int]) -> str:
    read = [("accepted", counts["accepted"]), ("rejected", counts["rejected"]), ("duplicate", counts["duplicate"])]
    fates = [(name, counts[name]) for name in ("landed", "failed", "resubmitted", "dropped", "pending")]
    return bars("read", counts["read"], read) + bars("accepted", counts["accepted"], fates)


def _stopped(document: Mapping[str, Any]) -> str:
    parts = []
    if document["problems"]:
        shown = document["problems"][:_SHOWN_PROBLEMS]
        parts.append("<ul>" + "".join(f"<li>{escape(str(one))}</li>" for one in shown) + "</ul>")
        if len(document["problems"]) > _SHOWN_PROBLEMS:
            parts.append(f"<p>And {number(len(document['problems']) - _SHOWN_PROBLEMS)} more in manifest.json.</p>")
    if (why := document.get("stopped")) is not None:
        said = " ".join(str(why.get(name) or "") for name in ("error", "cause")).strip()
        parts.append(f"<p>{escape(said)}</p>" if said else "")
        limits = [
            (one["threshold"], ", ".join(f"{name} {value}" for name, value in one.items() if name != "threshold"))
            for one in why.get("thresholds", [])
        ]
        parts.append(table("Limits that were passed", ["limit", "numbers"], limits))
        children = [[one[name] for name in ("stage", "error", "cause", "sampled")] for one in why.get("children", [])]
        parts.append(table("Errors of children, sampled", ["stage", "error", "cause", "children"], children))
    return "".join(parts)


def _failures(document: Mapping[str, Any]) -> str:
    errors, counts = document["errors"], document["counts"]
    if not errors:
        return ""
    total = sum(kind["count"] for kind in errors)
    rows = [
        (
            kind["errorClass"],
            kind["errorCode"],
            Cell.of(kind["count"]),
            share(kind["count"], total),
            kind["recordId"],
            _advice(str(kind["errorClass"])),
        )
        for kind in errors[:_SHOWN_ERRORS]
    ]
    head = ["class", "code", "records", "share", "such as", "what helps"]
    settled = total - counts["failed"]
    note = f"<p>{plural(settled, 'of these has', 'of these have')} been settled since.</p>" if settled > 0 else ""
    return table("Failures by class and code", head, rows) + note


def _advice(error_class: str) -> str:
    known = CLASSES.get(error_class)
    if known is None or known.retryable:
        return "redrive"
    return "resubmit changed, or drop"


def _rejections(document: Mapping[str, Any]) -> str:
    kinds = document.get("rejections") or []
    rows = [
        (
            kind["errorClass"],
            Cell.of(kind["rows"]),
            Cell.of(kind["lines"]),
            Cell.of(kind["bytes"]),
            "; ".join(place_of(one) for one in kind["samples"]),
        )
        for kind in kinds
    ]
    empty = [(name, Cell.of(count)) for name, count in document.get("corpus", {}).get("emptyFields", {}).items()]
    return table("Rows that did not become records", ["class", "rows", "lines", "bytes", "such as"], rows) + table(
        "Fields that put nothing into a prompt", ["field", "records"], empty
    )


def _ends(document: Mapping[str, Any]) -> str:
    rows = [(_END_WORDS.get(name, name), Cell.of(count)) for name, count in document.get("ends", {}).items()]
    return table("Answers that did not end by themselves", ["ended", "answers"], rows)


_END_WORDS: Final = {
    "max_tokens": "at their token limit: they may be cut in the middle",
    "refusal": "refused by the model",
    "guardrail": "by a guardrail or filter",
    "no_text": "without any text",
    "other": "by another stop reason",
}


def _documents(document: Mapping[str, Any]) -> str:
    if "documents" not in document:
        return ""
    told = document["documents"]["counts"]
    return table("Documents put together", ["", "documents"], [(name, Cell.of(value)) for name, value in told.items()])


def _time(document: Mapping[str, Any]) -> str:
    seconds, landed = document["seconds"], document["counts"]["landed"]
    rate = f", {landed / seconds:,.1f} records a second" if seconds and landed else ""
    began, ended = (document[name][:16].replace("T", " ") for name in ("createdAt", "finishedAt"))
    return f"<p>{escape(began)} to {escape(ended)} UTC: {_duration(seconds)}{rate}.</p>" + timeline(document["shards"])


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{number(hours)} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _planned(document: Mapping[str, Any]) -> str:
    plan, shards, money = document.get("plan"), document["shards"], document.get("money")
    tokens = document["tokens"]
    actual = [("input tokens", tokens["input"]), ("output tokens", tokens["output"])]
    actual += [(f"{name} tokens", tokens[key]) for name, key in _EXTRA_TOKENS if tokens.get(key)]
    if not plan:
        return table("Tokens", ["", "actual"], [(name, Cell.of(value)) for name, value in actual])
    batch = sum(shard["mode"] == "batch" for shard in shards)
    minutes = plan.get("minutes")
    rows: list[tuple[str, float | None, float]] = [
        ("records", plan["corpus"]["records"], document["counts"]["accepted"]),
        ("input tokens", plan["tokens"]["input"], tokens["input"]),
        ("output tokens", plan["tokens"]["output"], tokens["output"]),
        *((name, None, value) for name, value in actual[2:]),
        ("shards", plan["work"]["shards"], len(shards)),
        ("shards sent as jobs", plan["work"]["jobs"], batch),
        ("minutes", minutes["value"] if minutes else None, round(document["seconds"] / 60, 1)),
    ]
    if money is not None:
        rows.append((f"money ({money['currency']})", money["estimate"], round(money["total"], 2)))
    at_once = [
        (name, Cell.of(one["value"]), one["limit"], one["why"])
        for name, one in plan["concurrency"].items()
        if one is not None
    ]
    notes = "".join(f"<li>{escape(str(note))}</li>" for note in plan["notes"])
    return "".join(
        (
            table(
                "Planned and actual", ["", "planned, about", "actual"], ([n, _or(p), Cell.of(a)] for n, p, a in rows)
            ),
            f"<p>Mode {escape(str(plan['mode']['value']))}: {escape(str(plan['mode']['why']))}.</p>",
            table("At once", ["", "at most", "deciding limit", "why"], at_once),
            f"<ul>{notes}</ul>" if notes else "",
        )
    )


_EXTRA_TOKENS: Final = (("cache read", "cacheRead"), ("cache write", "cacheWrite"), ("reasoning", "reasoning"))


def _or(value: float | None) -> Cell | str:
    return "not estimated" if value is None else Cell.of(value)


_SHARD_COLUMNS: Final = (
    "shard", "mode", "records", "landed", "failed", "duplicate", "resubmitted", "dropped", "pending", "units",
)  # fmt: skip


def _shards(shards: Sequence[Mapping[str, Any]]) -> str:
    if not shards:
        return ""
    worst = sorted(shards, key=_badness, reverse=True)[:_WORST]
    told = {id(one) for one in worst}
    rest = [one for one in shards if id(one) not in told]
    what = "All shards" if not rest else f"The {_WORST} worst and slowest of {number(len(shards))}"
    shown = table(what, _SHARD_COLUMNS, map(_shard_row, worst))
    if not rest:
        return shown
    folded = table("The other shards", _SHARD_COLUMNS, map(_shard_row, rest[:_FOLDED]))
    more = f"<p>{number(len(rest) - _FOLDED)} more are in manifest.json.</p>" if len(rest) > _FOLDED else ""
    return f"{shown}<details><summary>The other {plural(len(rest), 'shard')}</summary>{folded}{more}</details>"


def _badness(shard: Mapping[str, Any]) -> tuple[int, int, float, int]:
    seconds = float(shard.get("seconds") or 0)
    return (int(shard["pending"]), int(shard["failed"]), seconds, int(shard["records"]))


def _shard_row(shard: Mapping[str, Any]) -> Iterable[Cell | str]:
    for name in _SHARD_COLUMNS:
        yield str(shard[name]) if name in ("shard", "mode") else Cell.of(shard[name])


def _places(document: Mapping[str, Any]) -> str:
    results, failures = document["results"], document["failures"]
    kept = [
        ("results", f"s3://{results['bucket']}/{results['prefix']}"),
        ("failures", f"s3://{failures['bucket']}/{failures['prefix']}"),
        ("corpus", _source(document)),
    ]
    commands = [f"aws s3 cp --recursive s3://{results['bucket']}/{results['prefix']} results/"]
    if document["counts"]["failed"]:
        commands.append(f"aws s3 cp --recursive s3://{failures['bucket']}/{failures['prefix']} failures/")
    copied = "".join(f"<pre><code>{escape(one)}</code></pre>" for one in commands)
    return table("Places", ["", "where"], kept) + copied


_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title}</title>
<style>
:root{--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--page:#fff;--card:#f6f8fa;--good:#1a7f37;--warn:#9a6700;
--bad:#cf222e;
--landed:#1a7f37;--accepted:#1a7f37;--failed:#cf222e;--rejected:#bc4c00;--duplicate:#6e7781;--resubmitted:#0969da;
--dropped:#8250df;--pending:#bf8700}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--line:#3d444d;--page:#0d1117;--card:#151b23;
--good:#3fb950;--warn:#d29922;--bad:#f85149;--landed:#3fb950;--accepted:#3fb950;--failed:#f85149;--rejected:#f0883e;
--duplicate:#9198a1;--resubmitted:#58a6ff;--dropped:#bc8cff;--pending:#d29922}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);margin:0 auto;max-width:62rem;
padding:1rem}
header{display:flex;gap:1rem;align-items:flex-start;border:1px solid var(--line);border-left:.5rem solid;
border-radius:.5rem;
padding:1rem;background:var(--card)}
header.good{border-left-color:var(--good)}header.warn{border-left-color:var(--warn)}
header.bad{border-left-color:var(--bad)}
header .icon{font-size:2rem;line-height:1.2;font-weight:700;margin:0;width:2.4rem;text-align:center}
.good .icon{color:var(--good)}.warn .icon{color:var(--warn)}.bad .icon{color:var(--bad)}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 .25rem;overflow-wrap:anywhere}header p{margin:.2rem 0;
overflow-wrap:anywhere}
header p:last-child{color:var(--soft);font-size:.9rem}
h2{font-size:1.15rem;margin:2rem 0 .5rem}
.wrap{overflow-x:auto}
table{border-collapse:collapse;margin:.5rem 0 1rem;width:100%;font-size:.9rem}
caption{text-align:left;color:var(--soft);padding:.2rem 0}
th,td{border-bottom:1px solid var(--line);padding:.3rem .6rem .3rem 0;text-align:left;vertical-align:top;
overflow-wrap:anywhere}
th{font-weight:600;white-space:nowrap}{numbers}
.bar{display:flex;height:1.6rem;border-radius:.3rem;overflow:hidden;background:var(--line);margin:.3rem 0}
.bar span{min-width:2px}
.sum{margin:.2rem 0 1rem;font-size:.95rem}.sum b{font-variant-numeric:tabular-nums}
.key{display:inline-block;width:.75em;height:.75em;border-radius:.15em;margin-right:.3em}
svg{width:100%;height:auto;display:block}svg text{fill:var(--soft);font-size:11px}
figure{margin:1rem 0}pre{background:var(--card);border:1px solid var(--line);border-radius:.3rem;padding:.5rem;
overflow-x:auto}
details{margin:.5rem 0}summary{cursor:pointer}
@media (max-width:40rem){body{padding:.6rem;font-size:15px}header{padding:.7rem}h1{font-size:1.2rem}}
@media print{body{max-width:none;padding:0;font-size:11pt}header,figure{margin:1rem 0}pre{background:none}
section{break-inside:avoid-page}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}details:not([open])>*:not(summary){display:none}}
</style></head><body>
{body}
</body></html>
"""
