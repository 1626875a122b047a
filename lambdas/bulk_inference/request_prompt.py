"""Section `prompt` of a request: what is made of a line that is no record yet."""

from bulk_inference.models import CONVERSE, Family
from bulk_inference.rendering import Template
from bulk_inference.request_fields import Fields
from bulk_inference.spec import Prompt

_KEYS = ("template", "system", "inference")


def parse_prompt(request: Fields, family: Family, api: str) -> Prompt:
    given = request.section("prompt", _KEYS)
    template, system = given.text("template"), given.text("system")
    inference = given.section("inference", None)
    if family.body == "titan_embed":
        _embedding_parameters(inference)
        if system is not None:
            given.problem("system", "an embedding model takes no system text")
    else:
        _inference_parameters(inference)
    if given.given and template is None:
        given.problem("template", "missing: system and inference apply to lines that a template renders")
    if template is not None:
        if not Template(template).fields:
            given.problem("template", "names no {{field}}: every record would be the same prompt")
        if api != CONVERSE and family.body is None:
            given.problem(
                "template",
                "native request bodies are known for Claude, Nova and Titan text embeddings: use model.api "
                "converse, or a corpus whose lines hold modelInput",
            )
    return Prompt(template, system, dict(inference.given))


def _inference_parameters(inference: Fields) -> None:
    """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InferenceConfiguration.html"""
    inference.only(("maxTokens", "temperature", "topP", "stopSequences"))
    inference.whole("maxTokens", 1, 1_000_000)
    inference.number("temperature", 0, 1)
    inference.number("topP", 0, 1)
    inference.texts("stopSequences")


def _embedding_parameters(inference: Fields) -> None:
    """https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html"""
    inference.only(("dimensions", "normalize"))
    if inference.given.get("dimensions", 256) not in (256, 512, 1024):
        inference.problem("dimensions", "must be 256, 512 or 1024")
    inference.flag("normalize")
