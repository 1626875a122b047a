"""JSON Schemas, and whether an answer fits one."""
