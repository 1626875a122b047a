"""The resolved run (`plan/run.json`): what it holds, as JSON."""

from dataclasses import dataclass, field
from typing import Final

from bulk_inference.core.json_document import Document, Json
from bulk_inference.core.settings import JobVpc, Prices


@dataclass(frozen=True)
class Csv(Document):
    """How CSV is written."""

    delimiter: str | None = None
    """None: a tab in `.tsv`, else a comma. `auto`: what separates the names in each object's first row."""
    quote: str = '"'
    """Empty: nothing is quoted."""
    header: bool = True
    """Whether the first row names the columns."""
    names: list[str] | None = None
    """Names of the columns of an object whose first row does not name them."""
    quoted_newlines: bool = True
    """Whether a quoted field may hold a line end: then one worker reads an object, from its beginning."""
    escape: str = ""
    """Makes the character after it plain: of `\\"`, the quote. Empty: none does, and quotes are doubled."""


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
    parquet_binary: str = "base64"
    """How columns of bytes are read: `base64` or `text` (UTF-8)."""
    allow_empty: bool = False
    """Whether there may be no object at all: else that is taken for a misspelt place."""
    record_form: bool | None = None
    """Whether a JSON line with `modelInput` is a request body of its own; None: where no template renders it."""
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
    asked: str = ""
    """How the plan has decided that the schema is asked for: `native` or `prompt`; empty: as `ask` says."""
    on_truncated: str = "land"
    """What becomes of an answer that ended at its token limit: `land`, or `fail`."""
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
    tolerated_rejected_percentage: float = 100
    """Of rows, and of bytes: above it a run is refused before anything is submitted."""


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
    job_vpc: JobVpc | None = None
    job_tags: dict[str, str] = field(default_factory=dict)
    prices: Prices | None = None
    report: dict[str, Json] = field(default_factory=dict)
    """What plan_run told of the run (report.py)."""


FAIL: Final = "fail"
"""Of `output.on_truncated`."""

CONCAT: Final = "concat"


MERGE_JSON: Final = "merge_json"


REDUCE: Final = "reduce"


METHODS: Final = (CONCAT, MERGE_JSON, REDUCE)


def wanted(spec: RunSpec) -> bool:
    """Whether a run's results are assembled at all. A run over another one's failures leaves that to the other."""
    return makes_documents(spec) or spec.output.parquet or spec.output.ordered


def makes_documents(spec: RunSpec) -> bool:
    return spec.output.recombine is not None and spec.source.failures_of is None
