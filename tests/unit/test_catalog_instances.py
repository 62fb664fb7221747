"""The instance catalog: lookup, the facts that EC2 lacks or gets wrong, and a source for each."""

from __future__ import annotations

import pytest
from botocore.session import get_session

from catalog import ec2
from catalog.instance_facts import InstanceFacts
from catalog.instances import (
    DEFAULT_CONTROLLER_TYPE,
    DEFAULT_LOGIN_TYPE,
    INSTANCES,
    UnknownInstanceTypeError,
    instance,
    instance_types,
    nearest,
)
from catalog.records import OVERRIDABLE, applies, read

OVERRIDES = read("overrides.json")
EVERY_TYPE = pytest.mark.parametrize("facts", INSTANCES.values(), ids=lambda facts: facts.name)


def test_every_family_of_the_catalog_is_there_and_no_other() -> None:
    assert {facts.family for facts in INSTANCES.values()} == set(ec2.FAMILIES)
    assert list(instance_types()) == sorted(INSTANCES)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "p5.47xlarge",
            "instance type 'p5.47xlarge' is not in the catalog "
            "(did you mean 'p5.48xlarge' or 'p5.4xlarge' or 'g5.48xlarge'?); "
            "'trainforge catalog refresh' reads new types from EC2",
        ),
        (
            "P5.48xlarge",
            "instance type 'P5.48xlarge' is not in the catalog "
            "(did you mean 'p5.48xlarge' or 'p5.4xlarge' or 'g5.48xlarge'?); "
            "'trainforge catalog refresh' reads new types from EC2",
        ),
        (
            "nonsense",
            "instance type 'nonsense' is not in the catalog; "
            "'trainforge catalog refresh' reads new types from EC2",
        ),
        (
            "ml.p5.48xlarge",
            "instance type 'ml.p5.48xlarge' is SageMaker's name; write 'p5.48xlarge', "
            "the prefix 'ml.' is added where SageMaker needs it",
        ),
        (
            "ml.p5.47xlarge",
            "instance type 'ml.p5.47xlarge' is not in the catalog "
            "(did you mean 'p5.48xlarge' or 'p5.4xlarge' or 'g5.48xlarge'?); "
            "'trainforge catalog refresh' reads new types from EC2",
        ),
        ("", "instance type '' is not in the catalog; 'trainforge catalog refresh' reads new types from EC2"),
    ],
)
def test_unknown_type_names_the_nearest_and_the_next_step(name: str, message: str) -> None:
    with pytest.raises(UnknownInstanceTypeError) as raised:
        instance(name)
    assert str(raised.value) == message
    assert raised.value.name == name
    assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize(
    ("name", "best"),
    [
        ("p4.24xlarge", "p4d.24xlarge"),
        ("trn1.32", "trn1.32xlarge"),
        ("p6-b200.48xlrge", "p6-b200.48xlarge"),
        (" G5.8xlarge ", "g5.8xlarge"),
        ("ml.g5.8xlarge", "g5.8xlarge"),
        ("g5.9xlarge", "g5.8xlarge"),
    ],
)
def test_nearest_finds_the_probable_name(name: str, best: str) -> None:
    assert nearest(name)[0] == best
    assert len(nearest(name, 2)) == 2


def test_nearest_is_empty_where_nothing_is_like_it() -> None:
    assert nearest("zzz") == ()


@EVERY_TYPE
def test_facts_are_whole(facts: InstanceFacts) -> None:
    assert instance(facts.name) is facts
    assert facts.vcpus == facts.cores * facts.threads_per_core
    assert facts.memory_gib > 0
    assert f"{facts.family}.{facts.size}" == facts.name
    assert [card.index for card in facts.network_cards] == list(range(len(facts.network_cards)))
    assert len(facts.efa_cards) == facts.efa_interfaces
    assert all(
        facts.network_cards[index].efa or facts.network_cards[index].efa_only for index in facts.efa_cards
    )
    assert facts.supports_efa is bool(facts.efa_cards)
    assert facts.is_accelerated is (facts.accelerators > 0) is (facts.has_gpus or facts.has_neuron)
    assert facts.sockets is None or facts.cores % facts.sockets == 0


@EVERY_TYPE
def test_types_with_efa_tell_their_rdma_and_those_without_have_none(facts: InstanceFacts) -> None:
    assert facts.rdma is not None
    assert set(facts.rdma) <= {"read", "write"}
    if facts.supports_efa:
        assert facts.nitro in {3, 4, 5, 6}
    else:
        assert facts.rdma == ()


@EVERY_TYPE
def test_accelerated_types_have_a_peak_or_say_that_it_is_unknown(facts: InstanceFacts) -> None:
    if not facts.is_accelerated:
        assert not facts.peak_tflops
        return
    assert all(peak > 0 for peak in facts.peak_tflops.values())
    assert bool(facts.peak_tflops) is not facts.sources["peak_tflops"].startswith("unknown: ")


@EVERY_TYPE
def test_neuron_devices_have_cores_and_gpus_have_none(facts: InstanceFacts) -> None:
    if facts.accelerator is not None:
        assert (facts.accelerator.total_cores is not None) is facts.has_neuron
        assert facts.accelerator.total_memory_gib > 0


@pytest.mark.parametrize(
    ("name", "kind", "count", "gib", "cores"),
    [
        ("p5.48xlarge", "gpu", 8, 80, None),
        ("p6e-gb200.36xlarge", "gpu", 4, 185, None),
        ("trn1.32xlarge", "neuron", 16, 32, 32),
        ("trn2.48xlarge", "neuron", 16, 96, 128),
        ("trn2u.48xlarge", "neuron", 16, 96, 128),
        ("inf2.48xlarge", "neuron", 12, 32, 24),
    ],
)
def test_accelerators(name: str, kind: str, count: int, gib: int, cores: int | None) -> None:
    device = instance(name).accelerator
    assert device is not None
    assert (device.kind, device.count, device.memory_gib, device.total_cores) == (kind, count, gib, cores)


@pytest.mark.parametrize(
    ("name", "bf16"),
    [
        ("p4d.24xlarge", 312),
        ("p5.48xlarge", 989.4),
        ("p5en.48xlarge", 989.4),
        ("p6-b200.48xlarge", 2250),
        ("p6-b300.48xlarge", 2250),
        ("p6e-gb200.36xlarge", 2500),
        ("g5.8xlarge", 70),
        ("g6.8xlarge", 121),
        ("g6e.8xlarge", 362.05),
        ("trn1.32xlarge", 190),
        ("trn2u.48xlarge", 667),
        ("p3dn.24xlarge", None),
        ("g4dn.xlarge", None),
        ("g7e.48xlarge", None),
    ],
)
def test_peaks_are_the_dense_ones(name: str, bf16: float | None) -> None:
    assert instance(name).peak_tflops.get("bf16") == bf16


@pytest.mark.parametrize(
    ("name", "checks"),
    [
        ("p5.48xlarge", ("InstanceStress", "InstanceConnectivity")),
        ("p4d.24xlarge", ("InstanceStress", "InstanceConnectivity")),
        ("g5.8xlarge", ("InstanceStress", "InstanceConnectivity")),
        ("g5.xlarge", ("InstanceStress",)),
        ("trn1.32xlarge", ()),
        ("p6-b200.48xlarge", ()),
        ("m5.large", ()),
    ],
)
def test_deep_health_checks_are_those_that_aws_documents(name: str, checks: tuple[str, ...]) -> None:
    assert instance(name).deep_health_checks == checks


@pytest.mark.parametrize(
    ("name", "checks"),
    [
        ("p5.48xlarge", ("InstanceStress", "InstanceConnectivity")),
        ("p6-b200.48xlarge", ("InstanceStress", "InstanceConnectivity")),
        ("trn1.32xlarge", ("InstanceStress", "InstanceConnectivity")),
        ("trn2.48xlarge", ("InstanceStress", "InstanceConnectivity")),
        ("g5.xlarge", ("InstanceStress",)),
        ("m5.large", ()),
        # HyperPod does not offer it.
        ("trn1.2xlarge", ()),
    ],
)
def test_deep_health_checks_under_eks_are_for_trainium_too(name: str, checks: tuple[str, ...]) -> None:
    assert instance(name).deep_health_checks_eks == checks


def test_deep_health_checks_are_names_that_the_api_knows() -> None:
    known = set(
        get_session().get_service_model("sagemaker").shape_for("DeepHealthCheckType").metadata["enum"]
    )
    used = {
        check
        for facts in INSTANCES.values()
        for check in (*facts.deep_health_checks, *facts.deep_health_checks_eks)
    }
    assert used
    assert used <= known


@pytest.mark.parametrize("entry", OVERRIDES["overrides"], ids=lambda entry: next(iter(entry["facts"])))
def test_every_override_has_a_source_and_a_type(entry: dict[str, object]) -> None:
    facts = entry["facts"]
    assert isinstance(facts, dict)
    assert set(facts) <= OVERRIDABLE
    assert isinstance(entry["source"], str)
    assert len(entry["source"]) > 20
    assert set(entry) <= {
        "types",
        "families",
        "accelerators",
        "needs_efa",
        "needs_hyperpod",
        "facts",
        "source",
    }
    records = {name: extra["record"] for name, extra in OVERRIDES["instances"].items()}
    records |= read("instances.json")["instances"]
    if not set(facts) & {"accelerator"} and "accelerators" not in entry:
        assert any(applies(entry, name, record, INSTANCES[name].hyperpod) for name, record in records.items())
    for name in entry.get("types", ()):  # type: ignore[attr-defined]
        assert name in INSTANCES
    for family in entry.get("families", ()):  # type: ignore[attr-defined]
        assert family in ec2.FAMILIES


@pytest.mark.parametrize("name", OVERRIDES["instances"])
def test_every_type_that_ec2_does_not_describe_has_a_source(name: str) -> None:
    assert OVERRIDES["instances"][name]["source"].startswith("EC2 ")
    assert instance(name).sources["record"] == OVERRIDES["instances"][name]["source"]


def test_every_overridden_fact_names_its_source() -> None:
    for facts in INSTANCES.values():
        for fact in ("sockets", "nvlinks_per_gpu", "topology_layers", "nitro"):
            assert (getattr(facts, fact) is not None) is (fact in facts.sources), (facts.name, fact)


def test_data_file_is_written_as_the_refresh_writes_it() -> None:
    from importlib.resources import files

    data = read("instances.json")
    text = (files("catalog") / "data" / "instances.json").read_text(encoding="utf-8")
    assert text == ec2.to_text(data["source"], data["date"], data["instances"])


@pytest.mark.parametrize("name", [DEFAULT_CONTROLLER_TYPE, DEFAULT_LOGIN_TYPE])
def test_default_types_are_small_and_offered_by_hyperpod(name: str) -> None:
    facts = instance(name)
    assert facts.hyperpod
    assert not facts.is_accelerated
    assert facts.vcpus <= 8
