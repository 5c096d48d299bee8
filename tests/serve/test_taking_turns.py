"""Large bodies take turns."""

from __future__ import annotations

import asyncio

from guerdon.serve.turns import Turns


def test_first_come_first_served_within_the_budget() -> None:
    async def story() -> list[str]:
        turns, told = Turns(10), []

        async def work(name: str, n: int) -> None:
            await turns.take(n)
            told.append(name)

        await work("a", 6)
        await work("b", 4)
        waiting = [asyncio.create_task(work(name, n)) for name, n in (("c", 8), ("d", 1))]
        await asyncio.sleep(0)
        assert told == ["a", "b"]
        turns.give_back(6)
        await asyncio.sleep(0)
        assert told == ["a", "b"]  # c would not fit, and d came later
        turns.give_back(4)
        await asyncio.gather(*waiting)
        return told

    assert asyncio.run(story()) == ["a", "b", "c", "d"]


def test_more_than_the_budget_is_done_alone() -> None:
    async def story() -> None:
        turns = Turns(10)
        await turns.take(50)
        second = asyncio.create_task(turns.take(1))
        await asyncio.sleep(0)
        assert not second.done()
        turns.give_back(50)
        await second

    asyncio.run(story())


def test_who_gives_up_holds_nobody_up() -> None:
    async def story() -> None:
        turns = Turns(10)
        await turns.take(10)
        first, second, third = (asyncio.create_task(turns.take(n)) for n in (9, 2, 8))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        turns.give_back(10)  # the turn of the second and third comes
        second.cancel()  # but one of them has just gone
        await asyncio.gather(second, return_exceptions=True)
        await third
        await turns.take(2)

    asyncio.run(story())
