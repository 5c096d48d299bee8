"""Characters to mathematics: what enters is any text, what leaves is ASCII LaTeX that shows the same.

Compatibility folding (NFKC) is a trap here: it turns one squared into 12 and a vulgar fraction after a
number into another number. So superscripts become `^{..}`, subscripts `_{..}`, fractions `\\frac`, and
only characters that show a plain letter or digit are folded.
"""

from __future__ import annotations

import re
import unicodedata

SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱˣʸᵃᵇᵏᵐᵗ", "0123456789+-=()nixyabkmt", strict=True))
SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₒₓₙₘₖᵢⱼ", "0123456789+-=()aeoxnmkij", strict=True))
_INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff\u00ad\u180e\ufe0e\ufe0f"
_SPACES = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_LOOK_ALIKE = dict(
    zip("АВЕКМНОРСТУХаеорсухіΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEKMHOPCTYXaeopcyxiABEZHIKMNOPTYXo", strict=True)
)
_GREEK = {
    **dict(
        zip(
            "αβγδεζηθικλμνξπρσςτυφχψω",
            [
                "alpha",
                "beta",
                "gamma",
                "delta",
                "epsilon",
                "zeta",
                "eta",
                "theta",
                "iota",
                "kappa",
                "lambda",
                "mu",
                "nu",
                "xi",
                "pi",
                "rho",
                "sigma",
                "sigma",
                "tau",
                "upsilon",
                "phi",
                "chi",
                "psi",
                "omega",
            ],
            strict=True,
        )
    ),
    **dict(
        zip(
            "ΓΔΘΛΞΠΣΦΨΩ",
            ["Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi", "Omega"],
            strict=True,
        )
    ),
    **{"ϕ": "phi", "ϵ": "epsilon", "ϑ": "theta", "µ": "mu", "∆": "Delta", "Ω": "Omega"},
}
_SIGNS = {
    **dict.fromkeys("−–—‐‑‒﹣－➖", "-"),
    **dict.fromkeys("·⋅∙•×✕✖", "\\cdot "),
    **dict.fromkeys("∗＊", "*"),
    **dict.fromkeys("°˚º∘", "^\\circ "),
    **dict.fromkeys("′’‘ʼ", "'"),
    **dict.fromkeys("″“”„«»", '"'),
    **dict.fromkeys("⟨〈", "\\langle "),
    **dict.fromkeys("⟩〉", "\\rangle "),
    **dict.fromkeys("∣｜", "|"),
    "⁄": "/",
    "∕": "/",
    "÷": "\\div ",
    "±": "\\pm ",
    "∓": "\\mp ",
    "√": "\\surd ",
    "∛": "\\cuberoot ",
    "∜": "\\fourthroot ",
    "∞": "\\infty ",
    "≤": "\\le ",
    "⩽": "\\le ",
    "≦": "\\le ",
    "≥": "\\ge ",
    "⩾": "\\ge ",
    "≧": "\\ge ",
    "≠": "\\ne ",
    "≈": "\\approx ",
    "≃": "\\approx ",
    "≅": "\\approx ",
    "≡": "\\equiv ",
    "∪": "\\cup ",
    "∩": "\\cap ",
    "∈": "\\in ",
    "∖": "\\setminus ",
    "∅": "\\emptyset ",
    "ø": "\\emptyset ",
    "Ø": "\\emptyset ",
    "⌀": "\\emptyset ",
    "∶": ":",
    "…": "\\ldots ",
    "⋯": "\\ldots ",
    "∑": "\\sum ",
    "∏": "\\prod ",
    "∫": "\\int ",
    "∂": "\\partial ",
    "∨": "\\lor ",
    "∧": "\\land ",
    "→": "\\to ",
    "∠": "\\angle ",
    "⌊": "\\lfloor ",
    "⌋": "\\rfloor ",
    "⌈": "\\lceil ",
    "⌉": "\\rceil ",
    "ℝ": "\\mathbb{R}",
    "ℤ": "\\mathbb{Z}",
    "ℕ": "\\mathbb{N}",
    "ℚ": "\\mathbb{Q}",
    "ℂ": "\\mathbb{C}",
    "ⅈ": "i",
    "ℯ": "e",
    "‰": "\\permille ",
    "€": "\\currency{euro}",
    "£": "\\currency{pound}",
    "¥": "\\currency{yen}",
    "₹": "\\currency{rupee}",
    "¢": "\\text{ cents}",
    "℃": "^\\circ C",
    "℉": "^\\circ F",
}
_TABLE: dict[str, str] = {
    **{c: f"\\{name} " for c, name in _GREEK.items()},
    **_LOOK_ALIKE,
    **_SIGNS,
    **dict.fromkeys(_INVISIBLE, ""),
    **dict.fromkeys(_SPACES, " "),
}
_OVERLINES, _DOT_ABOVE = "\u0305\u0304", "\u0307"
_OVERLINED = re.compile(rf"(?:\d[{_OVERLINES}])+")
_DOTTED = re.compile(rf"(\d){_DOT_ABOVE}")
_SUPER = re.compile(f"[{''.join(SUPERSCRIPTS)}]+")
_SUB = re.compile(f"[{''.join(SUBSCRIPTS)}]+")
_TERMINAL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def to_ascii(text: str) -> str | None:
    """Text as ASCII LaTeX that shows the same, or None where it holds control characters.

    Terminal colour codes are dropped; other control characters and direction overrides show something
    else than they contain, so no reading of them is safe.
    """
    if text.isascii():
        if "\x1b" in text:
            text = _TERMINAL.sub("", text)
        return None if _FORBIDDEN.search(text) else text
    text = _TERMINAL.sub("", text)
    if _FORBIDDEN.search(text):
        return None
    text = _OVERLINED.sub(lambda m: "\\overline{" + m.group()[::2] + "}", text)
    text = _DOTTED.sub(r"\\dot{\1}", text)
    text = _SUPER.sub(lambda m: "^{" + "".join(SUPERSCRIPTS[c] for c in m.group()) + "}", text)
    text = _SUB.sub(lambda m: "_{" + "".join(SUBSCRIPTS[c] for c in m.group()) + "}", text)
    return "".join([c if c < "\x80" else _shown(c) for c in text])


def _shown(character: str) -> str:
    """One non-ASCII character as ASCII LaTeX; characters without a reading stay as they are."""
    known = _TABLE.get(character)
    if known is not None:
        return known
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    parts = unicodedata.decomposition(character).split()
    if not parts:
        return character
    shown = "".join(chr(int(code, 16)) for code in parts if not code.startswith("<"))
    if parts[0] == "<fraction>":
        top, _, bottom = shown.partition("⁄")
        return f"\\frac{{{top}}}{{{bottom or 1}}}"
    if parts[0] in ("<wide>", "<font>", "<narrow>"):
        return "".join(c if c < "\x80" else _TABLE.get(c, c) for c in shown)
    return character
