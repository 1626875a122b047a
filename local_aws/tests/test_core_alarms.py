"""An alarm is read back as it was put, in the protocol that Terraform speaks.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html
"""

import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree

from local_aws import LocalAws

NAMESPACE = {"aws": "http://monitoring.amazonaws.com/doc/2010-08-01/"}


def test_a_query_for_alarms_is_answered_with_every_member(aws: LocalAws, unique: str) -> None:
    topic = f"arn:aws:sns:{aws.region}:{aws.account}:on-call"
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName=unique, AlarmDescription="a < b", MetricName="Age", Namespace="AWS/SQS", Statistic="Maximum",
        Dimensions=[{"Name": "QueueName", "Value": "q"}], Period=300, EvaluationPeriods=2, Threshold=7,
        ComparisonOperator="GreaterThanThreshold", TreatMissingData="notBreaching", AlarmActions=[topic],
    )  # fmt: skip
    body = urllib.parse.urlencode(
        {"Action": "DescribeAlarms", "Version": "2010-08-01", "AlarmNames.member.1": unique}
    ).encode()
    scope = f"Credential={aws.account}/20260101/{aws.region}/monitoring/aws4_request"
    request = urllib.request.Request(
        aws.endpoint, data=body, headers={
            "Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0",
            "Content-Type": "application/x-www-form-urlencoded",
        },
    )  # fmt: skip
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as response:
        answer = ElementTree.fromstring(response.read())
    (alarm,) = answer.findall(".//aws:MetricAlarms/aws:member", NAMESPACE)
    told = {member.tag.split("}")[1]: member.text for member in alarm}
    wanted = {
        "AlarmName": unique, "AlarmDescription": "a < b", "Statistic": "Maximum", "Period": "300",
        "ActionsEnabled": "true", "TreatMissingData": "notBreaching",
    }  # fmt: skip
    assert wanted.items() <= told.items()
    assert [each.text for each in alarm.findall("aws:AlarmActions/aws:member", NAMESPACE)] == [topic]
    assert [each.text for each in alarm.findall("aws:Dimensions/aws:member/aws:Value", NAMESPACE)] == ["q"]
