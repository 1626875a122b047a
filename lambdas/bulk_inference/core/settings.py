"""The module's settings (`config/settings.json`), written by Terraform."""

from dataclasses import dataclass, field

from bulk_inference.core.json_document import Document


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
    tolerated_rejected_percentage: float | None = None
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

    @property
    def folder(self) -> str:
        """What keys must begin with: `team` opens `team/`, and not `team-secret/`."""
        return f"{self.prefix.rstrip('/')}/" if self.prefix.strip("/") else ""


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
    tolerated_rejected_percentage: float = 5
    """Of a corpus's rows, and of its bytes."""
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
