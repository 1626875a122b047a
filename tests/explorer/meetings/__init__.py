"""Which functions may meet, and where: the table that the explorer works through."""

from tests.explorer.explore import Meeting
from tests.explorer.meetings import assembly, inference, ingest, intake, older, operating, scopes


def meetings() -> list[Meeting]:
    parts = (ingest, inference, operating, scopes, intake, assembly, older)
    return [meeting for part in parts for meeting in part.meetings()]
