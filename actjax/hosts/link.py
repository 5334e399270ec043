"""The processes of a run, held together by a TCP connection of each to process 0.

It carries lines of JSON: at the start everybody's number and count, so that a wrong start is answered in words; then a
sign of life every few seconds, why a process ends, and the step at which all stop after SIGTERM. A process that dies
closes its connection, and all others end at once, instead of waiting for it in a computation.
"""

import contextlib
import errno
import json
import os
import selectors
import socket
import threading
import time

from actjax.hosts.place import TIMEOUT, Place

LOST = 76  # exit status of those that lost another process
BEAT, SILENT = 5.0, 40.0  # seconds between signs of life; without one, a process counts as lost
RESTART = "start all processes again with the same command, the run goes on from its last checkpoint"


class LinkError(Exception):
    """The processes did not find together; says why, in one line."""


class Link:
    """The connections of this process, and the thread that listens to them.

    Args:
      place: this process. timeout: seconds to wait for the others.

    Raises:
      LinkError: process 0 cannot be reached, or its port is taken; processes are missing, or do not agree.
    """

    def __init__(self, place: Place, *, timeout: float):
        self._place = place
        deadline = time.monotonic() + timeout
        if place.index == 0:
            peers, self.port = _call_roll(place, deadline, timeout)
        else:
            peers, self.port = _answer_roll(place, deadline, timeout)
        self._peers = {index: _Peer(connection) for index, connection in peers.items()}
        self._state = threading.Condition()
        self._asked, self._frozen, self._stop = 0, False, None  # of `stop_here`
        self._steps: dict[int, int] = {}  # process 0: how far each is, while it collects that
        self._here: dict[int, str] = {}  # process 0: who waits, and for what
        self._arrived = self._passed = 0  # of `wait`
        self._leaving = self._failing = False
        self._left = threading.Event()
        self._wake, self._woken = os.pipe()[::-1]
        os.set_blocking(self._wake, False)
        self._thread = threading.Thread(target=self._listen, daemon=True, name="link")
        self._thread.start()

    def stop_here(self) -> bool:
        """Asked in every process after every step: whether to stop now. All processes hear True after the same step."""
        with self._state:
            self._asked += 1
            self._state.wait_for(lambda: not self._frozen)
            return self._stop is not None and self._asked >= self._stop

    def stop_soon(self) -> None:
        """Lets all processes stop after one of the next steps. Safe in a signal handler."""
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes, too
            os.write(self._wake, b"s")

    def wait(self, what: str) -> None:
        """Returns once all processes have come here, however long that takes; `what` is the same in all of them."""
        with self._state:
            self._arrived += 1
            self._what = what
            os.write(self._wake, b"w")
            self._state.wait_for(lambda: self._passed == self._arrived)

    def leave(self) -> None:
        """Returns once all processes have come here: none waits for this one any longer."""
        os.write(self._wake, b"l")
        self._left.wait()
        self._thread.join()

    def fail(self, reason: str) -> None:
        """Tells the others that this process ends, and why.

        If it fails because another one was lost, the process ends here, with the message that says so.
        """
        self._failing = True
        self._left.wait(2.0)
        for peer in list(self._peers.values()):
            peer.send(failed=reason, by=self._place.index)

    # The rest runs in the thread.

    def _listen(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            for index, peer in self._peers.items():
                selector.register(peer.connection, selectors.EVENT_READ, index)
            next_beat = 0.0
            while not self._left.is_set():
                for key, _ in selector.select(timeout=1.0):
                    if key.data is None:
                        self._commands(os.read(self._woken, 100))
                    elif not self._hear(key.data):
                        selector.unregister(key.fileobj)
                now = time.monotonic()
                if now >= next_beat:
                    next_beat = now + BEAT
                    self._tell_all(beat=1)
                for index, peer in self._peers.items():
                    if not peer.gone and now - peer.heard > SILENT:
                        self._lose(index, f"nothing was heard of it for {SILENT:.0f} s")
        for peer in self._peers.values():
            peer.connection.close()

    def _commands(self, letters: bytes) -> None:
        if b"s" in letters:
            self._request_stop()
        if b"w" in letters:
            if self._place.index:
                self._peers[0].send(here=self._what)
            else:
                self._arrive(0, self._what)
        if b"l" in letters:
            self._leaving = True
            self._leave_if_all_do()

    def _hear(self, index: int) -> bool:
        """What process `index` sent; False once it sends no more."""
        peer = self._peers[index]
        messages = peer.receive()
        for message in messages or ():
            self._obey(index, message)
        if messages is None and not peer.gone:
            self._lose(index, "its connection was closed")
        return messages is not None

    def _obey(self, index: int, message: dict) -> None:
        match message:
            case {"failed": reason, "by": by}:
                self._peers[index].gone = True
                if not self._place.index:
                    self._tell_all(**message)
                if not self._failing:  # else it has a reason of its own to give
                    self._end(1, f"process {by} failed: {reason}")
            case {"lost": line}:
                self._end(LOST, line)
            case {"bye": _}:
                self._peers[index].gone = True
                self._leave_if_all_do()
            case {"here": str(what)}:
                self._arrive(index, what)
            case {"go": _}:
                self._pass()
            case {"stop": "please"}:
                self._request_stop()
            case {"stop": "when"}:
                self._peers[0].send(asked=self._freeze())
            case {"stop": int(number)}:
                self._thaw(number)
            case {"asked": int(number)}:
                self._collect(index, number)

    def _arrive(self, index: int, what: str) -> None:
        """Process 0: lets all go on once all wait."""
        self._here[index] = what
        if len(self._here) < self._place.count:
            return
        if len(set(self._here.values())) > 1:
            self._tell_all(failed=f"the processes wait for different things: {self._here}", by=0)
            self._end(1, f"the processes wait for different things: {self._here}")
        self._here = {}
        self._tell_all(go=1)
        self._pass()

    def _pass(self) -> None:
        with self._state:
            self._passed += 1
            self._state.notify_all()

    def _leave_if_all_do(self) -> None:
        """Process 0 is the last to come and the first to say goodbye."""
        if not self._leaving:
            return
        if self._place.index:
            self._tell_all(bye=1)
            if self._peers[0].gone:
                self._left.set()
        elif all(peer.gone for peer in self._peers.values()):
            for peer in self._peers.values():
                peer.send(bye=1)
            self._left.set()

    def _request_stop(self) -> None:
        if self._place.index:
            return self._peers[0].send(stop="please")
        if self._steps or self._stop is not None:
            return
        self._steps[0] = self._freeze()
        self._tell_all(stop="when")

    def _collect(self, index: int, asked: int) -> None:
        """Process 0: the step after the furthest is the one that all can still stop at."""
        self._steps[index] = asked
        if len(self._steps) == self._place.count:
            stop = max(self._steps.values()) + 1
            self._tell_all(stop=stop)
            self._thaw(stop)

    def _freeze(self) -> int:
        """How far this process is; it goes no further until `_thaw`."""
        with self._state:
            self._frozen = True
            return self._asked

    def _thaw(self, stop: int) -> None:
        with self._state:
            self._stop, self._frozen = stop, False
            self._state.notify_all()

    def _lose(self, index: int, why: str) -> None:
        self._peers[index].gone = True
        line = f"lost process {index} ({why}); {RESTART}"
        self._tell_all(lost=line)  # of process 0 to the others, who are connected to none but it
        self._end(LOST, line)

    def _end(self, status: int, line: str) -> None:
        """Ends this process, wherever its other threads hang."""
        with contextlib.suppress(OSError):
            os.write(2, f"error: {line}\n".encode())
        os._exit(status)

    def _tell_all(self, **message) -> None:
        for peer in self._peers.values():
            if not peer.gone:
                peer.send(**message)


class _Peer:
    """One connection; `heard`: when something came; `gone`: it said goodbye, so that its end is none to worry about."""

    def __init__(self, connection: socket.socket):
        connection.settimeout(SILENT)  # of sending
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection, self.heard, self.gone = connection, time.monotonic(), False
        self._begun = b""
        self._lock = threading.Lock()

    def send(self, **message) -> None:
        """A connection that broke is noticed where it is read."""
        with self._lock, contextlib.suppress(OSError):
            self.connection.sendall(_line(message))

    def receive(self) -> list[dict] | None:
        """The messages that have come; None: no more will."""
        try:
            data = self.connection.recv(65536)
        except OSError:
            return None
        if not data:
            return None
        self.heard = time.monotonic()
        *lines, self._begun = (self._begun + data).split(b"\n")
        return [json.loads(line) for line in lines]


def _line(message: dict) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _call_roll(place: Place, deadline: float, timeout: float) -> tuple[dict[int, socket.socket], int]:
    """Process 0: the connections of all others, and the port on which JAX's own service is to listen."""
    present: dict[int, socket.socket] = {}
    with _server(place.port) as server:
        while len(present) < place.count - 1:
            server.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                connection, _ = server.accept()
            except TimeoutError:
                _refuse(present.values(), _absent(place, present, timeout))
            match _first_line(connection, 5.0):
                case {"index": int(index), "count": int(count), "host": str(host)}:
                    pass
                case _:
                    connection.close()  # a stranger
                    continue
            if count != place.count:
                _refuse([*present.values(), connection], f"process 0 was started as one of {place.count} processes, "
                        f"process {index} as one of {count}; start all with the same number")  # fmt: skip
            before = present.pop(index, None)
            if index == 0 or (before and not _closed(before)):
                both = [connection, before] if before else [connection]
                _refuse([*present.values(), *both], f"two processes were started as number {index} of "
                        f"{place.count}, one of them on {host}; give each a number of its own")  # fmt: skip
            if before:
                before.close()
            present[index] = connection
    port = _free_port()
    for connection in present.values():
        connection.sendall(_line({"port": port}))
    return present, port


def _absent(place: Place, present, timeout: float) -> str:
    absent = sorted(set(range(1, place.count)) - set(present))
    shown = ", ".join(map(str, absent[:10])) + (", ..." if len(absent) > 10 else "")
    return (
        f"of {place.count} processes these did not come within {timeout:g} s: {shown} (did they start, and do they "
        f"reach port {place.port} of this host? {TIMEOUT} sets the seconds)"
    )


def _answer_roll(place: Place, deadline: float, timeout: float) -> tuple[dict[int, socket.socket], int]:
    """The other processes: the connection to process 0, and the port of JAX's service there."""
    why, pause = "", 0.1
    while (left := deadline - time.monotonic()) > 0:
        try:
            connection = socket.create_connection((place.host, place.port), timeout=min(left, 10.0))
            connection.sendall(_line({"index": place.index, "count": place.count, "host": socket.gethostname()}))
            answer = _first_line(connection, timeout + 10.0)  # process 0 waits for the rest
        except OSError as error:
            why = error.strerror or str(error)
        else:
            if isinstance(answer, dict) and "refused" in answer:
                raise LinkError(answer["refused"])
            if isinstance(answer, dict) and "port" in answer:
                return {0: connection}, answer["port"]
            connection.close()
            why = "something else answers there, or process 0 ended"
        time.sleep(pause)
        pause = min(2 * pause, 2.0)
    raise LinkError(
        f"cannot reach process 0 at {place.host}, port {place.port}, within {timeout:g} s ({why}): does it run there, "
        f"and does no firewall close the port? {TIMEOUT} sets the seconds"
    )


def _server(port: int) -> socket.socket:
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
        return socket.create_server(("", port), backlog=1024)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise LinkError(f"process 0 cannot listen on port {port}: {error.strerror}") from error
        raise LinkError(
            f"port {port} is in use on this host: does another process 0 run here? End it, or choose another port"
        ) from error


def _refuse(connections, line: str) -> None:
    """Tells the others, and raises it here."""
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.sendall(_line({"refused": line}))
    raise LinkError(line)


def _first_line(connection: socket.socket, seconds: float):
    """The first message of a connection; None: what comes is none."""
    connection.settimeout(seconds)
    data = b""
    try:
        while not data.endswith(b"\n"):  # byte by byte: what follows is not ours to read
            byte = connection.recv(1)
            if not byte or len(data) > 4096:
                return None
            data += byte
        return json.loads(data)
    except (OSError, ValueError):
        return None


def _closed(connection: socket.socket) -> bool:
    """Whether the other side has ended, as a process does that was started again."""
    connection.setblocking(False)
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.setblocking(True)


def _free_port() -> int:
    with socket.create_server(("", 0)) as probe:
        return probe.getsockname()[1]
