"""Controllers of jobs: the programs that Deployments of releases name, run on this machine with their own rights.

A Deployment's program runs as its service account, with its arguments and the configuration that its ConfigMap holds.
Only what a machine has once is changed: ports, and how webhooks are reached, which is by address, for nothing here
resolves the name of a service.
"""

from __future__ import annotations

import base64
import copy
import shutil
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from tests.kubernetes.plane.api import Document
from tests.kubernetes.plane.authority import CERTIFICATES
from tests.kubernetes.plane.control_plane import START_SECONDS, ControlPlane
from tests.kubernetes.plane.enclosed import commands
from tests.kubernetes.plane.processes import ProgramError
from tests.ports import LOOPBACK, free_ports, listening

PROGRAMS = {
    "jobset": "jobset-manager",
    "kueue": "kueue-manager",
    "mpi-operator": "mpi-operator",
    "operator": "kuberay-operator",
    "trainer-controller-manager": "trainer-manager",
    "training-operator": "training-operator",
}
"""Programs by the last part of their image's name."""

HELM_ORDER = (
    "Namespace",
    "NetworkPolicy",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Service",
    "DaemonSet",
    "Deployment",
)
"""The order in which Helm installs kinds, of those that our releases have; others come after these (helm 4.1)."""

_WEBHOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_NOT_SERVED = "APIService"
"""Kueue's API of pending workloads, which `_words` turns off: a namespace does not go while an API does not answer."""
_KUEUE_CERTIFICATES = Path("/etc/kueue/metrics/certs")

MACHINE_FOLDERS = (CERTIFICATES.parent, Path("/etc/kueue"))
"""Folders that control planes and their programs make outside their own."""

_RELAY = "mpi-operator-relay"
_GATES = "--feature-gates="


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one controller on this machine."""

    webhook: int
    health: int
    metrics: int
    status: int


@dataclass
class Operators:
    """The controllers that run beside a control plane."""

    plane: ControlPlane
    gates: Mapping[str, bool] = field(default_factory=dict)
    """Feature gates for Kueue, besides those of its release."""
    pods: bool = True
    """True if Deployments of programs that run beside the control plane have pods too, which nodes would run."""
    _ports: dict[str, Ports] = field(default_factory=dict)
    _deployments: dict[str, Document] = field(default_factory=dict)

    def install(self, documents: Iterable[Document], *, namespace: str = "") -> list[str]:
        """Apply the objects of a release in Helm's order and start the programs of its Deployments.

        `namespace` is that of objects that name none. Returns the programs' names.

        Raises:
            Refused: the server refuses an object.
            ProgramError: a program does not start; the text holds the end of its log.
        """
        ordered = in_helm_order(documents)
        self._make_namespaces(ordered, namespace)
        webhooks = [one for one in ordered if one["kind"] in _WEBHOOKS]
        others = [self._scaled(one) for one in ordered if one["kind"] not in (*_WEBHOOKS, _NOT_SERVED)]
        deployments = [one for one in others if one["kind"] == "Deployment" and _program(one)]
        for one in deployments:
            self._ports.setdefault(_program(one), Ports(*free_ports(4)))
        # A webhook without its program refuses everything, so it comes last; the training operator alone wants to
        # find its own, to write its authority into it.
        self.plane.api.apply_all(others, namespace=namespace)
        local = [self._localised(one, deployments) for one in webhooks]
        self.plane.api.apply_all([one for one in local if _is_training_operators(one)])
        for one in deployments:
            self._start(one)
        self.plane.api.apply_all([one for one in local if not _is_training_operators(one)])
        return [_program(one) for one in deployments]

    def install_chart(self, name: str, *, values: Mapping[str, Any] | None = None) -> list[str]:
        """Install the objects that a chart of the assets renders to, with its definitions (jobset, kueue, trainer).

        `values` may hold Kueue's `managerConfig` and `controllerManager.featureGates`, as the project sets them.
        """
        release = copy.deepcopy(self.plane.assets.documents(name, "release"))
        account = next(one for one in release if one["kind"] == "ServiceAccount")["metadata"]
        given = (values or {}).get("managerConfig", {}).get("controllerManagerConfigYaml")
        for one in release:
            if (
                given
                and one["kind"] == "ConfigMap"
                and "controller_manager_config.yaml" in one.get("data", {})
            ):
                one["data"]["controller_manager_config.yaml"] = given
        _set_gates(release, (values or {}).get("controllerManager", {}).get("featureGates", ()))
        definitions = self.plane.assets.documents(name, "definitions")
        return self.install([*definitions, *release], namespace=str(account["namespace"]))

    def uninstall(self, documents: Iterable[Document], *, namespace: str = "") -> None:
        """End the programs of a release and delete its objects, in the opposite order."""
        ordered = in_helm_order(documents)
        self.stop(ordered)
        for one in reversed(ordered):
            metadata = one["metadata"]
            where = metadata.get("namespace", namespace)
            self.plane.api.delete(one["apiVersion"], one["kind"], metadata["name"], namespace=where)

    def stop(self, documents: Iterable[Document]) -> None:
        """End the programs of a release."""
        names = [_program(one) for one in documents if one["kind"] == "Deployment" and _program(one)]
        for name in names:
            self._deployments.pop(name, None)
        names += [_RELAY] if "mpi-operator" in names else []
        running = [name for name in names if self.plane.processes.running(name)]
        if running:
            self.plane.processes.stop(running)

    @contextmanager
    def without(self, program: str) -> Iterator[None]:
        """Take a controller and its webhooks away for a while; its definitions and objects stay."""
        api, version = self.plane.api, "admissionregistration.k8s.io/v1"
        asked_there = f":{self._ports[program].webhook}/"
        hooks = [
            {
                "apiVersion": version,
                "kind": kind,
                "metadata": {"name": one["metadata"]["name"]},
                "webhooks": one["webhooks"],
            }
            for kind in _WEBHOOKS
            for one in api.list(version, kind)
            if asked_there in one["webhooks"][0]["clientConfig"].get("url", "")
        ]
        assert hooks, f"{program} has no webhooks"
        for one in hooks:
            api.delete(version, one["kind"], one["metadata"]["name"])
        self.plane.processes.stop([program])
        try:
            yield
        finally:
            self._start(self._deployments[program])
            api.apply_all(hooks)

    def start_ended(self) -> None:
        """Start programs that ended again, as a kubelet does: some end when they lose the lease of their leader."""
        for program, deployment in list(self._deployments.items()):
            if not self.plane.processes.running(program):
                self.plane.processes.stop([program, *([_RELAY] if program == "mpi-operator" else [])])
                self._start(deployment)

    def _make_namespaces(self, documents: Sequence[Document], namespace: str) -> None:
        """Make the namespace of a release, as Helm does with `--create-namespace`."""
        own = {one["metadata"]["name"] for one in documents if one["kind"] == "Namespace"}
        if namespace and namespace not in own:
            self.plane.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})

    def _scaled(self, document: Document) -> Document:
        """Return a Deployment without pods where its program needs none; any other object as it is."""
        if self.pods or document["kind"] != "Deployment" or not _program(document):
            return document
        return {**document, "spec": {**document["spec"], "replicas": 0}}

    def _localised(self, webhooks: Document, deployments: Sequence[Document]) -> Document:
        """Return webhooks that are asked at a port of this machine, not at a service."""
        made = copy.deepcopy(webhooks)
        authority = base64.b64encode(self.plane.authority.certificate.read_bytes()).decode()
        for hook in made["webhooks"]:
            service = hook["clientConfig"].get("service")
            if not service:
                continue
            program = next(
                (
                    _program(one)
                    for one in deployments
                    if one["metadata"]["namespace"] == service["namespace"]
                ),
                None,
            )
            if program is None or (program == "jobset-manager") is not ("jobset" in service["name"]):
                program = next(
                    one for one in map(_program, deployments) if one.split("-")[0] in service["name"]
                )
            url = f"https://{LOOPBACK}:{self._ports[program].webhook}{service.get('path', '')}"
            hook["clientConfig"] = {"url": url, "caBundle": authority}
        return made

    def _start(self, deployment: Document) -> None:
        program = _program(deployment)
        namespace = deployment["metadata"]["namespace"]
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        account = f"system:serviceaccount:{namespace}:{pod.get('serviceAccountName', 'default')}"
        kubeconfig = self.plane.folder / f"{program}.kubeconfig"
        self.plane.write_kubeconfig(kubeconfig, acting_as=account)
        self._deployments[program] = deployment
        ports = self._ports[program]
        own = container.get("args", ())
        words = [*own, *self._words(program, ports, kubeconfig, own)]
        words = [self._mounted(word, namespace, pod) for word in words]
        if any(word.startswith("--config=") for word in words):
            path = self.plane.folder / f"{program}.yaml"
            path.write_text(yaml.safe_dump(self._configuration(namespace, pod, ports)), encoding="utf-8")
            words = [f"--config={path}" if word.startswith("--config=") else word for word in words]
        if program == "kueue-manager":
            _give_kueue_its_certificate()
        if program == "training-operator":
            self._fill_secret(namespace)
        if program == "kuberay-operator":
            self.plane.api.apply_all(_right_to_proxy(namespace, pod["serviceAccountName"]))
        environment = {
            "KUBECONFIG": str(kubeconfig),
            "MY_POD_NAMESPACE": namespace,
            "POD_NAMESPACE": namespace,
        }
        command = [str(self.plane.assets.program(program)), *words]
        if program == "mpi-operator":
            command = [*self._enclosed(), *command]
        self.plane.processes.start(program, command, environment=environment)
        self.plane.processes.await_ready(program, lambda: self._ready(program, ports), seconds=START_SECONDS)
        self._report_ready(deployment)

    def _words(self, program: str, ports: Ports, kubeconfig: Path, own: Iterable[str] = ()) -> Iterator[str]:
        """Return the arguments that change a controller's ports, and Kueue's gates beside those of its `own`."""
        if program == "kueue-manager":
            # Its API server of pending workloads takes a port of its own and the name of a service.
            gates = [
                "VisibilityOnDemand=false",
                *(f"{name}={str(on).lower()}" for name, on in self.gates.items()),
            ]
            given = [word.removeprefix(_GATES) for word in own if word.startswith(_GATES)]
            # Of two such arguments Kueue takes the last.
            yield _GATES + ",".join([*given, *gates])
        elif program == "training-operator":
            yield f"--webhook-server-port={ports.webhook}"
            yield f"--metrics-bind-address={LOOPBACK}:{ports.metrics}"
            yield f"--health-probe-bind-address={LOOPBACK}:{ports.health}"
        elif program == "kuberay-operator":
            # Names of services mean nothing outside of pods.
            yield "--use-kubernetes-proxy"
            yield f"--metrics-addr={LOOPBACK}:{ports.metrics}"
            yield f"--health-probe-bind-address={LOOPBACK}:{ports.health}"
        elif program == "mpi-operator":
            yield f"--kubeConfig={kubeconfig}"
            yield f"--monitoring-port={ports.metrics}"

    def _configuration(self, namespace: str, pod: Document, ports: Ports) -> Document:
        """Return the configuration that a pod mounts, with ports of this machine and certificates from outside."""
        name = next(one["configMap"]["name"] for one in pod["volumes"] if "configMap" in one)
        data = self.plane.api.get("v1", "ConfigMap", name, namespace=namespace)["data"]
        document: Document = yaml.safe_load(data["controller_manager_config.yaml"])
        document["health"] = {
            **document.get("health", {}),
            "healthProbeBindAddress": f"{LOOPBACK}:{ports.health}",
        }
        document["metrics"] = {**document.get("metrics", {}), "bindAddress": f"{LOOPBACK}:{ports.metrics}"}
        document["webhook"] = {**document.get("webhook", {}), "port": ports.webhook, "host": LOOPBACK}
        # One process, which must not wait for the lease of the one before it.
        document["leaderElection"] = {"leaderElect": False}
        if "trainer" in document["apiVersion"]:
            document["certManagement"] = {"enable": False}
            document["metrics"]["secureServing"] = False
            document["statusServer"] = {**document.get("statusServer", {}), "port": ports.status}
        else:
            document["internalCertManagement"] = {"enable": False}
        return document

    def _mounted(self, word: str, namespace: str, pod: Document) -> str:
        """Return an argument with its file where this machine has it, if a ConfigMap other than `--config` holds it."""
        flag, _, value = word.partition("=")
        path = PurePosixPath(value)
        (container,) = pod["containers"]
        for mount in container.get("volumeMounts", ()):
            volume = next(one for one in pod["volumes"] if one["name"] == mount["name"])
            if (
                flag == "--config"
                or "configMap" not in volume
                or path.parent.as_posix() != mount["mountPath"]
            ):
                continue
            name = volume["configMap"]["name"]
            data = self.plane.api.get("v1", "ConfigMap", name, namespace=namespace)["data"]
            here = self.plane.folder / f"{name}.{path.name}"
            here.write_text(data[path.name], encoding="utf-8")
            return f"{flag}={here}"
        return word

    def _fill_secret(self, namespace: str) -> None:
        """Give the training operator the certificate that it would make: its webhook is asked by address here."""
        authority = self.plane.authority
        files = {"ca.crt": authority.certificate, "ca.key": authority.key}
        files |= {name: CERTIFICATES / name for name in ("tls.crt", "tls.key")}
        data = {name: base64.b64encode(path.read_bytes()).decode() for name, path in files.items()}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "training-operator-webhook-cert"},
        }
        self.plane.api.apply({**secret, "data": data}, namespace=namespace)

    def _enclosed(self) -> list[str]:
        """Return what runs a program in a network of its own: the MPI operator's port 8080 is fixed, and one only."""
        # A short path: that of a socket has 107 characters at most.
        folder = tempfile.mkdtemp(prefix="enclosed-")
        socket = Path(folder) / "api"
        self.plane.processes.on_stop(lambda: shutil.rmtree(folder, ignore_errors=True))
        outside, inside = commands(socket, int(self.plane.server.rpartition(":")[2]))
        self.plane.processes.start(_RELAY, outside)
        self.plane.processes.await_ready(_RELAY, socket.exists, seconds=START_SECONDS)
        return inside

    def _ready(self, program: str, ports: Ports) -> bool:
        if program == "mpi-operator":
            return "Started workers" in self.plane.processes.log(program).read_text(encoding="utf-8")
        return _healthy(ports.health) and (program == "kuberay-operator" or listening(ports.webhook))

    def _report_ready(self, deployment: Document) -> None:
        """Say in the Deployment's status that its pod is ready, as Helm waits for it; no node runs the pod."""
        metadata = deployment["metadata"]
        found = self.plane.api.get("apps/v1", "Deployment", metadata["name"], namespace=metadata["namespace"])
        status = {
            "observedGeneration": found["metadata"]["generation"],
            "replicas": 1,
            "updatedReplicas": 1,
            "readyReplicas": 1,
            "availableReplicas": 1,
        }
        self.plane.api.patch(
            "apps/v1",
            "Deployment",
            metadata["name"],
            {"status": status},
            namespace=metadata["namespace"],
            part="status",
        )


def _right_to_proxy(namespace: str, account: str) -> list[Document]:
    """Return the right to ask services through the API server, which KubeRay needs outside of the cluster alone."""
    name, group = "kuberay-operator-outside", "rbac.authorization.k8s.io"
    verbs = ["create", "get", "patch", "update"]
    rule = {"apiGroups": [""], "resources": ["services/proxy"], "verbs": verbs}
    return [
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": [rule],
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
        },
    ]


def _set_gates(release: Sequence[Document], gates: Sequence[Mapping[str, Any]]) -> None:
    """Give a chart's program its feature gates as an argument, as Kueue's chart does (kueue 0.19, _helpers.tpl)."""
    if not gates:
        return
    (deployment,) = (one for one in release if one["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    words = ",".join(f"{gate['name']}={str(gate['enabled']).lower()}" for gate in gates)
    container["args"] = [*container.get("args", ()), _GATES + words]


def in_helm_order(documents: Iterable[Document]) -> list[Document]:
    """Return objects in the order in which Helm installs their kinds."""
    return sorted(
        documents,
        key=lambda one: HELM_ORDER.index(one["kind"]) if one["kind"] in HELM_ORDER else len(HELM_ORDER),
    )


def _program(deployment: Document) -> str:
    """Return the program that a Deployment runs; empty where these tests have none."""
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    return PROGRAMS.get(image.partition("@")[0].rpartition("/")[2].partition(":")[0], "")


def _is_training_operators(webhooks: Document) -> bool:
    return "training-operator" in str(webhooks["metadata"]["name"])


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _give_kueue_its_certificate() -> None:
    """Put a certificate for its metrics where Kueue looks for it; no setting changes that place.

    Raises:
        ProgramError: this user may not write there.
    """
    try:
        _KUEUE_CERTIFICATES.mkdir(parents=True, exist_ok=True)
        for name in ("tls.crt", "tls.key"):
            shutil.copy(CERTIFICATES / name, _KUEUE_CERTIFICATES / name)
    except PermissionError as error:
        raise ProgramError(
            f"kueue takes its certificate from {_KUEUE_CERTIFICATES} only, which root has to make: {error}"
        ) from None
