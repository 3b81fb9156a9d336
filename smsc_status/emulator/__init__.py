"""An emulator of the vendor's `status.php`, to develop and test against.

In the same process, behind httpx's ASGI transport, on asyncio, on trio, or on a virtual clock:

```python
emulator = Emulator(seed=1, speed=60)  # its minute takes a second
refs = emulator.world.populate(100, now=emulator.now())
async with StatusClient(
    apikey="demo-key",
    base_url="http://localhost",
    transport=httpx.ASGITransport(app=emulator),
    limits=emulator.client_limits(),  # a period of a second
    wall_clock=emulator.wall_clock,  # the emulated date, so that client and emulator agree how old messages are
) as client:
    async for outcome in client.stream(refs): ...
assert emulator.referee.no_violations  # no limit was broken, counted by the times of arrival
```

On a port, in a thread of its own (needs the extra `emulator`):

```python
with EmulatorServer(Emulator(faults={"http_503": 0.1})) as server:
    ...  # base_url=server.url; login "demo", password "demo", or API key "demo-key"
print(server.stats())  # also over HTTP, at server.url + "/emulator/stats", which the vendor's server does not have
```

A message of your own, with statuses of your own:

```python
ref = emulator.world.add(7, "+7 999 000-00-00", sent_at=emulator.now(), life=[(0, -1), (2, 0), (30, 20, 6)])
```
"""

from smsc_status.emulator._app import Emulator
from smsc_status.emulator._faults import FAULTS, ConnectionCut, Faults
from smsc_status.emulator._limits import Kind, Referee, Refusal
from smsc_status.emulator._lives import Life, Step
from smsc_status.emulator._server import EmulatorServer, serve
from smsc_status.emulator._world import World

__all__ = [
    "FAULTS",
    "ConnectionCut",
    "Emulator",
    "EmulatorServer",
    "Faults",
    "Kind",
    "Life",
    "Referee",
    "Refusal",
    "Step",
    "World",
    "serve",
]
