"""What is known of model families: names of their quotas, batch capability, shape of native request bodies.

Quota names and codes: https://docs.aws.amazon.com/general/latest/gr/bedrock.html. No rule derives the names from a
model id, and codes change when AWS renames a quota: hence a table, read by code first, then by exact name (quotas.py).
Batch support: https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-supported.html.
"""

import re
from dataclasses import dataclass, field
from typing import Final

CONVERSE: Final = "converse"
INVOKE_MODEL: Final = "invoke_model"
APIS: Final = (CONVERSE, INVOKE_MODEL)


@dataclass(frozen=True)
class QuotaCodes:
    """Codes in Service Quotas (service `bedrock`), the same in every Region; None: not published."""

    jobs: str | None = None
    records_per_job: str | None = None
    records_per_file: str | None = None
    min_records: str | None = None
    file_gigabytes: str | None = None
    job_gigabytes: str | None = None
    # Tokens per minute, by where calls go: this Region, a geography's profile, the global profile.
    minute: str | None = None
    minute_cross_region: str | None = None
    minute_global: str | None = None


@dataclass(frozen=True)
class Family:
    key: str
    id_prefixes: tuple[str, ...]
    """Beginnings of the model ids, without a profile's geography."""
    body: str | None
    """Native InvokeModel body that rendering.py can write: `claude`, `nova`, `nova_embed`, `titan_embed`; None: none of
    them."""
    batch_label: str | None = None
    """Name in the batch quotas."""
    on_demand_label: str | None = None
    """Name in the on-demand quotas."""
    batch: bool = False
    converse: bool = True
    burndown: int = 1
    """Tokens of quota that one output token takes
    (https://docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html)."""
    codes: QuotaCodes = field(default_factory=QuotaCodes)
    media: frozenset[str] = frozenset()
    """What it reads by its place in S3, `image` or `document`. Of chat models only Nova's do
    (https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-supported-models-features.html)."""
    structured: bool = False
    """Whether it takes a JSON Schema for its answer
    (https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html)."""

    @property
    def embeds(self) -> bool:
        return self.body in ("nova_embed", "titan_embed")

    @property
    def apis(self) -> tuple[str, ...]:
        """APIs whose bodies fit the family, the preferred one first."""
        return APIS if self.converse else (INVOKE_MODEL,)


def _claude(
    key: str,
    prefix: str,
    label: str,
    codes: QuotaCodes | None = None,
    *,
    burndown: int = 1,
    on_demand: str | None = None,
    structured: bool = False,
) -> Family:
    return Family(
        key=key,
        id_prefixes=(prefix,),
        body="claude",
        batch_label=label,
        on_demand_label=on_demand or f"Anthropic {label}",
        batch=True,
        burndown=burndown,
        codes=codes or QuotaCodes(),
        structured=structured,
    )


def _nova(
    key: str, prefix: str, label: str, on_demand: str, codes: QuotaCodes, media: tuple[str, ...] = ("image", "document")
) -> Family:
    return Family(key, (prefix,), "nova", label, on_demand, batch=True, codes=codes, media=frozenset(media))


def _open_weights(key: str, *prefixes: str, batch: bool = True) -> Family:
    return Family(key, prefixes, None, batch=batch)


FAMILIES: Final[tuple[Family, ...]] = (
    _claude(
        "claude-haiku-4-5",
        "anthropic.claude-haiku-4-5",
        "Claude Haiku 4.5",
        QuotaCodes(
            "L-63020993",
            "L-28612175",
            "L-9EDE6039",
            minute_cross_region="L-58BE175A",
            minute_global="L-9A11C666",
        ),
        structured=True,
        burndown=5,
    ),
    _claude(
        "claude-sonnet-4-5",
        "anthropic.claude-sonnet-4-5",
        "Claude Sonnet 4.5",
        QuotaCodes(
            "L-A0300844",
            "L-FFFEDD8D",
            "L-4DFF050E",
            minute_cross_region="L-F4DDD3EB",
            minute_global="L-27C57EE8",
        ),
        structured=True,
        burndown=5,
        on_demand="Anthropic Claude Sonnet 4.5 V1",
    ),
    _claude(
        "claude-sonnet-4-6",
        "anthropic.claude-sonnet-4-6",
        "Claude Sonnet 4.6",
        QuotaCodes("L-3030E098", "L-01A2DC4B", "L-391CEF89"),
        structured=True,
        burndown=5,
    ),
    _claude(
        "claude-opus-4-5",
        "anthropic.claude-opus-4-5",
        "Claude Opus 4.5",
        QuotaCodes("L-E83AC604", "L-2767B9A9", "L-F7440010"),
        structured=True,
        burndown=5,
    ),
    _claude(
        "claude-opus-4-6",
        "anthropic.claude-opus-4-6",
        "Claude Opus 4.6",
        QuotaCodes("L-B0F56DCF", "L-9AA02BEF", "L-D8E451A7"),
        structured=True,
        burndown=5,
    ),
    _claude("claude-opus-5", "anthropic.claude-opus-5", "Claude Opus 5", burndown=5),
    _claude(
        "claude-sonnet-4",
        "anthropic.claude-sonnet-4-20250514",
        "Claude Sonnet 4",
        QuotaCodes("L-79EFF176", "L-8A6B31EE", "L-02DB18B4", "L-F72F26EE", "L-F611997D", "L-E31283B0"),
        burndown=5,
        on_demand="Anthropic Claude Sonnet 4 V1",
    ),
    _claude(
        "claude-3-7-sonnet",
        "anthropic.claude-3-7-sonnet",
        "Claude 3.7 Sonnet",
        QuotaCodes("L-E455959C", "L-FABEE48F", "L-A985813D", "L-BFA0FE84", None, "L-02D6293C"),
        burndown=5,
        on_demand="Anthropic Claude 3.7 Sonnet V1",
    ),
    _claude(
        "claude-3-5-haiku",
        "anthropic.claude-3-5-haiku",
        "Claude 3.5 Haiku",
        QuotaCodes("L-220B8A25", "L-274AA31F", "L-C39B6D57", "L-B48488BD"),
    ),
    _claude(
        "claude-3-5-sonnet",
        "anthropic.claude-3-5-sonnet-20240620",
        "Claude 3.5 Sonnet",
        QuotaCodes("L-4E7EE0B5", "L-1E2B9998", "L-5AB0EE48", "L-1E0DA3DF"),
    ),
    _claude(
        "claude-3-5-sonnet-v2",
        "anthropic.claude-3-5-sonnet-20241022",
        "Claude 3.5 Sonnet v2",
        QuotaCodes("L-C2FA9AEC", "L-6EBFEB27", "L-897F8151", "L-1FA30AE7"),
        on_demand="Anthropic Claude 3.5 Sonnet V2",
    ),
    _claude(
        "claude-3-haiku",
        "anthropic.claude-3-haiku",
        "Claude 3 Haiku",
        QuotaCodes("L-1570CF9E", "L-1F644C2A", "L-EBB72C32", "L-AE7F26D4"),
    ),
    # Claude models of which batch jobs are refused, or nothing is published: on demand only.
    Family("claude", ("anthropic.claude",), "claude", burndown=5),
    _nova(
        "nova-2-lite",
        "amazon.nova-2-lite",
        "Nova 2 Lite",
        "Amazon Nova 2 Lite",
        QuotaCodes("L-10F69CA1", "L-ECCE76C6", minute_cross_region="L-C6F5908D"),
    ),
    _nova(
        "nova-micro",
        "amazon.nova-micro",
        "Nova Micro V1",
        "Amazon Nova Micro",
        QuotaCodes("L-564C017C", "L-57DC56A1", "L-D56DF585", "L-534E6885", None, "L-C79C2150"),
        media=(),
    ),
    _nova(
        "nova-lite",
        "amazon.nova-lite",
        "Nova Lite V1",
        "Amazon Nova Lite",
        QuotaCodes("L-E2ED42E6", "L-916C9264", "L-B8626674", "L-39FA8DCA", None, "L-19E52681", minute="L-7C42E72A"),
    ),
    _nova(
        "nova-pro",
        "amazon.nova-pro",
        "Nova Pro V1",
        "Amazon Nova Pro",
        QuotaCodes("L-FE130012", "L-89197AE6", "L-9B651738", "L-2A3EB975", None, "L-26B15D4D"),
    ),
    _nova(
        "nova-premier",
        "amazon.nova-premier",
        "Amazon Nova Premier",
        "Amazon Nova Premier",
        QuotaCodes("L-654787A4", "L-131D4EED"),
    ),
    Family(
        "nova-2-multimodal-embeddings",
        ("amazon.nova-2-multimodal-embeddings",),
        "nova_embed",
        "Amazon Nova 2 Multimodal Embeddings V1",
        "Amazon Nova 2 Multimodal Embeddings V1",
        batch=True,
        media=frozenset({"image"}),
        converse=False,
        codes=QuotaCodes("L-AF2A00BD", "L-7DCA4380"),
    ),
    Family(
        "titan-embed-text-v2",
        ("amazon.titan-embed-text-v2",),
        "titan_embed",
        "Titan Text Embeddings V2",
        "Amazon Titan Text Embeddings V2",
        batch=True,
        converse=False,
        codes=QuotaCodes("L-1AC1CABC", "L-AAC5F6D6", "L-D1151D45", "L-6F2B2616"),
    ),
    Family("titan-embed-image", ("amazon.titan-embed-image",), None, batch=True, converse=False),
    Family(
        "gpt-oss-120b",
        ("openai.gpt-oss-120b",),
        None,
        "OpenAI GPT OSS 120b",
        "OpenAI GPT OSS 120b",
        batch=True,
        codes=QuotaCodes("L-07844084", "L-3C5D1B25", "L-9EF11C18", "L-4B244563"),
    ),
    Family(
        "gpt-oss-20b",
        ("openai.gpt-oss-20b",),
        None,
        "OpenAI GPT OSS 20b",
        "OpenAI GPT OSS 20b",
        batch=True,
        codes=QuotaCodes("L-50CC95A8", "L-F361DF0F", "L-EF804815", "L-5D07A961"),
    ),
    _open_weights("llama", "meta.llama3", "meta.llama4"),
    _open_weights("mistral", "mistral."),
    _open_weights("deepseek", "deepseek."),
    _open_weights("qwen3", "qwen.qwen3"),
    _open_weights("gemma-3", "google.gemma-3"),
    _open_weights("minimax", "minimax."),
    _open_weights("kimi-k2", "moonshot.kimi-k2", "moonshotai.kimi-k2"),
    _open_weights("nemotron", "nvidia.nemotron"),
    _open_weights("glm", "zai.glm"),
)

UNKNOWN: Final = Family("unknown", (), None)
"""A model of which nothing is known here: Converse, no batch unless the module's settings say so."""

GEOGRAPHIES: Final = (
    "us", "us-gov", "eu", "apac", "ap", "jp", "au", "ca", "sa", "me", "il", "in", "kr", "uk", "mx", "af", "global",
)  # fmt: skip
"""What ids of cross-Region inference profiles begin with. models.tf has the same list."""

_GEOGRAPHY: Final = re.compile(rf"^({'|'.join(GEOGRAPHIES)})\.")


def model_id_of(invoke_id: str) -> str:
    """The model id inside a model id, a profile id or one of their ARNs, without a profile's geography.

    An application inference profile's ARN names no model: its own opaque id comes back.
    """
    return _GEOGRAPHY.sub("", invoke_id.rpartition("/")[2])


def geography_of(invoke_id: str) -> str | None:
    """`us`, `eu`, … `global` of a cross-Region profile's id or ARN; None for a model of one Region."""
    match = _GEOGRAPHY.match(invoke_id.rpartition("/")[2])
    return match.group(1) if match else None


def family_of(invoke_id: str, quota_label: str | None = None) -> Family:
    """The family with the longest id prefix that fits, else the one with this quota label, else UNKNOWN."""
    model_id = model_id_of(invoke_id)
    fitting = [
        (len(prefix), family) for family in FAMILIES for prefix in family.id_prefixes if model_id.startswith(prefix)
    ]
    if fitting:
        return max(fitting, key=lambda found: found[0])[1]
    return next((family for family in FAMILIES if quota_label and family.batch_label == quota_label), UNKNOWN)


def family_named(key: str) -> Family:
    """The family of a resolved run; UNKNOWN for a key of another bundle's table."""
    return next((family for family in FAMILIES if family.key == key), UNKNOWN)
