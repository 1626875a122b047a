"""What the functions' environment always holds: Powertools reads it when a handler is imported. And no example of a
property is late: how fast a machine is proves nothing."""

import os

from hypothesis import settings

os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "BulkInference")
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "unit-tests")

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
