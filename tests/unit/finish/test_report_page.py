"""The report answers at a glance, holds together for any run, and shows no more than the manifest."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from bulk_inference.finish.report_page import BAD, GOOD, WARN, banner, page
from tests.worlds.manifests import failing, healthy, with_failures


def test_a_healthy_run_says_so_and_asks_for_nothing() -> None:
    said = banner(healthy())
    assert (said.tone, said.headline, said.next_step) == (GOOD, "Succeeded: 60,000 records landed", "")


def test_failures_of_a_run_that_succeeded_are_in_its_headline() -> None:
    said = banner(with_failures())
    assert said.tone == WARN
    assert said.headline == "Succeeded with 21 failures and 240 rejected rows"
    assert said.next_step.startswith("Redrive or resubmit")


def test_one_failure_is_one() -> None:
    document = healthy()
    document["counts"] |= {"failed": 1, "landed": 59_999}
    assert banner(document).headline == "Succeeded with 1 failure"


def test_a_run_that_its_tolerance_stopped_says_how_many_failed() -> None:
    said = banner(failing())
    assert said.tone == BAD
    assert said.headline == "Failed: more units of work failed than tolerated (5,048 of 60,000 records failed)"
    assert "redrive" in said.next_step


@pytest.mark.parametrize(
    ("status", "tone", "word"),
    [
        ("empty", WARN, "Empty"),
        ("failed", BAD, "Failed"),
        ("aborted", BAD, "Stopped by an operator"),
        ("timed_out", BAD, "Timed out"),
        ("incomplete", BAD, "Incomplete"),
        ("inconsistent", BAD, "Inconsistent"),
        ("a_status_of_tomorrow", BAD, "A status of tomorrow"),
    ],
)
def test_every_other_end_has_a_word_of_its_own(status: str, tone: str, word: str) -> None:
    said = banner({**healthy(), "status": status})
    assert said.tone == tone
    assert said.headline.startswith(word)


def test_both_sums_stand_in_words_and_a_sum_that_does_not_hold_shows() -> None:
    document = failing()
    assert "accepted 60,000 = landed 51,352 + failed 5,048" in page(document)
    document["counts"]["landed"] -= 1
    assert "accepted 60,000 ≠ landed 51,351" in page(document)


def test_failures_of_a_class_that_retrying_cannot_help_say_so() -> None:
    html = page(failing())
    assert "<th scope=row>validation<td>400<td>4,000<td>79.2 %<td>ticket-0000003<td>resubmit changed, or drop" in html
    assert "<td>ticket-0012007<td>redrive" in html


def test_what_is_not_there_has_no_heading() -> None:
    html = page(healthy())
    assert "Why it stopped" not in html
    assert "What failed" not in html
    assert "Why it stopped" in page(failing())


@pytest.mark.parametrize("shards", [1, 12, 2000])
def test_the_page_stays_small_and_shows_the_worst_shards_first(shards: int) -> None:
    html = page(with_failures(shards))
    assert len(html.encode()) < 300_000
    assert html.count("<tr><th scope=row>0") == shards
    if shards > 20:
        first = html.index("<th scope=row>00008<td>batch")
        assert first < html.index("<details>") < html.index("<th scope=row>00021<td>batch")


def test_the_timeline_of_many_shards_keeps_its_size() -> None:
    assert page(with_failures(2000)).count("<rect") == 40
    assert page(healthy(12)).count("<rect") == 12
    document = healthy(3)
    for shard in document["shards"]:
        del shard["startedAt"]
    assert "<svg" not in page(document)


class _Outline(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def _outline(html: str) -> list[tuple[str, dict[str, str | None]]]:
    outline = _Outline()
    outline.feed(html)
    return outline.tags


@pytest.mark.parametrize("document", [healthy(), failing(), with_failures(30)])
def test_the_page_stands_alone_and_can_be_read_without_eyes(document: dict[str, Any]) -> None:
    html = page(document)
    tags = _outline(html)
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in tags}
    assert not re.search(r"(?:src|href|url)\s*[=(]\s*[\"']?https?:", html)
    ids = {attributes.get("id") for _, attributes in tags}
    assert all(attributes["aria-labelledby"] in ids for tag, attributes in tags if tag == "section")
    assert sum(tag == "table" for tag, _ in tags) == sum(tag == "caption" for tag, _ in tags)
    assert all(attributes.get("scope") in ("row", "col") for tag, attributes in tags if tag == "th")
    assert all(attributes.get("aria-label") for tag, attributes in tags if attributes.get("role") == "img")
    assert [tag for tag, _ in tags].count("h1") == 1


def test_names_of_others_are_text() -> None:
    document = failing()
    document["run"] = document["tenant"] = "<script>alert(1)</script>"
    document["errors"][0]["recordId"] = '"><img src=x>'
    document["problems"] = ["<b>"]
    tags = [tag for tag, _ in _outline(page(document))]
    assert "script" not in tags
    assert "img" not in tags
