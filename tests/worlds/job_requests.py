"""A request for a job that Bedrock takes."""

from bulk_inference.core.jobs import JobRequest

GOOD = JobRequest(
    name="tickets-00001-a1-0123456789abcdef0123",
    token="ab" * 32,
    role_arn="arn:aws:iam::123456789012:role/r",
    model_id="m",
    invocation_type="Converse",
    input_uri="s3://my-bucket/default/runs/run_1/shards/00001-001.jsonl",
    output_uri="s3://my-bucket/default/jobs/run_1/00001-a1/",
    timeout_hours=24,
    tags={"bulk-inference:run": "run_1"},
)
