"""pyxis, which official images bring but do not load: the head node adds it to the folder that all nodes share.

The files that load it are examples only (ParallelCluster's documentation, "Running containerized jobs with Pyxis";
aws-parallelcluster-cookbook, pull request 2820).
"""

from __future__ import annotations

from ..common.node import Node, StepError
from ..common.pyxis import check_pyxis

PLUGIN = "/usr/local/lib/slurm/spank_pyxis.so"
RUNTIME = "/run/pyxis"
_SLURM = "/opt/slurm/etc"
_STACK = f"{_SLURM}/plugstack.conf"
_FOLDER = f"{_SLURM}/plugstack.conf.d"
_OWN = f"{_FOLDER}/pyxis.conf"
_IMAGE = "use ParallelCluster's official image or one built on it, or take 'containers' out"


def ensure_plugin(node: Node) -> None:
    """Write Slurm's plugin files, and have the daemons read them where they changed.

    Lines that are there already stay. The file is named outright, not by a pattern: a pattern would load whatever
    else is put into the folder.

    Raises:
        StepError: the image has no pyxis, or Slurm refuses to read its configuration.
    """
    if not node.path(PLUGIN).exists():
        raise StepError(f"plugin '{PLUGIN}' is not on this image", _IMAGE)
    before = node.changes
    node.ensure_directory(_FOLDER, 0o755)
    node.write_file(_OWN, f"required {PLUGIN} runtime_path={RUNTIME}\n", 0o644)
    stack = node.path(_STACK)
    present = stack.read_text(encoding="utf-8") if stack.exists() else ""
    if not _names_plugin(present):
        if present and not present.endswith("\n"):
            present += "\n"
        node.write_file(_STACK, f"{present}include {_OWN}\n", 0o644)
    if node.changes > before:
        node.retry(
            lambda: node.run(
                "scontrol",
                "reconfigure",
                next_step="see that slurmctld runs ('systemctl status slurmctld'), and its log",
                retryable_codes=None,
            )
        )


def ensure_plugin_loaded(node: Node, kind: str) -> None:
    """See that this node has the plugin and that srun offers its options.

    Raises:
        StepError: jobs that ask for a container would fail here, or run on the host.
    """
    if not node.path(PLUGIN).exists():
        # Where the head node has it and this one has not, every job fails here: the line says `required`.
        raise StepError(f"plugin '{PLUGIN}' is not on this {kind} node's image", _IMAGE)
    check_pyxis(node, kind)


def _names_plugin(text: str) -> bool:
    lines = [line.split() for line in text.splitlines() if not line.lstrip().startswith("#")]
    return any(
        (words[:1] == ["include"] and words[1:2] in ([_OWN], [f"{_FOLDER}/*"], [f"{_FOLDER}/*.conf"]))
        or (len(words) > 1 and words[1].endswith("spank_pyxis.so"))
        for words in lines
    )
