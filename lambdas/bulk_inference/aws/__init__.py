"""One module per AWS service: the only places that import boto3."""
