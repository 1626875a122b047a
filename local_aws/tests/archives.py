"""Zip archives in memory, for functions and layers."""

import io
import zipfile


def zipped(files: dict[str, str]) -> bytes:
    """A zip archive of files by name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()
