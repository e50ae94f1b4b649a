"""Advice without Pulumi's commands, which the user of the stand-alone runner may not have."""

from __future__ import annotations

import re

_FILE = "in Pulumi.dev.yaml"
_KEY = r"(?:--path )?(?P<key>'[^']*'|[^\s;]+)"
# The commands of remedies -> what to do instead. In this order.
_INSTEAD = {
    r" ?\(Pulumi: [^)]*\)": "",
    r"pulumi config rm --path '(?P<key>[^']*)'; (?=pulumi config set --path '(?P=key)\.)": "",
    rf"pulumi config rm {_KEY}; pulumi config set (?:--path |--secret )?(?P<new>'[^']*'|[^\s;]+)$": (
        rf"{_FILE}, rename: \g<key> to \g<new>"
    ),
    rf"pulumi config rm {_KEY}": rf"{_FILE}, remove: \g<key>",
    rf"pulumi config set --secret {_KEY}": rf"{_FILE}, remove: \g<key>; set PGPASSFILE instead",
    rf"pulumi config set {_KEY} (?:--type \w+ )?(?P<value>\S+)": rf"{_FILE}, set: \g<key>: \g<value>",
    rf"pulumi config set {_KEY}": rf"{_FILE}, set: \g<key>",
    r"Run: in Pulumi": "In Pulumi",
    r"run: in Pulumi": "in Pulumi",
    r"\bpulumi (up|preview|destroy)\b": r"make \1",
}


def without_pulumi(text: str) -> str:
    """Return a message or a remedy with Pulumi.dev.yaml and the make targets instead of Pulumi's commands."""
    for command, instead in _INSTEAD.items():
        text = re.sub(command, instead, text, flags=re.MULTILINE)
    return text
