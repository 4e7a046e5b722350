"""`topology simulate`: the broker, SIMULATED, on one port of this machine."""

from __future__ import annotations

import argparse
import asyncio
import errno
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from topology.clock import now_ms
from topology.feeds.recorded.files import scan
from topology.market import Calendar, InstrumentError, Tick
from topology.market.calendar import indian_day
from topology.settings import SIM, Address, Settings, SettingsError
from topology.simulator import DEMONSTRATION, FaultError, Recording, Simulator, Walk, catalogue, chosen
from topology.simulator.faults import KINDS, read
from topology.simulator.listings import CATALOGUE_SIZE, NIFTY, SimulatedListing
from topology.simulator.source import Source

INSTRUMENTS = 7
TICKS_PER_S = 2  # of an instrument, where --rate says nothing
_UNSAID = {"socket": "N", "instrument": "NSE:2885", "for": "1d"}  # how the help shows the defaults of a fault

EXAMPLE = """faults, as NAME[:KEY=VALUE,...][@WHEN], each with what it is when nothing is said (of sockets and
instruments: all); WHEN is an Indian time or +30s, now if there is none:
{faults}

without ANGEL_* variables this demonstration account may log in:
  {account}

example:
  topology simulate --instruments 200 --rate 1000 --fault silent:for=30s@+1m --fault duplicate:chance=5%,for=1h
  topology simulate --play 2022-11-22.csv.gz --speed 10"""


def add(subparsers: Any) -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "simulate",
        description="Plays the broker on this machine, until Ctrl-C: login, REST, instrument master and market data "
        "socket, with prices that are SIMULATED. Its clients need nothing but its addresses.",
        epilog=EXAMPLE.format(faults="\n".join(map(_described, KINDS)), account=" ".join(_variables(DEMONSTRATION))),
    )
    parser.add_argument("--addr", type=_address, metavar=":PORT", help="where (default TICK_SERVER_ADDR, or :9001)")
    parser.add_argument(
        "--instruments",
        type=_instruments,
        default=INSTRUMENTS,
        metavar="LIST|N",
        help=f"NSE:2885,NSE:11536 or a number up to {CATALOGUE_SIZE}; NIFTY 50 is always one (default {INSTRUMENTS})",
    )
    parser.add_argument(
        "--rate", type=_positive, metavar="R", help=f"ticks/s of all together (default {TICKS_PER_S} an instrument)"
    )
    parser.add_argument(
        "--play",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="play recorded ticks as `topology run` reads them; without an instrument column they are NIFTY 50",
    )
    parser.add_argument("--speed", type=_positive, default=1.0, metavar="X", help="of what is played (default 1)")
    parser.add_argument(
        "--date", type=_date, metavar="D", help="play with the times of this day, as 2026-11-24 (default: those of now)"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of walk and faults (default 1)")
    parser.add_argument("--fault", type=_fault, action="append", default=[], metavar="F", help="see below; repeatable")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run until Ctrl-C. Raises FeedError for files that can't be used, SettingsError for an address or account."""
    asyncio.run(_run(arguments, settings))
    return 0


async def _run(arguments: argparse.Namespace, settings: Settings) -> None:
    calendar = Calendar.parse(replace(settings, namespace=SIM).calendar_text())
    address: Address = arguments.addr or settings.tick_server_addr
    source, what = _source(arguments, calendar, now_ms())
    simulator = Simulator(
        account=settings.account,
        source=source,
        now_ms=now_ms,
        host=address.host,
        port=address.port,
        seed=arguments.seed,
    )
    try:
        async with simulator:
            for text in arguments.fault:
                simulator.fault(text)
            for line in described(simulator, settings, what):
                print(line, flush=True)
            await simulator.run()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise SettingsError(f"TICK_SERVER_ADDR={address} is taken: name another address with --addr") from None


def described(simulator: Simulator, settings: Settings, what: str) -> list[str]:
    """Say what runs where and how to use it; of an account, only the demonstration's values."""
    urls = {"API": simulator.api_url, "FEED": simulator.feed_url, "MASTER": simulator.master_url}
    unset = {name: value for name, value in DEMONSTRATION.items() if not getattr(settings.account, name)}
    return [
        f"SIMULATED broker at {simulator.api_url}: {what}",
        *(f"  export ANGEL_{name}_URL={url}" for name, url in urls.items()),
        f"  export {' '.join(_variables(unset))}"
        if unset
        else "  the account is that of ANGEL_CLIENT_CODE, as it is set",
        f"""  curl -d '{{"name": "silent", "for": "30s"}}' {simulator.api_url}/faults""",
        "    makes a fault (`topology simulate --help` lists them); GET shows them and what they hid, DELETE ends them",
        "Ctrl-C ends it",
    ]


def _variables(account: Mapping[str, str]) -> list[str]:
    return [f"ANGEL_{name.upper()}={value}" for name, value in account.items()]


def _source(arguments: argparse.Namespace, calendar: Calendar, now_ms: int) -> tuple[Source, str]:
    if arguments.play:
        speed, day = arguments.speed, arguments.date
        ticks = _ticks(arguments.play, calendar.covered)
        made = Recording(ticks, calendar=calendar, now_ms=now_ms, speed=speed, day=day)
        times = f"times of {day}" if day else "times of now"
        return made, f"{len(ticks):,} recorded ticks of {len(made.listings)} instruments, {times}, speed {speed:g}"
    listings = _listings(arguments.instruments, indian_day(now_ms))
    rate = arguments.rate or float(TICKS_PER_S * len(listings))
    walk = Walk(listings, seed=arguments.seed, rate=rate, calendar=calendar)
    return walk, f"a random walk of {len(listings)} instruments, {rate:g} ticks/s, seed {arguments.seed}"


def _ticks(paths: list[Path], covered: Callable[[date], bool]) -> list[Tick]:
    recording = scan(paths, NIFTY, covered=covered)
    return [tick for batch in recording.batches(lambda _: 0) for tick in batch.ticks]


def _listings(wanted: int | list[str], day: date) -> list[SimulatedListing]:
    return catalogue(day)[:wanted] if isinstance(wanted, int) else chosen(wanted, day)


def _described(name: str) -> str:
    kind = KINDS[name]
    keys = ",".join(f"{key}={value or _UNSAID[key]}" for key, value in kind.keys.items())
    return f"  {kind.does}\n      {name}{':' if keys else ''}{keys}"


def _address(text: str) -> Address:
    try:
        return Settings.from_env({"TICK_SERVER_ADDR": text}).tick_server_addr
    except SettingsError:
        message = f"{text!r} is no address: write host:port, or :port for this machine alone"
        raise argparse.ArgumentTypeError(message) from None


def _instruments(text: str) -> int | list[str]:
    if text.isdigit() and 1 <= int(text) <= CATALOGUE_SIZE:
        return int(text)
    names = text.split(",")
    try:
        chosen(names, date.min)
    except InstrumentError as error:
        message = f"write a number up to {CATALOGUE_SIZE} or a list; {error}"
        raise argparse.ArgumentTypeError(message) from None
    return names


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above 0 and up to 1000000")
    return value


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date: write it as 2026-11-24") from None


def _fault(text: str) -> str:
    try:
        read(text, now_ms=now_ms())
    except FaultError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
