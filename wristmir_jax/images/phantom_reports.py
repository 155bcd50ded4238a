"""Free-text reports of phantoms, in varied wording: a grammar from `Findings` to sections of prose.

Everything that `Findings` states is said, and nothing that contradicts it; history and comparison
lines hold what a reader must not take for a finding. Written for these phantoms alone; it shares no
code or word list with the miners that read reports.
"""

from dataclasses import dataclass

import numpy as np

from wristmir_jax.reports.findings import Findings, RegionFindings


@dataclass(frozen=True)
class Context:
    """What a report knows besides its findings; `weeks` since the injury, 0 on an initial exam."""

    age_years: float
    male: bool
    initial: bool
    weeks: float


_BONES = {
    "distal_radius": ("distal radius", "distal radial metaphysis", "distal radius"),
    "distal_ulna": ("distal ulna", "distal ulnar metaphysis", "distal ulna"),
    "ulnar_styloid": ("ulnar styloid", "ulnar styloid process", "tip of the ulnar styloid"),
}
_PHYSEAL_BONES = {
    "distal_radius": ("distal radius", "distal radial physis"),
    "distal_ulna": ("distal ulna", "distal ulnar physis"),
    "ulnar_styloid": ("ulnar styloid",),
}
_NOUNS = {
    "buckle": ("buckle fracture", "torus fracture", "buckle-type fracture"),
    "greenstick": ("greenstick fracture", "greenstick-type fracture"),
    "incomplete": ("incomplete fracture",),
    "complete": ("complete fracture", "complete transverse fracture"),
    "salter_harris_1": (
        "Salter-Harris I fracture",
        "Salter-Harris type 1 fracture",
        "SH1 fracture",
    ),
    "salter_harris_2": (
        "Salter-Harris II fracture",
        "Salter-Harris type 2 fracture",
        "SH2 fracture",
    ),
    "salter_harris_3": ("Salter-Harris III fracture", "Salter-Harris type 3 fracture"),
    "salter_harris_4": ("Salter-Harris IV fracture", "Salter-Harris type 4 fracture"),
    "avulsion": ("avulsion fracture", "avulsion"),
    "plastic_deformation": ("plastic bowing deformity",),
    None: ("fracture",),
}
_DISPLACED = {
    "none": (("nondisplaced", "undisplaced"), ("without displacement", "in anatomic alignment")),
    "minimal": (("minimally displaced", "slightly displaced"), ("with minimal displacement",)),
    "mild": (
        ("mildly displaced",),
        ("with mild displacement", "with mild displacement of the distal fragment"),
    ),
    "moderate": (("moderately displaced",), ("with moderate displacement",)),
    "severe": (("severely displaced", "markedly displaced"), ("with marked displacement",)),
    "unspecified": (("displaced",), ("with displacement",)),
}
_CALLUS = ("with early callus formation", "with bridging callus", "with periosteal reaction")
# {a} article, {w} fracture with its adjectives, {b} bone, {t} details.
_HEDGED = (
    "possible {w} of the {b}{t}",
    "questionable {w} of the {b}{t}",
    "subtle cortical irregularity of the {b}, suspicious for {a} {w}{t}",
    "findings may represent {a} {w} of the {b}{t}",
    "{a} {w} of the {b} cannot be excluded{t}",
)
_SHORT = ("{w} of the {b}{t}", "{w}, {b}{t}")
_ASSERTED = (
    "there is {a} {w} of the {b}{t}",
    "{w} of the {b}{t}",
    "{a} {w} of the {b} is seen{t}",
    "{w} involving the {b}{t}",
)
_APEX = {"dorsal": "volar", "volar": "dorsal", "radial": "ulnar", "ulnar": "radial"}
_VIEW_WORDS = {"pa": ("PA", "frontal", "AP"), "lateral": ("lateral",), "oblique": ("oblique",)}
_MECHANISMS = (
    "fall from the monkey bars", "fall onto outstretched hand", "injury playing football",
    "skateboard accident", "fall from bicycle", "trampoline injury", "hit by a ball", "FOOSH",
    "fell while skiing", "wrist pain after a fall",
)  # fmt: skip


class _Writer:
    def __init__(self, findings: Findings, context: Context, rng: np.random.Generator):
        self.findings = findings
        self.context = context
        self.rng = rng

    def pick(self, options):
        return options[int(self.rng.integers(len(options)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def fracture(self, name: str, region: RegionFindings, *, short: bool = False) -> str:
        """A sentence that asserts the fracture (or doubts it) with all its details."""
        kind = region.fracture_type
        physeal = bool(kind and kind.startswith("salter"))
        bone = self.pick((_PHYSEAL_BONES if physeal else _BONES)[name])
        before, after = self.details(region)
        words = " ".join([*before, self.pick(_NOUNS[kind])])
        tail = (" " + " and ".join(after)).replace(" and with ", " with ") if after else ""
        form = _SHORT if short else _ASSERTED
        frame = self.pick(_HEDGED if region.status == "uncertain" else form)
        article = "an" if words[0].lower() in "aeiou" or words.startswith("SH") else "a"
        return _sentence(frame.format(w=words, a=article, b=bone, t=tail))

    def details(self, region: RegionFindings) -> tuple[list[str], list[str]]:
        """Displacement, angulation and healing: words before the noun and phrases after it."""
        before, after = [], []
        if region.displacement:
            adjectives, phrases = _DISPLACED[region.displacement]
            if self.chance(0.6):
                before.append(self.pick(adjectives))
            else:
                after.append(self.pick(phrases))
        if region.angulation_degrees:
            after.append(self.angulation(region))
        if region.healing == "acute":
            before.insert(0, "acute")
        elif region.healing == "healed":
            before.insert(0, self.pick(("healed", "consolidated")))
        elif region.healing == "healing":
            if self.chance(0.5):
                before.insert(0, "healing")
            else:
                after.append(self.pick(_CALLUS))
        return before, after

    def angulation(self, region: RegionFindings) -> str:
        degrees = round(region.angulation_degrees or 0.0)
        direction = region.angulation_direction
        unit = self.pick(("degrees", "degrees", "deg"))
        if direction is None:
            return f"with {degrees} {unit} of angulation"
        return self.pick(
            (
                f"with {degrees} {unit} of {direction} angulation",
                f"with {degrees} {unit} of apex {_APEX[direction]} angulation",
                f"with {direction} angulation of {degrees} {unit}",
            )
        )

    def header(self) -> list[str]:
        f = self.findings
        side = f.laterality
        views = [self.pick(_VIEW_WORDS[view]) for view in f.views]
        named = " and ".join(views)
        plural = "views" if len(views) > 1 else "view"
        lines = [
            self.pick(
                (
                    f"EXAM: XR {side.upper()} WRIST, {named}",
                    "TECHNIQUE: " + _sentence(f"{named} {plural} of the {side} wrist"),
                    f"Radiographs of the {side} wrist ({named})",
                )
            )
        ]
        if self.chance(0.7):
            lines.append(
                self.pick(("HISTORY: ", "INDICATION: ", "Clinical information: ")) + self.history()
            )
        if self.chance(0.5):
            lines.append("COMPARISON: " + self.comparison())
        return lines

    def history(self) -> str:
        years = int(self.context.age_years)
        child = self.pick(
            (
                f"{years}-year-old {'boy' if self.context.male else 'girl'}",
                f"{years} y {'M' if self.context.male else 'F'}",
            )
        )
        if self.context.initial:
            what = self.pick(_MECHANISMS)
            return self.pick(
                (f"{child}, {what}.", f"{child}, {what}, rule out fracture.", _sentence(what))
            )
        weeks = max(1, round(self.context.weeks))
        since = "1 week" if weeks == 1 else f"{weeks} weeks"
        return self.pick(
            (
                f"{child}, follow-up of wrist injury.",
                f"{child}, follow-up fracture, {since} after injury.",
                "Follow-up.",
            )
        )

    def comparison(self) -> str:
        if self.context.initial:
            return self.pick(("None.", "None available.", "No prior studies."))
        return self.pick(
            ("Prior wrist radiographs.", "Radiographs of the initial injury.", "Earlier films.")
        )

    def body(self) -> list[str]:
        f = self.findings
        regions = f.regions
        broken = [n for n, r in regions.items() if r.status == "fracture"]
        doubted = [n for n, r in regions.items() if r.status == "uncertain"]
        intact = [n for n, r in regions.items() if r.status == "no_fracture"]
        lines = [self.fracture(n, regions[n]) for n in (*broken, *doubted)]
        for name in f.other_fractures:
            lines.append(
                self.pick(
                    (f"There is a fracture of the {_place(name)}.", _sentence(f"{name} fracture"))
                )
            )
        if intact:
            lines += self.negatives(intact, bool(broken or doubted or f.other_fractures))
        lines += self.exam_level()
        return lines

    def negatives(self, intact: list[str], injured: bool) -> list[str]:
        everything = all(r.status != "not_mentioned" for r in self.findings.regions.values())
        follow_up = not self.context.initial
        if not injured and everything and not follow_up:
            return [
                self.pick(
                    (
                        "No fracture or dislocation.",
                        "No acute fracture is identified.",
                        "There is no fracture. Carpal alignment is normal.",
                        "Normal radiographs of the wrist.",
                        "The osseous structures are intact.",
                        "No evidence of fracture. Joint spaces are preserved.",
                        "No definite fracture.",
                    )
                )
            ]
        if injured and everything and not follow_up and self.chance(0.65):
            return [
                self.pick(
                    (
                        "No other fracture.",
                        "No additional fracture is seen.",
                        "The remaining bones are intact.",
                        "Otherwise intact.",
                    )
                )
            ]
        names = {
            "distal_radius": "distal radius",
            "distal_ulna": "distal ulna",
            "ulnar_styloid": "ulnar styloid",
        }
        lines = []
        if len(intact) > 1 and self.chance(0.5):
            listed = [names[name] for name in intact]
            text = ", ".join(f"the {name}" for name in listed[:-1]) + f" and the {listed[-1]}"
            return [_sentence(f"{text} are {self.pick(('intact', 'unremarkable', 'normal'))}")]
        for name in intact:
            lines.append(
                self.pick(
                    (
                        f"The {names[name]} is intact.",
                        f"No {names[name]} fracture.",
                        f"The {names[name]} is unremarkable.",
                    )
                )
            )
        return lines

    def exam_level(self) -> list[str]:
        f = self.findings
        lines: list[str] = []
        if f.cast is True:
            lines.append(
                self.pick(
                    (
                        "Overlying cast obscures bony detail.",
                        "The wrist is in a cast.",
                        "Imaged through cast material.",
                        "Splint in place.",
                    )
                )
            )
        elif f.cast is False:
            lines.append(self.pick(("The cast has been removed.", "Out of cast.")))
        if f.hardware is True:
            lines.append(
                self.pick(
                    (
                        "K-wires are in place.",
                        "Percutaneous pins in place.",
                        "Fixation wires are in unchanged position.",
                    )
                )
            )
        elif f.hardware is False:
            lines.append(
                self.pick(("The K-wires have been removed.", "Hardware has been removed."))
            )
        if f.osteopenia is True:
            lines.append(
                self.pick(
                    (
                        "Diffuse osteopenia.",
                        "The bones are demineralised.",
                        "Disuse osteopenia is noted.",
                    )
                )
            )
        elif f.osteopenia is False:
            lines.append(self.pick(("Normal mineralisation.", "Bone density is normal.")))
        if f.soft_tissue_swelling is True:
            lines.append(
                self.pick(
                    (
                        "Soft tissue swelling.",
                        "There is soft tissue swelling about the wrist.",
                        "Mild soft tissue edema.",
                    )
                )
            )
        elif f.soft_tissue_swelling is False:
            lines.append(
                self.pick(("Soft tissues are unremarkable.", "The soft tissues are normal."))
            )
        if f.physis:
            lines.append(
                self.pick(
                    {
                        "open": ("The physes are open.", "Open growth plates."),
                        "closing": (
                            "The physes are nearly fused.",
                            "The distal radial physis is nearly fused.",
                        ),
                        "closed": ("The physes are fused.", "Skeletally mature."),
                    }[f.physis]
                )
            )
        self.rng.shuffle(lines)
        return lines

    def impression(self) -> list[str]:
        regions = self.findings.regions
        told = [
            self.fracture(n, r, short=True)
            for n, r in regions.items()
            if r.status in ("fracture", "uncertain")
        ]
        told += [_sentence(f"{name} fracture") for name in self.findings.other_fractures]
        if told:
            return told
        if self.context.initial and all(r.status == "no_fracture" for r in regions.values()):
            return [
                self.pick(
                    ("No fracture.", "Normal wrist.", "No acute osseous abnormality; no fracture.")
                )
            ]
        return []

    def write(self) -> str:
        body = self.body()
        style = self.rng.random()
        if style < 0.25:
            # A short report: the prose alone, after one line that names the study.
            return self.header()[0] + "\n" + " ".join(body)
        lines = self.header()
        lines.append("FINDINGS: " + " ".join(body))
        impression = self.impression() if style < 0.7 else []
        if impression:
            numbered = len(impression) > 1 and self.chance(0.6)
            text = " ".join(
                f"{i}. {line}" if numbered else line for i, line in enumerate(impression, 1)
            )
            lines.append("IMPRESSION: " + text)
        return "\n".join(lines)


def _place(name: str) -> str:
    return {"radial shaft": "shaft of the radius", "ulnar shaft": "shaft of the ulna"}.get(
        name, name
    )


def _sentence(text: str) -> str:
    text = text[0].upper() + text[1:]
    return text if text.endswith(".") else text + "."


def write(findings: Findings, context: Context, rng: np.random.Generator) -> str:
    """The report that says what `findings` hold, worded by `rng`."""
    return _Writer(findings, context, rng).write()
