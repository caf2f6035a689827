"""What listeners hear, the slow ones too."""

import asyncio

from sdsr.web.live import MOST_PENDING, Event, Hub, Listener


def tell(hub: Hub, number: int, name: str = "window") -> None:
    hub.tell(Event(job=str(number), name=name, data={"job": str(number), "share": 0.5}), "client")


async def heard(hub: Hub, listener: Listener) -> list[Event]:
    return [event async for event in hub.events(listener)]


def test_a_slow_listener_gets_the_latest_of_each_kind() -> None:
    hub = Hub()
    with hub.listening(client="client") as listener:
        for _ in range(50):
            tell(hub, 1)
        tell(hub, 1, "done")
        hub.close()
        assert [event.name for event in asyncio.run(heard(hub, listener))] == ["window", "done"]
    assert hub.listeners == set()


def test_a_listener_that_takes_nothing_away_is_let_go() -> None:
    """However many jobs pass, little is kept for it; it ends when it looks again, and may then be told all."""
    hub = Hub()
    with hub.listening(client="client") as listener, hub.listening(client="other") as other:
        for number in range(10 * MOST_PENDING):
            tell(hub, number)
            assert len(listener.pending) <= MOST_PENDING
        assert not other.pending
        assert asyncio.run(asyncio.wait_for(heard(hub, listener), 5)) == []
