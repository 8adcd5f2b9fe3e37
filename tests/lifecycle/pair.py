"""A stack with two of each daemon, two buses too, and everybody connected to both."""

import os
import shutil
import signal
import time

from company import Company
from stack import DAEMONS, SLACK, Replica, Stack, wait_until
from steady import SCOPES, Steady
from web import new_key

READY = 20 * SLACK


class Pair:
    """binaries: those of another version; settings: of all daemons."""

    def __init__(self, folder, binaries=None, **settings):
        self.folder, self.settings = folder, {"DAYBOOK_WORKERS": "4", **settings}
        self.stack = Stack(folder / "stack")
        if binaries:
            self.stack.use(binaries)
        self.replicas, self.load = {}, None

    def up(self):
        self.stack.up()
        # Two of all, and a third where one is replaced, need more than the local stack has.
        self.stack.allow_connections(250)
        both, first, self.second = self.stack.two_buses()
        for name in DAEMONS:
            own = first if name == "bus" else {}
            if name == "gateway":
                own = {"DAYBOOK_DRAIN_DELAY": "2s", "DAYBOOK_HTTP_RATE": "0"}
            self.stack.write_settings(name, **both, **own, **self.settings)
        for name in DAEMONS:
            self.restart(name)
        for name in DAEMONS:
            self.start_second(name)
        self.wait_ready()
        self.endpoint = both["DAYBOOK_BUS_ENDPOINT"]
        self.company = Company(self.stack)
        self.shops = [self.company.customer("rep").id for _ in range(4)]
        key = new_key(self.company, scopes=SCOPES, employeeId=self.company.ids["gm"])
        self.scopes, self.api_key, self.key_id = SCOPES, key.api_key, key.credential.id

    def remove(self):
        if self.load:
            self.load.ending.set()
        for replica in self.replicas.values():
            replica.end()
        if os.environ.get("LIFECYCLE_KEEP_LOGS"):
            shutil.copytree(self.stack.folder / "log", os.environ["LIFECYCLE_KEEP_LOGS"], dirs_exist_ok=True)
        self.stack.remove()

    def restart(self, name):
        self.stack.kill(name, signal.SIGTERM)
        self.stack.start(name)

    def start_second(self, name, place="second", **settings):
        """place: "third" for one more, which does not take the second one's place."""
        replica = Replica(self.stack, name, self.stack.folder / f"log/{name}-{place}.log",
                          variables=self.second if name == "bus" else None, **settings)
        self.replicas[name if place == "second" else f"{name} {place}"] = replica
        if self.load and name == "gateway":
            self.load.balancer.add(place, replica.env)
        return replica

    def drop(self, name, place):
        """One that was started beside the two."""
        status = self.replicas.pop(f"{name} {place}").drain()
        assert status == 0, f"{name} ended with {status}"
        if name == "gateway":
            self.load.balancer.remove(place)

    def wait_ready(self):
        for name in DAEMONS:
            wait_until(lambda n=name: self.stack.healthy(n), READY, f"{name} was ready")
        for replica in self.replicas.values():
            replica.until_ready(READY)

    # --- load -------------------------------------------------------------------------------------

    def start_load(self, **how):
        self.load = Steady(self.company, self.shops, self.api_key, self.endpoint, **how)
        self.load.balancer.add("first", self.stack.env_of("gateway"))
        self.load.balancer.add("second", self.replicas["gateway"].env)
        self.load.start()
        return self.load

    # --- one after the other ----------------------------------------------------------------------

    def drain_second(self, name):
        """Seconds that it took; it must end with 0."""
        began = time.monotonic()
        status = self.replicas[name].drain()
        assert status == 0, f"{name} ended with {status}"
        return time.monotonic() - began

    def drain_first(self, name):
        began = time.monotonic()
        self.stack.kill(name, signal.SIGTERM)
        return time.monotonic() - began
