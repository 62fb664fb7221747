"""Cluster info: the values that are known once a cluster is deployed, and their JSON form."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from catalog.cluster_kinds import KINDS

_TEXT = re.compile(r"([A-Za-z0-9_/][A-Za-z0-9_./:@#+=,~*-]*)?", re.ASCII)
"""The characters of a value. Names, ARNs, paths and image URIs need no more, and nothing here means anything to a
shell within double quotes or to YAML: rendered scripts have these values in both."""

_MAX_SHOWN = 60
"""Characters of a refused value that the message shows."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A shared file system as nodes see it: `path` on the node, `kind` lustre or openzfs, its `file_system_id`.

    `throughput_mbps` is what it writes in MB/s as a whole; 0 where that is not known.
    """

    path: str
    kind: str
    file_system_id: str
    throughput_mbps: int = 0


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """The values of a deployed cluster that runs need; nothing else has deploy-time values.

    Every cluster stack publishes its own as JSON at the SSM parameter `parameter_name(...)`; the commands that talk to
    a cluster read it, and renderers take it beside the run. Values may be CDK tokens when a stack fills it. `cluster`
    is the section name of the configuration (`hyperpod`), `cluster_name` the service's own name, `cluster_id` the id
    in its ARN. `partitions` maps a pool to its Slurm partition where that has another name, and `queues` one to its
    Batch queue; `shares` are the names of the queues' shares, the default first, and `priorities` maps a workload to
    that of its jobs within a share. `images` maps a workload to its image URI; one without an image runs in its folder
    of `virtual_environments`, and without that in `virtual_environment`. `launch_folder` is where nodes see the
    shipped programs and manifests. `kubernetes_cluster` is the EKS cluster that takes Kubernetes jobs, by its ARN,
    which distinguishes equal names in two accounts, or by its name; empty where it is called `cluster_name`.
    `namespace` and `claim` are the Kubernetes namespace of jobs and the claim of the shared file system; `tolerations`
    maps a pool to what its runs tolerate beside the taints of accelerated nodes, as a pod's specification has it.
    `roles` maps a purpose to a role's ARN, `log_group` is where Batch jobs log, and `base_images` maps a base, as
    `base_image_key` writes it, to the URI of its image, for code that is shipped without an image. `isolated` is true
    if nodes reach no internet. `secrets` maps a purpose to the name of a secret (Batch: its ARN), never its value.
    `health` is what follows on a fault of a job's node with Batch: none or terminate; empty: nodes are not checked.
    """

    deployment: str
    cluster: str
    region: str
    cluster_name: str
    cluster_id: str = ""
    data_bucket: str = ""
    mounts: tuple[Mount, ...] = ()
    partitions: Mapping[str, str] = field(default_factory=dict)
    instance_groups: Mapping[str, str] = field(default_factory=dict)
    session_document: str = ""
    images: Mapping[str, str] = field(default_factory=dict)
    virtual_environment: str = ""
    virtual_environments: Mapping[str, str] = field(default_factory=dict)
    launch_folder: str = ""
    queues: Mapping[str, str] = field(default_factory=dict)
    shares: tuple[str, ...] = ()
    priorities: Mapping[str, int] = field(default_factory=dict)
    kubernetes_cluster: str = ""
    namespace: str = "default"
    claim: str = ""
    tolerations: Mapping[str, Sequence[Mapping[str, str]]] = field(default_factory=dict)
    log_group: str = ""
    roles: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    base_images: Mapping[str, str] = field(default_factory=dict)
    isolated: bool = False
    health: str = ""

    @property
    def shared_folder(self) -> str:
        """The shared file system that runs write to: Lustre where there is one; /fsx by convention otherwise."""
        paths = {mount.kind: mount.path for mount in reversed(self.mounts)}
        return paths.get("lustre") or paths.get("openzfs") or "/fsx"

    @property
    def throughput_mbps(self) -> int:
        """The rate at which the shared file system writes, in MB/s, as a whole; 0 where that is not known."""
        return next((one.throughput_mbps for one in self.mounts if one.path == self.shared_folder), 0)

    def environment_of(self, workload: str) -> str:
        """Return the folder of the Python environment that a workload without an image runs in; empty: none."""
        return self.virtual_environments.get(workload) or self.virtual_environment

    @classmethod
    def example(
        cls,
        cluster: str,
        workloads: Iterable[str] = (),
        *,
        deployment: str = "demo",
        region: str = "us-west-2",
    ) -> ClusterInfo:
        """Return the info with the values that committed manifests show: an account and ids that do not exist."""
        account = "111122223333"
        registry = f"{account}.dkr.ecr.{region}.amazonaws.com"
        return cls(
            deployment=deployment,
            cluster=cluster,
            region=region,
            cluster_name=f"{deployment}-{cluster.replace('_', '-')}",
            data_bucket=f"{deployment}-data",
            mounts=(Mount("/fsx", "lustre", "fs-0123456789abcdef0"),),
            images={name: f"{registry}/{deployment}/{name}:example" for name in workloads},
            launch_folder="/fsx/data/launch",
            namespace=KINDS[cluster].namespace,
            claim="fsx-claim",
            log_group=f"/trainforge/{deployment}/batch",
            roles={
                "job": f"arn:aws:iam::{account}:role/{deployment}-job",
                "execution": f"arn:aws:iam::{account}:role/{deployment}-execution",
            },
            secrets={"huggingface": "huggingface"},
        )

    @staticmethod
    def parameter_name(deployment: str, cluster: str) -> str:
        """Return the SSM parameter that holds the info of a deployment's cluster."""
        return f"/trainforge/{deployment}/{cluster}/info"

    def to_json(self) -> str:
        """Return the JSON that the SSM parameter holds."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ClusterInfo:
        """Read what `to_json` wrote.

        Raises:
            ValueError: the text is not JSON, not info of this version, or has a value that a script would run.
        """
        try:
            data = json.loads(text)
            mounts = tuple(Mount(**mount) for mount in data.pop("mounts", ()))
            shares = tuple(data.pop("shares", ()))
            info = cls(**data, mounts=mounts, shares=shares)
        except (TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"not trainforge cluster info: {error}; deploy the cluster stack again"
            ) from error
        refused = list(_refused(asdict(info), ""))
        if refused:
            raise ValueError(
                f"not trainforge cluster info: {'; '.join(refused)}. A value is letters, digits and the characters "
                "_./:@#+=,~*-, because it becomes part of scripts; deploy the cluster stack again"
            )
        return info


def base_image_key(base: str, architecture: str) -> str:
    """Return the key of a base's image in cluster info: `cuda`, and `cuda-arm64` where processors are of that kind."""
    return base if architecture == "x86_64" else f"{base}-{architecture}"


def _refused(value: object, path: str) -> Iterator[str]:
    """Yield what is wrong with the values of cluster info and with the keys of its mappings, each with its path."""
    match value:
        case dict():
            for key, member in value.items():
                yield from _refused(key, f"key of '{path}'")
                yield from _refused(member, f"{path}.{ascii(key)[1:-1]}".lstrip("."))
        case list() | tuple():
            for number, member in enumerate(value):
                yield from _refused(member, f"{path}.{number}")
        case str():
            if not _TEXT.fullmatch(value):
                shown = value if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]}..."
                yield f"{path} is {shown!a}"
        case bool() if path == "isolated":
            pass
        case int() if not isinstance(value, bool):
            pass
        case _:
            yield f"{path} is {type(value).__name__}, not text"
