"""The resolved run (`plan/run.json`) and the module's settings (`config/settings.json`): what they hold, as JSON.

Field names are snake_case here and camelCase in JSON. Reading tolerates keys that it does not know, so that a function
of an older bundle can still read a document of a newer one.
"""

import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, Self, TypeAlias, Union, get_args, get_origin, get_type_hints

Json: TypeAlias = Any
"""A value as `json.loads` gives it."""


class Document:
    """A dataclass that reads and writes itself as a JSON object."""

    def to_json(self) -> dict[str, Json]:
        return _to_json(self)  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Self:
        """Raises ValueError that names the path of a value that is missing or of another type."""
        return _from_json(cls, value, "")  # type: ignore[no-any-return]


@dataclass(frozen=True)
class QuotaOverrides(Document):
    """Quota values that an operator knows better than Service Quotas does; None means: look it up."""

    min_records_per_job: int | None = None
    max_records_per_job: int | None = None
    max_records_per_file: int | None = None
    max_file_bytes: int | None = None
    max_job_bytes: int | None = None
    max_jobs_in_flight: int | None = None


@dataclass(frozen=True)
class Prices(Document):
    """What a million tokens cost, as the user says it: none is known here."""

    input_per_million: float
    output_per_million: float
    batch_factor: float = 1
    """What part of the price a token of a batch job costs."""
    currency: str = "USD"
    """Only shown."""


@dataclass(frozen=True)
class ModelSettings(Document):
    """One model that this module may use."""

    invoke_id: str
    """What is sent as modelId: a model id, or the id or ARN of an inference profile."""
    quota_label: str | None = None
    """Name of the model in the batch quotas of Service Quotas, such as `Claude Haiku 4.5`."""
    on_demand_quota_label: str | None = None
    """Name of the model in the on-demand quotas, such as `Anthropic Claude Haiku 4.5`."""
    api: str | None = None
    """`converse` or `invoke_model`; None: what the model's family prefers."""
    batch: bool | None = None
    """Whether the model takes batch jobs; None: what is known of its family."""
    tokens_per_minute: int | None = None
    overrides: QuotaOverrides = field(default_factory=QuotaOverrides)
    prices: Prices | None = None
    """For runs whose request gives none."""


@dataclass(frozen=True)
class TenantDefaults(Document):
    """What a tenant's requests may leave out; None: as the module's defaults have it."""

    mode: str | None = None
    priority: str | None = None
    cut_bytes: int | None = None
    job_concurrency: int | None = None
    infer_concurrency: int | None = None
    items_per_batch: int | None = None
    tolerated_failure_percentage: float | None = None
    canary_records: int | None = None
    job_timeout_hours: int | None = None
    max_attempts: int | None = None


@dataclass(frozen=True)
class TenantSettings(Document):
    batch_role_arn: str
    models: list[str] | None = None
    """Those that its runs may use; None: all of the module's."""
    priorities: list[str] | None = None
    max_records: int | None = None
    """Of one run, as are the next three; None: no ceiling."""
    max_tokens: int | None = None
    job_concurrency: int | None = None
    infer_concurrency: int | None = None
    defaults: TenantDefaults = field(default_factory=TenantDefaults)


@dataclass(frozen=True)
class SourceBucket(Document):
    """A bucket besides the input bucket that corpora may lie in."""

    prefix: str = ""
    tenants: list[str] | None = None
    """Whose runs may read it; None: everybody's."""


@dataclass(frozen=True)
class JobVpc(Document):
    """Network through which Bedrock reads and writes a job's files."""

    subnet_ids: list[str]
    security_group_ids: list[str]


@dataclass(frozen=True)
class Defaults(Document):
    """What a run request may leave out."""

    mode: str = "auto"
    max_records: int | None = None
    """A larger run is refused; None: of any size."""
    max_tokens: int | None = None
    max_records_per_shard: int | None = None
    """None: what the quotas allow."""
    max_bytes_per_shard: int | None = None
    cut_bytes: int = 268_435_456
    job_concurrency: int | None = None
    infer_concurrency: int | None = None
    items_per_batch: int = 100
    tolerated_failure_percentage: float = 10
    canary_records: int = 5
    job_timeout_hours: int = 24
    max_attempts: int = 3
    claim_ttl_days: int = 90


@dataclass(frozen=True)
class Concurrency(Document):
    """How many invocations of a function Terraform lets run at once; None: as many as the account has."""

    cut_shards: int | None = None
    infer_batch: int | None = None
    reprocess_high: int | None = None
    """Maximum concurrency of the event source of each lane, set on the queue."""
    reprocess_normal: int | None = None
    reprocess_low: int | None = None


@dataclass(frozen=True)
class Settings(Document):
    """The module's settings, written by Terraform."""

    name: str
    models: dict[str, ModelSettings]
    tenants: dict[str, TenantSettings]
    defaults: Defaults = field(default_factory=Defaults)
    output_kms_key_arn: str | None = None
    source_buckets: dict[str, SourceBucket] = field(default_factory=dict)
    job_vpc: JobVpc | None = None
    job_tags: dict[str, str] = field(default_factory=dict)
    """Of every batch job, besides those that tell its run."""
    concurrency: Concurrency = field(default_factory=Concurrency)


@dataclass(frozen=True)
class Csv(Document):
    """How CSV is written."""

    delimiter: str | None = None
    """None: a tab in `.tsv`, else a comma."""
    quote: str = '"'
    """Empty: nothing is quoted."""
    header: bool = True
    """Whether the first row names the columns."""
    names: list[str] | None = None
    """Names of the columns of an object whose first row does not name them."""
    quoted_newlines: bool = True
    """Whether a quoted field may hold a line end: then one worker reads an object, from its beginning."""


@dataclass(frozen=True)
class Source(Document):
    """Where the corpus lies: one object (`key`), some (`keys`), all objects below `prefix` or that match `glob`, or
    rows named one by one (`ranges`)."""

    bucket: str
    key: str | None = None
    prefix: str | None = None
    id_field: str | None = None
    """Field of a row that is its recordId; None: `recordId`, then `id` (of a text document: its key), else a hash of
    the row."""
    sequence_field: str | None = None
    ranges: str | None = None
    """Key in the input bucket of a list of byte ranges of objects of `bucket`: the lines that failed in another run."""
    failures_of: str | None = None
    """That run. Its scope is this run's scope."""
    keys: list[str] | None = None
    glob: str | None = None
    format: str = "jsonl"
    """`jsonl`, `csv`, `parquet` or `text`; `auto` in a request alone."""
    encoding: str | None = None
    """Python's name of it; None: UTF-8, or what a byte order mark says."""
    csv: Csv = field(default_factory=Csv)
    carry: list[str] = field(default_factory=list)
    """Fields that go through to the results."""
    reduces: str | None = None
    """The run whose documents are reduced: each row holds answers of it, for one prompt (assembly.py)."""


@dataclass(frozen=True)
class Model(Document):
    id: str
    """The id under which the module's user knows the model."""
    invoke_id: str
    """What is sent to Bedrock as modelId."""
    family: str
    """Key of the family table in model_families.py: shape of native bodies, quota names."""
    api: str
    """`converse` or `invoke_model`, for both modes."""
    batch: bool
    batch_role_arn: str


@dataclass(frozen=True)
class Example(Document):
    """A turn of conversation that shows the model what is wanted. Its texts are no templates."""

    user: str
    assistant: str


@dataclass(frozen=True)
class Media(Document):
    """An image or document of every record, by its place in S3: the same one for all (`uri`), or those that a field of
    the row names (`uri_field`)."""

    uri: str | None = None
    uri_field: str | None = None
    format: str | None = None
    """None: by the name's extension."""
    bucket_owner: str | None = None
    """Account of a bucket that is not this account's."""
    name: str | None = None
    """What the model knows a document by."""


@dataclass(frozen=True)
class Prompt(Document):
    template: str | None = None
    system: str | None = None
    inference: dict[str, Json] = field(default_factory=dict)
    """Converse's inferenceConfig: maxTokens, temperature, topP, stopSequences."""
    examples: list[Example] = field(default_factory=list)
    images: list[Media] = field(default_factory=list)
    documents: list[Media] = field(default_factory=list)
    cache: list[str] = field(default_factory=list)
    """After which parts on-demand calls set a cache point: `system`, `examples`."""
    additional: dict[str, Json] = field(default_factory=dict)
    """Parameters of the model's own: additionalModelRequestFields, or members of its native body."""

    @property
    def media(self) -> bool:
        """Whether records point to objects that Bedrock reads."""
        return bool(self.images or self.documents)


@dataclass(frozen=True)
class Recombine(Document):
    """How the results of a document's chunks become one."""

    method: str
    """`concat`, `merge_json` or `reduce`."""
    separator: str = "\n\n"
    """Between texts: of concat, and of the parts in a reduce prompt."""
    keys: list[str] = field(default_factory=lambda: ["id", "name"])
    """Of merge_json: fields by which entities of a list are known as the same, the surest first."""
    prompt: Prompt = field(default_factory=Prompt)
    """Of reduce."""
    size: int = 0
    """Of reduce: what of the parts one prompt takes, in the unit of the chunking."""
    schema: dict[str, Json] | None = None
    """Of reduce: JSON Schema of the value of its answers."""


@dataclass(frozen=True)
class Output(Document):
    """What the results must look like."""

    schema: dict[str, Json] | None = None
    """JSON Schema of an answer's value."""
    ask: str = "auto"
    """How the model is asked for it: `native`, `prompt` (in words), or `auto` (natively where that goes)."""
    recombine: Recombine | None = None
    parquet: bool = False
    """Results also as Parquet files."""
    ordered: bool = False
    """Results also as one file in the corpus's order."""


@dataclass(frozen=True)
class Chunking(Document):
    """How a long document becomes several records."""

    field: str
    """Field of the row that holds the document's text."""
    by: str
    """`characters` or `tokens` (estimated)."""
    size: int
    """Of a chunk, at most, its overlap included."""
    overlap: int = 0


@dataclass(frozen=True)
class Quota(Document):
    value: int
    source: str
    """`override`, `service-quotas` or `default` (a stated fallback: AWS did not say)."""


@dataclass(frozen=True)
class Quotas(Document):
    """Quotas of one model in this account; bytes have their safety margin taken off already."""

    min_records_per_job: Quota
    max_records_per_job: Quota
    max_records_per_file: Quota
    max_file_bytes: Quota
    max_job_bytes: Quota
    max_jobs_in_flight: Quota
    tokens_per_minute: Quota | None = None


@dataclass(frozen=True)
class Limits(Document):
    """Limits of this run, inside the quotas."""

    min_records_per_shard: int
    max_records_per_shard: int
    max_bytes_per_shard: int
    max_line_bytes: int
    cut_bytes: int
    canary_records: int
    max_attempts: int
    job_timeout_hours: int
    claim_ttl_days: int
    max_records: int | None = None
    """Of the whole run; None: any number."""
    max_tokens: int | None = None
    """Input and output tokens of the whole run together, as estimated."""


@dataclass(frozen=True)
class RunSettings(Document):
    """Numbers that the state machines read by `…Path` fields."""

    cut_concurrency: int
    job_concurrency: int
    infer_concurrency: int
    items_per_batch: int
    bytes_per_batch: int
    tolerated_failure_percentage: float
    job_timeout_seconds: int
    inference_timeout_seconds: int


@dataclass(frozen=True)
class Cuts(Document):
    """The cut plan: its JSONL file in the input bucket, its lines, the bytes of corpus they cover."""

    key: str
    count: int
    bytes: int


@dataclass(frozen=True)
class Estimate(Document):
    """What the corpus is thought to hold, from a sample of its first lines; zeros when it is empty."""

    records: int = 0
    input_tokens: int = 0
    max_output_tokens: int = 0
    """0 where the request sets no maxTokens."""
    sampled_records: int = 0
    shard_bytes: int = 0
    """Of the rendered lines."""
    output_tokens: int = 0
    """What is expected, not what is possible."""
    notes: list[str] = field(default_factory=list)
    """Why mode and concurrency are as they are, one sentence each."""


def own_scope(run: str) -> str:
    """Scope of a run that names no dataset. The colon keeps it apart from every dataset's name."""
    return f"run:{run}"


@dataclass(frozen=True)
class RunSpec(Document):
    """Everything that the functions of one run need to know about it. Written once, by plan_run."""

    run: str
    tenant: str
    scope: str
    """Namespace in which a recordId lands once: the run's own (`own_scope`) unless the request names a dataset."""
    execution_arn: str
    mode: str
    """`batch` or `sync`: resolved, never `auto`."""
    priority: str
    source: Source
    model: Model
    prompt: Prompt
    quotas: Quotas
    limits: Limits
    settings: RunSettings
    cuts: Cuts
    estimate: Estimate
    created_at: str
    """ISO 8601, UTC."""
    request_digest: str
    """SHA-256 (hex) of the request: a second start of the same run must carry the same one."""
    output_kms_key_arn: str | None = None
    output: Output = field(default_factory=Output)
    chunking: Chunking | None = None
    input_bucket: str = ""
    source_buckets: dict[str, SourceBucket] = field(default_factory=dict)
    """The module's: what records may point to besides the input bucket."""
    job_vpc: JobVpc | None = None
    job_tags: dict[str, str] = field(default_factory=dict)
    prices: Prices | None = None
    report: dict[str, Json] = field(default_factory=dict)
    """What plan_run told of the run (report.py)."""


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _to_json(value: Any) -> Json:
    if is_dataclass(value) and not isinstance(value, type):
        return {_camel(f.name): _to_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: _to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(item) for item in value]
    return value


def _from_json(kind: Any, value: Json, path: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        (inner,) = (option for option in get_args(kind) if option is not type(None))
        return _from_json(inner, value, path)
    if origin is dict:
        item = get_args(kind)[1]
        return {key: _from_json(item, entry, f"{path}.{key}") for key, entry in _expect(value, dict, path).items()}
    if origin is list:
        item = get_args(kind)[0]
        return [_from_json(item, entry, f"{path}[{n}]") for n, entry in enumerate(_expect(value, list, path))]
    if is_dataclass(kind):
        return _dataclass_from_json(kind, _expect(value, dict, path), path)
    if kind is Any:
        return value
    if kind is float:
        return _expect(value, (int, float), path)
    if kind is int and isinstance(value, float) and value.is_integer():
        # Terraform's jsonencode and Step Functions may both turn 24 into 24.0.
        return int(value)
    return _expect(value, kind, path)


def _dataclass_from_json(kind: Any, value: Mapping[str, Json], path: str) -> Any:
    known: dict[str, Any] = {}
    for field_name, name, hint, optional, required in _members(kind):
        # A null where null is no value of the field means: not given.
        if value.get(name) is not None or (optional and name in value):
            known[field_name] = _from_json(hint, value[name], f"{path}.{name}")
        elif required:
            raise ValueError(f"{path}.{name}".lstrip(".") + ": missing")
    return kind(**known)


@cache
def _members(kind: Any) -> list[tuple[str, str, Any, bool, bool]]:
    """Field, name in JSON, type, whether it may be null, whether it must be there. Looked up once, as the account of a
    large run reads a hundred thousand units."""
    hints = get_type_hints(kind)
    members = []
    for f in fields(kind):
        optional = type(None) in get_args(hints[f.name])
        required = not optional and f.default is MISSING and f.default_factory is MISSING
        members.append((f.name, _camel(f.name), hints[f.name], optional, required))
    return members


def _expect(value: Json, kind: Any, path: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        wanted = getattr(kind, "__name__", "number")
        raise ValueError(f"{path.lstrip('.') or 'document'}: expected {wanted}, found {type(value).__name__}")
    return value
