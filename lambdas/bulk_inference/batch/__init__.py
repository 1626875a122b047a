"""Batch mode: submit a shard's job, collect what came of it."""
