"""Objects of a corpus as rows: formats, encodings, compression, byte ranges."""
