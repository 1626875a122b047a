"""Which unit of work a record belongs to."""
