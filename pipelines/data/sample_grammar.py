"""The words of the synthetic warranty claims: all made up, none taken from a real claim."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Category:
    """How claims of one category are worded. `{part}` and `{product}` are filled in."""

    label: str
    share: float
    parts: tuple[str, ...]
    faults: tuple[str, ...]
    effects: tuple[str, ...]
    codes: tuple[str, ...]


CATEGORIES = (
    Category(
        "mechanical",
        0.22,
        ("gearbox", "clutch", "hinge", "drive shaft", "spindle", "bearing", "drum", "flux gimbal"),
        (
            "the {part} jammed and would not turn",
            "the {part} broke off under normal load",
            "{part} has too much play and slips under load",
            "teeth of the {part} are stripped",
            "a bolt of the {part} sheared off",
            "the {part} seized after a short run",
            "the {part} is bent and out of line",
        ),
        (
            "metal shavings found in the housing",
            "it cannot be moved by hand any more",
            "the lever has no resistance",
            "wear is far beyond the limit for its age",
        ),
        ("M-204", "M-219", "P0741", "E-31"),
    ),
    Category(
        "electrical",
        0.19,
        ("wiring loom", "fuse", "alternator", "battery", "relay", "power supply", "ground strap"),
        (
            "the {part} has a short circuit",
            "the fuse blows each time the {part} is switched on",
            "no voltage at the {part}",
            "the {part} discharges over night",
            "a cable to the {part} is chafed through",
            "the {part} delivers only half the current",
            "loose contact at the {part}, power comes and goes",
        ),
        (
            "the breaker tripped twice",
            "multimeter shows 3 volts instead of 12",
            "lights flicker when it starts",
            "it is completely dead, no power at all",
        ),
        ("P0562", "E-07", "U-118", "E-12"),
    ),
    Category(
        "water",
        0.13,
        ("door seal", "sunroof drain", "footwell", "cabin floor", "tail light", "air intake"),
        (
            "rain water gets in at the {part}",
            "the {part} was soaked after the storm",
            "water stands in the {part}",
            "damp patches and mould around the {part}",
            "the {part} was flooded in the car wash",
            "condensation inside the {part}",
        ),
        (
            "the carpet is wet through",
            "it smells musty",
            "several litres were drained",
            "the lining is stained by moisture",
        ),
        ("H-330", "H-341", "E-44"),
    ),
    Category(
        "software",
        0.11,
        ("display", "navigation unit", "app", "control panel", "time circuit", "firmware", "menu"),
        (
            "the {part} freezes and has to be rebooted",
            "after the update the {part} stays black",
            "the {part} shows the wrong date and resets itself",
            "the {part} loses its settings after each restart",
            "the {part} hangs at the logo",
            "{part} will not pair with the phone since version 4.2",
        ),
        (
            "a factory reset did not help",
            "touch input is ignored",
            "the menu language changes by itself",
            "the installation of the update stops at 80 percent",
        ),
        ("SW-1985", "SW-404", "U-240"),
    ),
    Category(
        "noise",
        0.09,
        ("fan", "suspension", "compressor", "belt", "dashboard", "exhaust", "drum"),
        (
            "loud rattling from the {part}",
            "the {part} squeals when cold",
            "a humming from the {part} at higher speed",
            "the {part} knocks on every bump",
            "constant whistling near the {part}",
            "the {part} grinds and howls when it starts",
        ),
        (
            "it can be heard in the next room",
            "the noise goes away when warm",
            "vibration is felt in the seat",
            "the sound gets worse with speed",
        ),
        ("N-801", "N-815"),
    ),
    Category(
        "leak",
        0.08,
        ("oil pan", "radiator", "pump", "hydraulic hose", "coolant tank", "shaft gasket", "valve"),
        (
            "oil drips from the {part}",
            "the {part} loses coolant",
            "the {part} is leaking from a worn gasket",
            "a puddle forms under the {part} over night",
            "fluid level of the {part} drops every week",
            "refrigerant escapes at the {part}",
        ),
        (
            "half a litre had to be topped up",
            "the low fluid warning is on",
            "stains on the garage floor",
            "the pressure test failed",
        ),
        ("L-052", "L-077", "P0128"),
    ),
    Category(
        "fire",
        0.06,
        ("reactor", "flux capacitor", "heating element", "exhaust", "charger", "oven", "battery"),
        (
            "the {part} overheated and caught fire",
            "flames came out of the {part}",
            "burn damage to the {part}",
            "the {part} is charred on one side",
            "smoke and sparks from the {part}, then it burned",
            "the {part} melted and scorched the cover",
        ),
        (
            "the fire was put out with an extinguisher",
            "the insulation is burnt black",
            "strong smell of burnt plastic",
            "the fire brigade was called",
        ),
        ("T-900", "T-911", "E-88"),
    ),
    Category(
        "corrosion",
        0.05,
        ("wheel arch", "frame", "brake line", "terminal", "exhaust", "tub", "door sill"),
        (
            "the {part} is rusted through",
            "rust bubbles under the paint of the {part}",
            "white oxide has built up on the {part}",
            "the {part} is corroded and flakes off",
            "pitting on the surface of the {part}",
        ),
        (
            "a screwdriver goes right through the metal",
            "the coating peels off in sheets",
            "road salt has eaten into it",
        ),
        ("C-610", "C-622"),
    ),
    Category(
        "transport",
        0.04,
        ("crate", "packaging", "housing", "side panel", "pallet", "glass front", "corner"),
        (
            "the {part} was crushed on delivery",
            "the {part} arrived dented and scratched",
            "the courier dropped the {part}",
            "the {part} was already broken when unpacked",
            "the {part} was torn open in transit",
        ),
        (
            "the driver noted it on the delivery slip",
            "photos of the carton are attached",
            "the shock label on the box is red",
        ),
        ("D-015", "D-027"),
    ),
    Category(
        "missing parts",
        0.03,
        ("remote control", "manual", "mounting kit", "spare key", "power cord", "filter set"),
        (
            "the {part} was not in the box",
            "the {part} is missing from the set",
            "received only one {part} instead of two",
            "the {part} was never supplied",
        ),
        (
            "the packing list names it",
            "please send the missing item",
            "assembly is not possible without it",
        ),
        ("D-031", "D-044"),
    ),
)

PRODUCTS = (
    *("pickup", "sedan", "camper van", "scooter", "tractor", "time machine", "delivery van"),
    *("washing machine", "dishwasher", "fridge", "tumble dryer", "oven", "heat pump", "mower"),
    *("coffee machine", "vacuum robot", "hover board", "fusion generator", "e-bike", "freezer"),
)

OPENINGS = (
    "customer states that {fault}",
    "customer says {fault} on the {product}",
    "{product}: {fault}",
    "{fault}",
    "on our {product} {fault}",
    "{when} {fault}",
    "{fault} {when}",
    "the {product} was brought in because {fault}",
    "inspection of the {product} shows: {fault}",
)

TIMES = (
    *("after two weeks", "since last winter", "during the first drive", "shortly after service"),
    *("after {number} hours of use", "at {number} km", "on a hot day", "right after start-up"),
    *("three days after purchase", "for the second time this year", "when parked", "since May"),
)

REMARKS = (
    "please replace the {part} under warranty",
    "the customer asks for a refund",
    "dealer has checked the {product} and agrees",
    "serial number {code}",
    "part number {code} was ordered",
    "bought new, never repaired before",
    "unit is {number} months old",
    "repair estimate is {number} euros",
    "same problem as in claim {code}",
    "maintenance was done on schedule",
    "customer is very unhappy and waits for an answer",
    "the {product} cannot be used at the moment",
    "technician replaced the {part} already",
    "pictures are attached",
)

VAGUE = (
    "the {product} does not work any more",
    "the {product} stopped all of a sudden",
    "the {part} failed again",
    "there is a problem with the {part}",
    "something is wrong with the {part} of the {product}",
    "the {part} is damaged",
)

# A second fault that is not what the claim is about.
ASIDES = (
    "also {fault} but that is a separate claim",
    "first we thought that {fault}, this was not the case",
    "last year {fault}, this was repaired then",
    "by the way {fault} as well",
    "not related: {fault}",
)

ABBREVIATIONS = {
    "customer": "cust",
    "replace": "repl",
    "replaced": "repl",
    "warranty": "wty",
    "because": "bc",
    "maintenance": "maint",
    "months": "mths",
    "number": "no",
    "inspection": "insp",
    "technician": "tech",
    "please": "pls",
    "temperature": "temp",
    "hours": "hrs",
    "water": "wtr",
    "battery": "batt",
    "damage": "dmg",
    "damaged": "dmgd",
    "without": "w/o",
    "with": "w/",
    "and": "&",
}
