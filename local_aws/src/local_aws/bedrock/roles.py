"""What the service role of a batch job must be able to do, checked by its policies.

Page "Create a custom service role for batch inference": trust in `bedrock.amazonaws.com` (conditions on
aws:SourceAccount and aws:SourceArn), s3:GetObject, s3:PutObject and s3:ListBucket on the buckets, and for an inference
profile bedrock:InvokeModel on the profile and on the model in each of its Regions. Encrypted objects: the S3 page
"Protecting data with SSE-KMS" (kms:Decrypt to read, kms:GenerateDataKey and kms:Decrypt to write in parts).
"""

from __future__ import annotations

from collections.abc import Mapping

from local_aws import iam
from local_aws.bedrock.models import Route
from local_aws.bedrock.wire import AwsError


class RoleDeniedError(Exception):
    """The role may not do what the job needs; the text is IAM's."""


def assumable(role_arn: str, job_arn: str, account: str) -> None:
    """Raise ValidationException unless the role exists and lets Bedrock assume it for this job."""
    context = {"aws:SourceAccount": account, "aws:SourceArn": job_arn}
    try:
        iam.assume(role_arn, "bedrock.amazonaws.com", context)
    except iam.AccessDeniedError:
        raise AwsError(
            "ValidationException", "Could not assume provided IAM role. Please verify the provided trust policies."
        ) from None


def require(role_arn: str, action: str, resource_arn: str, context: Mapping[str, object] | None = None) -> None:
    """Return when the role may do this. Raises RoleDeniedError."""
    try:
        iam.authorize(role_arn, action, resource_arn, context)
    except iam.AccessDeniedError as problem:
        raise RoleDeniedError(str(problem)) from None


def require_model(role_arn: str, route: Route) -> None:
    """For a profile: bedrock:InvokeModel on it and on each model ARN behind it. Raises RoleDeniedError."""
    if route.profile_arn is None:
        return
    require(role_arn, "bedrock:InvokeModel", route.profile_arn)
    for model_arn in route.model_arns:
        require(role_arn, "bedrock:InvokeModel", model_arn, {"bedrock:InferenceProfileArn": route.profile_arn})
