"""The foundation models and inference profiles that the local Bedrock knows, and how an identifier names one.

What a model can do is from AWS's pages "Supported foundation models", "Supported Regions and models for batch
inference", "Supported Regions and models for inference profiles" and the model parameter pages; a profile names the
model's ARN in each of its destination Regions (`GetInferenceProfile`, member `models`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from local_aws.bedrock.wire import AwsError

Family = Literal["claude", "nova", "titan-embed", "nova-embed", "converse-only"]

PROFILE_REGIONS = {
    "us": ("us-east-1", "us-east-2", "us-west-2"),
    "eu": ("eu-central-1", "eu-north-1", "eu-west-1", "eu-west-3"),
    "apac": ("ap-northeast-1", "ap-south-1", "ap-southeast-1", "ap-southeast-2"),
    # The ARN with the empty Region stands for all commercial Regions.
    "global": ("", "us-east-1"),
}

ON_DEMAND_NEEDS_PROFILE = (
    "Invocation of model ID {} with on-demand throughput isn’t supported. Retry your request with the ID or ARN of an "
    "inference profile that contains this model."
)
INVALID_IDENTIFIER = "The provided model identifier is invalid."


@dataclass(frozen=True)
class Model:
    """One foundation model.

    `batch_label`, `on_demand_label`: the model's name in the quotas of batch and of on demand inference, which AWS
    does not derive from the id. `burndown`: quota tokens per output token. `alone`: reachable by its own id, without a
    profile. `refuses_both`: temperature and top_p together are an error. `reads`: content
    blocks besides text. `structured`: takes a JSON Schema for its answer.
    """

    id: str
    name: str
    provider: str
    family: Family
    batch_label: str | None
    on_demand_label: str
    max_output_tokens: int
    burndown: int = 1
    alone: bool = True
    profiles: tuple[str, ...] = ()
    refuses_both: bool = False
    reads: tuple[str, ...] = ()
    structured: bool = False

    @property
    def reads_s3(self) -> bool:
        """Whether media may be named by their place in S3 (page "Supported models and model features" of Converse)."""
        return self.provider == "Amazon"

    @property
    def batch(self) -> bool:
        return self.batch_label is not None

    @property
    def chats(self) -> bool:
        return self.family not in ("titan-embed", "nova-embed")


_BOTH = ("image", "document")
_THREE = ("us", "eu", "apac")


def _claude(model_id: str, name: str, label: str, tokens: int, **rest: Any) -> Model:
    rest = {"reads": _BOTH, **rest}
    return Model(f"anthropic.{model_id}", name, "Anthropic", "claude", label, f"Anthropic {label}", tokens, **rest)


def _nova(model_id: str, name: str, label: str, demand_label: str, **rest: object) -> Model:
    return Model(f"amazon.{model_id}", name, "Amazon", "nova", label, demand_label, 10_000, **rest)  # type: ignore[arg-type]


MODELS: dict[str, Model] = {
    model.id: model
    for model in (
        _claude(
            "claude-haiku-4-5-20251001-v1:0", "Claude Haiku 4.5", "Claude Haiku 4.5", 64_000,
            burndown=5, alone=False, profiles=("us", "eu", "global"), refuses_both=True, structured=True,
        ),
        _claude(
            "claude-sonnet-4-5-20250929-v1:0", "Claude Sonnet 4.5", "Claude Sonnet 4.5", 64_000,
            burndown=5, alone=False, profiles=("us", "eu", "global"), refuses_both=True, structured=True,
        ),
        _claude(
            "claude-sonnet-4-20250514-v1:0", "Claude Sonnet 4", "Claude Sonnet 4", 64_000,
            burndown=5, alone=False, profiles=("us", "eu", "apac", "global"),
        ),
        _claude(
            "claude-3-7-sonnet-20250219-v1:0", "Claude 3.7 Sonnet", "Claude 3.7 Sonnet", 64_000,
            burndown=5, alone=False, profiles=("us", "eu", "apac"),
        ),
        _claude("claude-3-5-haiku-20241022-v1:0", "Claude 3.5 Haiku", "Claude 3.5 Haiku", 8_192, profiles=("us",)),
        _claude(
            "claude-3-haiku-20240307-v1:0", "Claude 3 Haiku", "Claude 3 Haiku", 4_096, profiles=("us", "eu", "apac")
        ),
        _nova("nova-micro-v1:0", "Nova Micro", "Nova Micro V1", "Amazon Nova Micro", profiles=("us", "eu", "apac")),
        _nova("nova-lite-v1:0", "Nova Lite", "Nova Lite V1", "Amazon Nova Lite", profiles=_THREE, reads=_BOTH),
        _nova("nova-pro-v1:0", "Nova Pro", "Nova Pro V1", "Amazon Nova Pro", profiles=_THREE, reads=_BOTH),
        _nova(
            "nova-2-lite-v1:0", "Nova 2 Lite", "Nova 2 Lite", "Amazon Nova 2 Lite", profiles=("us", "eu", "global"),
            reads=_BOTH,
        ),
        Model(
            "amazon.titan-embed-text-v2:0", "Titan Text Embed V2", "Amazon", "titan-embed",
            "Titan Text Embeddings V2", "Amazon Titan Text Embeddings V2", 0,
        ),
        Model(
            "amazon.nova-2-multimodal-embeddings-v1:0", "Nova Multimodal Embeddings", "Amazon", "nova-embed",
            "Amazon Nova 2 Multimodal Embeddings V1", "Amazon Nova 2 Multimodal Embeddings V1", 0, reads=("image",),
        ),
        # Chats on demand, but has no batch inference.
        Model("cohere.command-r-v1:0", "Command R", "Cohere", "converse-only", None, "Cohere Command R", 4_000),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Profile:
    """A system-defined cross-Region inference profile of a model."""

    id: str
    model: Model
    prefix: str

    @property
    def name(self) -> str:
        return f"{self.prefix.upper()} {self.model.provider} {self.model.name}".replace(".", " ")

    def arn(self, region: str, account: str) -> str:
        return f"arn:aws:bedrock:{region}:{account}:inference-profile/{self.id}"

    @property
    def model_arns(self) -> tuple[str, ...]:
        return tuple(
            f"arn:aws:bedrock:{region}::foundation-model/{self.model.id}" for region in PROFILE_REGIONS[self.prefix]
        )


PROFILES: dict[str, Profile] = {
    profile.id: profile
    for model in MODELS.values()
    for prefix in model.profiles
    for profile in (Profile(f"{prefix}.{model.id}", model, prefix),)
}


@dataclass(frozen=True)
class Route:
    """What an identifier leads to: the model, the profile's ARN if it goes through one, and every model ARN that the
    caller needs a permission on."""

    model: Model
    profile_arn: str | None
    model_arns: tuple[str, ...]
    prefix: str | None = None


_FOUNDATION_ARN = re.compile(r"arn:aws:bedrock:([a-z0-9-]+)::foundation-model/(.+)")
_PROFILE_ARN = re.compile(r"arn:aws:bedrock:([a-z0-9-]+):([0-9]{12}):inference-profile/(.+)")
_APPLICATION_ARN = re.compile(r"arn:aws:bedrock:([a-z0-9-]+):([0-9]{12}):application-inference-profile/(.+)")


def resolve(identifier: str, region: str, account: str) -> Route:
    """A model id, model ARN, profile id or profile ARN → its route.

    Raises ValidationException with AWS's text for what does not exist or belongs to another Region or account.
    """
    model_id = identifier
    if match := _FOUNDATION_ARN.fullmatch(identifier):
        if match[1] != region:
            raise AwsError("ValidationException", INVALID_IDENTIFIER)
        model_id = match[2]
    elif match := _PROFILE_ARN.fullmatch(identifier):
        if (match[1], match[2]) != (region, account):
            raise AwsError("ValidationException", INVALID_IDENTIFIER)
        model_id = match[3]
        if model_id not in PROFILES:
            raise AwsError("ValidationException", INVALID_IDENTIFIER)
    elif match := _APPLICATION_ARN.fullmatch(identifier):
        return _application_route(identifier, match[3], region, account)
    if profile := PROFILES.get(model_id):
        return Route(profile.model, profile.arn(region, account), profile.model_arns, profile.prefix)
    if model := MODELS.get(model_id):
        return Route(model, None, (f"arn:aws:bedrock:{region}::foundation-model/{model.id}",))
    raise AwsError("ValidationException", INVALID_IDENTIFIER)


def _application_route(arn: str, profile_id: str, region: str, account: str) -> Route:
    from ministack.services import bedrock

    record = bedrock._inference_profiles_apps.get(profile_id)
    if record is None or record["InferenceProfileArn"] != arn:
        raise AwsError("ValidationException", INVALID_IDENTIFIER)
    behind = resolve(record["Models"][0]["ModelArn"], region, account)
    return Route(behind.model, arn, behind.model_arns, behind.prefix)


def usable_on_demand(route: Route) -> None:
    """Raise ValidationException when the model only answers through an inference profile and was named directly."""
    if route.profile_arn is None and not route.model.alone:
        raise AwsError("ValidationException", ON_DEMAND_NEEDS_PROFILE.format(route.model.id))
