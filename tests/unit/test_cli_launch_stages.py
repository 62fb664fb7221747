"""`trainforge launch` of a workload with stages: their order, one alone, none, and again."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.client import BaseClient
from typer.testing import CliRunner

from cli.main import app
from tests.programs import ROOT
from tests.unit.launching import Launching, cluster_info
from tests.unit.test_cli_launch_batch import Service

STAGED = ROOT / "tests" / "own_code" / "staged-training"
FILES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
MNIST = ("--preset", "mnist", "--pool", "cpu")
COUNTED_SBATCH = """
n=$(ls {folder} | grep -c submitted) || true
cat >{folder}/submitted.$n.sbatch
[ ! -e {folder}/fails.$n ] || {{ echo 'sbatch: error: no' >&2; exit 1; }}
echo "$((4700 + n))"
"""


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launching:
    made = Launching(tmp_path, monkeypatch)
    for tool in ("ls", "grep"):
        (made.programs / "tools" / tool).symlink_to(f"/bin/{tool}")
    return made


def sbatch(launch: Launching) -> Path:
    return launch.fake("sbatch", COUNTED_SBATCH.format(folder=launch.programs))


def submitted(launch: Launching) -> list[str]:
    """Return the names of the submitted jobs, in order."""
    files = sorted(launch.programs.glob("submitted.*.sbatch"))
    return [path.read_text(encoding="utf-8").split("--job-name=")[1].split("\n")[0] for path in files]


def test_slurm_starts_the_training_when_the_stage_has_ended_well(launch: Launching) -> None:
    noted = sbatch(launch)
    result = launch("hyperpod", *MNIST, info=cluster_info("hyperpod"))
    assert result.exit_code == 0, result.output
    assert submitted(launch) == ["cpu-ddp-mnist-download", "cpu-ddp-mnist"]
    assert noted.read_text() == (
        "--parsable\n--parsable --dependency=afterok:4700 --kill-on-invalid-dep=yes\n"
    )
    for part in (
        "launch cpu-ddp, preset mnist, stage download\n",
        "nodes  1 x c6i.4xlarge; 1 rank\n",
        "after  download, each ended well\n",
        "slurm.mnist.download.1xc6i.4xlarge.sbatch",
        "submitted job 4700\n",
        "  --run-id 4701\n",
    ):
        assert part in result.output
    # The last one is the run.
    assert "--run-id 4700" not in result.output


def test_jobs_of_one_run_still_follow_each_other(launch: Launching) -> None:
    """An option of sbatch takes the place of the script's own dependency."""
    noted = sbatch(launch)
    assert launch("hyperpod", *MNIST, "--run-id", "a", info=cluster_info("hyperpod")).exit_code == 0
    assert "--dependency=afterok:4700,singleton " in noted.read_text()


def test_the_training_alone_and_a_stage_alone(launch: Launching) -> None:
    sbatch(launch)
    info = cluster_info("hyperpod")
    for words in (("--skip-stages",), ("--stage", "train"), ("--stage", "download", "--", "--md5", *"ab")):
        result = launch("hyperpod", *MNIST, *words, info=info)
        assert (result.exit_code == 0) is (words[-1] != "b"), result.output
    assert submitted(launch) == ["cpu-ddp-mnist", "cpu-ddp-mnist"]
    assert "refuses its arguments: argument --md5: 'a' is no MD5" in " ".join(result.stderr.split())
    result = launch("hyperpod", *MNIST, "--stage", "download", "--", "--mirror=http://host", info=info)
    assert result.exit_code == 0, result.output
    assert submitted(launch)[2:] == ["cpu-ddp-mnist-download"]
    text = (launch.programs / "submitted.2.sbatch").read_text(encoding="utf-8")
    assert text.count("--mirror=http://host") == 2, "in the line, and in what the marker goes by"


def test_again_is_for_stages(launch: Launching) -> None:
    sbatch(launch)
    info = cluster_info("hyperpod")
    assert launch("hyperpod", *MNIST, "--again", info=info).exit_code == 0
    texts = [path.read_text(encoding="utf-8") for path in sorted(launch.programs.glob("submitted.*.sbatch"))]
    found = [re.findall(r"export TRAINFORGE_STAGE_AGAIN=([0-9a-f]{12})\n", text) for text in texts]
    assert list(map(len, found)) == [1, 0]
    # Another launch is another id: restarts and retries of one launch do not run the stage once more.
    assert launch("hyperpod", *MNIST, "--again", info=info).exit_code == 0
    text = (launch.programs / "submitted.2.sbatch").read_text(encoding="utf-8")
    assert "export TRAINFORGE_STAGE_AGAIN=" in text
    assert found[0][0] not in text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--stage", "downlod"), "the preset 'mnist' has no stage 'downlod' (did you mean 'download'?)"),
        (("--stage", "download", "--skip-stages"), "'--skip-stages' leaves stages out, and '--stage' asks"),
        (("--skip-stages", "--again"), "'--again' is for stages, and none is launched"),
        (("--prepare-on", "cpu2"), "pool 'cpu2' is not known: pools are those of a configuration"),
        (
            ("--preset", "tiny", "--stage", "download"),
            "the preset 'tiny' has no stage 'download'",
        ),
    ],
)
def test_mistakes_are_told(launch: Launching, words: tuple[str, ...], told: str) -> None:
    noted = sbatch(launch)
    result = launch("hyperpod", *MNIST, *words, info=cluster_info("hyperpod"))
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())
    assert not noted.exists()


def test_all_mistakes_are_told_at_once(launch: Launching) -> None:
    words = ("--nodes", "0", "--skip-stages", "--again", "--prepare-on", "x")
    result = launch("hyperpod", *MNIST, *words, info=cluster_info("hyperpod"))
    assert result.exit_code == 2
    assert "3 errors" in result.stderr


def test_what_was_submitted_before_a_failure_is_told(launch: Launching) -> None:
    sbatch(launch)
    (launch.programs / "fails.1").touch()
    result = launch("hyperpod", *MNIST, info=cluster_info("hyperpod"))
    assert result.exit_code == 2
    assert (
        "sbatch: error: no; what was submitted before it stays, and ends by\n  scancel 4700\n"
        in result.stderr
    )


def test_a_format_without_an_order_says_what_it_leaves_out(launch: Launching) -> None:
    launch.fake_kubectl()
    result = launch("eks", *MNIST, "--as", "trainjob", "--dry-run", info=cluster_info("eks"))
    assert result.exit_code == 0, result.output
    said = " ".join(result.stderr.split())
    assert "cpu-ddp needs the stages download first, and jobs of the format 'trainjob' do not wait" in said
    assert "--stage download; or all at once by --as jobset" in said
    result = launch("eks", *MNIST, "--stage", "download", "--dry-run", info=cluster_info("eks"))
    assert result.stderr == ""
    assert "name: cpu-ddp-mnist-download\n" in result.output


def test_kubernetes_has_the_stages_and_the_training_in_one_job(launch: Launching) -> None:
    """On EKS the operator of TrainJobs brings JobSet; HyperPod's own jobs are resumed in ways that a JobSet is not."""
    noted = launch.fake_kubectl()
    result = launch("eks", *MNIST, "--again", info=cluster_info("eks"))
    assert result.exit_code == 0, result.output
    for part in (
        "launch cpu-ddp, preset mnist\n",
        "stage  download, 1 x c6i.4xlarge, before it in the same job\n",
        "jobset.mnist.2xc6i.4xlarge.yaml, a manifest for jobset",
        "--max-log-requests 3\n",
    ):
        assert part in result.output
    assert noted.read_text().count(" create ") == 1
    document = yaml.safe_load((launch.programs / "submitted.yaml").read_text(encoding="utf-8"))
    jobs = {one["name"]: one for one in document["spec"]["replicatedJobs"]}
    assert list(jobs) == ["download", "train"]
    scripts = {
        name: one["template"]["spec"]["template"]["spec"]["containers"][0]["command"][2]
        for name, one in jobs.items()
    }
    again = "TRAINFORGE_STAGE_AGAIN="
    assert [again in scripts[name] for name in jobs] == [True, False]
    for words, kind in (
        (("--as", "jobset", "--skip-stages"), "JobSet"),
        (("--skip-stages",), "TrainJob"),
        (("--preset", "tiny"), "TrainJob"),
    ):
        result = launch("eks", *MNIST, *words, "--dry-run", info=cluster_info("eks"))
        assert result.exit_code == 0, result.output
        assert f"kind: {kind}\n" in result.output
        assert "name: download" not in result.output
    result = launch("hyperpod_eks", *MNIST, "--dry-run", info=cluster_info("hyperpod_eks"))
    assert "kind: HyperPodPyTorchJob\n" in result.output
    result = launch("hyperpod_eks", *MNIST, "--as", "jobset", "--dry-run", info=cluster_info("hyperpod_eks"))
    assert "- name: download\n" in result.output


def test_the_name_of_a_jobset_leaves_room_for_its_stages(launch: Launching) -> None:
    """JobSet refuses a set whose longest pod NAME-STAGE-0-INDEX-abcde has over 63 characters."""
    launch.fake_kubectl()
    longest = 63 - len("-download-0-9999-abcde") - len("cpu-ddp-mnist-")
    words = (*MNIST, "--dry-run", "--run-id")
    assert launch("eks", *words, "x" * longest, info=cluster_info("eks")).exit_code == 0
    result = launch("eks", *words, "x" * (longest + 1), info=cluster_info("eks"))
    assert result.exit_code == 2
    assert f"with this preset an id may have {longest}" in " ".join(result.stderr.split())


def test_a_stage_goes_in_a_format_that_can_start_it(launch: Launching) -> None:
    """A HyperPodPyTorchJob is started by hyperpodrun alone, which a stage's own command is not."""
    launch.fake_kubectl()
    info = cluster_info("hyperpod_eks")
    result = launch("hyperpod_eks", *MNIST, "--stage", "download", "--dry-run", info=info)
    assert "kind: PyTorchJob\n" in result.output


class Jobs(Service):
    """Batch that gives each job a name of its own."""

    def _SubmitJob(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"jobId": f"job-{len(self.asked('SubmitJob'))}", "jobName": request["jobName"]}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    made = Jobs()
    monkeypatch.setattr(
        BaseClient, "_make_api_call", lambda client, name, request: made(client, name, request)
    )
    return made


def test_batch_starts_the_training_when_the_stage_has_ended_well(launch: Launching, service: Jobs) -> None:
    result = launch("batch", *MNIST, info=cluster_info("batch"))
    assert result.exit_code == 0, result.output
    stage, training = service.asked("SubmitJob")
    assert (stage["jobName"], stage["nodeOverrides"]) == ("cpu-ddp-mnist-download", {"numNodes": 1})
    assert "dependsOn" not in stage
    # Without a type: those are for array jobs.
    assert training["dependsOn"] == [{"jobId": "job-1"}]
    assert [each["jobDefinitionName"] for each in service.definitions] == [
        "demo-cpu-ddp-mnist-download",
        "demo-cpu-ddp-mnist",
    ]


def test_batch_has_what_a_stage_does_in_its_definition(launch: Launching, service: Jobs) -> None:
    """The marker goes by the definition's script; how a job is run is the job's."""
    words = ("--stage", "download", "--again", "--env", "HF_ENDPOINT=elsewhere", "--run-id", "a")
    assert launch("batch", *MNIST, *words, info=cluster_info("batch")).exit_code == 0
    [definition] = service.definitions
    [nodes] = definition["nodeProperties"]["nodeRangeProperties"]
    assert '"environment": {"HF_ENDPOINT": "elsewhere"}' in nodes["container"]["command"][2]
    [job] = service.asked("SubmitJob")
    [override] = job["nodeOverrides"]["nodePropertyOverrides"]
    again, run_id = override["containerOverrides"]["environment"]
    assert again["name"] == "TRAINFORGE_STAGE_AGAIN"
    assert run_id == {"name": "TRAINFORGE_RUN_ID", "value": "a"}
    # A retry has it too, and the stage does not run once more for it.
    assert len(again["value"]) == 12


def local(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from cli.main import main; main()"
    where = ("--on", "local", "--shared", str(folder / "shared"))
    return subprocess.run(
        [sys.executable, "-c", code, "launch", *words[:1], *where, *words[1:]],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_local_runs_one_after_the_other_until_one_fails(tmp_path: Path) -> None:
    order = tmp_path / "order"
    words = (str(STAGED), "--nodes", "2", "--env", f"ORDER={order}")
    done = local(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert order.read_text().split() == ["download.0", "convert.0", "train.0"]
    done = local(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert order.read_text().split()[3:] == ["train.0"]
    assert done.stdout.count("nothing is run") == 2
    (tmp_path / "convert.fails").touch()
    done = local(tmp_path, *words, "--again")
    assert done.returncode == 65
    assert order.read_text().split()[4:] == ["download.0", "convert.0"]
    assert "stage 'convert' ended with exit code 65: what waits for it is not started" in done.stderr


class Files(http.server.SimpleHTTPRequestHandler):
    """A mirror that says nothing."""

    def log_message(self, *_: object) -> None:
        """Leave the test's output alone."""


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, Callable[[str, bytes], str]]]:
    """Return the address of a mirror, and what puts a file there and returns its checksum."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Files, directory=str(folder))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def put(name: str, content: bytes) -> str:
            (folder / name).write_bytes(content)
            return hashlib.md5(content, usedforsecurity=False).hexdigest()

        yield f"http://127.0.0.1:{server.server_address[1]}", put
        server.shutdown()


def test_the_download_of_cpu_ddp(tmp_path: Path, mirror: tuple[str, Callable[[str, bytes], str]]) -> None:
    address, put = mirror
    sums = [put(name, gzip.compress(name.encode())) for name in FILES]
    words = ("cpu-ddp", "--preset", "mnist", "--stage", "download")
    done = local(tmp_path, *words, "--", f"--mirror={address}", "--md5", sums[0], "0" * 32)
    assert done.returncode == 66, done.stdout
    assert f"has the checksum {sums[1]}, and {'0' * 32} is expected; nothing was written" in done.stdout
    folder = tmp_path / "shared" / "data" / "mnist"
    assert [path.name for path in folder.iterdir()] == [FILES[0]]
    asked = ("--", f"--mirror={address}", "--md5", *sums)
    done = local(tmp_path, *words, *asked)
    assert done.returncode == 0, done.stdout
    assert f"{FILES[0]}: there already" in done.stdout
    assert {path.name for path in folder.iterdir()} == set(FILES)
    # Others of the team read it.
    assert (folder.stat().st_mode & 0o005, (folder / FILES[1]).stat().st_mode & 0o004) == (
        0o005,
        0o004,
    )
    done = local(tmp_path, *words, *asked)
    assert "nothing is run" in done.stdout
    [marker] = (tmp_path / "shared" / "stages" / "cpu-ddp" / "download").glob("*.done")
    assert json.loads(marker.read_text())["description"]["program"][:2] == ["python3", "download.py"]


def test_a_mirror_that_lacks_a_file_is_told(tmp_path: Path, mirror: tuple[str, Any]) -> None:
    done = local(
        tmp_path, "cpu-ddp", "--preset", "mnist", "--stage", "download", "--", f"--mirror={mirror[0]}"
    )
    assert done.returncode == 66
    assert "cannot be fetched: HTTP Error 404" in done.stdout


def test_render_shows_stages() -> None:
    result = CliRunner().invoke(app, ["render", "--list", "--json"])
    [cpu_ddp] = [each for each in json.loads(result.stdout) if each["workload"] == "cpu-ddp"]
    assert cpu_ddp["stages"] == [
        {
            "name": "download",
            "title": "fetches MNIST's training files",
            "after": [],
            "presets": ["mnist"],
            "nodes": 1,
            "arguments": [],
        }
    ]
    shown = CliRunner().invoke(app, ["render", "cpu-ddp", "--list"])
    assert "stage\tdownload\t1 node, of mnist: fetches MNIST's training files\n" in shown.stdout


def test_render_of_a_stage_is_the_committed_manifest() -> None:
    words = ["render", "cpu-ddp", "--preset", "mnist", "--stage", "download", "--on", "hyperpod"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0
    committed = ROOT / "workloads/cpu_ddp/manifests/slurm.mnist.download.1xc6i.4xlarge.sbatch"
    lines = committed.read_text(encoding="utf-8").splitlines()
    assert result.stdout.splitlines() == [lines[0], *lines[2:]]
    committed = ROOT / "workloads/cpu_ddp/manifests/jobset.mnist.2xc6i.4xlarge.yaml"
    words = ["render", "cpu-ddp", "--preset", "mnist", "--on", "hyperpod_eks", "--as", "jobset"]
    result = CliRunner().invoke(app, words)
    assert result.stdout.splitlines() == committed.read_text(encoding="utf-8").splitlines()[1:]
    # The training is as it was, without its stages.
    result = CliRunner().invoke(app, ["render", "cpu-ddp", "--preset", "mnist", "--on", "hyperpod"])
    assert "stage.py" not in result.stdout
