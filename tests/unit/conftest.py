"""What the functions' environment always holds: Powertools reads it when a handler is imported."""

import os

os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "BulkInference")
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "unit-tests")
