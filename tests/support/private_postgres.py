"""A PostgreSQL cluster of a test's own: trusts its socket, listens nowhere else, gone at the end. Its superuser
is called postgres, so that nobody of Daybook's is one (in deploy/local/stack the owner of the schemas is).
"""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

from local_stack import run, wait_until

SUPERUSER = "postgres"


class PrivatePostgres:
    def __init__(self, *options):
        """options: of the server, as in ("-c", "fsync=off")."""
        self.bin = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        # PostgreSQL refuses to run as root: then it runs as the package's user.
        self.as_user = ([] if os.getuid() else
                        ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "env", "HOME=/tmp"])
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="daybook-pg-", dir="/tmp"))
        if self.as_user:
            shutil.chown(self.folder, "postgres", "postgres")
        run([*self.as_user, self.bin / "initdb", "-D", self.folder / "data", "-U", SUPERUSER, "-E", "UTF8",
             "--locale=C.UTF-8", "-A", "trust", "--no-instructions"], cwd="/")
        self.folder.chmod(0o711)
        with (self.folder / "log").open("w") as log:
            self.server = subprocess.Popen(
                [*map(str, self.as_user), str(self.bin / "postgres"), "-D", str(self.folder / "data"), "-k",
                 str(self.folder), "-c", "listen_addresses=", "-c", "unix_socket_permissions=0777", "-c", "fsync=off",
                 *options], cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        wait_until(lambda: self.server.poll() is not None or self.answers(), 60, "PostgreSQL answered")
        assert self.server.poll() is None, (self.folder / "log").read_text()

    def answers(self):
        return subprocess.run([self.bin / "pg_isready", "-q", "-h", self.folder], check=False).returncode == 0

    def conninfo(self, user=SUPERUSER, database="postgres"):
        return f"host={self.folder} dbname={database} user={user}"

    def psql(self, *words, **who):
        return run([self.bin / "psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", self.conninfo(**who), *words])

    def remove(self):
        self.server.send_signal(signal.SIGINT)  # fast: ends connections
        try:
            self.server.wait(30)
        finally:
            shutil.rmtree(self.folder)
