"""Landing: a unit of work's results and failures, and what becomes of failures later."""
