"""The records of one device as a page: python -m benchmarks.gpu_record.page DIR > PAGE.md"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.gpu_record.sealed import read_record

MADE_BY = ("device_name", "cuda_driver", "cuda_runtime", "tf32", "processor", "versions_json")


def page(folder: Path) -> str:
    """Each step that has a record there, with tables where its parts say the same of several
    things."""
    records = [read_record(path) for path in sorted(folder.glob("*.json"))]
    records.sort(key=lambda one: one["date"])
    first = records[0]
    made_by = {name: first["made_by"][name] for name in MADE_BY if name in first["made_by"]}
    lines = [f"# A record of {first['date'][:10]}", "", *_list(made_by), ""]
    for record in records:
        lines += [f"## {record['step']}", "", f"{record['seconds']:.0f} s.", ""]
        if "skipped" in record:
            lines += [f"Skipped: {record['skipped']}.", ""]
        elif "failed" in record:
            lines += ["Failed:", "", "```", record["failed"].rstrip(), "```", ""]
        else:
            lines += [*_part(record["values"]), ""]
    return "\n".join(lines).rstrip() + "\n"


def _part(values: dict[str, Any]) -> Iterator[str]:
    """A table where all values are rows of the same numbers, else a list."""
    rows = list(values.values())
    columns = list(rows[0]) if rows and isinstance(rows[0], dict) else []
    if columns and len(rows) > 1 and all(_is_row(row, columns) for row in rows):
        yield "| | " + " | ".join(columns) + " |"
        yield "|---" * (1 + len(columns)) + "|"
        for name, row in values.items():
            yield f"| {name} | " + " | ".join(_text(row[column]) for column in columns) + " |"
        return
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from ("", f"**{name}**", "", *_part(value), "")
        else:
            yield f"- {name}: {_text(value)}"


def _is_row(row: Any, columns: list[str]) -> bool:
    same = isinstance(row, dict) and list(row) == columns
    return same and not any(isinstance(value, dict) for value in row.values())


def _list(values: dict[str, Any]) -> list[str]:
    return [f"- {name}: {_text(value)}" for name, value in values.items()]


def _text(value: Any) -> str:
    return f"{value:.4g}" if type(value) is float else str(value)


if __name__ == "__main__":
    print(page(Path(sys.argv[1])), end="")
