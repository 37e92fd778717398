"""Records of single steps: small JSON files that cannot change unnoticed."""

import hashlib
import json
from pathlib import Path
from typing import Any

from reflfap.errors import DamagedFileError
from reflfap.files import write_text

FORMAT = "reflfap gpu record 1"
LARGEST = 2**20  # bytes


def write_record(path: Path, record: dict[str, Any]) -> None:
    """The record with its format and the SHA-256 of all the rest, whole or not at all."""
    body = {"format": FORMAT, **record}
    text = json.dumps({**body, "sha256": _digest(body)}, indent=1, sort_keys=True)
    write_text(path, text + "\n")


def read_record(path: Path) -> dict[str, Any]:
    """A record as it was written; DamagedFileError for anything else."""
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    try:
        body = json.loads(content) if len(content) <= LARGEST else None
    except ValueError:
        body = None
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise DamagedFileError(f"{path}: expected a {FORMAT}, got another file; make it again")
    if body.pop("sha256", None) != _digest(body):
        raise DamagedFileError(f"{path}: expected what its SHA-256 says, got other bytes")
    return body


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
