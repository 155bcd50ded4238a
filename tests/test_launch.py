"""The scripts that start runs on clusters: what they would run, and that it exists."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.test_project import flags_of

ROOT = Path(__file__).parents[1]
LAUNCH = ROOT / "tools" / "launch"
SCRIPTS = sorted([*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")])
RUN = ("--config=configs/wristmir.py", "--config.dataset=/data", "--workdir=gs://b/a run")
TPU = ("start", "slice", "zone", "v5litepod-64", "v2-alpha-tpuv5-lite", "us-docker.pkg.dev/p/r/i")
XPK = ("start", "cluster", "zone", "job", "v5litepod-64", "image")


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Commands that ran, by name, in place of those of a cluster; FAKE_STATE is the slice's."""
    folder, log = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    log.touch()
    for name in ("gcloud", "xpk", "srun", "scontrol"):
        program = folder / name
        program.write_text(
            f"#!{sys.executable}\n"
            "import json, os, sys\n"
            f"open({str(log)!r}, 'a').write(json.dumps([{name!r}, *sys.argv[1:]]) + '\\n')\n"
            "if 'list' in sys.argv: print(open(os.environ['FAKE_STATE']).read(), end='')\n"
            "if 'create' in sys.argv: open(os.environ['FAKE_STATE'], 'w').write('ACTIVE\\n')\n"
            f"if {name!r} == 'srun': sys.exit(int(os.environ.get('FAKE_STATUS', 0)))\n"
        )
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_STATE", str(tmp_path / "state"))
    (tmp_path / "state").touch()
    return lambda: [json.loads(line) for line in log.read_text().splitlines()]


def launch(script, *arguments, **environment):
    return subprocess.run(
        ["bash", LAUNCH / script, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def checked_training(words):
    """The flags of the training among `words`, once it is known that they exist."""
    start = words.index("wristmir_jax.train")
    flags = words[start + 1 :]
    names = {flag.removeprefix("--").partition("=")[0].partition(".")[0] for flag in flags}
    assert names <= flags_of("train")
    assert "--coordinator_address=auto" in flags
    assert set(RUN) <= set(flags)
    return flags


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse(script):
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("gcloud_tpu.sh", (), "usage: gcloud_tpu.sh"),
        ("gcloud_tpu.sh", ("begin", "slice", "zone"), "usage: gcloud_tpu.sh"),
        ("gcloud_tpu.sh", TPU, "usage: gcloud_tpu.sh"),
        ("gcloud_tpu.sh", (*TPU, RUN[0]), "--workdir is missing"),
        ("gcloud_tpu.sh", ("stop", "slice"), "usage: gcloud_tpu.sh"),
        ("xpk.sh", (), "usage: xpk.sh"),
        ("xpk.sh", (*XPK, RUN[2]), "--config is missing"),
        ("xpk.sh", ("stop", "cluster", "zone"), "usage: xpk.sh"),
        ("slurm.sbatch", (), "--config is missing"),
        ("slurm.sbatch", RUN[:2], "--workdir is missing"),
        ("slurm.sbatch", RUN, "VENV=/nowhere"),
    ],
)
def test_wrong_arguments_are_one_line(calls, script, arguments, message):
    done = launch(script, *arguments, VENV="/nowhere")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ") and message in done.stderr
    assert calls() == []


@pytest.mark.parametrize("state", ["", "ACTIVE", "SUSPENDED"])
def test_gcloud_makes_what_is_missing_and_starts_every_host(calls, tmp_path, state):
    (tmp_path / "state").write_text(state)
    done = launch("gcloud_tpu.sh", *TPU, *RUN, SPOT="1", PROJECT="p", DATASET="gs://b/wrists")
    assert done.returncode == 0, done.stderr
    verbs = [call[4] for call in calls() if call[4] != "list"]
    expected = {"": ["create"], "ACTIVE": [], "SUSPENDED": ["delete", "create"]}[state]
    assert verbs == [*expected, "ssh"]
    for call in calls():
        assert {"--zone=zone", "--project=p"} <= set(call)
    if "create" in verbs:
        create = next(call for call in calls() if call[4] == "create")
        assert "--spot" in create and "--accelerator-type=v5litepod-64" in create
        assert "--node-id=slice" in create
    ssh = calls()[-1]
    assert ssh[:6] == ["gcloud", "compute", "tpus", "tpu-vm", "ssh", "slice"]
    assert "--worker=all" in ssh
    command = next(word for word in ssh if word.startswith("--command=")).partition("=")[2]
    subprocess.run(["bash", "-n", "-c", command], check=True)
    assert "gcloud storage rsync --recursive gs://b/wrists" in command
    docker = shlex.split(command.splitlines()[-1])
    assert docker[:3] == ["sudo", "docker", "run"]
    checked_training(docker)


def test_gcloud_stops_before_it_is_deleted(calls):
    assert launch("gcloud_tpu.sh", "stop", "slice", "zone").returncode == 0
    assert launch("gcloud_tpu.sh", "delete", "slice", "zone").returncode == 0
    stop, delete = calls()
    assert "--command=sudo docker stop --time=120 wristmir" in stop and "--worker=all" in stop
    assert delete[3:6] == ["queued-resources", "delete", "slice"]


def test_xpk_restarts_what_can_go_on(calls):
    done = launch("xpk.sh", *XPK, *RUN, STORAGE="wrists", NUM_SLICES="2")
    assert done.returncode == 0, done.stderr
    (call,) = calls()
    assert call[:4] == ["xpk", "workload", "create", "--workload=job"]
    # 143 and 134 are restarted anyway, 2 must not be.
    assert "--restart-on-exit-codes=75" in call and "--max-restarts=20" in call
    assert {"--cluster=cluster", "--zone=zone", "--storage=wrists", "--num-slices=2"} <= set(call)
    command = shlex.split(call[-1].removeprefix("--command="))
    assert command[0] == "exec"
    checked_training(command)
    launch("xpk.sh", "stop", "cluster", "zone", "job")
    assert calls()[-1][:4] == ["xpk", "workload", "delete", "--workload=job"]


@pytest.mark.parametrize(
    ("status", "restarts", "requeued"),
    [
        (0, 0, False),
        (2, 0, False),
        (75, 0, True),
        (143, 3, True),
        (134, 0, True),
        (143, 100, False),
    ],
)
def test_slurm_queues_again_what_can_go_on(calls, status, restarts, requeued):
    done = launch(
        "slurm.sbatch",
        *RUN,
        VENV=sys.prefix,
        FAKE_STATUS=str(status),
        SLURM_JOB_ID="7",
        SLURM_RESTART_COUNT=str(restarts),
    )
    assert done.returncode == status
    checked_training(calls()[0])
    assert (["scontrol", "requeue", "7"] in calls()) is requeued


def test_slurm_asks_for_as_many_tasks_as_gpus():
    text = (LAUNCH / "slurm.sbatch").read_text()
    given = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", text, re.MULTILINE))
    assert given["gpus-per-node"] == given["ntasks-per-node"]
    assert given["signal"] == "TERM@120" and "requeue" in given
    # These would show each task its own GPU as number 0, where JAX looks for that of the task.
    assert not {"gpus-per-task", "gpu-bind"} & given.keys()


@pytest.mark.parametrize(
    ("script", "arguments"),
    [("gcloud_tpu.sh", TPU), ("gcloud_tpu.sh", ("stop", "s", "z")), ("xpk.sh", XPK)],
)
def test_a_dry_run_runs_nothing(calls, script, arguments):
    flags = RUN if "start" in arguments else ()
    done = launch(script, *arguments, *flags, DRY_RUN="1")
    assert done.returncode == 0 and done.stdout
    assert calls() == []
    if flags:
        assert "wristmir_jax.train" in done.stdout


def test_the_image_installs_extras_that_exist():
    text = (LAUNCH / "Dockerfile").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    offered = re.search(r"in ((?:\w+ \| )+\w+)\) ;;", text)
    assert offered and offered[1].split(" | ") == ["cuda12", "cuda13", "tpu"]
    assert {*offered[1].split(" | "), "gcs"} <= project["optional-dependencies"].keys()
    for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE):
        for name in line.split():
            assert (ROOT / name).exists()
            assert f"!{name}\n" in (LAUNCH / "Dockerfile.dockerignore").read_text()
    assert "\nUSER wristmir\n" in text


def test_the_compiler_knows_the_flags_of_the_readme():
    text = (LAUNCH / "README.md").read_text()
    flags = [flag.replace("=N", "=1") for flag in re.findall(r"`(--xla_gpu_\w+=\w+)`", text)]
    assert len(flags) >= 4
    done = subprocess.run(
        [sys.executable, "-c", "import jax; jax.devices()"],
        env=os.environ | {"XLA_FLAGS": " ".join(flags), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-1000:]
