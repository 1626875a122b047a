"""Where everything of a run lies: keys in the input and output bucket.

No `=`, `:`, `+`, space or `//` ever appears in a key, because Bedrock's S3 URI pattern refuses them
(CreateModelInvocationJob, member s3Uri).
"""

from dataclasses import dataclass

from bulk_inference.core import names


@dataclass(frozen=True)
class Places:
    """Keys of one run of one tenant. A *piece* is a shard file as cut; its name is `<cut>-<n>` or a merged number."""

    tenant: str
    run: str

    @property
    def root(self) -> str:
        return f"{self.tenant}/runs/{self.run}/"

    # Input bucket.
    @property
    def spec(self) -> str:
        """The resolved run (request, model, settings): written once by plan_run, read by every other function."""
        return f"{self.root}plan/run.json"

    def cuts(self, planner: str) -> str:
        """JSONL, one cut per line: the items of the map Cut Corpus.

        Each planner writes its own, and the plan that is kept names the one that counts (RunSpec.cuts.key): so the
        two belong together, however the corpus grows while two of them plan.
        """
        return f"{self.root}plan/cuts-{planner}.jsonl"

    @property
    def ranges(self) -> str:
        """JSONL, one byte range of a corpus object per line: the corpus of a run over another run's failures."""
        return f"{self.root}plan/ranges.jsonl"

    @property
    def jobs(self) -> str:
        """JSONL, one batch shard per line: the items of the map Submit Shards."""
        return f"{self.root}plan/jobs.jsonl"

    def shard(self, piece: str) -> str:
        """A JSONL file of `{"recordId", "modelInput"}` lines, sized for one batch job."""
        return f"{self.root}shards/{piece}.jsonl"

    def index(self, piece: str) -> str:
        """JSONL, one pointer per record of a piece, in the piece's order."""
        return f"{self.root}index/{piece}.jsonl"

    @property
    def pool(self) -> str:
        """Prefix of what the intake writes for this run: not below `root`, where no corpus may lie."""
        return f"{self.tenant}/intake/{self.run}/"

    def pool_block(self, block: str) -> str:
        """JSONL, documents that came into the pool together, as corpus lines. The folder keeps its first name: open
        pools outlive an update of the module."""
        return f"{self.pool}chunks/{block}.jsonl"

    @property
    def pool_request(self) -> str:
        """The stored prompt as it was when the pool was opened: the run's request but for its source."""
        return f"{self.pool}request.json"

    @property
    def pool_corpus(self) -> str:
        """JSONL, all documents of a closed pool: the corpus of its run."""
        return f"{self.pool}corpus.jsonl"

    def document(self, cut: str) -> str:
        """One line: a document that is inferred at once, the corpus of a cut of its own."""
        return f"{self.pool}documents/{cut}.jsonl"

    @property
    def sync_prefix(self) -> str:
        return f"{self.root}sync/"

    def batches(self, piece: str) -> str:
        """JSONL, one batch of a piece that goes the sync way per line: the items of the map Infer Batches."""
        return f"{self.sync_prefix}{piece}.jsonl"

    @property
    def index_prefix(self) -> str:
        return f"{self.root}index/"

    @property
    def reductions_prefix(self) -> str:
        """Below it, prompts of the reductions of the run's documents: corpora of runs of their own."""
        return f"{self.root}reductions/"

    def reduction_prefix(self, revision: int) -> str:
        return f"{self.reductions_prefix}{names.revision(revision)}/"

    def reduction_rows(self, revision: int, partition: int) -> str:
        return f"{self.reduction_prefix(revision)}{names.partition(partition)}.jsonl"

    # Output bucket.
    def job_output(self, shard: str, attempt: int) -> str:
        """Prefix (with its slash) under which Bedrock writes `<jobId>/`.

        Not below `root`: Bedrock's output repeats every prompt, and a lifecycle rule, which knows only prefixes, must
        be able to expire it without the results; the batch role can then write here and nowhere else.
        """
        return f"{self.tenant}/jobs/{self.run}/{names.Attempt(shard, attempt).name}/"

    def results(self, part: str) -> str:
        return f"{self.results_prefix}part-{part}.jsonl"

    @property
    def results_prefix(self) -> str:
        return f"{self.root}results/"

    def failures(self, part: str) -> str:
        return f"{self.failures_prefix}part-{part}.jsonl"

    def part_of(self, key: str) -> str:
        """Name of the part that lies under a key of results or failures."""
        return key.rpartition("/part-")[2].removesuffix(".jsonl")

    @property
    def failures_prefix(self) -> str:
        return f"{self.root}failures/"

    def parked(self, part: str) -> str:
        """Records that came to infer_batch whole and failed: the failure lane's messages point here."""
        return f"{self.parked_prefix}part-{part}.jsonl"

    @property
    def parked_prefix(self) -> str:
        return f"{self.root}parked/"

    def outbox(self, part: str) -> str:
        """JSONL, the failure lane's messages of the failures in a part, until they are sent and after."""
        return f"{self.parked_prefix}messages-{part}.jsonl"

    def unfit(self, digest: str) -> str:
        """One line: the failure lane's last answer to a record that did not fit the schema, either."""
        return f"{self.root}unfit/{digest}.jsonl"

    @property
    def documents_prefix(self) -> str:
        return f"{self.root}documents/"

    def documents(self, partition: int) -> str:
        """JSONL, one document of which something has landed per line."""
        return f"{self.documents_prefix}part-{names.partition(partition)}.jsonl"

    @property
    def partial_documents(self) -> str:
        """JSONL, one document that is not complete per line."""
        return f"{self.documents_prefix}partial.jsonl"

    def assembly_plan(self, revision: int, what: str) -> str:
        """JSONL, one item of a map of assemble_results per line."""
        return f"{self.root}assembly/{names.revision(revision)}/{what}.jsonl"

    @property
    def sorted_prefix(self) -> str:
        return f"{self.root}assembly/sorted/"

    def sorted(self, group: str) -> str:
        """Entries of a group of parts by partition (document_sorting.py)."""
        return f"{self.sorted_prefix}{group}.txt"

    @property
    def partial_parts_prefix(self) -> str:
        return f"{self.root}assembly/partial/"

    def partial_part(self, partition: int) -> str:
        return f"{self.root}assembly/partial/{names.partition(partition)}.jsonl"

    @property
    def parquet_prefix(self) -> str:
        return f"{self.root}parquet/"

    def parquet(self, group: str) -> str:
        return f"{self.parquet_prefix}part-{group}.parquet"

    @property
    def ordered(self) -> str:
        """JSONL, every result line in the order of the corpus."""
        return f"{self.root}results-ordered.jsonl"

    @property
    def map_runs_prefix(self) -> str:
        """Prefix of ResultWriter, without a closing slash: Step Functions adds `/<mapRunId>/`."""
        return f"{self.root}map-runs"

    @property
    def plan_report(self) -> str:
        """What plan_run told of the run before it started."""
        return f"{self.root}plan/report.json"

    @property
    def plan_text(self) -> str:
        return f"{self.root}plan/report.txt"

    @property
    def canary_words(self) -> str:
        """JSONL, what the service said of the canary's records, where some failed: it may quote them."""
        return f"{self.root}plan/report.canary.jsonl"

    def refusal(self, attempt: str) -> str:
        """What Bedrock said when it refused to create an attempt's job (input bucket)."""
        return f"{self.root}shards/{attempt}.refusal.txt"

    @property
    def manifest(self) -> str:
        return f"{self.root}manifest.json"

    @property
    def report(self) -> str:
        return f"{self.root}report.html"
