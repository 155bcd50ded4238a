"""Mine radiology reports into findings of each wrist, by rules.

Examples:
  python -m wristmir_jax.mine --reports=reports.jsonl --output=findings.jsonl
  python -m wristmir_jax.mine --reports=reports.jsonl --dry_run
  python -m wristmir_jax.mine --compare=a.jsonl,b.jsonl
"""

from absl import flags

from wristmir_jax import cli
from wristmir_jax.errors import UserError

_REPORTS = flags.DEFINE_string("reports", None, 'JSONL with lines {"exam_id", "report"}.')
_OUTPUT = flags.DEFINE_string("output", None, "JSONL to write, a line for each report and side.")
_MINER = flags.DEFINE_enum("miner", "rules", ["rules"], "What reads the reports.")
_CACHE = flags.DEFINE_string(
    "cache", None, "File of what has been mined; by default --output with .answers behind it."
)
_NUM_WORKERS = flags.DEFINE_integer(
    "num_workers", 0, "Processes of --miner=rules; 0 = all cores.", lower_bound=0
)
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Say what it would take, and write nothing.")
_COMPARE = flags.DEFINE_list("compare", [], "Two files of findings, to be compared.")


def main() -> None:
    if _COMPARE.value:
        _compare(_COMPARE.value)
        return
    reports, given = _REPORTS.value, _OUTPUT.value
    if not reports:
        raise UserError("--reports is missing: give a JSONL file of reports")
    if not given and not _DRY_RUN.value:
        raise UserError("--output is missing: give a JSONL file to write")
    from functools import partial
    from pathlib import Path

    from wristmir_jax.reports.mine_files import estimate, mine
    from wristmir_jax.reports.rules.miner import IDENTITY, in_batches
    from wristmir_jax.workers import available_cores

    workers = _NUM_WORKERS.value or available_cores()

    if _DRY_RUN.value:
        print(estimate(reports, partial(in_batches, num_workers=1), workers))
        return
    output = Path(given or "")
    if not output.absolute().parent.is_dir():
        raise UserError(f"--output={output}: there is no folder {output.parent}")
    cache = Path(_CACHE.value or f"{output}.answers")
    miner = partial(in_batches, num_workers=workers)
    account = mine(reports, output, miner, IDENTITY, cache=cache)
    print("\n".join(account.lines()))


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
