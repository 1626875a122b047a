"""Bulk inference on AWS: the Lambda bundle. Handlers in `handlers/`, AWS calls in `aws/`, pure logic beside them."""
