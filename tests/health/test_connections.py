"""Which connections are closed to make room for another, with stubs of connections."""

from __future__ import annotations

import errno
from dataclasses import dataclass

import pytest

from ccmusic.health import connections as module
from ccmusic.health.connections import CLOSED_AT_ONCE, NEWEST, OpenConnections, Phase, connection_limit
from support.fake_clock import FakeProcess


@dataclass(eq=False)
class Stub:
    phase: Phase = Phase.FIRST
    client_name: str = ""
    closed: bool = False
    has_unread: bool = False

    def abort(self) -> None:
        self.closed = True


def opened(limit: int, *connections: Stub, on_closed=lambda _: None) -> OpenConnections:
    found = OpenConnections(lambda _: limit, on_closed)
    for connection in connections:
        found.add(connection)
    return found


def stubs(count: int, phase: Phase = Phase.FIRST, client: str = "") -> list[Stub]:
    return [Stub(phase, client) for _ in range(count)]


def closed(connections: list[Stub]) -> list[int]:
    return [index for index, connection in enumerate(connections) if connection.closed]


def test_no_connection_is_closed_up_to_the_limit():
    many = stubs(100)
    assert len(opened(100, *many)) == 100
    assert closed(many) == []


def test_beyond_the_limit_the_oldest_are_closed_and_the_new_one_stays():
    many = stubs(101)
    counts = []
    connections = opened(100, *many, on_closed=counts.append)
    assert closed(many) == list(range(CLOSED_AT_ONCE))
    assert len(connections) == 101 - CLOSED_AT_ONCE
    assert counts == [CLOSED_AT_ONCE]


def test_activity_makes_a_connection_younger():
    many = stubs(100)
    connections = opened(100, *many)
    connections.touch(many[0])
    connections.add(Stub())
    assert closed(many) == list(range(1, CLOSED_AT_ONCE + 1))


def test_connections_in_regular_use_are_closed_after_others():
    kept, half = stubs(50, Phase.CLIENT), stubs(50)
    opened(100, *kept, *half, Stub())
    assert closed(kept) == []
    assert closed(half) == list(range(CLOSED_AT_ONCE))


def test_the_newest_request_is_not_closed_while_idle_connections_are_there():
    probe = Stub()
    idle = stubs(100, Phase.CLIENT)
    connections = opened(100, *idle[:99], probe, idle[99], Stub())
    assert not probe.closed
    assert len(closed(idle)) == CLOSED_AT_ONCE
    assert len(connections) == 102 - CLOSED_AT_ONCE


@pytest.mark.parametrize("phase", [Phase.FIRST, Phase.CLIENT])
def test_a_request_that_was_not_read_yet_is_not_closed(phase):
    """Many others that arrived later may have been read before it."""
    probe, idle = Stub(phase, has_unread=True), stubs(100, phase)
    opened(100, probe, *idle)
    assert not probe.closed
    assert closed(idle) == list(range(CLOSED_AT_ONCE))


def test_when_nothing_was_read_yet_the_oldest_are_closed():
    many = [Stub(has_unread=True) for _ in range(101)]
    opened(100, *many)
    assert closed(many) == list(range(CLOSED_AT_ONCE))


def test_streams_are_closed_when_nothing_else_can_be():
    probe, streams = Stub(), stubs(100, Phase.STREAM)
    opened(100, *streams, probe)
    assert not probe.closed
    assert closed(streams) == list(range(CLOSED_AT_ONCE))


def test_a_connection_whose_request_is_being_answered_is_never_closed():
    working = stubs(100, Phase.WORK)
    connections = opened(50, *working)
    assert closed(working) == []
    assert len(connections) == 100
    assert connections.make_room() == 0


def test_a_small_limit_is_kept_too():
    many = stubs(NEWEST)
    newest = Stub()
    connections = opened(8, *many, newest)
    assert not newest.closed
    assert len(connections) <= 8


def test_a_closed_connection_is_forgotten():
    connection = Stub()
    connections = opened(1, connection)
    connections.discard(connection)
    connections.discard(connection)
    connections.touch(connection)
    assert len(connections) == 0


@pytest.mark.parametrize(
    ("use", "allowed"),
    [
        (None, 1000),
        ((500, None), 1000),
        ((60 + 20, 65536), 1000),
        ((60 + 20, 1024), 768 - 60),
        ((60 + 20, 256), 192 - 60),
        ((250, 256), module.LEAST_CONNECTIONS),
    ],
)
def test_the_limit_leaves_a_quarter_of_the_descriptors_and_those_that_others_use(monkeypatch, use, allowed):
    monkeypatch.setattr(module, "descriptor_use", lambda: use)
    assert connection_limit(1000)(20) == allowed


def test_without_a_descriptor_to_count_them_fewer_connections_are_allowed(monkeypatch):
    def fail():
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(module, "descriptor_use", fail)
    assert connection_limit(1000)(100) == 100 - CLOSED_AT_ONCE


def test_descriptors_are_not_counted_for_each_connection(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "descriptor_use", lambda: calls.append(1))
    limit = connection_limit(1000)
    assert [limit(n_open) for n_open in range(100)] == [1000] * 100
    assert len(calls) == 1


def test_a_client_beyond_its_own_limit_soon_loses_the_connections_that_are_idle_for_longest(monkeypatch):
    process = FakeProcess()
    monkeypatch.setattr(module, "CLOCK", process.clock)
    limits = {"proxy": None, "greedy": 50}
    connections = OpenConnections(lambda _: 1000, limit_of=lambda client: limits.get(client, 50))
    modest, greedy, proxy = stubs(1, client="modest"), stubs(52, client="greedy"), stubs(100, client="proxy")
    for each in (*modest, *greedy, *proxy):
        connections.add(each)
    assert closed(greedy) == [0]
    process.run(1.1)
    connections.add(Stub(client_name="another"))
    assert closed(greedy) == [0, 1]
    assert closed(modest) == closed(proxy) == []
    connections.discard(greedy[5])
    process.run(1.1)
    connections.add(Stub(client_name="greedy"))
    assert closed(greedy) == [0, 1]


def test_a_client_far_beyond_its_limit_loses_some_connections_each_second(monkeypatch):
    process = FakeProcess()
    monkeypatch.setattr(module, "CLOCK", process.clock)
    connections = OpenConnections(lambda _: 1000, limit_of=lambda _: 50)
    greedy = stubs(50 + 2 * CLOSED_AT_ONCE, client="greedy")
    for each in greedy:
        connections.add(each)
    counts = []
    for _ in range(4):
        process.run(1.1)
        connections.add(Stub(client_name="another"))
        counts.append(len(closed(greedy)))
    assert counts == [1 + CLOSED_AT_ONCE, 2 * CLOSED_AT_ONCE, 2 * CLOSED_AT_ONCE, 2 * CLOSED_AT_ONCE]


def test_room_is_made_by_the_client_that_holds_the_most():
    modest, greedy = stubs(20, client="modest"), stubs(80, client="greedy")
    newest = Stub(client_name="another")
    opened(100, *modest, *greedy, newest)
    assert closed(modest) == []
    assert closed(greedy) == list(range(CLOSED_AT_ONCE))
    assert not newest.closed


def test_room_is_made_by_others_if_the_client_that_holds_the_most_waits_for_answers():
    modest, greedy = stubs(40, client="modest"), stubs(80, Phase.WORK, "greedy")
    opened(120, *modest, *greedy, Stub(client_name="another"))
    assert closed(modest) == list(range(CLOSED_AT_ONCE))
    assert closed(greedy) == []
