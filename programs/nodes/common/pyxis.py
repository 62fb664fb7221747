"""Proof that Slurm has loaded pyxis, where jobs are started and where they run."""

from __future__ import annotations

from .node import Node, StepError, last_lines

# Slurm's services may start at the same time as this script.
WAIT_SECONDS = 120
_OPTION = "--container-image"


def check_pyxis(node: Node, node_type: str) -> None:
    """Ask srun for its options, and refuse a node that would ignore container options without a message.

    Without the plugin a batch job's container option has no effect and its steps run on the host. The
    controller is left out: no job starts or runs there. A node of unknown type is checked.

    Raises:
        StepError: srun is absent, or answers and lacks the option.
    """
    if node_type == "controller":
        node.log("not checked: no jobs on the controller")
        return
    node.require("srun", "use a HyperPod image with Slurm, or leave 'containers' out")
    outcome = ""
    loaded = False

    def ready() -> bool:
        nonlocal outcome, loaded
        result = node.query("srun", "--help")
        loaded = result.returncode == 0 and _OPTION in result.stdout
        outcome = "" if result.returncode == 0 else f"exited {result.returncode}: {last_lines(result)}"
        return loaded

    node.wait_until(ready, what=f"srun to offer {_OPTION}", seconds=WAIT_SECONDS)
    if loaded:
        node.log(f"pyxis is loaded: srun offers {_OPTION}")
        return
    if outcome:
        # It may be that Slurm starts only when this script has ended; a node that is well must not fail for
        # that, and what is wrong with Slurm itself shows elsewhere.
        node.log(
            f"WARNING: pyxis is not verified: srun could not show its options within {WAIT_SECONDS} s "
            f"({outcome}); once Slurm runs, see that 'srun --help' has {_OPTION}"
        )
        return
    raise StepError(
        f"pyxis is not loaded on this {node_type} node: 'srun --help' has no {_OPTION}, and jobs that ask "
        "for a container would run on the host",
        "name pyxis.conf outright in plugstack.conf (a wildcard include breaks configless "
        "nodes), see that the plugin was built for this Slurm, restart slurmd, then run it again",
    )
