"""Quotas: overrides, codes that may have been renamed, exact names, stated fallbacks."""

from collections.abc import Collection, Mapping
from dataclasses import fields

from bulk_inference.core.model_families import UNKNOWN, family_named
from bulk_inference.core.settings import ModelSettings, QuotaOverrides
from bulk_inference.plan.quotas import TOKENS_PER_MINUTE, fallback_notes, look_up, resolve, wanted

HAIKU = family_named("claude-haiku-4-5")
MODEL = ModelSettings("us.anthropic.claude-haiku-4-5-20251001-v1:0")


class Service:
    def __init__(self, codes: Mapping[str, tuple[str, float]], names: Mapping[str, float]) -> None:
        self._codes, self._names = codes, names
        self.asked: list[str] = []

    def by_code(self, code: str) -> tuple[str, float] | None:
        self.asked.append(code)
        return self._codes.get(code)

    def by_name(self, names: Collection[str]) -> Mapping[str, float]:
        self.asked.extend(names)
        known = {name.casefold(): value for name, value in self._names.items()}
        return {name.casefold(): known[name.casefold()] for name in names if name.casefold() in known}


def test_a_code_counts_under_its_own_name_only() -> None:
    service = Service(
        {
            "L-28612175": ("Records per batch inference job for Claude Haiku 4.5", 70_000),
            "L-63020993": ("Something else entirely", 3),
        },
        {"Sum of in-progress and submitted batch inference jobs using a base model for Claude Haiku 4.5": 40},
    )
    found = look_up(wanted(HAIKU, MODEL, "us"), service)
    assert found["max_records_per_job"] == 70_000
    assert found["max_jobs_in_flight"] == 40


def test_the_minimum_is_not_mistaken_for_the_maximum() -> None:
    """One's name is the end of the other's."""
    service = Service({}, {"Minimum number of records per batch inference job for Claude Haiku 4.5": 100})
    assert look_up(wanted(HAIKU, MODEL, "us"), service) == {"min_records_per_job": 100}


def test_names_with_a_stray_full_stop_and_gb_elsewhere_are_found() -> None:
    service = Service(
        {},
        {
            "Records per batch inference job for Claude Haiku 4.5.": 5,
            "Batch inference job size for Claude Haiku 4.5 (in GB)": 7,
        },
    )
    found = resolve(MODEL, look_up(wanted(HAIKU, MODEL, "us"), service))
    assert found.max_records_per_job.value == 5
    assert found.max_job_bytes.value == 6_300_000_000


def test_tokens_per_minute_follow_the_profiles_geography() -> None:
    names = {
        geography: wanted(HAIKU, MODEL, geography)[TOKENS_PER_MINUTE].names[0] for geography in (None, "eu", "global")
    }
    assert names == {
        None: "On-demand model inference tokens per minute for Anthropic Claude Haiku 4.5",
        "eu": "Cross-region model inference tokens per minute for Anthropic Claude Haiku 4.5",
        "global": "Global cross-region model inference tokens per minute for Anthropic Claude Haiku 4.5",
    }


def test_each_value_says_where_it_came_from() -> None:
    model = ModelSettings("m", overrides=QuotaOverrides(max_records_per_job=9), tokens_per_minute=5)
    found = resolve(model, {"min_records_per_job": 50.0})
    assert (found.max_records_per_job.value, found.max_records_per_job.source) == (9, "override")
    assert (found.min_records_per_job.value, found.min_records_per_job.source) == (50, "service-quotas")
    assert (found.max_file_bytes.value, found.max_file_bytes.source) == (900_000_000, "default")
    assert found.tokens_per_minute is not None
    assert found.tokens_per_minute.source == "override"
    notes = fallback_notes(found, batch=True)
    assert "max_file_bytes" in notes[0]
    assert "max_records_per_job" not in notes[0]
    assert len(notes) == 1
    assert fallback_notes(found, batch=False) == []


def test_unknown_tokens_per_minute_are_said() -> None:
    assert "tokens_per_minute" in fallback_notes(resolve(ModelSettings("m"), {}), batch=False)[0]


def test_tokens_per_minute_have_codes_of_their_own_by_geography() -> None:
    codes = [wanted(HAIKU, MODEL, geography)[TOKENS_PER_MINUTE].code for geography in (None, "us", "global")]
    assert codes == [None, "L-58BE175A", "L-9A11C666"]
    name = "Global cross-region model inference tokens per minute for Anthropic Claude Haiku 4.5"
    service = Service({"L-9A11C666": (name, 4000), "L-58BE175A": (name, 9000)}, {})
    assert look_up(wanted(HAIKU, MODEL, "global"), service) == {TOKENS_PER_MINUTE: 4000}
    # A code under the name of another quota is not taken.
    assert look_up(wanted(HAIKU, MODEL, "us"), service) == {}
    labelled = ModelSettings("m", on_demand_quota_label="My Model")
    assert wanted(HAIKU, labelled, "us")[TOKENS_PER_MINUTE].code is None


def test_every_override_is_one_of_a_quota_and_wins() -> None:
    given = QuotaOverrides(**{one.name: number for number, one in enumerate(fields(QuotaOverrides), 1)})
    found = resolve(ModelSettings("m", overrides=given, tokens_per_minute=77), {one.name: 5.0 for one in fields(given)})
    values = [getattr(found, one.name) for one in fields(QuotaOverrides)]
    assert [one.value for one in values] == list(range(1, len(values) + 1))
    assert {one.source for one in [*values, found.tokens_per_minute] if one} == {"override"}
    assert wanted(HAIKU, ModelSettings("m", overrides=given, tokens_per_minute=77), "us") == {}


def test_what_is_overridden_or_has_no_name_is_not_asked_for() -> None:
    model = ModelSettings("m", overrides=QuotaOverrides(min_records_per_job=1))
    assert "min_records_per_job" not in wanted(HAIKU, model, None)
    assert wanted(UNKNOWN, model, None) == {}


def test_a_label_of_the_settings_replaces_name_and_code() -> None:
    asked = wanted(HAIKU, ModelSettings("m", quota_label="My Model"), None)["max_records_per_job"]
    assert asked.names[0] == "Records per batch inference job for My Model"
    assert asked.code is None
