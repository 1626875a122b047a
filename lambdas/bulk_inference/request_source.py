"""Section `source` of a request: where the corpus lies."""

from bulk_inference.places import Places
from bulk_inference.request_fields import Fields
from bulk_inference.spec import Source

_KEYS = ("bucket", "key", "prefix", "id_field", "sequence_field", "ranges", "failures_of")


def parse_source(request: Fields, run: str, tenant: str, input_bucket: str) -> Source:
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
    if bucket == input_bucket:
        for name, value in (("key", key), ("prefix", prefix)):
            _inside_tenant(given, name, value, tenant)
    return Source(
        bucket=bucket,
        key=key,
        prefix=prefix,
        id_field=given.text("id_field"),
        sequence_field=given.text("sequence_field"),
        ranges=ranges,
        failures_of=failures_of,
    )


def _inside_tenant(given: Fields, name: str, value: str | None, tenant: str) -> None:
    if value is None:
        return
    if not value.startswith(f"{tenant}/"):
        given.problem(name, f"must start with {tenant}/ in the input bucket, for example {tenant}/corpus/…")
    runs = f"{tenant}/runs/"
    if value.startswith(runs) or runs.startswith(value):
        given.problem(name, f"must not reach into {runs}, where runs keep their own files")
