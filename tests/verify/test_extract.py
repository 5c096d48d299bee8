"""Extractors: what they find, what they refuse, and that they are linear."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.errors import RecipeError
from guerdon.verify import extract as ex
from guerdon.verify.maths.locate import locate


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("so \\boxed{42}.", "42"),
        ("\\boxed{\\frac{3}{4}} = 0.75", "\\frac{3}{4}"),
        ("\\boxed{1} then \\boxed{2}", "2"),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed{\\boxed{7}}", "\\boxed{7}"),
        ("\\fbox{7}", "7"),
        ("\\boxed {7}", "7"),
        ("\\boxed 7", "7"),
        ("boxed{7}", "7"),
        ("$\\boxed{3}$ and $\\boxed{4}$", "{3}, {4}"),
        ("\\boxed{3} or \\boxed{4}", "{3} or {4}"),
        ("\\boxed{3}, \\boxed{3}", "3"),
        ("\\boxed{3} ... \\boxed{4", "3"),
        ("\\boxed{4", None),
        ("see the boxed area below", None),
        ("an unboxed{4} thing", None),
        ("no box", None),
        ("", None),
    ],
)
def test_last_boxed(text, found):
    assert ex.last_boxed(text) == found


def test_first_boxed_is_the_first_that_closes():
    assert ex.first_boxed("\\boxed{1} \\boxed{2}") == "1"
    assert ex.first_boxed("\\boxed{1") is None
    assert ex.first_boxed("\\boxed{1 \\boxed{2}") == "2"


def test_tags():
    text = "<answer>1</answer> then <answer> 2 </answer>"
    assert ex.last_tag(text) == "2"
    assert ex.last_tag("<ANSWER>3</ANSWER>") == "3"
    assert ex.last_tag("stopped at the tag <answer> 4") == "4"
    assert ex.last_tag("none") is None
    assert ex.last_tag("İİİ <answer>5</answer>") == "5"
    assert ex.strict_tag(text) is None
    assert ex.strict_tag("<answer>1</answer>") == "1"
    assert ex.strict_tag("</answer>1<answer>") is None


def test_fences():
    text = "```python\na = 1\n```\ntext\n```sql\nSELECT 1\n```\n```unclosed"
    assert ex.last_fence(text) == "SELECT 1"
    assert ex.last_fence(text, "python") == "a = 1"
    assert ex.last_fence(text, "rust") is None
    assert ex.last_fence("``` only one") is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("work\n#### 18", "18"),
        ("work\nA: 18", "18"),
        ("Q: what? A: 18", "18"),
        ("The answer is 18. Good luck.", "18"),
        ("The answer is 3.5.", "3.5"),
        ("**Answer:** 18 apples", "18 apples"),
        ("Answer:\n\n18", "18"),
        ("the final answer to the question is: $x = 2$", "$x = 2$"),
        ("#### 1\nThe answer is 2", "2"),
        ("answer it yourself", None),
        ("", None),
    ],
)
def test_last_marked(text, found):
    assert ex.last_marked(text) == found


def test_numbers_keep_sign_fraction_percent_and_multiplier():
    assert ex.numbers("-3, 1,234.5; 3/4 and 50% or 1.8 million, 5-2, $7, \\frac{1}{2}, 2e-3") == [
        "-3",
        "1,234.5",
        "3/4",
        "50%",
        "1.8 million",
        "5",
        "2",
        "7",
        "\\frac{1}{2}",
        "2e-3",
    ]
    assert ex.first_number("costs $5 or $6") == "5"
    assert ex.first_number("none") is None


def test_last_number_knows_hedges_refusals_and_formulas():
    assert ex.last_number("It is 3. So 4 remain.").text == "4"
    assert ex.last_number("It could be 55, 56 or 57.").hedged
    assert ex.last_number("It is 56. Or maybe 57.").hedged
    assert ex.last_number("I cannot solve problem 5.").text is None
    assert ex.last_number("It is not 5.").text is None
    assert ex.last_number("so $x = \\frac{3}{4}$ holds.") == ex.Extracted("x = \\frac{3}{4}", "formula")
    assert ex.last_number("nothing").text is None


def test_last_choice():
    assert ex.last_choice("Options (A) and (B). I choose (B).") == "B"
    assert ex.last_choice("the answer is C") == "C"
    assert ex.last_choice("reasoning\n**D**\n") == "D"
    assert ex.last_choice("nothing here") is None


def test_thinking_is_not_the_answer():
    assert ex.after_thinking("<think>5</think> 6") == " 6"
    assert ex.after_thinking("<think>5") == ""
    assert ex.after_thinking("5") == "5"
    assert locate("<think>\\boxed{5}").text is None


def test_extractor_takes_the_first_that_finds_something():
    find = ex.extractor(["boxed", "tag", "number"])
    assert find("<answer>1</answer> 2") == ex.Extracted("1", "tag")
    assert find("only 2") == ex.Extracted("2", "number")
    assert find("nothing") == ex.Extracted(None, "none")
    assert ex.extractor([lambda text: text[:1]])("abc").text == "a"
    with pytest.raises(RecipeError, match="did you mean 'boxed'"):
        ex.extractor(["boxd"])


LOCATED = [
    ("57", "It is 58 or 57.", False),
    ("57", "\\boxed{58} or \\boxed{57}", False),
    ("57", "\\boxed{58} \\text{ or } \\boxed{57}", False),
    ("57", "\\boxed{58} but it could be \\boxed{57}", False),
    ("57", "\\boxed{57} or 58", False),
    ("57", "The answer is 58 or 57.", False),
    ("57", "The answer is 58 or the answer is 57.", False),
    ("57", "The answer is 57. Or maybe 58.", False),
    ("57", "The answer is not 57.", False),
    ("57", "#### 58 or 57", False),
    ("57", "Between 56 and 57.", False),
    ("57", "58? 57?", False),
    ("72", "\\boxed{7", False),
    ("42", "First \\boxed{41}. Then we fix it: \\boxed{42}.", True),
    ("72", "A: 72", True),
    ("72", "<answer> \\boxed{72} </answer>", True),
    ("72", "The answer is 72 clips because 48+24=72.", True),
    ("72", "The answer is 72 (24+48).", True),
    ("72", "The answer is 48 clips + 24 clips = 72 clips.", True),
    ("5", "The answer is 5 since x=2", True),
    ("72", "Thus \\(x = 72\\).", True),
    ("72", "It costs $72.", True),
    ("\\frac{3}{4}", "The probability is 3/4.", True),
    ("1800000", "about 1.8 million", True),
    ("Yes", "Yes, the number is even.", True),
    ("Yes", "The answer is Yes, because it is even.", True),
    ("\\text{Evelyn}", "The answer is Evelyn.", True),
    ("B", "So the answer is (B) 42.", True),
    ("B", "The correct answer is option B because A is wrong.", True),
    ("1, 4", "\\boxed{1} and \\boxed{4}", True),
    ("12", "12 people.", True),
    ("5", "five", True),
]


@pytest.mark.parametrize(("gold", "text", "right"), LOCATED)
def test_located_answers(gold, text, right):
    from guerdon.verify.maths.decide import decide

    found = locate(text, gold)
    equal = found.text is not None and not found.hedged and decide(gold, found.text).equal
    assert bool(equal) == right


HOSTILE_TEXTS = [
    "\\boxed{" * 15_000,
    "boxed{1}" * 12_000,
    "\\fbox{" * 15_000 + "boxed{" * 10,
    "answer is " * 10_000,
    "A:" * 50_000,
    "####" * 25_000,
    "<answer>" * 12_000,
    "```" * 33_000,
    "9" * 100_000,
    "1 or " * 20_000,
    "$" * 100_000,
    "{" * 100_000,
    "\n" * 100_000,
    "(A)" * 33_000,
    " " * 100_000 + "x",
    "-" * 100_000,
    "answer" + " " * 100_000 + "x",
    "answer" + "\n" * 50_000 + "*" * 50_000,
    "option" + " " * 3_900 + "x",
    "is " + " " * 3_900 + "*" * 3_900,
    "7" + "\\(" * 50_000,
    "<answer>" + "\\(" * 50_000,
    "<answer>the the " + "the " * 25_000,
    "not " * 25_000 + "7",
    "1 US" + " " * 90_000 + "x",
    "\\boxed{1" + " " * 4_000 + "\\quad" + " " * 500 + "}",
    "\\boxed{" + "the " * 1_200 + "}",
    "\\boxed{1" + " (" * 2_000 + "}",
]


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=lambda text: text[:12])
def test_every_extractor_is_quick_on_hostile_text(text):
    for name, find in ex.EXTRACTORS.items():
        began = time.process_time()
        find(text)
        assert time.process_time() - began < 2.0, name
    began = time.process_time()
    locate(text, "1")
    assert time.process_time() - began < 2.0


def test_extraction_time_is_linear():
    def seconds(n):
        text = "we compute 3 + 4 = 7 and so on. " * n + "\\boxed{7}"
        began = time.process_time()
        for _ in range(20):
            locate(text, "7")
        return time.process_time() - began

    seconds(10)
    assert seconds(4_000) < 40 * seconds(400) + 0.5


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="\\boxed{}fr12 answeris#A:<>/`$.or\n", max_size=120))
def test_extractors_never_raise(text):
    for find in ex.EXTRACTORS.values():
        find(text)
    locate(text, "1")


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab 12{}\\", max_size=40), st.text(alphabet="xyz .,\n", max_size=40))
def test_a_closed_box_is_found_whatever_surrounds_it(before, after):
    assert ex.last_boxed(before.replace("boxed", "") + " | \\boxed{q} | " + after) == "q"


@pytest.mark.parametrize(
    "text",
    ["The answer is certainly not (D).", "It is not D", "I do not know whether it is D.", "It isn't (D)"],
)
def test_a_denied_letter_is_no_choice(text):
    assert ex.last_choice(text) is None


def test_a_letter_beside_a_denied_one_is_a_choice():
    assert ex.last_choice("It cannot be A, so the answer is B.") == "B"
    assert ex.last_choice("Not (A). (B)") == "B"
