"""What is made of results: documents of chunks, other forms, reductions."""
