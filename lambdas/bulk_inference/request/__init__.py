"""The run request, one module per section, checked as a whole."""
