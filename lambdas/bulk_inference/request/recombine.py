"""Section `output.recombine` of a request: how the answers to a document's chunks become one."""

from collections.abc import Callable
from typing import Any, Final

from bulk_inference.core import names
from bulk_inference.core.run_spec import (
    CONCAT,
    MERGE_JSON,
    METHODS,
    REDUCE,
    Chunking,
    Prompt,
    Recombine,
)
from bulk_inference.render.rendering import Template
from bulk_inference.request.chunking import SIZES
from bulk_inference.request.fields import Fields

_OPTIONS: Final = {
    CONCAT: ("separator",),
    MERGE_JSON: ("keys",),
    REDUCE: ("separator", "prompt", "size", "schema"),
}
_KEYS: Final = ("method", "separator", "keys", "prompt", "size", "schema")

MAX_REDUCED_RUN: Final = 59
"""Characters of a run's id: its reductions are runs named `{run}-r1` to `{run}-r999`."""


def parse_recombine(
    output: Fields,
    run: str,
    chunking: Chunking | None,
    parse_prompt: Callable[[Fields], Prompt],
    parse_schema: Callable[[Fields], dict[str, Any] | None],
) -> Recombine | None:
    """`parse_prompt` and `parse_schema` read `prompt` and `schema` of a section."""
    given = output.section("recombine", _KEYS)
    if "recombine" not in output:
        return None
    if chunking is None:
        given.problem("", "needs the section chunking: without it a row is one record")
        return None
    method = given.choice("method", METHODS)
    if "method" not in given:
        given.problem("method", f"missing: {', '.join(METHODS)}")
    if method is None:
        return None
    for name in _KEYS[1:]:
        if name in given and name not in _OPTIONS[method]:
            given.problem(name, f"does not apply to {method}")
    separator = given.given.get("separator", "\n\n")
    if not isinstance(separator, str):
        given.problem("separator", "must be a string")
        separator = ""
    keys = given.texts("keys")
    if keys is not None and not keys:
        given.problem("keys", "must name a field at least: the default is id, then name")
    low, high = SIZES[chunking.by]
    size = given.whole("size", low, high) or chunking.size
    schema = parse_schema(given)
    prompt = _reduce_prompt(given, run, parse_prompt) if method == REDUCE else Prompt()
    return Recombine(
        method=method,
        separator=separator,
        keys=keys or ["id", "name"],
        prompt=prompt,
        size=size if method == REDUCE else 0,
        schema=schema,
    )


def _reduce_prompt(given: Fields, run: str, parse_prompt: Callable[[Fields], Prompt]) -> Prompt:
    if "prompt" not in given:
        given.problem("prompt", "missing: what is asked of a document's answers, which the template names as {{parts}}")
        return Prompt()
    prompt = parse_prompt(given)
    if prompt.template is not None and "parts" not in Template(prompt.template).fields:
        given.problem("prompt.template", "must name {{parts}}: the answers to the document's chunks")
    if len(run) > MAX_REDUCED_RUN:
        given.problem(
            "method",
            f"reduce starts runs named {names.reduction(run, 1)} and so on: "
            f"the run's id may have {MAX_REDUCED_RUN} characters",
        )
    return prompt
