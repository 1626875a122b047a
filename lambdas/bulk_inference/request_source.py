"""Section `source` of a request: where the corpus lies."""

from bulk_inference import tenants
from bulk_inference.places import Places
from bulk_inference.request_fields import Fields
from bulk_inference.spec import Settings, Source

_KEYS = ("bucket", "key", "prefix", "id_field", "sequence_field", "ranges", "failures_of")


def parse_source(request: Fields, run: str, tenant: str, settings: Settings, input_bucket: str) -> Source:
    if "source" not in request:
        request.problem("source", 'missing: where the corpus lies, as {"key": …} or {"prefix": …}')
    given = request.section("source", _KEYS)
    bucket = given.text("bucket") or input_bucket
    key, prefix = given.text("key"), given.text("prefix")
    ranges, failures_of = given.text("ranges"), given.text("failures_of")
    if ("ranges" in given) != ("failures_of" in given):
        given.problem("", "ranges and failures_of come together, from redrive_failures")
    if ranges is not None and ranges != Places(tenant, run).ranges:
        given.problem("ranges", f"must be {Places(tenant, run).ranges}, which redrive_failures writes")
    if "source" in request and sum(name in given for name in ("key", "prefix", "ranges")) != 1:
        given.problem("", "needs either key (one object) or prefix (all objects below), not both")
    for name, value in (("key", key), ("prefix", prefix)):
        refusal = None if value is None else tenants.refusal(settings, tenant, input_bucket, bucket, value)
        if refusal is not None:
            given.problem(name, refusal)
    return Source(
        bucket=bucket,
        key=key,
        prefix=prefix,
        id_field=given.text("id_field"),
        sequence_field=given.text("sequence_field"),
        ranges=ranges,
        failures_of=failures_of,
    )
