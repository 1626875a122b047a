"""Fills a folder of the work tree once, however many makes ask for it: `once.py FOLDER SOURCE COMMAND`.

FOLDER/.ready, younger than SOURCE, says that FOLDER is filled. If it is not, COMMAND (for `sh -e`) fills it, alone:
others wait, look again and do nothing. A FOLDER that is a link belongs to somebody else: it is never filled, since the
tools that fill it empty it first.
"""

import fcntl
import subprocess
import sys
from pathlib import Path


def ready(folder: Path, source: Path) -> bool:
    """Whether the folder was filled after its source was last changed."""
    stamp = folder / ".ready"
    return stamp.exists() and stamp.stat().st_mtime_ns >= source.stat().st_mtime_ns


def fill(folder: Path, source: Path, command: str) -> int:
    """Returns the status of the command; 0 if there was nothing to do."""
    if folder.is_symlink():
        print(
            f"{folder} is a link to {folder.readlink()}: make does not change an environment that is not its own.\n"
            f"Remove the link, or install {source} there yourself and touch {folder}/.ready.",
            file=sys.stderr,
        )
        return 1
    locks = Path(".build")
    locks.mkdir(exist_ok=True)
    with (locks / f"{folder.as_posix().replace('/', '-').strip('.')}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Waiting for another make that fills {folder}.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if ready(folder, source):
            return 0
        print(f"Installing {source} into {folder} (once).", flush=True)
        # The lock is not inherited: what the command leaves running must not hold it.
        status = subprocess.run(["sh", "-ec", command], check=False).returncode
        if status == 0:
            (folder / ".ready").touch()
        return status


if __name__ == "__main__":
    sys.exit(fill(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
