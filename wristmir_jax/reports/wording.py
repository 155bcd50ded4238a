"""The words of the captions: for each concept the canonical wording first, then its synonyms.

British and American spellings stand side by side on purpose: reports mix them. Every entry means
exactly what GUIDELINE.md says of its value, for a caption may not say more than the findings do.
"""

_ROMAN = {1: "I", 2: "II", 3: "III", 4: "IV", 5: "V"}


def _salter_harris(grade: int) -> tuple[str, ...]:
    roman = _ROMAN[grade]
    return (
        f"Salter-Harris type {roman} fracture",
        f"Salter-Harris {roman} fracture",
        f"Salter-Harris type {grade} fracture",
        f"Salter-Harris {grade} fracture",
        f"Salter {roman} fracture",
        f"SH {roman} fracture",
        f"SH{grade} fracture",
        f"type {roman} physeal fracture",
        f"physeal fracture (Salter-Harris {roman})",
    )


# fracture_type -> noun phrases.
FRACTURE_NOUNS: dict[str | None, tuple[str, ...]] = {
    None: ("fracture",),
    "buckle": (
        "buckle fracture",
        "torus fracture",
        "torus-type fracture",
        "buckle-type fracture",
        "buckle (torus) fracture",
        "cortical buckle fracture",
    ),
    "greenstick": (
        "greenstick fracture",
        "greenstick-type fracture",
        "green-stick fracture",
        "fracture of greenstick type",
        "fracture of greenstick pattern",
        "greenstick injury",
    ),
    "incomplete": (
        "incomplete fracture",
        "incomplete cortical fracture",
        "incomplete-type fracture",
        "fracture of incomplete type",
        "fracture of incomplete pattern",
        "incomplete bony fracture",
    ),
    "complete": (
        "complete fracture",
        "complete cortical fracture",
        "complete bicortical fracture",
        "bicortical fracture",
        "fracture of complete type",
        "fracture through both cortices",
    ),
    **{f"salter_harris_{grade}": _salter_harris(grade) for grade in _ROMAN},
    "salter_harris_unspecified": (
        "physeal fracture",
        "growth plate fracture",
        "growth-plate fracture",
        "physeal injury",
        "fracture through the growth plate",
        "fracture through the physis",
    ),
    "avulsion": (
        "avulsion fracture",
        "avulsion",
        "avulsion injury",
        "avulsion-type fracture",
        "bony avulsion",
        "small avulsion fracture",
    ),
    "plastic_deformation": (
        "plastic deformation",
        "plastic bowing",
        "bowing deformity",
        "bowing fracture",
        "plastic bowing deformity",
        "plastic bowing fracture",
    ),
    "other": (
        "fracture of other type",
        "other-type fracture",
        "fracture of other pattern",
        "fracture of another type",
        "fracture of another pattern",
        "fracture not of a standard pattern",
    ),
}
# Nouns that take no article.
MASS_NOUNS = ("plastic deformation", "plastic bowing")

# displacement -> adjectives, and clauses that follow the bone.
DISPLACEMENT_ADJECTIVES: dict[str, tuple[str, ...]] = {
    "none": ("nondisplaced", "undisplaced", "non-displaced"),
    "minimal": ("minimally displaced", "slightly displaced"),
    "mild": ("mildly displaced",),
    "moderate": ("moderately displaced",),
    "severe": ("severely displaced", "markedly displaced"),
    "unspecified": ("displaced",),
}
DISPLACEMENT_CLAUSES: dict[str, tuple[str, ...]] = {
    "none": ("without displacement", "with no displacement", "in anatomic alignment"),
    "minimal": ("with minimal displacement", "with slight displacement"),
    "mild": ("with mild displacement", "showing mild displacement"),
    "moderate": ("with moderate displacement", "showing moderate displacement"),
    "severe": ("with marked displacement", "with severe displacement"),
    "unspecified": ("with displacement", "showing displacement"),
}

HEALING_ADJECTIVES: dict[str, tuple[str, ...]] = {
    "acute": ("acute",),
    "healing": ("healing",),
    "healed": ("healed", "consolidated"),
}
HEALING_CLAUSES: dict[str, tuple[str, ...]] = {
    "acute": ("acute in appearance", "of acute appearance"),
    "healing": (
        "with signs of healing",
        "with callus formation",
        "with periosteal reaction and callus",
        "with healing changes",
    ),
    "healed": ("now healed", "now consolidated", "healed in the interval"),
}

# The distal fragment tilts this way <-> the apex of the angle points the other way.
APEX = {"dorsal": "volar", "volar": "dorsal", "radial": "ulnar", "ulnar": "radial"}
ADVERBS = {"dorsal": "dorsally", "volar": "volarly", "radial": "radially", "ulnar": "ulnarly"}
# {n} degrees, {direction}, {adverb}, {apex}.
ANGULATION_BOTH = (
    "with {n} degrees of {direction} angulation",
    "with {direction} angulation of {n} degrees",
    "angulated {n} degrees {adverb}",
    "{adverb} angulated by {n} degrees",
    "with {n}° {direction} angulation",
    "with {n} degrees of apex {apex} angulation",
    "with apex-{apex} angulation measuring {n} degrees",
)
ANGULATION_DEGREES = (
    "with {n} degrees of angulation",
    "with angulation of {n} degrees",
    "angulated {n} degrees",
    "angulated by {n} degrees",
    "with {n}° angulation",
    "with angulation measuring {n} degrees",
)
ANGULATION_DIRECTION = (
    "with {direction} angulation",
    "angulated {adverb}",
    "{adverb} angulated",
    "with angulation in the {direction} direction",
    "with apex {apex} angulation",
    "with apex-{apex} angulation",
)

# {noun}: adjectives and noun; {a_noun}: the same with its article; {bone}; {tail}: clauses with a
# leading blank, or nothing.
FRACTURE_SENTENCES = (
    "{noun} of the {bone}{tail}",
    "there is {a_noun} of the {bone}{tail}",
    "{noun} involving the {bone}{tail}",
    "{bone}: {noun}{tail}",
    "the {bone} shows {a_noun}{tail}",
    "{a_noun} is seen in the {bone}{tail}",
    "{a_noun} is present at the {bone}{tail}",
    "{bone} with {a_noun}{tail}",
)
UNCERTAIN_SENTENCES = (
    "possible {noun} of the {bone}{tail}",
    "suspected {noun} of the {bone}{tail}",
    "questionable {noun} of the {bone}{tail}",
    "probable {noun} of the {bone}{tail}",
    "{noun} of the {bone}{tail} cannot be excluded",
    "findings suspicious for {a_noun} of the {bone}{tail}",
    "appearance may represent {a_noun} of the {bone}{tail}",
    "{bone}: possible {noun}{tail}",
    "equivocal for {a_noun} of the {bone}{tail}",
)
# {bones} is "x", "x or y", "x, y or z"; {bones_and} the same with "and"; {is_}, {s} agree with it.
NO_FRACTURE_SENTENCES = (
    "no fracture of the {bones}",
    "the {bones_and} {is_} intact",
    "the {bones_and} {is_} unremarkable",
    "no evidence of fracture of the {bones}",
    "{bones_and} intact",
    "normal {bones_and}",
    "no fracture is seen in the {bones}",
    "the {bones_and} appear{s} normal",
    "{bones_and}: no fracture",
)
# Only where every region is no_fracture and no other fracture is named.
ALL_NEGATIVE_SENTENCES = (
    "no fracture",
    "no fracture is seen",
    "no evidence of fracture",
    "intact osseous structures",
    "the bones are intact",
    "negative for fracture",
)
# {names}: a list with commas; {of_names}: "the x, the y and the z".
OTHER_ONE = (
    "other fracture: {names}",
    "further fracture: {names}",
    "additional fracture: {names}",
    "also fractured: {names}",
    "fracture elsewhere: {names}",
    "fracture of other bones: {names}",
)
OTHER_MANY = (
    "other fractures: {names}",
    "further fractures: {names}",
    "additional fractures: {names}",
    "also fractured: {names}",
    "fractures elsewhere: {names}",
    "fractures of other bones: {names}",
)
OTHER_OF = (
    "there is also a fracture of {of_names}",
    "fracture of {of_names} as well",
    "a fracture of {of_names} is also seen",
)

# Exam-level field -> value -> wordings.
EXAM_SENTENCES: dict[str, dict[bool | str, tuple[str, ...]]] = {
    "cast": {
        True: (
            "cast in place",
            "the wrist is in a cast",
            "overlying cast",
            "plaster cast in situ",
            "immobilised in a cast",
            "immobilized in a cast",
            "cast material is present",
        ),
        False: (
            "no cast",
            "no cast or splint",
            "out of cast",
            "no cast in place",
            "the wrist is out of cast",
            "no cast material",
        ),
    },
    "hardware": {
        True: (
            "metal hardware in place",
            "metallic hardware in situ",
            "orthopedic hardware is present",
            "orthopaedic hardware is present",
            "fixation hardware in place",
            "surgical hardware is seen",
        ),
        False: (
            "no metal hardware",
            "no hardware",
            "no orthopedic hardware",
            "no orthopaedic hardware",
            "no surgical hardware in situ",
            "no fixation hardware",
        ),
    },
    "osteopenia": {
        True: (
            "osteopenia",
            "the bones are osteopenic",
            "diffuse osteopenia",
            "the bones are demineralised",
            "the bones are demineralized",
            "reduced bone density",
        ),
        False: (
            "normal bone density",
            "bone density is normal",
            "normal bone mineralisation",
            "normal bone mineralization",
            "bone mineralization is normal",
            "no osteopenia",
        ),
    },
    "soft_tissue_swelling": {
        True: (
            "soft tissue swelling",
            "there is soft tissue swelling",
            "soft-tissue swelling is present",
            "swelling of the soft tissues",
            "soft tissue oedema",
            "soft tissue edema",
        ),
        False: (
            "no soft tissue swelling",
            "no soft-tissue swelling",
            "normal soft tissues",
            "the soft tissues are unremarkable",
            "soft tissues are normal",
            "no swelling of the soft tissues",
        ),
    },
    "physis": {
        "open": (
            "open physes",
            "the physes are open",
            "open growth plates",
            "the growth plates remain open",
            "unfused physes",
            "patent growth plates",
        ),
        "closing": (
            "closing physes",
            "the physes are closing",
            "closing growth plates",
            "the growth plates are nearly fused",
            "nearly fused physes",
            "the growth plates are closing",
        ),
        "closed": (
            "closed physes",
            "the physes are closed",
            "closed growth plates",
            "the growth plates are fused",
            "fused physes",
            "skeletally mature",
        ),
    },
}
