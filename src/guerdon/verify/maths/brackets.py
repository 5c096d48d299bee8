"""Everything that brackets enclose: groups, tuples, intervals, sets, absolute values, matrices."""

from __future__ import annotations

from guerdon.verify.maths.cursor import Node
from guerdon.verify.maths.lexer import Foreign, Unreadable
from guerdon.verify.maths.suffixes import UnitReader

_CLOSERS = {"(": (")", "]"), "[": ("]", ")", "["), "]": ("[", "]", ")")}
_MATRICES = frozenset(["pmatrix", "bmatrix", "matrix", "Bmatrix", "smallmatrix", "array"])


class BracketReader(UnitReader):
    """Brackets of all kinds."""

    def group(self) -> Node:
        """The inside of LaTeX braces."""
        self.take("{")
        bars, self.bars = self.bars, 0
        node = self.above_and_below(frozenset("}"))
        self.take("}")
        self.bars = bars
        return node

    def above_and_below(self, closers: frozenset[str] | None) -> Node:
        """Items, or what stands above and below `\\over` and `\\choose`."""
        node = self.items(closers)
        operator = self.peek_op()
        if operator not in ("choose", "over"):
            return node
        self.at += 1
        below = self.items(closers)
        return ("fn", "binom", (node, below)) if operator == "choose" else ("div", node, below)

    def bracket(self, opener: str) -> Node:
        """Everything that an operator token can begin."""
        if opener in _CLOSERS:
            return self.sequence(opener)
        if opener == "{":
            self.at -= 1
            node = self.group()
            return ("set", node[1]) if node[0] == "list" else node
        if opener == "\\{":
            return self.braces()
        if opener in ("|", "mid"):
            bars, self.bars = self.bars, self.bars + 1
            node = self.sum()
            self.take("|", "mid")
            self.bars = bars
            return ("abs", node)
        if opener == "langle":
            node = self.items(frozenset(("rangle",)))
            self.take("rangle")
            return ("seq", "(", ")", node[1] if node[0] == "list" else (node,))
        if opener in ("lfloor", "lceil"):
            node = self.sum()
            self.take("r" + opener[1:])
            return ("fn", "floor" if opener == "lfloor" else "ceil", (node,))
        if opener == "inf":
            return ("const", "inf")
        if opener == "empty":
            return ("set", ())
        if opener == "-":
            return ("neg", self.factor())
        if opener == "...":
            raise Foreign("dots")
        raise Unreadable(f"unexpected {opener!r}")

    def sequence(self, opener: str) -> Node:
        """Round or square brackets: grouping, a tuple, or an interval."""
        bars, self.bars = self.bars, 0
        such, self.such_that = self.such_that, False
        node = self.items(frozenset(_CLOSERS[opener]))
        closer = self.take(*_CLOSERS[opener])
        self.bars, self.such_that = bars, such
        if node[0] == "list" and node[2] == ",":
            opened = "[" if opener == "[" else "("
            closed = "]" if closer == "]" else ")"
            return ("seq", opened, closed, node[1])
        if closer != {"(": ")", "[": "]"}.get(opener):
            raise Unreadable("brackets do not match")
        return node

    def braces(self) -> Node:
        """A set, listed or described."""
        if self.peek_op() == "\\}":
            self.at += 1
            return ("set", ())
        bars, self.bars = self.bars, 1
        such, self.such_that = self.such_that, True
        node = self.items(frozenset(("\\}", "|", "mid", ":")))
        self.bars, self.such_that = bars, False
        if self.peek_op() in ("|", "mid", ":"):
            self.at += 1
            node = ("such", node, self.items(frozenset(("\\}",))))
        self.take("\\}")
        self.such_that = such
        if node[0] == "such":
            return node
        return ("set", node[1] if node[0] == "list" else (node,))

    def matrix(self, piece: str) -> Node:
        """`\\begin{pmatrix} .. \\end{pmatrix}` and its kin as rows of cells."""
        name = piece[piece.index("{") + 1 : piece.index("}")]
        if not piece.startswith("\\begin") or name not in _MATRICES:
            raise Foreign(name)
        rows: list[tuple[Node, ...]] = []
        row: list[Node] = []
        while True:
            if self.at >= len(self.tokens):
                raise Unreadable("the matrix does not end")
            if self.tokens[self.at][0] != "env":
                row.append(self.sum())
            ended = self.tokens[self.at : self.at + 1] and self.tokens[self.at][0] == "env"
            if not ended and self.take("&", "newrow") == "&":
                continue
            if row:
                rows.append(tuple(row))
            row = []
            if ended:
                self.at += 1
                return ("matrix", tuple(rows))
