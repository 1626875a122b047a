"""Clients of AWS in memory, as AWS documents them where it matters to two workers: conditions, transactions, batches of
statements, receipts, tokens. They take and give what boto3's clients do, so that the module's own adapters are played,
too. What a service is kinder about in reality is refused here: a stale receipt deletes nothing, what has expired stays.
"""
