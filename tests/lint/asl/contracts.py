"""What passes between the state machines of asl/ and the handlers: events and answers, by the name of the handler.

Members are JSON names. `dataflow.py` follows them through the machines: what a state reads is what an answer
here, or a state before it, has made. Answers whose members vary by a run's request name those that are always there;
`Annotated[…, "infer"]` is there if `next` is `infer`. Lines that a Distributed Map reads are named by the map's label.
"""

from typing import Annotated, Any, NotRequired, TypedDict


class PlanRunEvent(TypedDict):
    run: str
    executionArn: str
    request: Any


class RunSettingsAnswer(TypedDict):
    """RunSettings as JSON."""

    cutConcurrency: int
    jobConcurrency: int
    inferConcurrency: int
    itemsPerBatch: int
    bytesPerBatch: int
    toleratedFailurePercentage: float
    jobTimeoutSeconds: int
    inferenceTimeoutSeconds: int


class CutsAnswer(TypedDict):
    """Cuts as JSON."""

    key: str
    count: int
    bytes: int


class PlacesAnswer(TypedDict):
    inputBucket: str
    outputBucket: str
    mapRunsPrefix: str


class PlanReport(TypedDict):
    """The report of the plan, for people: no state reads in it."""


class PlanRunAnswer(TypedDict):
    """Of a run that is to be done. A dry run's answer has `next: report` and ends the machine."""

    run: str
    tenant: str
    scope: str
    mode: str
    next: str
    cuts: CutsAnswer
    settings: RunSettingsAnswer
    report: PlanReport
    assembly: bool
    places: PlacesAnswer


class CutShardsEvent(TypedDict):
    run: str
    tenant: str
    cut: Any


class CutShardsAnswer(TypedDict):
    cut: int
    pieces: list[str]
    read: int
    accepted: int
    rejected: int
    duplicate: int
    failures: Any


class SealShardsEvent(TypedDict):
    run: str
    tenant: str


class BatchShards(TypedDict):
    """`key`: the JSONL file of shards in the input bucket, a line of `{"shard", "piece", …}` each."""

    key: str
    shards: int
    records: int


class SyncPieces(TypedDict):
    """`prefix`: where the files of item batches lie in the input bucket."""

    bucket: str
    prefix: str
    records: int
    pieces: int


class SealShardsAnswer(TypedDict):
    batch: BatchShards
    sync: SyncPieces


class SubmitJobEvent(TypedDict):
    run: str
    tenant: str
    attempt: int
    shard: Any
    taskToken: str


class CollectResultsEvent(TypedDict):
    """The child's state. `job`: what the task token was answered with, or an error's name and cause."""

    run: str
    tenant: str
    attempt: int
    shard: Any
    job: Any
    segment: NotRequired[int]


class ItemBatchEvent(TypedDict):
    BatchInput: Any
    Items: Any


class CollectResultsAnswer(TypedDict):
    """The child's next state."""

    run: str
    tenant: str
    attempt: int
    jobTimeoutSeconds: int
    shard: Any
    job: Any
    next: str
    counts: Any
    segment: NotRequired[int]
    remainder: NotRequired[Annotated[ItemBatchEvent, "infer"]]


class InferBatchAnswer(TypedDict):
    """The event of the next call, if `next` is `infer`."""

    BatchInput: Any
    Items: Any
    next: str
    counts: Any


class FinishRunEvent(TypedDict):
    run: str
    tenant: str
    executionArn: str
    redrives: NotRequired[int]
    inferred: NotRequired[Any]


class FinishRunAnswer(TypedDict):
    run: str
    tenant: str
    scope: str
    status: str
    counts: Any
    rejections: Any
    manifest: Any


class PlanAssemblyEvent(TypedDict):
    run: str
    tenant: str
    execution: str
    previous: int


class AssemblyGroups(TypedDict):
    """`key`: a JSONL file in the output bucket; `count`: its lines."""

    key: str
    count: int


class PlanAssemblyAnswer(TypedDict):
    run: str
    tenant: str
    revision: int
    partitions: int
    bucket: str
    sort: AssemblyGroups
    join: AssemblyGroups
    parquet: AssemblyGroups
    ordered: bool
    concurrency: int
    mapRunsPrefix: str
    timeoutSeconds: int


class SortChunksEvent(TypedDict):
    run: str
    tenant: str
    partitions: int
    group: Any


class JoinDocumentsEvent(TypedDict):
    run: str
    tenant: str
    revision: int
    partition: int


class ExportParquetEvent(TypedDict):
    run: str
    tenant: str
    group: Any


class OrderResultsEvent(TypedDict):
    run: str
    tenant: str


class CloseAssemblyEvent(TypedDict):
    run: str
    tenant: str
    revision: int


class ReductionRequest(TypedDict):
    """The request of a run that reduces documents."""

    run: Any
    source: Any
    model: Any
    prompt: Any
    output: Any
    limits: Any


class Reduction(TypedDict):
    run: str
    request: ReductionRequest


class CloseAssemblyAnswer(TypedDict):
    run: str
    tenant: str
    revision: int
    next: str
    reduction: NotRequired[Annotated[Reduction, "reduce"]]


class PipelineAnswer(TypedDict):
    """What the machine `pipeline` ends with: finish_run's answer, and what plan_run had reported."""

    run: str
    tenant: str
    status: str
    counts: Any
    manifest: Any
    plan: Any


class CutCorpusItem(TypedDict):
    cut: int


class SubmitShardsItem(TypedDict):
    shard: str
    piece: str
    records: int
    bytes: int


class InferBatchesItem(TypedDict):
    """An item batch, a pointer to a record, or a record."""


class SortPartsItem(TypedDict):
    """A group of parts."""


class JoinPartitionsItem(TypedDict):
    partition: int


class ExportPartsItem(TypedDict):
    """A group of parts."""


RAISES: dict[str, tuple[str, ...]] = {
    "plan_run": ("InvalidRequestError", "CanaryFailedError"),
    "cut_shards": ("InvalidRequestError",),
    "seal_shards": ("InvalidRequestError",),
    "submit_job": ("JobSlotsFullError", "JobRejectedError"),
    "collect_results": ("JobNotTerminalError", "ShardFailedError", "UnitFailedError"),
    "infer_batch": ("UnitFailedError",),
    "finish_run": ("ConservationError", "IncompleteRunError"),
    "plan_assembly": ("InvalidRequestError",),
    "sort_chunks": ("InvalidRequestError",),
    "join_documents": ("InvalidRequestError",),
    "export_parquet": ("InvalidRequestError",),
    "order_results": ("InvalidRequestError",),
    "close_assembly": ("InvalidRequestError",),
    "redrive_failures": ("InvalidRequestError",),
}
"""Errors by which a handler tells its state something: the state catches them or tries again. ThrottledError and
WorkInProgressError are every handler's."""
