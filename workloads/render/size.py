"""The size of a manifest, against what a scheduler or a node takes: long arguments can exceed it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from catalog.batch import MAX_DEFINITION_BYTES
from catalog.cluster_info import ClusterInfo
from catalog.finding import Finding, Severity
from workloads.render.all import render
from workloads.spec import Format, Run

MAX_WORD_BYTES = 32 * 4096
"""Size of one word or variable of a process, its last zero byte included: nodes hand a script to bash as one. Source:
Linux, include/uapi/linux/binfmts.h (MAX_ARG_STRLEN, 32 pages of 4 KiB)."""


def check_size(format_: Format, text: str) -> Iterator[Finding]:
    """Yield an error where a manifest is too long for its format."""
    if format_ is Format.BATCH:
        size, most = len(json.dumps(json.loads(text)).encode()), MAX_DEFINITION_BYTES
        what = "the job definition has {:,} bytes, and AWS Batch takes {:,}"
    else:
        # A little too strict: what the manifest has around the script is counted too.
        size, most = len(text.encode()), MAX_WORD_BYTES - 1
        what = (
            "the script of a node has about {:,} bytes, and Linux starts a process with words of {:,} at most"
        )
    if size > most:
        yield Finding(
            "run-size",
            Severity.ERROR,
            "arguments",
            "",
            what.format(size, most),
            "shorten the arguments, or have the program read them from a file on the shared file system",
        )


def check_example_size(run: Run, format_: Format, cluster: str) -> Iterator[Finding]:
    """Yield what `check_size` does for a cluster that is not deployed yet; its names are those of examples."""
    try:
        text = render(run, format_, ClusterInfo.example(cluster, [run.image_name]))
    except ValueError:
        # Said where it is rendered.
        return
    yield from check_size(format_, text)
