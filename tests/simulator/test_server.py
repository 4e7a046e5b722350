from __future__ import annotations

import asyncio
import json

import pytest

from tests.simulator.conftest import Open
from tests.support.simulator_client import NSE, OPEN_MS, at, heard, quote, subscribed
from topology.feeds.angel.packets import parse
from topology.market import Tick
from topology.simulator import FaultError, Recording
from topology.simulator.server import MARK


async def test_everything_says_that_it_is_simulated(running: Open) -> None:
    async with running() as client:
        for url in (client.simulator.api_url + "/health", client.simulator.master_url):
            async with client.http.get(url) as answer:
                assert answer.headers["Server"] == MARK


async def test_the_master_lists_what_is_simulated_and_more(running: Open) -> None:
    source = Recording([Tick("NSE:4711", 500, OPEN_MS)], calendar=NSE)
    async with running(source) as client:
        assert client.simulator.master_url.endswith("OpenAPIScripMaster.json")
        async with client.http.get(client.simulator.master_url) as answer:
            tokens = {row["token"] for row in await answer.json()}
        assert {"99926000", "2885", "4711"} <= tokens


async def test_faults_are_made_listed_and_ended_over_http(running: Open) -> None:
    async with running() as client, client.socket() as socket:
        await subscribed(socket, "2885")
        made = await client.post("/faults", name="silent", **{"for": "5s"})
        assert (made["id"], made["name"], made["until_ms"]) == (1, "silent", OPEN_MS + 5_000)
        await client.post("/faults", name="drop", at="+1h")
        await client.step(2_000)
        told = await client.get("/faults")
        assert [(row["name"], row["state"]) for row in told["faults"]] == [("silent", "active"), ("drop", "to come")]
        first_s = OPEN_MS // 1_000
        (touched,) = told["touched"]
        assert (touched["fault"], touched["socket"], touched["instrument"]) == (1, 1, "NSE:2885")
        assert (touched["hidden"], touched["from_s"], touched["until_s"]) == (True, first_s, first_s + 2)
        async with client.http.delete(client.simulator.api_url + "/faults") as answer:
            assert answer.status == 200
        await client.step(1_000)
        assert await heard(socket)
        assert [row["state"] for row in (await client.get("/faults"))["faults"]] == ["past"]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"name": "explode"}', b'{"name": "silent", "for": "soon"}'])
async def test_a_fault_that_is_none_is_an_error_in_one_line(running: Open, body: bytes) -> None:
    async with running() as client, client.http.post(client.simulator.api_url + "/faults", data=body) as answer:
        assert answer.status == 400
        assert "\n" not in (await answer.json())["error"]
    async with running() as client:
        with pytest.raises(FaultError):
            client.simulator.fault("explode")


async def test_what_was_played_before_does_not_depend_on_the_steps(running: Open) -> None:
    sent = []
    for steps in ([20_000], [1] * 20 + [19_980], [333] * 60 + [20]):
        async with running() as client, client.socket() as socket:
            await subscribed(socket, "2885", "99926000")
            client.simulator.fault("garbage:chance=10%,for=10s")
            client.simulator.fault("reorder:chance=20%,for=10s@+2s")
            client.simulator.fault("silent:for=2s@+12s")
            for milliseconds in steps:
                await client.step(milliseconds)
            sent.append(await heard(socket))
    assert sent[0] == sent[1] == sent[2]
    assert len(sent[0]) > 50


async def test_a_subscription_in_the_middle_continues_the_packets(running: Open) -> None:
    async with running() as client, client.socket() as early:
        await subscribed(early, "2885")
        await client.step(30_000)
        async with client.socket() as late:
            (snapshot,) = await subscribed(late, "2885")
            newest = parse((await heard(early))[-1])
            assert snapshot == newest
            await client.step(30_000)
            assert await heard(late) == await heard(early)


async def test_the_next_day_begins_anew(running: Open) -> None:
    async with running(now_ms=at("2022-11-22 15:20")) as client, client.socket() as socket:
        await subscribed(socket, "2885")
        await client.step(20 * 3_600_000)
        packets = [quote(payload) for payload in await heard(socket)]
        old = [packet for packet in packets if packet.exchange_ms < at("2022-11-23 00:00")][-1]
        first = next(packet for packet in packets if packet.exchange_ms >= at("2022-11-23 09:15"))
        assert old.day_volume > 0
        assert (first.close, first.day_volume, first.open) == (old.price, 0, first.price)


async def test_running_follows_the_clock_and_skips_what_it_slept_through(running: Open) -> None:
    async with running() as client, client.socket() as socket:
        await subscribed(socket, "2885")
        turns = iter([1_000, 7_200_000, 1_000])

        async def sleep(_: float) -> None:
            milliseconds = next(turns, None)
            if milliseconds is None:
                raise asyncio.CancelledError
            client.clock.ms += milliseconds

        with pytest.raises(asyncio.CancelledError):
            await client.simulator.run(sleep)
        times_ms = [parse(payload).exchange_ms for payload in await heard(socket)]
        assert times_ms
        assert all(t <= OPEN_MS + 1_000 or t > OPEN_MS + 7_201_000 for t in times_ms)
        assert json.loads(json.dumps(await client.get("/health")))["market_ms"] == OPEN_MS + 7_202_000
