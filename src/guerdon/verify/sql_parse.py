"""SQL as text and as syntax tree: the query in a completion, the schema items it names, word n-grams.

Parsing needs the extra `sql` (sqlglot).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from guerdon.errors import RecipeError
from guerdon.verify.markup import last_block, last_fence
from guerdon.verify.sequences import ngrams

MAX_CHARACTERS = 5_000
"""Longer queries are not parsed: a parser written in Python takes time a grader does not have."""

_BEGINS = re.compile(r"\s*(?:\(\s*)*(?:select|with|values)\b", re.IGNORECASE)
_ORDER_BY = re.compile(r"\border\s+by\b", re.IGNORECASE)
_WORD = re.compile(r"\w+")


def find_sql(text: str, fenced: bool = False) -> str | None:
    """The query of a completion; None where there is none.

    The last ```sql fence. Without one, unless `fenced`: the last fence of any kind, the last `<sql>` or
    `<answer>` block, or the whole text, whichever first begins as a query.
    """
    found = last_fence(text, "sql")
    if found is not None or fenced:
        return found
    for candidate in (last_fence(text), last_block(text, "sql"), last_block(text, "answer"), text.strip()):
        if candidate and _BEGINS.match(candidate):
            return candidate
    return None


def schema_items(query: str, dialect: str | None = None) -> frozenset[str] | None:
    """Lower-case names of the tables and columns a query refers to; None where it does not parse.

    Aliases are resolved: names of common table expressions, of derived tables, and columns that only
    these define are left out, as are `*` and literals. Column names are unqualified.
    """
    tree = _parse(query, dialect)
    if tree is None:
        return None
    from sqlglot import exp
    from sqlglot.optimizer.scope import Scope, traverse_scope

    named = {cte.alias_or_name.lower() for cte in tree.find_all(exp.CTE)}
    items = {table.name.lower() for table in tree.find_all(exp.Table) if table.name} - named
    for join in tree.find_all(exp.Join):
        items |= {column.name.lower() for column in join.args.get("using") or []}
    try:
        scopes = traverse_scope(tree)
    except Exception:  # a tree that parses but makes no sense, or is too deep: its columns as they stand
        return frozenset(items | {column.name.lower() for column in tree.find_all(exp.Column)})
    for scope in scopes:
        derived = {name: source for name, source in scope.sources.items() if isinstance(source, Scope)}
        from_derived = {
            name.lower()
            for source in derived.values()
            for name in getattr(source.expression, "named_selects", [])
        }
        tables = not scope.sources or len(scope.sources) > len(derived)
        for column in scope.columns:
            name = column.name.lower()
            made = column.table in derived if column.table else name in from_derived or not tables
            if name and not made:
                items.add(name)
    return frozenset(items)


def word_items(query: str) -> frozenset[str]:
    """Words without a capital letter, and numbers: names, where keywords are written in capitals."""
    return frozenset(word for word in _WORD.findall(query) if word == word.lower())


def word_bigrams(query: str) -> frozenset[tuple[Any, ...]]:
    """Set of neighbouring pairs of lower-case words, split on white space."""
    return frozenset(ngrams(query.lower().split(), 2))


def is_ordered(query: str, dialect: str | None = None) -> bool:
    """True where the outermost query has an ORDER BY; by its words where it does not parse."""
    if not _ORDER_BY.search(query):
        return False
    tree = _parse(query, dialect)
    return tree is None or tree.args.get("order") is not None


@lru_cache(maxsize=4096)
def _parse(query: str, dialect: str | None) -> Any:
    try:
        import sqlglot
    except ImportError as error:
        raise RecipeError("parsing SQL needs sqlglot: pip install 'guerdon[sql]'") from error
    if len(query) > MAX_CHARACTERS:
        return None
    try:
        trees = sqlglot.parse(query, read=dialect)
    except (sqlglot.errors.SqlglotError, RecursionError, ValueError):
        return None
    return trees[0] if len(trees) == 1 and isinstance(trees[0], sqlglot.exp.Query) else None
