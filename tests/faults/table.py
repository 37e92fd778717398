"""The counts of a campaign, as Markdown."""

from collections.abc import Iterator, Sequence

from faults.campaign import Campaign, Record

KINDS = {
    "exit code": "another than the command promises",
    "traceback": "what went wrong was not said in words",
    "hang": "10 s beyond its usual duration",
    "numbers": "other ones than undisturbed with exit code 0, or none that are finite",
    "litter": "files left over, or missing, at the end",
    "outside": "something written outside the folder that was given",
    "escape": "control sequences on the output",
    "campaign": "an error of the campaign itself",
}


def table(campaigns: Sequence[Campaign], records: Sequence[Record], seed: int) -> str:
    """Trials and defects of each campaign, then what the defects are."""
    return "\n".join([*_counts(campaigns, records, seed), *_groups(records), ""])


def _counts(campaigns: Sequence[Campaign], records: Sequence[Record], seed: int) -> Iterator[str]:
    yield f"Seeds from {seed} on. Defects, by kind:"
    yield ""
    yield from _row("campaign", "trials", *KINDS, "seconds")
    yield from _row(*["---"] * (3 + len(KINDS)))
    for one in campaigns:
        own = [record for record in records if record.campaign == one.name]
        counts = [sum(kind in record.kinds for record in own) for kind in KINDS]
        trials = f"{len(own)}" if len(own) == one.count else f"{len(own)} of {one.count}"
        yield from _row(one.name, trials, *counts, f"{sum(record.seconds for record in own):.0f}")
    yield ""
    yield "; ".join(f"{kind}: {meaning}" for kind, meaning in KINDS.items()) + "."


def _groups(records: Sequence[Record]) -> Iterator[str]:
    """What kinds of trials have defects, and one of each to play again."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        for kind in record.kinds:
            groups.setdefault((record.campaign, record.what, kind), []).append(record)
    if not groups:
        return
    yield ""
    yield from _row("campaign", "trial", "defect", "count", "one of them")
    yield from _row(*["---"] * 5)
    for (campaign, what, kind), found in sorted(groups.items()):
        yield from _row(campaign, what, kind, len(found), f"--replay {campaign}:{found[0].seed}")


def _row(*cells: object) -> Iterator[str]:
    yield "| " + " | ".join(map(str, cells)) + " |"
