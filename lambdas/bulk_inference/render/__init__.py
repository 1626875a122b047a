"""A row becomes a record: templates, request bodies, chunks, media."""
