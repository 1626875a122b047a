"""The actions that are allowed on `*`, each with the reason that AWS gives. Nothing else may be.

"No resource type": the action's row in the Service Authorization Reference names none, so IAM takes only `*`.
"""

_REFERENCE = "https://docs.aws.amazon.com/service-authorization/latest/reference/list_"
_DELIVERY = "https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html#cloudwatch-iam-policy"
_VPC = "https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions"

NO_RESOURCE_TYPE = {
    "bedrock:ListModelInvocationJobs": f"{_REFERENCE}amazonbedrock.html",
    "servicequotas:GetAWSDefaultServiceQuota": f"{_REFERENCE}servicequotas.html",
    "servicequotas:ListAWSDefaultServiceQuotas": f"{_REFERENCE}servicequotas.html",
    "servicequotas:ListServiceQuotas": f"{_REFERENCE}servicequotas.html",
    "xray:PutTraceSegments": f"{_REFERENCE}awsx-ray.html",
    "xray:PutTelemetryRecords": f"{_REFERENCE}awsx-ray.html",
    "xray:GetSamplingRules": f"{_REFERENCE}awsx-ray.html",
    "xray:GetSamplingTargets": f"{_REFERENCE}awsx-ray.html",
    "logs:CreateLogDelivery": f"{_REFERENCE}amazoncloudwatchlogs.html",
    "logs:DeleteLogDelivery": f"{_REFERENCE}amazoncloudwatchlogs.html",
    "logs:GetLogDelivery": f"{_REFERENCE}amazoncloudwatchlogs.html",
    "logs:ListLogDeliveries": f"{_REFERENCE}amazoncloudwatchlogs.html",
    "logs:UpdateLogDelivery": f"{_REFERENCE}amazoncloudwatchlogs.html",
    "logs:DescribeResourcePolicies": f"{_REFERENCE}amazoncloudwatchlogs.html",
    "ec2:DescribeDhcpOptions": f"{_REFERENCE}amazonec2.html",
    "ec2:DescribeNetworkInterfaces": f"{_REFERENCE}amazonec2.html",
    "ec2:DescribeSecurityGroups": f"{_REFERENCE}amazonec2.html",
    "ec2:DescribeSubnets": f"{_REFERENCE}amazonec2.html",
    "ec2:DescribeVpcs": f"{_REFERENCE}amazonec2.html",
}
"""Action → the page whose row names no resource type."""

ASKED_FOR = {
    # Step Functions sets up its log delivery under the machine's role and asks for exactly this.
    "logs:CreateLogStream": _DELIVERY,
    "logs:DescribeLogGroups": _DELIVERY,
    "logs:PutLogEvents": _DELIVERY,
    "logs:PutResourcePolicy": _DELIVERY,
    # Lambda makes interfaces whose ids nobody knows before, and asks for exactly this. The functions' own code is
    # denied it (KeepCodeFromNetworkInterfaces).
    "ec2:AssignPrivateIpAddresses": _VPC,
    "ec2:CreateNetworkInterface": _VPC,
    "ec2:DeleteNetworkInterface": _VPC,
    "ec2:UnassignPrivateIpAddresses": _VPC,
}
"""Action that has resource types → the page on which the service that uses the role asks for it on `*`."""

ALLOWED = {**NO_RESOURCE_TYPE, **ASKED_FOR}
