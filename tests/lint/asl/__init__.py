"""Rules about what goes through the machines of asl/: data, and what is tried again."""
