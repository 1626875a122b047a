"""Sync mode: infer an item batch on demand."""
