"""States `Cut Shards` and `Seal Shards`: a corpus becomes shards and item batches."""
