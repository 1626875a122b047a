"""What plan_run tells: in JSON, in words, in money; and beside the numbers that came true."""

from dataclasses import replace
from typing import Any

from bulk_inference.core.prices import account_in_money
from bulk_inference.core.result_line import Usage
from bulk_inference.core.run_spec import Estimate, Model, Quota, Quotas
from bulk_inference.core.settings import Prices
from bulk_inference.core.stored_run import beside
from bulk_inference.finish.conservation import Account
from bulk_inference.finish.report_page import page
from bulk_inference.finish.reporting import manifest
from bulk_inference.plan.asking import Asking
from bulk_inference.plan.canary import CanaryResult
from bulk_inference.plan.concurrency import Decision
from bulk_inference.plan.report import Concurrencies, Planned, as_text, report
from bulk_inference.plan.sizing import Minutes, Work
from tests.worlds.inference_world import make_spec
from tests.worlds.run_limits import limits

PRICES = Prices(1, 10, batch_factor=0.5, currency="EUR")
QUOTA = Quota(100, "default")
PLANNED = Planned(
    run="r",
    tenant="t",
    scope="run:r",
    dry_run=True,
    planned_at="2027-01-15T08:00:00+00:00",
    mode="batch",
    why="as requested",
    model=Model("m", "us.m", "f", "converse", True),
    corpus_bytes=12_345,
    cuts=2,
    whole=False,
    rejections=(),
    asking=Asking(""),
    estimate=Estimate(records=1000, input_tokens=500_000, output_tokens=20_000, max_output_tokens=100_000),
    tokens_basis="guessed",
    work=Work(9, 9, 3, 100, 1),
    concurrency=Concurrencies(Decision(2, "records", "c"), Decision(4, "job_slots", "j"), Decision(1, "x", "i"), None),
    minutes=None,
    canary=CanaryResult(records=5, input_tokens=2_000_000),
    prices=PRICES,
    limits=limits(),
    quotas=Quotas(QUOTA, QUOTA, QUOTA, QUOTA, QUOTA, QUOTA),
    notes=["a note"],
)


def test_money_is_by_mode_of_each_record() -> None:
    # A tenth of the records go on demand at the full price, the rest at half of it.
    assert report(PLANNED)["money"] == {
        "currency": "EUR",
        "estimate": 0.385,
        "atMost": 0.825,
        "canary": 2,
        "prices": {"inputPerMillion": 1, "outputPerMillion": 10, "batchFactor": 0.5, "currency": "EUR"},
    }
    sync = report(replace(PLANNED, mode="sync"))["money"]
    assert (sync["estimate"], sync["atMost"]) == (0.7, 1.5)


def test_an_empty_corpus_costs_nothing() -> None:
    found = report(replace(PLANNED, estimate=Estimate(), work=Work(0, 0, 0, 0, 0)))
    assert (found["money"]["estimate"], found["tokens"]["total"]) == (0, 0)


def test_without_prices_there_is_no_money_anywhere() -> None:
    found = report(replace(PLANNED, prices=None))
    assert "money" not in found
    assert "money" not in as_text(found)
    assert account_in_money(None, found, (1, 1), (0, 0)) is None


def test_the_text_says_all_that_matters() -> None:
    text = as_text(report(PLANNED))
    for words in (
        "Dry run of run r of tenant t",
        "batch: as requested",
        "12,345 bytes in 2 cuts, about 1,000 records",
        "about 9 jobs in 3 waves of at most 24 hours each, 100 records on demand",
        "4 (job_slots: j)",
        "about 500,000 in, 20,000 out, at most 100,000",
        "about 0.39 EUR, at most 0.82",
        "5 records answered",
        "a note",
    ):
        assert words in text
    sync = as_text(report(replace(PLANNED, mode="sync", dry_run=False, whole=True, minutes=Minutes(3.5, "slow"))))
    for words in ("Plan of run r", "cuts, 1,000 records", "1 item batch on demand", "3.5 (slow)"):
        assert words in sync


def test_the_account_in_money() -> None:
    found = account_in_money(PRICES, report(PLANNED), (3_000_000, 100_000), (2_000_000, 0))
    assert found == {
        "currency": "EUR",
        "batch": 1,
        "onDemand": 2,
        "canary": 2,
        "total": 5,
        "estimate": 0.385,
    }


def finished(**changes: Any) -> dict[str, Any]:
    spec = make_spec(**changes)
    account = Account(accepted=990, usage=Usage(480_000, 19_000), batch_input_tokens=480_000)
    times: dict[str, Any] = {
        "status": "succeeded",
        "problems": [],
        "finished_at": "2027-01-15T09:00:00+00:00",
        "bucket": "out",
    }
    return manifest(replace(spec, created_at="2027-01-15T08:00:00+00:00"), account, **times)


def test_the_manifest_holds_plan_and_money_and_the_page_shows_both() -> None:
    document = finished(prices=PRICES, report=report(PLANNED))
    assert document["plan"] == beside(report(PLANNED))
    assert not {"quotas", "run", "model"} & document["plan"].keys()
    assert document["money"]["total"] == 2.43
    html = page(document)
    assert "<th scope=row>input tokens<td>500,000<td>480,000" in html
    assert "<th scope=row>money (EUR)<td>0.39<td>2.43" in html
    assert "<td>job_slots" in html


def test_a_run_of_an_older_plan_has_neither() -> None:
    document = finished()
    assert (document["plan"], "money" in document) == ({}, False)
    assert "Estimates and counts" not in page(document)
