"""The workload bionemo-esm1nv: pre-training of the protein language model ESM-1nv by BioNeMo's own program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

from catalog.reference_types import CPU, GPU
from catalog.versions import AWS_OFI_NCCL, BIONEMO_IMAGE, EFA_INSTALLER, LIBFABRIC
from workloads.accepted import accepted
from workloads.asset import Asset
from workloads.images.image import Image
from workloads.launchers import Torchrun
from workloads.layout import Layout
from workloads.preset import Preset
from workloads.program import Program
from workloads.progress import Progress, number
from workloads.proof import TINY_RANKS
from workloads.resources import Resources
from workloads.secret import Secret
from workloads.size_arguments import SizeArguments
from workloads.spec import Format, Workload
from workloads.stage import Stage
from workloads.words import is_off

_LENGTH = 512
_MICRO_BATCH = 256
_NODES, _GPUS = 4, 8
_BATCH = _NODES * _GPUS * _MICRO_BATCH

# The values of the predecessor's 2.esm1nv_pretrain.slurm; 1,000 steps are ours.
_ESM1NV = Preset(
    name="esm1nv",
    description=f"ESM-1nv on synthetic proteins, {_BATCH} sequences a step, 1,000 steps",
    arguments=(
        *("--data=synthetic", f"--global-batch={_BATCH}", f"model.micro_batch_size={_MICRO_BATCH}"),
        *("model.tensor_model_parallel_size=1", "trainer.max_steps=1000", "trainer.val_check_interval=500"),
        *(f"model.data.dataset.{split}=x_OP_000..049_CL_" for split in ("train", "val", "test")),
        "model.dwnstr_task_validation.enabled=False",
    ),
    instance_type=GPU,
    nodes=_NODES,
    global_batch=_BATCH,
    tokens_per_sample=_LENGTH,
    layout=Layout(micro_batch=_MICRO_BATCH),
)
_UNIREF50 = replace(
    _ESM1NV,
    name="esm1nv-uniref50",
    description=f"ESM-1nv on UniRef50, {_BATCH} sequences a step, 1,000,000 steps",
    arguments=(
        "--data=uniref50",
        *(word for word in _ESM1NV.arguments if not word.startswith(("--data=", "trainer.max_steps="))),
        "trainer.max_steps=1000000",
    ),
)
_TINY = Preset(
    name="tiny",
    description="a placeholder in place of BioNeMo: a small model of the same form on two CPU ranks, 20 steps",
    arguments=(
        *("--program=placeholder", "--global-batch=16", "model.micro_batch_size=4", "model.seq_length=32"),
        *("model.num_layers=2", "model.hidden_size=32", "model.ffn_hidden_size=128"),
        *("model.num_attention_heads=4", "model.hidden_dropout=0.0", "model.optim.lr=3e-3"),
        *("trainer.max_steps=20", "trainer.val_check_interval=5"),
    ),
    instance_type=CPU,
    nodes=2,
    global_batch=16,
    tokens_per_sample=32,
    accelerators=("gpu", "cpu"),
    layout=Layout(micro_batch=4),
)

_STAGES = (
    Stage(
        name="synthetic",
        title="makes synthetic proteins",
        program=Program(path="make_proteins.py"),
        arguments=("synthetic",),
        presets=(_ESM1NV.name,),
        options="make_proteins",
        after=(),
    ),
    Stage(
        name="download",
        title="fetches UniRef50 and splits it",
        program=Program(path="make_proteins.py"),
        arguments=("uniref50",),
        presets=(_UNIREF50.name,),
        options="make_proteins",
        after=(),
    ),
)

# The progress bar of Lightning. With less than one step a second it prints s/it; it fills numbers up to five
# characters with a point and zeros, so that NaN is nan.0 (pytorch_lightning, tqdm_progress.py, `format_num`).
_NUMBER = "[0-9][0-9.]*(?:e[+-]?[0-9]+)?"
_PROGRESS = (
    r"Epoch [0-9]+: .*\| (?P<step>[0-9]+)/[0-9]+ \[.*, +"
    rf"(?:(?P<steps_per_second>{_NUMBER})it/s|(?P<seconds_per_step>{_NUMBER})s/it), loss="
    rf".* reduced_train_loss=(?P<loss>{number(_NUMBER)})(?:\.0*)?, .*consumed_samples=(?P<consumed_samples>{_NUMBER})"
)


def _saves(arguments: Sequence[str]) -> bool:
    """Return whether a run continues from its checkpoints: NeMo writes none without its callback."""
    return not is_off(arguments, "exp_manager.create_checkpoint_callback")


WORKLOAD = Workload(
    name="bionemo-esm1nv",
    title="Pre-training of the protein language model ESM-1nv by BioNeMo's own program (NeMo 1)",
    launcher=Torchrun(),
    image=Image(
        reference=str(BIONEMO_IMAGE),
        pins=MappingProxyType(
            {"EFA_INSTALLER": EFA_INSTALLER, "LIBFABRIC": LIBFABRIC, "AWS_OFI_NCCL": AWS_OFI_NCCL}
        ),
        programs=("torchrun",),
    ),
    resources=Resources(accelerators=("gpu",), memory_gib_per_rank=32),
    presets=MappingProxyType({preset.name: preset for preset in (_ESM1NV, _UNIREF50, _TINY)}),
    proofs=MappingProxyType(
        {
            **accepted(Format.SLURM, Format.PYTORCHJOB, Format.TRAINJOB, Format.JOBSET, Format.BATCH),
            Format.LOCAL: TINY_RANKS.with_placeholder("BioNeMo"),
        }
    ),
    progress=Progress(
        pattern=_PROGRESS,
        # BioNeMo indexes all files before the first step.
        start_seconds=3600,
        stall_seconds=1800,
    ),
    assets=(
        Asset(
            "synthetic-proteins", "esm1nv-synthetic", "SYNTHETIC_PROTEINS", stage="synthetic", required=True
        ),
        Asset(
            "uniref50-csv",
            "esm1nv-uniref50",
            "UNIREF50_PROTEINS",
            stage="download",
            required=True,
            licence="CC BY 4.0",
        ),
    ),
    secrets=(Secret("ngc", "NGC_CLI_API_KEY"),),
    saves=_saves,
    resumes_by="NVIDIA/NeMo v1.20.0, tests/core/test_exp_manager.py: test_resume",
    size_arguments=SizeArguments(
        tp="model.tensor_model_parallel_size",
        pp="model.pipeline_model_parallel_size",
        micro_batch="model.micro_batch_size",
        sequence=("model.seq_length",),
    ),
    global_batch_argument="--global-batch",
    options="esm1nv_options",
    stages=_STAGES,
)
