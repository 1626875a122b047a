"""Authorisation that other extensions ask for: may this role do this action on this resource?

Written from https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html.
"""

from __future__ import annotations

from collections.abc import Mapping


class AccessDeniedError(Exception):
    """A role may not do what was asked. The text is AWS's own wording; `code` is the error code of most services."""

    code = "AccessDeniedException"


AccessDenied = AccessDeniedError


def authorize(role_arn: str, action: str, resource_arn: str, context: Mapping[str, object] | None = None) -> None:
    """Return when the role's policies allow `action` ("s3:GetObject") on `resource_arn`, else raise AccessDeniedError.

    `context` holds condition keys of the request (`{"iam:PassedToService": "bedrock.amazonaws.com"}`),
    in any letter case. Identity policies, the permissions boundary and the resource's own policy are evaluated.
    """
    from ministack.core import iam_evaluator

    name = role_arn.rsplit("/", 1)[-1]
    account = role_arn.split(":")[4]
    principal = f"arn:aws:sts::{account}:assumed-role/{name}/session"
    evaluated = iam_evaluator.EvalContext(
        principal_arn=principal,
        principal_type="AssumedRole",
        principal_account=account,
        action=action,
        resource_arn=resource_arn,
        region="us-east-1",
        service_context={key.lower(): value for key, value in (context or {}).items()},
    )
    result = iam_evaluator.evaluate(evaluated, iam_evaluator._gather_role_policies(name, account))
    if result.decision != "Allow":
        raise AccessDeniedError(
            f"User: {principal} is not authorized to perform: {action} on resource: {resource_arn} "
            f"because no identity-based policy allows the {action} action"
        )
