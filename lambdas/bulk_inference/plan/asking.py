"""How a run's schema is asked for: natively only where a canary sees it taken, else in words.

Whether a model takes a schema is a property of the account and the moment, not of the model alone, and AWS's pages
contradict each other for batch jobs, where a refusal costs every record of a job. Words are always taken, and answers
are checked either way.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from bulk_inference.core.json_document import Document
from bulk_inference.core.model_families import Family
from bulk_inference.core.run_spec import Output
from bulk_inference.structured.native import native

NATIVE, PROMPT = "native", "prompt"

_REFUSED: Final = re.compile(
    r"output_config(?:\.format)?: Extra inputs are not permitted"
    r"|extraneous key \[(?:outputConfig|output_config)\] is not permitted",
    re.I,
)
"""What services have been seen to answer where a schema is not taken."""


@dataclass(frozen=True)
class Asking(Document):
    """How, and why so."""

    how: str
    """`native`, `prompt` (in words), or empty where there is no schema."""
    why: str = ""

    @property
    def in_words(self) -> str:
        return f"asked {'natively' if self.how == NATIVE else 'in words'}: {self.why}"


def first(output: Output, family: Family, mode: str, *, canary: bool) -> Asking:
    """Before anything was tried. `mode`: as requested, or as chosen. `canary`: whether one will be run."""
    if output.schema is None:
        return Asking("")
    if output.ask != "auto":
        return Asking(output.ask, "output.ask of the request")
    if mode == "batch":
        return Asking(PROMPT, "that batch jobs take a schema is not certain, and a refusal would cost whole jobs")
    if not family.structured:
        return Asking(PROMPT, "this model is not known to take a schema")
    if native(output.schema) is None:
        return Asking(PROMPT, "this schema cannot be put as models take it natively")
    if not canary:
        return Asking(PROMPT, "no canary tries whether it is taken natively")
    return Asking(NATIVE, "the canary tries whether it is taken")


def seen(asking: Asking, tried: int) -> Asking:
    """After the canary."""
    if asking.how == NATIVE and asking.why.startswith("the canary") and tried:
        return Asking(NATIVE, "the canary saw it taken on demand")
    return asking


def refused() -> Asking:
    return Asking(PROMPT, "the canary saw it refused natively")


def is_refusal(message: Any) -> bool:
    """Whether a service's message says that it takes no schema."""
    return bool(_REFUSED.search(str(message or "")))
