"""The run request: the input of the pipeline's execution, checked as a whole.

Every problem of a request is named in one error, each by its field and its rule, so that nobody corrects a request one
execution at a time. Keys that are not known are refused: a misspelled limit must not be a limit that is ignored.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bulk_inference.errors import InvalidRequestError
from bulk_inference.models import APIS, CONVERSE, Family, family_of
from bulk_inference.places import Places
from bulk_inference.rendering import Template
from bulk_inference.spec import ModelSettings, Prompt, Settings, Source, own_scope

STARTED_BY: Final = "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID"
"""Step Functions' own key, which links a nested execution to its parent in the console."""

MODES: Final = ("auto", "batch", "sync")
PRIORITIES: Final = ("high", "normal", "low")

_RUN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SCOPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")

_LIMITS: Final[Mapping[str, tuple[float, float]]] = {
    "max_records_per_shard": (1, 10_000_000),
    "max_bytes_per_shard": (10_000, 100_000_000_000),
    "cut_bytes": (65_536, 4_294_967_296),
    "job_concurrency": (1, 10_000),
    "infer_concurrency": (1, 10_000),
    "items_per_batch": (1, 1_000),
    "tolerated_failure_percentage": (0, 100),
    "canary_records": (0, 50),
    "job_timeout_hours": (24, 168),
    "max_attempts": (1, 10),
}
"""Inclusive. Whole numbers but for the percentage; CreateModelInvocationJob sets the hours' bounds."""


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
    limits: dict[str, Any] = field(default_factory=dict)
    digest: str = ""
    """SHA-256 (hex) of the request's JSON."""


def parse(run: str, request: Mapping[str, Any], settings: Settings, input_bucket: str) -> RunRequest:
    """Raises InvalidRequestError that lists every problem."""
    return _Parser(run, request, settings, input_bucket).parse()


def digest(request: Mapping[str, Any]) -> str:
    """Of the request as a value: order of keys and white space do not count, nor does who started the execution."""
    own = {key: value for key, value in request.items() if key != STARTED_BY}
    return hashlib.sha256(json.dumps(own, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class _Parser:
    def __init__(self, run: str, request: Mapping[str, Any], settings: Settings, input_bucket: str) -> None:
        self._run = run
        self._request = request
        self._settings = settings
        self._input_bucket = input_bucket
        self._problems: list[str] = []

    def parse(self) -> RunRequest:
        if not _RUN.fullmatch(self._run):
            self._problem(
                "execution name", "is the run's id: a letter or digit, then up to 63 letters, digits, `_` or `-`"
            )
        self._only(self._request, "", ("run", "source", "model", "prompt", "limits", STARTED_BY))
        run = self._section("run", ("scope", "tenant", "mode", "priority"))
        tenant = self._tenant(run)
        scope = self._text(run, "run.scope")
        resubmission = "ranges" in self._object(self._request, "source")
        if scope is not None and not _SCOPE.fullmatch(scope.removeprefix(own_scope("")) if resubmission else scope):
            self._problem("run.scope", "must match [A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
        mode = self._choice(run, "run.mode", MODES) or self._settings.defaults.mode
        priority = self._choice(run, "run.priority", PRIORITIES) or "normal"
        source = self._source(tenant)
        model_id, model, family, api = self._model()
        prompt = self._prompt(family, api)
        limits = self._limits()
        if self._problems:
            raise InvalidRequestError(
                f"the request of run {self._run!r} has {len(self._problems)} problem(s): " + "; ".join(self._problems)
            )
        return RunRequest(
            run=self._run,
            tenant=tenant,
            scope=scope or own_scope(self._run),
            mode=mode,
            priority=priority,
            source=source,
            model_id=model_id,
            model=model,
            family=family,
            api=api,
            prompt=prompt,
            limits=limits,
            digest=digest(self._request),
        )

    def _tenant(self, run: Mapping[str, Any]) -> str:
        tenant = self._text(run, "run.tenant") or "default"
        if tenant not in self._settings.tenants:
            self._problem(
                "run.tenant", f"{tenant!r} is no tenant of this module; there is {_list(self._settings.tenants)}"
            )
        return tenant

    def _source(self, tenant: str) -> Source:
        if "source" not in self._request:
            self._problem("source", 'missing: where the corpus lies, as {"key": …} or {"prefix": …}')
        names = ("bucket", "key", "prefix", "id_field", "sequence_field", "ranges", "failures_of")
        given = self._section("source", names)
        bucket = self._text(given, "source.bucket") or self._input_bucket
        key, prefix = self._text(given, "source.key"), self._text(given, "source.prefix")
        ranges, failures_of = self._text(given, "source.ranges"), self._text(given, "source.failures_of")
        if ("ranges" in given) != ("failures_of" in given):
            self._problem("source", "ranges and failures_of come together, from redrive_failures")
        if ranges is not None and ranges != Places(tenant, self._run).ranges:
            self._problem("source.ranges", f"must be {Places(tenant, self._run).ranges}, which redrive_failures writes")
        if "source" in self._request and sum(name in given for name in ("key", "prefix", "ranges")) != 1:
            self._problem("source", "needs either key (one object) or prefix (all objects below), not both")
        if bucket == self._input_bucket:
            for name, value in (("key", key), ("prefix", prefix)):
                self._inside_tenant(f"source.{name}", value, tenant)
        return Source(
            bucket=bucket,
            key=key,
            prefix=prefix,
            id_field=self._text(given, "source.id_field"),
            sequence_field=self._text(given, "source.sequence_field"),
            ranges=ranges,
            failures_of=failures_of,
        )

    def _inside_tenant(self, name: str, value: str | None, tenant: str) -> None:
        if value is None:
            return
        if not value.startswith(f"{tenant}/"):
            self._problem(name, f"must start with {tenant}/ in the input bucket, for example {tenant}/corpus/…")
        runs = f"{tenant}/runs/"
        if value.startswith(runs) or runs.startswith(value):
            self._problem(name, f"must not reach into {runs}, where runs keep their own files")

    def _model(self) -> tuple[str, ModelSettings, Family, str]:
        if "model" not in self._request:
            self._problem("model", f'missing: {{"id": …}}, one of {_list(self._settings.models)}')
        given = self._section("model", ("id", "api"))
        model_id = self._text(given, "model.id") or ""
        api = self._choice(given, "model.api", APIS)
        if "model" in self._request and "id" not in given:
            self._problem("model.id", f"missing: one of {_list(self._settings.models)}")
        model = self._settings.models.get(model_id)
        if model is None:
            if model_id:
                self._problem(
                    "model.id", f"{model_id!r} is not among this module's models: {_list(self._settings.models)}"
                )
            return model_id, ModelSettings(model_id), family_of(model_id), api or CONVERSE
        family = family_of(model.invoke_id, model.quota_label)
        if api is not None and api not in family.apis:
            self._problem("model.api", f"{model_id} takes {' or '.join(family.apis)} only")
        return model_id, model, family, api or model.api or family.apis[0]

    def _prompt(self, family: Family, api: str) -> Prompt:
        given = self._section("prompt", ("template", "system", "inference"))
        template, system = self._text(given, "prompt.template"), self._text(given, "prompt.system")
        inference = self._object(given, "prompt.inference")
        if family.body == "titan_embed":
            self._embedding_parameters(inference)
            if system is not None:
                self._problem("prompt.system", "an embedding model takes no system text")
        else:
            self._inference_parameters(inference)
        if given and template is None:
            self._problem("prompt.template", "missing: system and inference apply to lines that a template renders")
        if template is not None:
            if not Template(template).fields:
                self._problem("prompt.template", "names no {{field}}: every record would be the same prompt")
            if api != CONVERSE and family.body is None:
                self._problem(
                    "prompt.template",
                    "native request bodies are known for Claude, Nova and Titan text embeddings: use model.api "
                    "converse, or a corpus whose lines hold modelInput",
                )
        return Prompt(template, system, dict(inference))

    def _inference_parameters(self, inference: Mapping[str, Any]) -> None:
        """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InferenceConfiguration.html"""
        self._only(inference, "prompt.inference.", ("maxTokens", "temperature", "topP", "stopSequences"))
        self._number(inference, "prompt.inference.maxTokens", 1, 1_000_000)
        self._number(inference, "prompt.inference.temperature", 0, 1, whole=False)
        self._number(inference, "prompt.inference.topP", 0, 1, whole=False)
        stops = inference.get("stopSequences", [])
        if not isinstance(stops, list) or not all(isinstance(stop, str) and stop for stop in stops):
            self._problem("prompt.inference.stopSequences", "must be a list of strings that are not empty")

    def _embedding_parameters(self, inference: Mapping[str, Any]) -> None:
        """https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html"""
        self._only(inference, "prompt.inference.", ("dimensions", "normalize"))
        if inference.get("dimensions", 256) not in (256, 512, 1024):
            self._problem("prompt.inference.dimensions", "must be 256, 512 or 1024")
        if not isinstance(inference.get("normalize", True), bool):
            self._problem("prompt.inference.normalize", "must be true or false")

    def _limits(self) -> dict[str, Any]:
        given = self._section("limits", tuple(_LIMITS))
        for name, (low, high) in _LIMITS.items():
            self._number(given, f"limits.{name}", low, high, whole=name != "tolerated_failure_percentage")
        # JSON from other languages may spell a whole number 3.0.
        return {
            name: value if name == "tolerated_failure_percentage" or not isinstance(value, float) else int(value)
            for name, value in given.items()
        }

    def _section(self, name: str, allowed: tuple[str, ...]) -> Mapping[str, Any]:
        section = self._object(self._request, name)
        self._only(section, f"{name}.", allowed)
        return section

    def _object(self, holder: Mapping[str, Any], path: str) -> Mapping[str, Any]:
        """An object that may be left out; empty if it is, or is something else."""
        value = holder.get(path.rpartition(".")[2], {})
        if not isinstance(value, Mapping):
            self._problem(path, "must be an object")
            return {}
        return value

    def _text(self, holder: Mapping[str, Any], path: str) -> str | None:
        name = path.rpartition(".")[2]
        if name not in holder:
            return None
        value = holder[name]
        if not isinstance(value, str) or not value.strip():
            self._problem(path, "must be a string that is not empty")
            return None
        return value

    def _choice(self, holder: Mapping[str, Any], path: str, options: tuple[str, ...]) -> str | None:
        value = self._text(holder, path)
        if value is not None and value not in options:
            self._problem(path, f"must be one of {_list(options)}, not {value!r}")
            return None
        return value

    def _number(self, holder: Mapping[str, Any], path: str, low: float, high: float, *, whole: bool = True) -> None:
        name = path.rpartition(".")[2]
        if name not in holder:
            return
        value = holder[name]
        numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not numeric or not low <= value <= high or (whole and value != int(value)):
            self._problem(path, f"must be a {'whole ' if whole else ''}number from {low} to {high}")

    def _only(self, holder: Mapping[str, Any], path: str, allowed: tuple[str, ...]) -> None:
        for name in holder:
            if name not in allowed:
                known = [one for one in allowed if one != STARTED_BY]
                self._problem(f"{path}{name}", f"unknown key; known here: {_list(known)}")

    def _problem(self, path: str, rule: str) -> None:
        self._problems.append(f"{path}: {rule}")


def _list(names: Any) -> str:
    return ", ".join(sorted(names)) or "nothing"
