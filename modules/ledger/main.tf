# Two tables, because they scale, expire and are read differently: one item per record here, one per shard there.
# On demand unless told otherwise: a run writes in bursts, and between runs there is nothing to pay for.
