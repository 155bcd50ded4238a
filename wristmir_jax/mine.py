"""Mine radiology reports into findings of each wrist.

By rules (English, no weights), by MedGemma on this machine, or by a language model behind an
OpenAI-compatible server.

Examples:
  python -m wristmir_jax.mine --reports=reports.jsonl --output=findings.jsonl
  python -m wristmir_jax.mine --reports=reports.jsonl --output=findings.jsonl --miner=medgemma \
      --model=/models/medgemma-4b-it
  python -m wristmir_jax.mine --reports=reports.jsonl --output=findings.jsonl --miner=openai \
      --server=http://node:8000/v1 --model=google/medgemma-27b-text-it
  python -m wristmir_jax.mine --reports=reports.jsonl --dry_run
  python -m wristmir_jax.mine --compare=a.jsonl,b.jsonl
"""

import dataclasses
from functools import partial
from typing import TYPE_CHECKING

from absl import flags

from wristmir_jax import cli
from wristmir_jax.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from wristmir_jax.reports.mine_files import BatchMiner

_REPORTS = flags.DEFINE_string("reports", None, 'JSONL with lines {"exam_id", "report"}.')
_OUTPUT = flags.DEFINE_string("output", None, "JSONL to write, a line for each report and side.")
_MINER = flags.DEFINE_enum(
    "miner", "rules", ["rules", "medgemma", "openai"], "What reads the reports."
)
_CACHE = flags.DEFINE_string(
    "cache", None, "File of what has been mined; by default --output with .answers behind it."
)
_EVIDENCE_TEXT = flags.DEFINE_bool(
    "evidence_text", False, "Write the words of the report beside the place of each claim."
)
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Say what it would take, and write nothing.")
_COMPARE = flags.DEFINE_list("compare", [], "Two files of findings, to be compared.")
_NUM_WORKERS = flags.DEFINE_integer(
    "num_workers", 0, "Processes of --miner=rules; 0 = all cores.", lower_bound=0
)
_MODEL = flags.DEFINE_string(
    "model",
    "google/medgemma-4b-it",
    "Of medgemma: a folder in Hugging Face layout or a name on the hub. Of openai: the name that "
    "the server has for it.",
)
_REVISION = flags.DEFINE_string(
    "revision",
    "",
    "Revision of --model. Of openai it is only written down: change it with the served weights, so "
    "that old answers are not taken for theirs.",
)
_MAX_TOKENS = flags.DEFINE_integer(
    "max_tokens", 2048, "Longest answer of a language model, in tokens.", lower_bound=1
)
_DEVICE = flags.DEFINE_string(
    "device", "", "PyTorch device of medgemma, such as cuda:0; by default a GPU, if there is one."
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 8, "Reports that medgemma reads at a time.", lower_bound=1
)
_SERVER = flags.DEFINE_string(
    "server", None, "Address of the OpenAI-compatible server, such as http://host:8000/v1."
)
_API_KEY_VARIABLE = flags.DEFINE_string(
    "api_key_variable", "OPENAI_API_KEY", "Environment variable with the key of the server."
)
_RESPONSE_FORMAT = flags.DEFINE_enum(
    "response_format",
    "probe",
    ["probe", "json_schema", "json_object", "none"],
    "How the server is given the JSON schema; probe = what it understands.",
)
_CONCURRENCY = flags.DEFINE_integer(
    "concurrency", 64, "Requests to the server at a time.", lower_bound=1
)
_REQUESTS_PER_MINUTE = flags.DEFINE_float(
    "requests_per_minute", 0, "Most requests that may begin; 0 = no limit.", lower_bound=0
)
_TIMEOUT = flags.DEFINE_float(
    "timeout", 300, "Seconds that an answer of the server may take.", lower_bound=0.1
)
_ATTEMPTS = flags.DEFINE_integer(
    "attempts", 6, "Times that the server is asked for a report.", lower_bound=1
)
_PATIENCE = flags.DEFINE_float(
    "patience", 900, "Seconds without any answer of the server until the run stops.", lower_bound=0
)


@dataclasses.dataclass(frozen=True)
class _Chosen:
    """A miner, what its answers depend on, and how it is to be tried before a long run."""

    mine: "BatchMiner"
    identity: str
    parallel: int = 1
    sample_size: int = 32
    prompt_characters: int = 0


def main() -> None:
    if _COMPARE.value:
        _compare(_COMPARE.value)
        return
    reports, given = _REPORTS.value, _OUTPUT.value
    if not reports:
        raise UserError("--reports is missing: give a JSONL file of reports")
    if not given and not _DRY_RUN.value:
        raise UserError("--output is missing: give a JSONL file to write")
    from pathlib import Path

    from wristmir_jax.reports.mine_files import estimate, mine, read_reports, rejected_file

    output = Path(given or "")
    cache = Path(_CACHE.value or f"{output}.answers")
    # Before a model is loaded or a server asked.
    if given:
        _check_files(Path(reports), output, rejected_file(output), cache)
    next(read_reports(reports), None)
    chosen = {"rules": _rules, "medgemma": _medgemma, "openai": _openai}[_MINER.value]()
    if _DRY_RUN.value:
        line = estimate(
            reports,
            chosen.mine,
            parallel=chosen.parallel,
            sample_size=chosen.sample_size,
            prompt_characters=chosen.prompt_characters,
        )
        print(line)
        return
    account = mine(
        reports,
        output,
        chosen.mine,
        chosen.identity,
        cache=cache,
        evidence_text=_EVIDENCE_TEXT.value,
    )
    print("\n".join(account.lines()))


def _check_files(reports: "Path", output: "Path", rejected: "Path", cache: "Path") -> None:
    """Whether the files can be written, and do not overwrite each other."""
    for flag, path in (("output", output), ("cache", cache)):
        if not path.absolute().parent.is_dir():
            raise UserError(f"--{flag}={path}: there is no folder {path.parent}")
        if path.is_dir():
            raise UserError(f"--{flag}={path} is a folder: give a file")
    files = [reports, output, rejected, cache]
    if len({path.resolve() for path in files}) < len(files):
        raise UserError(
            f"--output={output}: reports, findings, {rejected.name} and cache must be four files"
        )


def _rules() -> _Chosen:
    from wristmir_jax.reports.rules.miner import IDENTITY, in_batches
    from wristmir_jax.workers import available_cores

    workers = _NUM_WORKERS.value or available_cores()
    if _DRY_RUN.value:
        return _Chosen(partial(in_batches, num_workers=1), IDENTITY, parallel=workers)
    return _Chosen(partial(in_batches, num_workers=workers), IDENTITY)


def _medgemma() -> _Chosen:
    from wristmir_jax.reports.language_models import prompt
    from wristmir_jax.reports.language_models.medgemma import MedGemma

    model = MedGemma(
        _MODEL.value,
        revision=_REVISION.value,
        device=_DEVICE.value,
        batch_size=_BATCH_SIZE.value,
        max_tokens=_MAX_TOKENS.value,
    )
    return _Chosen(
        model.in_batches,
        model.identity,
        sample_size=_BATCH_SIZE.value,
        prompt_characters=prompt.characters(),
    )


def _openai() -> _Chosen:
    import os
    from urllib.parse import urlsplit

    try:
        address = urlsplit(_SERVER.value or "")
        known = address.scheme in ("http", "https") and address.hostname and address.port != 0
    except ValueError:
        address, known = None, False
    if address is None or not known:
        raise UserError(
            f"--server={_SERVER.value or ''}: give its address, such as http://host:8000/v1"
        )
    key = os.environ.get(_API_KEY_VARIABLE.value, "").strip()
    if not key.isprintable():
        raise UserError(f"--api_key_variable={_API_KEY_VARIABLE.value}: the key holds a line break")
    from wristmir_jax.reports.language_models import prompt
    from wristmir_jax.reports.language_models.server import Server, identity, in_batches, probed

    server = Server(
        url=address.geturl(),
        model=_MODEL.value,
        response_format=_RESPONSE_FORMAT.value,
        api_key=key,
        concurrency=_CONCURRENCY.value,
        requests_per_minute=_REQUESTS_PER_MINUTE.value,
        max_tokens=_MAX_TOKENS.value,
        timeout=_TIMEOUT.value,
        attempts=_ATTEMPTS.value,
        patience=_PATIENCE.value,
    )
    if _RESPONSE_FORMAT.value == "probe":
        server = probed(server)
    return _Chosen(
        partial(in_batches, server=server),
        identity(server, _REVISION.value),
        sample_size=4 * _CONCURRENCY.value,
        prompt_characters=prompt.characters(),
    )


def _compare(paths: list[str]) -> None:
    from wristmir_jax.reports.agreement import disagreement
    from wristmir_jax.reports.mine_files import read_findings

    if len(paths) != 2:
        raise UserError(f"--compare={','.join(paths)}: give two files")
    first, second = (read_findings(path, "compare") for path in paths)
    columns = ("field", "agree", "differ", "first only", "second only")
    print("| " + " | ".join(columns) + " |")
    print("|---|---|---|---|---|")
    for name, *counts in disagreement(first, second):
        print(f"| {name} | " + " | ".join(f"{count:,}" for count in counts) + " |")


if __name__ == "__main__":
    cli.run(main)
