"""How well and how fast reports are mined: prints one JSON object on its last line.

Precision, recall and F1 of every field against a gold set, with 95 % bootstrap intervals over
exams. Without --mined, the rules are run on the gold set's reports and their speed is measured too,
on one core.

python -m tools.bench.mining --gold=tests/reports/gold_reports.jsonl
python -m tools.bench.mining --gold=gold.jsonl --mined=findings.jsonl --tag=follow_up
python -m tools.bench.mining --phantoms=5000
"""

import itertools
import json
import time
from typing import Any

import numpy as np
from absl import flags
from etils import epath

from wristmir_jax import cli
from wristmir_jax.benchmark.mining import score
from wristmir_jax.errors import UserError
from wristmir_jax.images import phantom_reports
from wristmir_jax.images.phantom_episodes import patient_exams
from wristmir_jax.images.phantom_findings import findings_of
from wristmir_jax.json_lines import json_lines
from wristmir_jax.reports.findings import Findings
from wristmir_jax.reports.mine_files import read_findings
from wristmir_jax.reports.mining import Rejection, Report
from wristmir_jax.reports.rules.miner import IDENTITY, RulesMiner, forget

_GOLD = flags.DEFINE_string("gold", None, "JSONL with reports and their findings.")
_PHANTOMS = flags.DEFINE_integer(
    "phantoms", None, "Reports of so many phantom exams instead of --gold.", lower_bound=1
)
_MINED = flags.DEFINE_string("mined", None, "JSONL that `mine` wrote for these reports.")
_TAG = flags.DEFINE_string("tag", None, "Only gold reports with this tag.")
_REPEATS = flags.DEFINE_integer("repeats", 20, "Of the reports, to measure speed.", lower_bound=1)


def phantoms(count: int, seed: int = 11) -> list[dict[str, Any]]:
    """Lines as of a gold set: reports of phantom exams, which share no words with the rules.

    Args:
        count: exams.
        seed: of all of them.
    """
    lines: list[dict[str, Any]] = []
    for patient in itertools.count():
        for exam in patient_exams(np.random.default_rng([seed, patient])):
            if len(lines) == count:
                return lines
            exam_id = f"{patient}-{exam.number}"
            rng = np.random.default_rng([seed, patient, exam.number])
            findings = findings_of(exam, exam_id, rng)
            anatomy = exam.anatomy
            context = phantom_reports.Context(
                anatomy.age_years, anatomy.male, exam.initial, exam.weeks
            )
            report = phantom_reports.write(findings, context, rng)
            entry = findings.model_dump(mode="json")
            lines.append({"exam_id": exam_id, "report": report, "findings": [entry]})
    raise AssertionError("there is always another patient")


def measure(
    lines: list[dict[str, Any]], mined_file: str | None, tag: str | None, repeats: int
) -> dict[str, Any]:
    """Scores, and the speed of the rules where no mined file is given.

    Args:
        lines: of a gold set.
        mined_file: of any miner.
        tag: only lines that have it.
        repeats: of the reports, to measure speed.
    """
    chosen = [line for line in lines if not tag or tag in line.get("tags", ())]
    expected = {
        line["exam_id"]: [
            Findings.model_validate({**entry, "exam_id": line["exam_id"]})
            for entry in line["findings"]
        ]
        for line in chosen
    }
    result: dict[str, Any] = {"benchmark": "mining", "gold": len(chosen), "tag": tag}
    if mined_file:
        mined = read_findings(mined_file, "mined")
        result |= {"miner": mined_file}
    else:
        reports = [Report(line["exam_id"], line["report"]) for line in chosen]
        mined, rate, known = _by_rules(reports, repeats)
        characters = sum(len(report.text) for report in reports) / max(len(reports), 1)
        result |= {
            "miner": IDENTITY,
            "reports_per_second_a_core": rate,
            "of_known_sentences": known,
            "characters_a_report": characters,
        }
    refused = [line for line in chosen if line.get("rejected")]
    result["rejections"] = {
        "expected": len(refused),
        "met": sum(line["exam_id"] not in mined for line in refused),
    }
    return result | {"scores": score(expected, mined)}


def _by_rules(
    reports: list[Report], repeats: int
) -> tuple[dict[str, list[Findings]], float, float]:
    """Findings; reports a second of CPU time where every pass begins without memory of earlier
    ones, as a first run over them would; and where all sentences have been read before."""
    miner = RulesMiner()
    answers = miner(reports)

    def rate(first: bool) -> float:
        seconds = 0.0
        for _ in range(repeats):
            if first:
                forget()
            begin = time.process_time()
            miner(reports)
            seconds += time.process_time() - begin
        return repeats * len(reports) / seconds

    anew, known = rate(first=True), rate(first=False)
    found = {
        report.exam_id: [mined.findings for mined in answer]
        for report, answer in zip(reports, answers, strict=True)
        if not isinstance(answer, Rejection)
    }
    return found, anew, known


def main() -> None:
    gold, count = _GOLD.value, _PHANTOMS.value
    if count and not gold:
        lines = phantoms(count)
    elif gold and not count:
        lines = [line for _, line in json_lines(epath.Path(gold), "gold")]
    else:
        raise UserError("give --gold or --phantoms")
    print(json.dumps(measure(lines, _MINED.value, _TAG.value, _REPEATS.value)))


if __name__ == "__main__":
    cli.run(main)
