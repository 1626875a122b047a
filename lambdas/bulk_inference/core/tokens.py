"""How many tokens a text may be: an estimate for plans and rate limits, never a bill.

No tokeniser is at hand for all models. English prose runs at about four characters a token; other scripts at fewer, so
that characters beyond Latin-1 are counted as one token each.
"""

from typing import Final

CHARACTERS_PER_TOKEN: Final = 4
DEFAULT_MAX_TOKENS: Final = 1024
"""What a request without maxTokens is thought to reserve. Models have ceilings of their own, mostly higher."""
FILLED_PART: Final = 8
"""An answer is taken to be an eighth of what it may be: answers seldom fill that."""


def estimate(text: str) -> int:
    """Tokens of `text`, rounded up; 0 for no text."""
    if text.isascii():
        return -(-len(text) // CHARACTERS_PER_TOKEN)
    wide = sum(character > "\xff" for character in text)
    return wide - (-(len(text) - wide) // CHARACTERS_PER_TOKEN)


def reserved(input_tokens: int, max_tokens: int | None, burndown: int) -> int:
    """Tokens per minute that one request takes while it runs: input plus max_tokens, or the output at its burndown
    rate if that is more (https://docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html)."""
    most = max_tokens or DEFAULT_MAX_TOKENS
    return input_tokens + max(most, burndown * (most // FILLED_PART))
