"""Section `source` of a request: where the corpus lies, and how it is to be read."""

from typing import Final

from bulk_inference.core import names, tenants
from bulk_inference.core.keys import Places
from bulk_inference.core.run_spec import Csv, Source
from bulk_inference.core.settings import Settings
from bulk_inference.corpus import encodings
from bulk_inference.corpus.formats import AUTO, CSV, FORMATS, PARQUET
from bulk_inference.corpus.globs import GlobError, compiled, literal_prefix
from bulk_inference.request.fields import Fields

_PLACES: Final = ("key", "keys", "prefix", "glob")
_KEYS: Final = (
    "bucket", *_PLACES, "format", "encoding", "csv", "parquet", "id_field", "sequence_field", "carry", "allow_empty",
    "record_form", "ranges", "failures_of", "reduces",
)  # fmt: skip

BINARY: Final = ("base64", "text")
"""How columns of bytes in Parquet are read, the default first."""

MAX_KEYS: Final = 1_000
MAX_CARRIED: Final = 20


def parse_source(request: Fields, run: str, tenant: str, settings: Settings, input_bucket: str) -> Source:
    if "source" not in request:
        request.problem(
            "source", 'missing: where the corpus lies, as {"key": …}, {"keys": […]}, {"prefix": …} or {"glob": …}'
        )
    given = request.section("source", _KEYS)
    bucket = given.text("bucket") or input_bucket
    key, prefix, glob = given.text("key"), given.text("prefix"), given.text("glob")
    keys = _distinct(given, "keys", MAX_KEYS)
    ranges, failures_of, reduces = given.text("ranges"), given.text("failures_of"), given.text("reduces")
    if reduces is not None and not names.RUN.fullmatch(reduces):
        given.problem("reduces", "must be a run's id")
    elif reduces is not None and (bucket != input_bucket or (prefix is None and ranges is None)):
        given.problem("reduces", "comes with a prefix below the named run's reductions, from assemble_results")
    if ("ranges" in given) != ("failures_of" in given):
        given.problem("", "ranges and failures_of come together, from redrive_failures")
    if ranges is not None and ranges != Places(tenant, run).ranges:
        given.problem("ranges", f"must be {Places(tenant, run).ranges}, which redrive_failures writes")
    if "source" in request and sum(name in given for name in (*_PLACES, "ranges")) != 1:
        given.problem(
            "",
            "needs exactly one of key (one object), keys (some), prefix (all objects below) and glob (all that match)",
        )
    places = [("key", key), ("prefix", prefix), ("glob", glob and _literal(given, glob))]
    places += [(f"keys[{number}]", one) for number, one in enumerate(keys or ())]
    # Files of the pipeline's own: prompts of a run's reductions, and the pool that the intake made for this very run.
    own = [Places(tenant, run).pool, *([] if reduces is None else [Places(tenant, reduces).reductions_prefix])]
    for name, value in places:
        if value is None or (bucket == input_bucket and value.startswith(tuple(own)) and ".." not in value):
            continue
        if (refusal := tenants.refusal(settings, tenant, input_bucket, bucket, value)) is not None:
            given.problem(name, refusal)
    format_ = given.choice("format", FORMATS) or AUTO
    return Source(
        bucket=bucket,
        key=key,
        keys=keys,
        prefix=prefix,
        glob=glob,
        format=format_,
        encoding=_encoding(given, format_),
        csv=_csv(given, format_),
        id_field=given.text("id_field"),
        sequence_field=given.text("sequence_field"),
        carry=_distinct(given, "carry", MAX_CARRIED) or [],
        parquet_binary=_parquet(given, format_),
        ranges=ranges,
        failures_of=failures_of,
        allow_empty=given.flag("allow_empty") or False,
        record_form=given.flag("record_form"),
        reduces=reduces,
    )


def _distinct(given: Fields, name: str, most: int) -> list[str] | None:
    values = given.texts(name)
    if values is None:
        return None
    if not 1 <= len(values) <= most:
        given.problem(name, f"must hold 1 to {most} of them")
    if len(set(values)) < len(values):
        given.problem(name, f"holds {next(one for one in values if values.count(one) > 1)!r} twice")
    return values


def _literal(given: Fields, glob: str) -> str:
    try:
        compiled(glob)
    except GlobError as error:
        given.problem("glob", f"is no pattern: {error}")
    return literal_prefix(glob)


def _encoding(given: Fields, format_: str) -> str | None:
    name = given.text("encoding")
    if name is None:
        return None
    if format_ == PARQUET:
        given.problem("encoding", "texts in Parquet are always UTF-8")
    found = encodings.canonical(name)
    if found is None:
        given.problem(
            "encoding",
            f"{name!r} is not known: for example utf-8, utf-16, latin-1, cp1252, shift_jis or gb18030, as Python "
            "names them",
        )
    return found


def _csv(given: Fields, format_: str) -> Csv:
    if "csv" in given and format_ not in (AUTO, CSV):
        given.problem("csv", f"is for source.format csv, not {format_}")
    section = given.section("csv", ("delimiter", "quote", "escape", "header", "quoted_newlines"))
    delimiter = AUTO if section.given.get("delimiter") == AUTO else _character(section, "delimiter", word=AUTO)
    escape = _character(section, "escape") or ""
    quote = '"' if "quote" not in section else _character(section, "quote", or_none=True) or ""
    if delimiter is not None and delimiter == quote:
        section.problem("delimiter", "must be another character than the quote")
    if escape and escape in (quote, delimiter):
        section.problem("escape", "must be another character than quote and delimiter; doubled quotes need none")
    header, names = True, None
    if isinstance(section.given.get("header"), list):
        names = _distinct(section, "header", 10_000)
    else:
        header = section.flag("header") is not False
    return Csv(delimiter, quote, header, names, section.flag("quoted_newlines") is not False, escape)


def _parquet(given: Fields, format_: str) -> str:
    if "parquet" in given and format_ not in (AUTO, PARQUET):
        given.problem("parquet", f"is for source.format parquet, not {format_}")
    return given.section("parquet", ("binary",)).choice("binary", BINARY) or BINARY[0]


def _character(section: Fields, name: str, *, or_none: bool = False, word: str = "") -> str | None:
    """White space may be a delimiter, so that this is no text as others are."""
    if name not in section:
        return None
    value = section.given[name]
    if or_none and value == "":
        return None
    if not isinstance(value, str) or len(value) != 1 or value in "\r\n\0":
        section.problem(
            name,
            "must be one character"
            + (", or empty if nothing is quoted" if or_none else "")
            + (f", or {word}" if word else ""),
        )
        return None
    return value
