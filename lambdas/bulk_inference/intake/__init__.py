"""Documents that arrive one by one: urgent ones at once, others pooled into runs."""
