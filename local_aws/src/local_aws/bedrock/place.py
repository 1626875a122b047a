"""Where a call goes: the account and Region whose jobs, limits and ARNs it means.

Whether the caller may do it has been decided before (`iam.py`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """An account in a Region."""

    account: str
    region: str


def of_request() -> Place:
    """The place of the request that is being handled."""
    from ministack.core import responses

    return Place(responses.get_account_id(), responses.get_region())
