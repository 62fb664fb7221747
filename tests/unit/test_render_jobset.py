"""JobSets: a Job for each stage of a run, in order, and what restarts or ends the set."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

from exit_codes import FINAL

from catalog.pool import OnDemand, Pool
from tests.admission import refusals
from tests.unit.manifest_checks import check_jobset, check_pods
from tests.unit.rendering import STAGED, info, only_container, read, script
from workloads.render.jobset import jobset
from workloads.restarts import FINAL_CODES
from workloads.spec import Format, Run

GPUS = Pool("gpu", "p5.48xlarge", 4, "us-west-2a", OnDemand())
CPUS = Pool("cpu", "c6i.4xlarge", 2, "us-west-2a", OnDemand())


def rendered(run: Run, **options: Any) -> dict[str, Any]:
    """Return a JobSet that Kubernetes, JobSet and Trainer's models of it take."""
    document = read(jobset(run, info(Format.JOBSET), **options))
    check_jobset(document)
    check_pods(document, "name", "1.35")
    assert refusals(document) == []
    return document


def jobs(document: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one for one in document["spec"]["replicatedJobs"]}


def staged(**changes: Any) -> Run:
    return Run(replace(STAGED, **changes), STAGED.reference, GPUS, 4)


def test_the_codes_that_end_a_set_are_those_of_the_runtime() -> None:
    assert set(FINAL_CODES) == FINAL
    assert list(FINAL_CODES) == sorted(FINAL)


def test_each_stage_is_a_job_that_waits_for_those_before() -> None:
    document = rendered(staged())
    assert {
        name: [each["name"] for each in one.get("dependsOn", [])] for name, one in jobs(document).items()
    } == {
        "download": [],
        "tokenize": ["download"],
        "convert": [],
        "train": ["convert", "tokenize"],
    }
    assert {each["status"] for one in jobs(document).values() for each in one.get("dependsOn", [])} == {
        "Complete"
    }
    nodes = {name: one["template"]["spec"]["completions"] for name, one in jobs(document).items()}
    assert nodes == {"download": 1, "tokenize": 4, "convert": 1, "train": 4}
    for one in jobs(document).values():
        job = one["template"]["spec"]
        assert (job["parallelism"], job["backoffLimit"]) == (job["completions"], 0)
        assert (
            job["template"]["metadata"]["labels"]["app.kubernetes.io/instance"]
            == document["metadata"]["name"]
        )


def test_each_job_has_its_own_program_and_rank_0() -> None:
    scripts = {
        name: script(one["template"]["spec"]["template"]) for name, one in jobs(rendered(staged())).items()
    }
    for name in ("download", "tokenize", "convert"):
        assert f'STAGE_FOLDER="/fsx/stages/staged-sample/{name}"' in scripts[name]
        assert "stage.py" in scripts[name]
    assert "stage.py" not in scripts["train"]
    uid = "metadata.labels['batch.kubernetes.io/controller-uid']"
    started = {
        name: [
            each["name"]
            for each in only_container(one["template"]["spec"]["template"])["env"]
            if each.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath") == uid
        ]
        for name, one in jobs(rendered(staged())).items()
    }
    # The messages of a stage's nodes are those of one start.
    assert started == {"download": ["JOB_UID"], "tokenize": ["JOB_UID"], "convert": ["JOB_UID"], "train": []}
    assert '"--master-addr=$JOBSET_NAME-train-0-0.$JOBSET_NAME"' in scripts["train"]
    assert '"--node-rank=$JOB_COMPLETION_INDEX"' in scripts["train"]
    assert 'MASTER_ADDR="$JOBSET_NAME-tokenize-0-0.$JOBSET_NAME"' in scripts["tokenize"]


def test_a_stage_goes_to_its_pool_and_asks_for_a_node_there() -> None:
    run = staged()
    elsewhere = {name: run.stage(name, CPUS) for name in ("download", "tokenize", "convert")}
    found = jobs(rendered(run, stages=elsewhere))
    for name, pool in {"download": CPUS, "tokenize": CPUS, "convert": GPUS, "train": GPUS}.items():
        pod = found[name]["template"]["spec"]["template"]
        assert pod["spec"]["nodeSelector"]["node.kubernetes.io/instance-type"].endswith(pool.instance_type)
        asked = only_container(pod)["resources"]["requests"]
        assert ("nvidia.com/gpu" in asked) is (pool is GPUS)
        assert asked["cpu"]


def test_stages_that_are_left_out_are_not_waited_for() -> None:
    assert list(jobs(rendered(staged(), stages={}))) == ["train"]
    run = staged()
    document = rendered(run, stages={"convert": run.stage("convert")})
    assert [each["name"] for each in jobs(document)["train"]["dependsOn"]] == ["convert"]
    alone = rendered(run.stage("tokenize"))
    assert list(jobs(alone)) == ["tokenize"]
    assert alone["metadata"]["name"] == "staged-sample-small-tokenize"


def test_what_restarts_a_set_and_what_ends_it() -> None:
    final = {"name": "final_exit_code", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
    not_resumed = {"name": "not_resumed", "action": "FailJobSet", "targetReplicatedJobs": ["train"]}

    def policy(run: Run) -> Any:
        document = rendered(run)
        for one in jobs(document).values():
            (rule,) = one["template"]["spec"]["podFailurePolicy"]["rules"]
            assert rule["onExitCodes"]["values"] == sorted(FINAL)
        return document["spec"]["failurePolicy"]

    assert policy(staged()) == {"maxRestarts": 10, "rules": [final]}
    # Its stages can be started again, and the run cannot.
    assert policy(staged(resumes=False)) == {"maxRestarts": 10, "rules": [final, not_resumed]}
    assert policy(staged(resumes=False, stages=())) == {"maxRestarts": 0, "rules": [final]}


def test_a_preset_without_stages_is_a_set_of_one_job() -> None:
    plain = replace(STAGED.reference, name="plain")
    only_small = tuple(replace(stage, presets=("small",)) for stage in STAGED.stages)
    both = replace(
        STAGED, presets=MappingProxyType({"small": STAGED.reference, "plain": plain}), stages=only_small
    )
    assert list(jobs(rendered(Run(both, plain, GPUS, 4)))) == ["train"]
