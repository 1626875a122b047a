"""State `Plan Run`: mode, quotas, sizes, canary, and the plan's report."""
