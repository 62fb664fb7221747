"""A workload with two stages before its training, for tests: each notes that it ran, and on how many nodes."""

from workloads import Command, Program, Resources, Stage, Workload

WORKLOAD = Workload(
    name="staged-training",
    launcher=Command(),
    program=Program(path="note.py"),
    arguments=("train",),
    resources=Resources(("cpu",)),
    resumes=False,
    stages=(
        Stage(name="download", program=Program(path="note.py"), arguments=("download",)),
        Stage(name="convert", program=Program(path="note.py"), arguments=("convert",), nodes=None),
    ),
)
