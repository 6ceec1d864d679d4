"""The two programs that are compared: a real Prometheus and ours, over the same block."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.parse

START_DEADLINE = 60
FEATURES = "promql-experimental-functions,promql-duration-expr"
NEWER_FEATURES = ",promql-extended-range-selectors,promql-binop-fill-modifiers"
OLDEST, NEWEST = (3, 5), (3, 14)  # NEWEST is what we follow.
AT_ONCE, AT_THE_END = "names removed at once", "names removed at the end"


class StartError(Exception):
    """A server did not come up; the text says which, and what it printed."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def version_of(program):
    """(major, minor) of a Prometheus."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"version ([0-9]+)\.([0-9]+)", said)
    version = (int(found.group(1)), int(found.group(2))) if found else (0, 0)
    if version < OLDEST:
        raise StartError("%s is Prometheus %d.%d; %d.%d or newer is needed, see --prometheus" % (program, *version, *OLDEST))
    return version


class Client:
    """Asks one server over one connection, which is opened again when it is gone."""

    def __init__(self, port):
        self.port = port
        self.connection = None

    def get(self, path, parameters):
        """The status and the JSON of the reply."""
        body = urllib.parse.urlencode(parameters)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        for attempt in (1, 2):
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
            try:
                self.connection.request("POST", path, body, headers)
                reply = self.connection.getresponse()
                return reply.status, json.loads(reply.read())
            except (http.client.HTTPException, ConnectionError):
                self.connection = None
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")


class Ours:
    def __init__(self, program, samples, directory):
        self.process = subprocess.Popen([program, samples, directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        ports = self.process.stdout.readline().split()
        if len(ports) != 2 or self.process.stdout.readline() != "ready\n":
            raise StartError("%s did not start" % program)
        self.clients = dict(zip((AT_ONCE, AT_THE_END), map(Client, map(int, ports))))

    def stop(self):
        self.process.stdin.close()
        self.process.wait(START_DEADLINE)


class Prometheus:
    """Twice: delayed name removal is a switch of the whole server."""

    def __init__(self, program, directory, data):
        self.processes, self.clients = [], {}
        self.version = version_of(program)
        configuration = os.path.join(directory, "prometheus.yml")
        with open(configuration, "w", encoding="utf-8") as file:
            file.write("global:\n  evaluation_interval: 1m\n")
        both = FEATURES + (NEWER_FEATURES if self.version >= NEWEST else "")
        for mode, features in ((AT_ONCE, both), (AT_THE_END, both + ",promql-delayed-name-removal")):
            own = os.path.join(directory, "prometheus-%d" % len(self.processes))
            shutil.copytree(data, own)
            self.clients[mode] = self.start(program, configuration, own, features)

    def start(self, program, configuration, data, features):
        port = free_port()
        with open(data + ".log", "w", encoding="utf-8") as log:
            process = subprocess.Popen(
                [program, "--config.file=" + configuration, "--storage.tsdb.path=" + data,
                 "--storage.tsdb.retention.time=100y", "--web.listen-address=127.0.0.1:%d" % port,
                 "--enable-feature=" + features], stdout=log, stderr=log)
        self.processes.append(process)
        deadline = time.monotonic() + START_DEADLINE
        while time.monotonic() < deadline and process.poll() is None:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/-/ready")
                if connection.getresponse().status == 200:
                    return Client(port)
            except OSError:
                pass
            time.sleep(0.1)
        self.stop()
        raise StartError("%s is not ready; see %s.log" % (program, data))

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(START_DEADLINE)
