"""Units of measure: which words are units, and when two of them conflict.

A unit is read only to be set aside (`5 cm` is 5) and to notice a conflict (`5 cm` is not `5 kg`).
Nothing is converted: whether 5 cm answers a question asked in millimetres is the task's decision.
"""

from __future__ import annotations

from collections.abc import Mapping

_LONG = {
    "m": "meter meters metre metres",
    "km": "kilometer kilometers kilometre kilometres",
    "cm": "centimeter centimeters centimetre centimetres",
    "mm": "millimeter millimeters millimetre millimetres",
    "um": "micrometer micrometers micrometre micrometres micron microns",
    "nm": "nanometer nanometers nanometre nanometres",
    "in": "inch inches",
    "ft": "foot feet",
    "yd": "yard yards yds",
    "mi": "mile miles",
    "g": "gram grams gramme grammes gm",
    "kg": "kilogram kilograms kgs kilo kilos",
    "mg": "milligram milligrams",
    "t": "ton tons tonne tonnes",
    "pound": "pounds lb lbs gbp quid",
    "oz": "ounce ounces",
    "s": "sec secs second seconds",
    "ms": "millisecond milliseconds",
    "min": "mins minute minutes",
    "h": "hr hrs hour hours",
    "day": "days",
    "week": "weeks wk wks",
    "month": "months",
    "year": "years yr yrs",
    "L": "l liter liters litre litres",
    "mL": "ml milliliter milliliters millilitre millilitres",
    "gal": "gallon gallons",
    "qt": "quart quarts",
    "pt": "pint pints",
    "cup": "cups",
    "A": "amp amps ampere amperes",
    "V": "volt volts",
    "W": "watt watts",
    "kW": "kilowatt kilowatts",
    "J": "joule joules",
    "kJ": "kilojoule kilojoules",
    "cal": "calorie calories",
    "kcal": "kilocalorie kilocalories",
    "N": "newton newtons",
    "Pa": "pascal pascals",
    "kPa": "kilopascal kilopascals",
    "Hz": "hertz",
    "kHz": "kilohertz",
    "MHz": "megahertz",
    "ohm": "ohms Omega",
    "K": "kelvin kelvins",
    "mol": "mole moles",
    "deg": "degree degrees degs",
    "rad": "radian radians rads",
    "degC": "celsius centigrade",
    "degF": "fahrenheit",
    "acre": "acres",
    "ha": "hectare hectares",
    "bit": "bits",
    "byte": "bytes",
    "KB": "kb",
    "MB": "mb Mb",
    "GB": "gb",
    "kWh": "kwh",
    "dB": "db decibel decibels",
    "mph": "mph",
    "kph": "kph kmph",
    "rpm": "rpm",
    "cc": "cc",
    "dollar": "dollars usd bucks buck",
    "cent": "cents",
    "euro": "euros eur",
    "yen": "jpy",
    "rupee": "rupees inr",
    "unit": "units u",
    "person": "people persons",
    "child": "children",
    "man": "men",
    "woman": "women",
    "mouse": "mice",
}
NAMES: dict[str, str] = {alias: short for short, words in _LONG.items() for alias in (short, *words.split())}
LETTERS = frozenset((*"mgstLlhNJWVAKCF", "Omega"))
_POWER = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
_EXPANDED = {"mph": (("mi", 1), ("h", -1)), "kph": (("km", 1), ("h", -1)), "cc": (("cm", 3),)}
_FILLER = frozenset(
    [
        "of",
        "the",
        "a",
        "an",
        "in",
        "each",
        "total",
        "altogether",
        "more",
        "left",
        "away",
        "old",
        "long",
        "tall",
        "wide",
        "high",
        "deep",
        "and",
        "are",
        "is",
        "was",
        "were",
        "only",
        "exactly",
        "approximately",
        "about",
        "per",
        "unit",
        "us",
    ]
)
MULTIPLIERS: Mapping[str, int] = {
    "dozen": 12,
    "dozens": 12,
    "hundred": 10**2,
    "thousand": 10**3,
    "thousands": 10**3,
    "million": 10**6,
    "millions": 10**6,
    "billion": 10**9,
    "billions": 10**9,
    "trillion": 10**12,
    "trillions": 10**12,
}
PERCENT_WORDS = frozenset(("percent", "pct", "percents"))

Unit = tuple[tuple[str, int], ...]


def is_unit(word: str) -> bool:
    """Whether a word is a known unit of measure."""
    return word == "US" or word in NAMES or (word.lower() in NAMES and len(word) > 2) or word in _POWER


def canonical_unit(parts: list[tuple[str, int]]) -> Unit | None:
    """Words with their powers as one unit: `[("km", 1), ("hours", -1)]` is `(("h", -1), ("km", 1))`.

    Words that are no units of measure ("apples") are kept in singular; None where nothing is left.
    """
    powers: dict[str, int] = {}
    inches = [word for word, _ in parts if word.lower() not in _POWER] == ["in"]
    pending = last_sign = 1
    last = ""
    for word, power in parts:
        lower = word.lower()
        if lower in _POWER:
            if last and lower in ("squared", "cubed"):
                powers[last] += last_sign * (_POWER[lower] - 1)
            else:
                pending = _POWER[lower]
            continue
        if lower in _FILLER and not inches:
            continue
        name = NAMES.get(word) or NAMES.get(lower) or _singular(lower)
        if name == "ms" and power < 0:  # the product of metres and seconds, as in 25 ms^{-1}
            powers["m"], name = powers.get("m", 0) + 1, "s"
        for base, exponent in _EXPANDED.get(name, ((name, 1),)):
            powers[base] = powers.get(base, 0) + exponent * power * pending
            last, last_sign = base, 1 if power > 0 else -1
        pending = 1
    powers.pop("unit", None)
    return tuple(sorted((name, power) for name, power in powers.items() if power)) or None


def conflicting(one: Unit | None, other: Unit | None) -> bool:
    """Whether two units exclude each other; a missing unit conflicts with nothing."""
    if one is None or other is None or one == other:
        return False
    if _known(one) and _known(other):
        return True
    return not {name for name, _ in one} & {name for name, _ in other}


def _known(unit: Unit) -> bool:
    return all(name in NAMES for name, _ in unit)


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
