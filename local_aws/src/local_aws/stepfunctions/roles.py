"""What an execution does in its role's name.

Calls through boto3 are signed with a session of the role and go to our own endpoint, which enforces the role's
policies there; calls inside the process ask `check` first.
"""

from __future__ import annotations

import functools
import hashlib
import os
from typing import Any

from local_aws import iam


def denial(role_arn: str, action: str, resource_arn: str) -> str | None:
    """Why the role may not do `action` on the resource, in AWS's words; None when it may."""
    try:
        iam.authorize(role_arn, action, resource_arn, session=_session(role_arn))
    except iam.AccessDeniedError as error:
        return str(error)
    return None


@functools.lru_cache(maxsize=256)
def client(service: str, role_arn: str, region: str) -> Any:
    """A boto3 client that acts as the role. Making one costs tens of milliseconds: they are kept."""
    import boto3
    from botocore.config import Config

    digest = hashlib.sha256(f"states:{role_arn}".encode()).hexdigest()
    keys = {"id": f"ASIA{digest[:16].upper()}", "secret": digest, "token": digest[::-1]}
    _register(role_arn, keys)
    session: Any = boto3.session.Session()
    return session.client(
        service,
        region_name=region,
        endpoint_url=f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}",
        aws_access_key_id=keys["id"],
        aws_secret_access_key=keys["secret"],
        aws_session_token=keys["token"],
        config=Config(retries={"total_max_attempts": 3}, proxies={}, s3={"addressing_style": "path"}),
    )


def _session(role_arn: str) -> str:
    return hashlib.sha256(role_arn.encode()).hexdigest()[:32]


def _register(role_arn: str, keys: dict[str, str]) -> None:
    from ministack.services import sts

    account, role = role_arn.split(":")[4], role_arn.rsplit("/", 1)[-1]
    session = _session(role_arn)
    sts.register_session(
        keys["id"],
        {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{role}/{session}",
            "UserId": f"{role}:{session}",
            "SecretAccessKey": keys["secret"],
            "SessionToken": keys["token"],
        },
    )
