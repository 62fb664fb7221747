"""Values of a framework's configuration that a command line may not give, as the run decides them."""

from __future__ import annotations

from collections.abc import Collection


def refusal(name: str, of_the_run: Collection[str], of_the_batch: Collection[str]) -> str:
    """Return why a value may not be given, as a launch file would replace it; empty where it may.

    `of_the_run` are names whose values are the run's nodes, ranks and folders, `of_the_batch` names whose values are
    computed from `--global-batch`.
    """
    if name in of_the_run:
        return f"'{name}' follows from the run"
    if name in of_the_batch:
        return f"'{name}' follows from --global-batch and the number of ranks; give that one"
    within = next((each for each in (*of_the_run, *of_the_batch) if each.startswith(f"{name}.")), "")
    if within:
        # A whole group as one value would carry names past these checks, and past those of layout and precision.
        return f"'{name}' has '{within}' in it, which the run decides; give values one by one, as {name}.NAME=VALUE"
    return ""
