"""What every step shares: the run as resolved, keys and items, lines, ports, errors. Imports nothing of the bundle."""
