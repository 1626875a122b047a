"""Failed records: reprocess, redrive, resubmit, drop."""
