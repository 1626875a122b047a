"""The run request: the input of the pipeline's execution, checked as a whole.

Every problem of a request is named in one error, each by its field and its rule, so that nobody corrects a request one
execution at a time. Keys that are not known are refused: a misspelled limit must not be a limit that is ignored.
Each section has its module, `request_{section}.py`; what concerns several sections stands here.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bulk_inference.core import names, tenants
from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.json_text import MAX_DEPTH, is_too_deep
from bulk_inference.core.model_families import APIS, CONVERSE, Family, family_of
from bulk_inference.core.priorities import PRIORITIES
from bulk_inference.core.reach import Reach
from bulk_inference.core.run_spec import (
    Chunking,
    Output,
    Prompt,
    Source,
)
from bulk_inference.core.settings import ModelSettings, Prices, Settings
from bulk_inference.render.media import MediaPlaces
from bulk_inference.request.chunking import parse_chunking
from bulk_inference.request.fields import Fields, Problems, kind_of, listed, near
from bulk_inference.request.limits import parse_limits, parse_prices
from bulk_inference.request.output import parse_output
from bulk_inference.request.prompt import parse_prompt
from bulk_inference.request.source import parse_source

STARTED_BY: Final = "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID"
"""Step Functions' own key, which links a nested execution to its parent in the console."""

MODES: Final = ("auto", "batch", "sync")

_SECTIONS: Final = ("run", "source", "model", "prompt", "chunking", "output", "limits", "prices")


@dataclass(frozen=True)
class RunRequest:
    """A valid request, its defaults not filled in but for the tenant, the source's bucket and the API."""

    run: str
    tenant: str
    scope: str
    mode: str
    priority: str
    source: Source
    model_id: str
    model: ModelSettings
    family: Family
    api: str
    prompt: Prompt
    output: Output = field(default_factory=Output)
    chunking: Chunking | None = None
    limits: dict[str, Any] = field(default_factory=dict)
    prices: Prices | None = None
    """The request's, else the model's; None: nobody gave any."""
    dry_run: bool = False
    digest: str = ""
    """SHA-256 (hex) of the request's JSON."""


def parse(run: str, request: Mapping[str, Any], settings: Settings, input_bucket: str) -> RunRequest:
    """`run`: the execution's name. Raises InvalidRequestError that lists every problem."""
    _require_object(run, request)
    if is_too_deep(request):
        raise InvalidRequestError(f"the request of run {run!r} is nested more than {MAX_DEPTH} deep")
    problems: Problems = []
    fields = Fields(request, problems)
    fields.only(_SECTIONS, unlisted=(STARTED_BY,))
    given = fields.section("run", ("id", "scope", "tenant", "mode", "priority", "dry_run"))
    dry_run = given.flag("dry_run") or False
    run = _run_id(fields, given, run, dry_run)
    tenant = _tenant(given, settings)
    scope = given.text("scope")
    resubmission = "ranges" in Fields(request, []).section("source", None)
    named = scope.removeprefix(names.own_scope("")) if scope is not None and resubmission else scope
    if named is not None and not names.SCOPE.fullmatch(named):
        given.problem("scope", f"must match {names.SCOPE.pattern}")
    mode = given.choice("mode", MODES) or tenants.defaults_of(settings, tenant).mode
    priority = given.choice("priority", PRIORITIES) or tenants.default_priority(settings, tenant)
    source = parse_source(fields, run, tenant, settings, input_bucket)
    model_id, model, family, api = _model(fields, settings)
    media = MediaPlaces(source.bucket, Reach(settings, tenant, input_bucket))
    prompt = parse_prompt(fields, family, api, media)
    chunking = parse_chunking(fields, prompt)
    if source.record_form is False and prompt.template is None and not prompt.media:
        fields.problem("source.record_form", "is false, and there is no prompt.template that would render rows")
    output = parse_output(fields, run, family, api, media, chunking)
    limits, prices = parse_limits(fields), parse_prices(fields)
    for name, rule in tenants.problems(settings, tenant, model_id=model_id, priority=priority, limits=limits):
        fields.problem(name, rule)
    if problems:
        raise InvalidRequestError(f"the request of run {run!r} has {len(problems)} problem(s): " + "; ".join(problems))
    return RunRequest(
        run=run,
        tenant=tenant,
        scope=scope or names.own_scope(run),
        mode=mode,
        priority=priority,
        source=source,
        model_id=model_id,
        model=model,
        family=family,
        api=api,
        prompt=prompt,
        output=output,
        chunking=chunking,
        limits=tenants.bounded(settings, tenant, limits),
        prices=prices or model.prices,
        dry_run=dry_run,
        digest=digest(request),
    )


def _require_object(run: str, request: Any) -> None:
    if not isinstance(request, Mapping):
        what = kind_of(request)
        raise InvalidRequestError(
            f'the request of run {run!r} must be a JSON object such as {{"source": …, "model": …}}, not {what}'
        )


def digest(request: Mapping[str, Any]) -> str:
    """Of the request as a value: order of keys and white space do not count, nor does who started the execution."""
    own = {key: value for key, value in request.items() if key != STARTED_BY}
    return hashlib.sha256(json.dumps(own, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _run_id(request: Fields, given: Fields, execution: str, dry_run: bool) -> str:
    """An execution is named after its run, so that it is found by it. A dry run is no run, and Step Functions keeps the
    names of executions for 90 days: it may plan a run of another name, which stays free."""
    rule = "a letter or digit, then up to 63 letters, digits, `_` or `-`"
    if not names.RUN.fullmatch(execution):
        request.problem("execution name", f"is the run's id: {rule}")
    wanted = given.text("id")
    if wanted is None:
        return execution
    if not names.RUN.fullmatch(wanted):
        given.problem("id", f"must be {rule}")
    elif wanted != execution and not dry_run:
        given.problem("id", f"must be the execution's name, {execution!r}: only a dry run may plan another run")
    return wanted


def _tenant(given: Fields, settings: Settings) -> str:
    tenant = given.text("tenant") or "default"
    if tenant not in settings.tenants:
        given.problem("tenant", f"{tenant!r} is no tenant of this module; there is {listed(settings.tenants)}")
    return tenant


def _model(request: Fields, settings: Settings) -> tuple[str, ModelSettings, Family, str]:
    models = listed(settings.models)
    if "model" not in request:
        request.problem("model", f'missing: {{"id": …}}, one of {models}')
    given = request.section("model", ("id", "api"))
    model_id = given.text("id") or ""
    api = given.choice("api", APIS)
    if "model" in request and "id" not in given:
        given.problem("id", f"missing: one of {models}")
    model = settings.models.get(model_id)
    if model is None:
        if model_id:
            given.problem(
                "id", f"{model_id!r} is not among this module's models{near(model_id, settings.models)}: {models}"
            )
        return model_id, ModelSettings(model_id), family_of(model_id), api or CONVERSE
    family = family_of(model.invoke_id, model.quota_label)
    if api is not None and api not in family.apis:
        given.problem("api", f"{model_id} takes {' or '.join(family.apis)} only")
    return model_id, model, family, api or model.api or family.apis[0]
