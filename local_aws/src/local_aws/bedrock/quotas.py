"""Service Quotas of Amazon Bedrock: the numbers that the batch worker and the on demand limiter enforce.

Names, defaults and codes are those of the "Amazon Bedrock endpoints and quotas" page of the AWS General Reference,
irregular as they are there: the batch quotas say "Claude Haiku 4.5" where the on demand ones say "Anthropic Claude
Haiku 4.5", two names of Sonnet 4.5 end with a stray dot, "(in GB)" stands before the model. Where AWS publishes no
code the code here is made up from the name. Operations: API reference of Service Quotas; not every quota has an applied
value, `GetServiceQuota` answers NoSuchResourceException for those and `ListServiceQuotas` leaves them out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local_aws import knobs
from local_aws.bedrock.models import MODELS, Model, Route
from local_aws.bedrock.wire import Answer, AwsError

SERVICE_CODE = "bedrock"
GIGABYTE = 10**9  # AWS does not say whether 10^9 or 2^30; the smaller one refuses what either would refuse

SUM = "Sum of in-progress and submitted batch inference jobs using a base model for {}"
MINIMUM = "Minimum number of records per batch inference job for {}"
PER_JOB = "Records per batch inference job for {}"
PER_FILE = "Records per input file per batch inference job for {}"
FILE_SIZE = "Batch inference input file size (in GB) for {}"
JOB_SIZE = "Batch inference job size (in GB) for {}"


@dataclass(frozen=True)
class Quota:
    """One quota. `applied` False: only the default can be read. `kind` is the knob that replaces its value."""

    code: str
    name: str
    value: float
    adjustable: bool
    applied: bool = True
    knob: str | None = None


# label in batch quotas → codes of: sum, records per job, records per file, minimum, file size, job size
_CODES: dict[str, tuple[str | None, ...]] = {
    "Claude Haiku 4.5": ("L-63020993", "L-28612175", "L-9EDE6039", None, None, None),
    "Claude Sonnet 4.5": ("L-A0300844", "L-FFFEDD8D", "L-4DFF050E", None, None, None),
    "Claude Sonnet 4.6": ("L-3030E098", "L-01A2DC4B", "L-391CEF89", None, None, None),
    "Claude Opus 4.5": ("L-E83AC604", "L-2767B9A9", "L-F7440010", None, None, None),
    "Claude Opus 4.6": ("L-B0F56DCF", "L-9AA02BEF", "L-D8E451A7", None, None, None),
    "Claude Sonnet 4": ("L-79EFF176", "L-8A6B31EE", "L-02DB18B4", "L-F72F26EE", "L-F611997D", "L-E31283B0"),
    "Claude 3.7 Sonnet": ("L-E455959C", "L-FABEE48F", "L-A985813D", "L-BFA0FE84", None, "L-02D6293C"),
    "Claude 3.5 Haiku": ("L-220B8A25", "L-274AA31F", "L-C39B6D57", "L-B48488BD", None, None),
    "Claude 3.5 Sonnet": ("L-4E7EE0B5", "L-1E2B9998", "L-5AB0EE48", "L-1E0DA3DF", None, None),
    "Claude 3.5 Sonnet v2": ("L-C2FA9AEC", "L-6EBFEB27", "L-897F8151", "L-1FA30AE7", None, None),
    "Claude 3 Haiku": ("L-1570CF9E", "L-1F644C2A", "L-EBB72C32", "L-AE7F26D4", None, None),
    "Nova 2 Lite": ("L-10F69CA1", "L-ECCE76C6", None, None, None, None),
    "Nova Micro V1": ("L-564C017C", "L-57DC56A1", "L-D56DF585", "L-534E6885", None, "L-C79C2150"),
    "Nova Lite V1": ("L-E2ED42E6", "L-916C9264", "L-B8626674", "L-39FA8DCA", None, "L-19E52681"),
    "Nova Pro V1": ("L-FE130012", "L-89197AE6", "L-9B651738", "L-2A3EB975", None, "L-26B15D4D"),
    "Amazon Nova Premier": ("L-654787A4", "L-131D4EED", None, None, None, None),
    "Amazon Nova 2 Multimodal Embeddings V1": ("L-AF2A00BD", "L-7DCA4380", None, None, None, None),
    "Titan Text Embeddings V2": ("L-1AC1CABC", "L-AAC5F6D6", "L-D1151D45", "L-6F2B2616", None, None),
    "OpenAI GPT OSS 120b": ("L-07844084", "L-3C5D1B25", "L-9EF11C18", "L-4B244563", None, None),
    "OpenAI GPT OSS 20b": ("L-50CC95A8", "L-F361DF0F", "L-EF804815", "L-5D07A961", None, None),
}

_STRAY_DOT = {SUM.format("Claude Sonnet 4.5"), MINIMUM.format("Claude Sonnet 4.5")}
_ADJUSTABLE_SIZES = {
    FILE_SIZE.format("Claude Sonnet 4"),
    JOB_SIZE.format("Claude Sonnet 4"),
    JOB_SIZE.format("Claude 3.7 Sonnet"),
    MINIMUM.format("Claude Sonnet 4"),
}
_LARGE_JOBS = {JOB_SIZE.format("Amazon Nova 2 Multimodal Embeddings V1")}

# template, default, adjustable, knob; the order is that of the codes above
_BATCH: tuple[tuple[str, float, bool, str | None], ...] = (
    (SUM, 100, True, "job_slots"),
    (PER_JOB, 100_000, True, "max_records_per_job"),
    (PER_FILE, 100_000, True, "max_records_per_file"),
    (MINIMUM, 100, False, "min_records_per_job"),
    (FILE_SIZE, 1, False, "max_file_gb"),
    (JOB_SIZE, 5, False, "max_job_gb"),
)

# on demand: how the request goes → name, default, codes that are known
DEMAND = "On-demand model inference {} per minute for {}"
CROSS_REGION = "Cross-region model inference {} per minute for {}"
GLOBAL = "Global cross-region model inference {} per minute for {}"
PER_DAY = "Model invocation max tokens per day for {} (doubled for cross-region calls)"
_DEMAND_CODES = {
    CROSS_REGION.format("tokens", "Anthropic Claude Haiku 4.5"): "L-58BE175A",
    CROSS_REGION.format("requests", "Anthropic Claude Haiku 4.5"): "L-CCA5DF70",
    GLOBAL.format("tokens", "Anthropic Claude Haiku 4.5"): "L-9A11C666",
    PER_DAY.format("Anthropic Claude Haiku 4.5"): "L-6120CF2D",
    CROSS_REGION.format("tokens", "Anthropic Claude Sonnet 4.5"): "L-F4DDD3EB",
    GLOBAL.format("tokens", "Anthropic Claude Sonnet 4.5"): "L-27C57EE8",
    DEMAND.format("tokens", "Amazon Nova Lite"): "L-7C42E72A",
    CROSS_REGION.format("tokens", "Amazon Nova 2 Lite"): "L-C6F5908D",
}
_TOKENS_PER_MINUTE = {"Amazon Nova 2 Lite": 8_000_000}
_DEFAULT_TOKENS_PER_MINUTE = 4_000_000
_DEFAULT_REQUESTS_PER_MINUTE = 10_000


def _made_up_code(name: str) -> str:
    return "L-" + hashlib.blake2b(name.encode(), digest_size=4).hexdigest().upper()


def _batch_quotas() -> Iterator[Quota]:
    for label, codes in _CODES.items():
        for (template, value, adjustable, knob), code in zip(_BATCH, codes, strict=True):
            name = template.format(label)
            number = 100 if name in _LARGE_JOBS else value
            shown = name + "." if name in _STRAY_DOT else name
            yield Quota(
                code or _made_up_code(name),
                shown,
                number,
                adjustable or name in _ADJUSTABLE_SIZES,
                # The minimum cannot be changed: there is no applied value, only the default.
                applied=template is not MINIMUM or name in _ADJUSTABLE_SIZES,
                knob=knob,
            )
    for label in ("Titan Multimodal Embeddings G1", "Titan Text Embeddings V2"):
        name = f"Sum of in-progress and submitted batch inference jobs using a custom model for {label}"
        yield Quota(_made_up_code(name), name, 3, adjustable=False)


def _on_demand_quotas() -> Iterator[Quota]:
    for model in MODELS.values():
        label = model.on_demand_label
        per_minute = _TOKENS_PER_MINUTE.get(label, _DEFAULT_TOKENS_PER_MINUTE)
        routes = [DEMAND] if model.alone else []
        routes += [CROSS_REGION] if set(model.profiles) - {"global"} else []
        routes += [GLOBAL] if "global" in model.profiles else []
        for template in routes:
            for unit, value in (("tokens", per_minute), ("requests", _DEFAULT_REQUESTS_PER_MINUTE)):
                name = template.format(unit, label)
                yield Quota(
                    _DEMAND_CODES.get(name, _made_up_code(name)),
                    name,
                    value,
                    adjustable=True,
                    knob=f"{unit}_per_minute",
                )
        name = PER_DAY.format(label)
        yield Quota(_DEMAND_CODES.get(name, _made_up_code(name)), name, per_minute * 1440, adjustable=False)


QUOTAS: tuple[Quota, ...] = tuple(sorted((*_batch_quotas(), *_on_demand_quotas()), key=lambda quota: quota.name))
_BY_CODE = {quota.code: quota for quota in QUOTAS}
_BY_NAME = {quota.name.removesuffix("."): quota for quota in QUOTAS}

_overrides: dict[str, float] = {}
_lock = threading.Lock()


def value_of(quota: Quota) -> float:
    """The applied value: set for this quota by `PUT /_local/quotas`, else by its knob, else the default."""
    if quota.code in _overrides:
        return _overrides[quota.code]
    return default_of(quota)


def default_of(quota: Quota) -> float:
    """The AWS default: a knob replaces the default, an override only the applied value."""
    by_knob = getattr(knobs.current, quota.knob) if quota.knob else None
    return quota.value if by_knob is None else float(by_knob)


def batch_limit(model: Model, template: str) -> float:
    """The enforced value of a batch quota of a model that supports batch inference."""
    return value_of(_BY_NAME[template.format(model.batch_label)])


def per_minute(route: Route, unit: str) -> float:
    """The enforced tokens or requests per minute for calls that take this route."""
    template = {None: DEMAND, "global": GLOBAL}.get(route.prefix, CROSS_REGION)
    return value_of(_BY_NAME[template.format(unit, route.model.on_demand_label)])


def override(values: Mapping[str, object]) -> None:
    """Set applied values by code or exact name; None takes the override away. Raises ValueError naming the quota."""
    wanted: dict[str, float | None] = {}
    for key, value in values.items():
        quota = _BY_CODE.get(key) or _BY_NAME.get(key.removesuffix("."))
        if quota is None:
            raise ValueError(f"quota {key!r} is not known: give its code or exact name, see GET /_local/quotas")
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0):
            raise ValueError(f"quota {key!r}: must be a number of 0 or more or null, not {value!r}")
        wanted[quota.code] = value
    with _lock:
        for code, number in wanted.items():
            if number is None:
                _overrides.pop(code, None)
            else:
                _overrides[code] = number


def clear_overrides() -> None:
    """Every quota back to its default or knob."""
    with _lock:
        _overrides.clear()


# The API (JSON 1.1, target prefix ServiceQuotasV20190624)


def call(operation: str, request: dict[str, Any], region: str, account: str) -> dict[str, Any]:
    """Answer one operation. Raises AwsError with the service's exceptions."""
    service = request.get("ServiceCode")
    if not isinstance(service, str) or not service:
        raise _illegal("Value null at 'serviceCode' failed to satisfy constraint: Member must not be null")
    if service != SERVICE_CODE:
        raise _no_such()
    if operation in ("GetServiceQuota", "GetAWSDefaultServiceQuota"):
        quota = _BY_CODE.get(str(request.get("QuotaCode")))
        applied = operation == "GetServiceQuota"
        if quota is None or (applied and not _has_applied(quota)):
            raise _no_such()
        return {"Quota": _shown(quota, region, account, applied=applied)}
    applied = operation == "ListServiceQuotas"
    listed = [quota for quota in QUOTAS if not applied or _has_applied(quota)]
    if applied and (code := request.get("QuotaCode")):
        listed = [quota for quota in listed if quota.code == code]
    return _page(listed, request, region, account, applied=applied)


def _has_applied(quota: Quota) -> bool:
    return quota.applied or quota.code in _overrides


def _page(listed: list[Quota], request: dict[str, Any], region: str, account: str, *, applied: bool) -> dict[str, Any]:
    size = request.get("MaxResults", 100)
    if not isinstance(size, int) or not 1 <= size <= 100:
        raise _illegal(f"Value '{size}' at 'maxResults' failed to satisfy constraint: Member must be between 1 and 100")
    start = _position(request.get("NextToken"), len(listed))
    answer: dict[str, Any] = {
        "Quotas": [_shown(quota, region, account, applied=applied) for quota in listed[start : start + size]]
    }
    if start + size < len(listed):
        answer["NextToken"] = base64.b64encode(f"bedrock:{start + size}".encode()).decode()
    return answer


def _position(token: object, count: int) -> int:
    if token is None:
        return 0
    try:
        service, _, position = base64.b64decode(str(token), validate=True).decode().partition(":")
        if service == SERVICE_CODE and 0 <= int(position) < count:
            return int(position)
    except (binascii.Error, ValueError):
        pass
    raise AwsError("InvalidPaginationTokenException", "Invalid input was provided.")


def _shown(quota: Quota, region: str, account: str, *, applied: bool) -> dict[str, Any]:
    owner = account if applied else ""
    return {
        "ServiceCode": SERVICE_CODE,
        "ServiceName": "Amazon Bedrock",
        "QuotaArn": f"arn:aws:servicequotas:{region}:{owner}:{SERVICE_CODE}/{quota.code}",
        "QuotaCode": quota.code,
        "QuotaName": quota.name,
        "Value": float(value_of(quota) if applied else default_of(quota)),
        "Unit": "None",
        "Adjustable": quota.adjustable,
        "GlobalQuota": False,
        **({"QuotaAppliedAtLevel": "ACCOUNT"} if applied else {}),
    }


def json_answer(value: Mapping[str, object]) -> Answer:
    """A success of the JSON 1.1 protocol."""
    return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(value).encode()


def json_error(error: AwsError) -> Answer:
    """An error of the JSON 1.1 protocol: its name in the body, HTTP status 400 (500 for faults of the service)."""
    body = {"__type": error.code, "Message": error.message}
    headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-ErrorType": error.code}
    return error.status, headers, json.dumps(body).encode()


def _no_such() -> AwsError:
    return AwsError("NoSuchResourceException", "The request failed because the specified service quota does not exist.")


def _illegal(message: str) -> AwsError:
    return AwsError("IllegalArgumentException", message)


async def _get(query: dict[str, str], body: bytes) -> tuple[int, object]:
    return 200, {
        "quotas": [
            {"code": quota.code, "name": quota.name, "value": value_of(quota), "overridden": quota.code in _overrides}
            for quota in QUOTAS
        ]
    }


async def _put(query: dict[str, str], body: bytes) -> tuple[int, object]:
    try:
        values = json.loads(body)
        if not isinstance(values, dict):
            raise ValueError("the body must be a JSON object of quota codes or names and values")
        override(values)
    except ValueError as problem:
        return 400, {"error": str(problem)}
    return await _get(query, b"")


async def _delete(query: dict[str, str], body: bytes) -> tuple[int, object]:
    clear_overrides()
    return await _get(query, b"")


ROUTES = {
    ("GET", "/_local/quotas"): _get,
    ("PUT", "/_local/quotas"): _put,
    ("DELETE", "/_local/quotas"): _delete,
}
