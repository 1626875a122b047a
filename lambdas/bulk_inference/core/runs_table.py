"""Keys of the runs table: what is known of runs, cuts, shards, jobs and units of work.

| pk | sk | written by |
| --- | --- | --- |
| `RUN#{run}` | `META` | plan_run; finish_run and stop_run set its status |
| `RUN#{run}` | `CUT#{cut}` | cut_shards: counts of one cut |
| `RUN#{run}` | `SHARD#{shard}` | seal_shards: counts of one shard or sync piece |
| `RUN#{run}` | `JOB#{shard}-a{attempt}` | submit_job: name and ARN of one attempt's job |
| `RUN#{run}` | `UNIT#{unit}` | collect_results, infer_batch: outcome of one unit of work |
| `RUN#{run}` | `LATE#{unit}#{hash}` | the failure lane: what became of one failed record later |
| `RUN#{run}` | `UNFIT#{unit}#{hash}` | the failure lane: answers to one failed record that did not fit, either |
| `RUN#{run}` | `RESUBMISSION#{run2}` | redrive_failures: a run over records that failed in this one |
| `RUN#{run}` | `UPDATE` | update_runs: revision and counts of the manifest |
| `RUN#{run}` | `ASSEMBLY` | assembly.py: passes over the run's results, and what they have come to |
| `RUN#{run}` | `JOIN#{partition}` | join_documents: counts of the documents of one partition |
| `STALE` | `{run}` | the run's manifest is older than its late outcomes |
| `STALE` | `{run}#{run2}` | failed records of the first may land in the second: looked for when that has ended |
| `JOB#{jobName}` | `JOB` | submit_job: task token and whereabouts, found by the job's event |
| `OPEN` | `JOB#{jobName}` | submit_job; deleted when the token is answered |
| `LIVE` | `{run}` | plan_run; deleted when the run is closed |
| `QUOTA#{model}` | `QUOTA` | plan_run: quotas, cached for a day |
| `IN_FLIGHT#{model}` | `COUNT` | submit_job: the account's jobs in flight, shared for half a minute |
| `DOCUMENT#{tenant}/{scope}#{id}` | `DOCUMENT` | the intake: what has become of one document that came alone |
| `LEASE#{run}/{unit}` | `LEASE` | whoever works on a unit: leases.py |
| `SLOTS` | `{tenant}/{priority}/{hash}` | the intake: the pool that is open for documents of one kind |
| `POOLS` | `{run}` | the intake: a pool that is closed, and so a run; a window of urgent documents |
| `POOL#{run}` | `CHUNK#{hash}`, `TALLY` | the intake: documents that came into the pool together; counts of a window |

TTL attribute of every item: `expires_at`, epoch seconds.
"""

from typing import Any, Final, TypeAlias

from bulk_inference.core import names

Item: TypeAlias = dict[str, Any]
"""One item as plain Python values (str, int, float, bool, None, list, dict), keys `pk` and `sk` included."""

META: Final = "META"
CUTS: Final = "CUT#"
SHARDS: Final = "SHARD#"
JOBS: Final = "JOB#"
UNITS: Final = "UNIT#"
LATES: Final = "LATE#"
UNFITS: Final = "UNFIT#"
RESUBMISSIONS: Final = "RESUBMISSION#"
UPDATE: Final = "UPDATE"
ASSEMBLY: Final = "ASSEMBLY"
JOINS: Final = "JOIN#"
STALE: Final = "STALE"
JOB: Final = "JOB"
OPEN: Final = "OPEN"
QUOTA: Final = "QUOTA"
LIVE: Final = "LIVE"
COUNT: Final = "COUNT"
DOCUMENT: Final = "DOCUMENT"
SLOTS: Final = "SLOTS"
POOLS: Final = "POOLS"
BLOCKS: Final = "CHUNK#"
"""Blocks of a pool, under the name by which they are stored: open pools outlive an update of the module."""
TALLY: Final = "TALLY"
LEASE: Final = "LEASE"


def run_pk(run: str) -> str:
    return f"RUN#{run}"


def cut_sk(cut: str) -> str:
    return f"{CUTS}{cut}"


def shard_sk(shard: str) -> str:
    return f"{SHARDS}{shard}"


def unit_sk(unit: str) -> str:
    return f"{UNITS}{unit}"


def late_sk(unit: str, record: str) -> str:
    return f"{LATES}{unit}#{record}"


def unfit_sk(unit: str, record: str) -> str:
    return f"{UNFITS}{unit}#{record}"


def resubmission_sk(run: str) -> str:
    return f"{RESUBMISSIONS}{run}"


def join_sk(partition: int) -> str:
    return f"{JOINS}{names.partition(partition)}"


def job_key(job_name: str) -> str:
    """Partition key of a job's own item, and sort key of its item below OPEN."""
    return f"{JOBS}{job_name}"


def document_pk(tenant: str, scope: str, document: str) -> str:
    """Ends in the document's id, so that documents spread over all partitions."""
    return f"DOCUMENT#{tenant}/{scope}#{document}"


def pool_pk(run: str) -> str:
    return f"POOL#{run}"


def block_sk(block: str) -> str:
    return f"{BLOCKS}{block}"


def lease_pk(run: str, unit: str) -> str:
    """A partition of its own, so that the units of a large run do not meet in one."""
    return f"{LEASE}#{run}/{unit}"


def quota_pk(model: str) -> str:
    return f"QUOTA#{model}"


def in_flight_pk(model: str) -> str:
    return f"IN_FLIGHT#{model}"


def live_item(run: str, execution_arn: str, expires_at: int) -> Item:
    """Says that the run goes on: reconciliation looks whether its execution does, too."""
    return {"pk": LIVE, "sk": run, "executionArn": execution_arn, "expires_at": expires_at}
