"""The synchronous loop of the worker, spoken to in frames. Run with the worker on `PYTHONPATH`."""

import asyncio
import json
import os
import socket
import threading
import unittest

from greenroom_worker import bodies, errors, protocol
from greenroom_worker.answers import Answers
from greenroom_worker.arena import UNIT, Incoming, Outgoing
from greenroom_worker.blocking import Blocking
from greenroom_worker.contract import describe
from greenroom_worker.loader import Loaded


def memory(name):
    descriptor = os.memfd_create(name)
    os.ftruncate(descriptor, UNIT)
    return descriptor


class Worker:
    """A model that answers in a thread."""

    def __init__(self, predict):
        model = type("Model", (), {"predict": lambda self, inputs: predict(inputs)})()
        self.ours, theirs = socket.socketpair()
        self.ours.settimeout(20)
        self.reader, self.frames = protocol.Reader(), []
        loaded = Loaded(model, describe(model), "model.py", 0, 0)
        arenas = Incoming(memory("in"), UNIT), Outgoing(memory("out"), UNIT)
        self.thread = threading.Thread(target=Blocking(theirs, *arenas, loaded).run, daemon=True)
        self.thread.start()

    def send(self, *frames):
        self.ours.sendall(b"".join(protocol.encode(*frame) for frame in frames))

    def receive(self):
        while not self.frames:
            self.frames += self.reader.feed(self.ours.recv(65536))
        return self.frames.pop(0)


def request(identifier, body=b"1"):
    return identifier, protocol.REQUEST, 0, 0, b"", body


class Frames(unittest.TestCase):
    def test_what_crosses_an_answer_does_not_hit_the_next_request_with_its_id(self):
        worker = Worker(lambda inputs: (str(number) for number in range(inputs)))
        worker.send(request(7))
        self.assertEqual([worker.receive()[1] for _ in range(3)], [protocol.HEAD, protocol.CHUNK, protocol.END])
        worker.send((7, protocol.CANCEL), (7, protocol.PAUSE), request(7, b"2"))
        kinds = [worker.receive()[1] for _ in range(4)]
        self.assertEqual(kinds, [protocol.HEAD, protocol.CHUNK, protocol.CHUNK, protocol.END])

    def test_a_request_cancelled_before_its_turn_is_not_begun(self):
        worker = Worker(lambda inputs: inputs)
        worker.send(request(7), (7, protocol.CANCEL))
        self.assertEqual(worker.receive()[1], protocol.ABORT)

    def test_no_error_of_one_request_ends_the_others(self):
        class Panic(BaseException):
            pass

        def raising(kind):
            raise kind("no")
            yield

        kinds = [Panic, asyncio.CancelledError, SystemExit, GeneratorExit]
        worker = Worker(lambda inputs: inputs if inputs == 9 else next(raising(kinds[inputs])))
        for number in range(len(kinds)):
            worker.send(request(number, b"%d" % number))
            _, _, _, status, _, body = worker.receive()
            self.assertEqual((status, body), (500, b'{"error":"Internal Server Error (in model/chainlet)."}'))
        worker.send(request(1, b"9"))
        self.assertEqual(worker.receive()[5], b"9")

    def test_a_stream_that_exits_is_only_a_stream_that_ends(self):
        def leaving():
            yield "x"
            raise SystemExit(1)

        worker = Worker(lambda inputs: leaving() if inputs else "still here")
        worker.send(request(1))
        self.assertEqual([worker.receive()[1] for _ in range(3)], [protocol.HEAD, protocol.CHUNK, protocol.END])
        worker.send(request(1, b"0"))
        self.assertEqual(worker.receive()[5], b'"still here"')


class Errors(unittest.TestCase):
    def answered(self, error):
        _, kind, _, status, _, body = protocol.Reader().feed(Answers(Outgoing(memory("out"), UNIT)).error(1, error))[0]
        self.assertEqual(kind, protocol.RESPONSE)
        return status, json.loads(body)

    def test_every_error_has_an_answer(self):
        class Mute(Exception):
            def __str__(self):
                raise ValueError("no text")

        circular = []
        circular.append(circular)
        self.assertEqual(self.answered(errors.Answer(404, "\ud800 é")), (404, {"error": "\ud800 é"}))
        for error in (errors.Answer("404", "x"), errors.Answer(70000, "x"), errors.Answer(404, circular), Mute()):
            self.assertEqual(self.answered(error), (500, {"error": "Unhandled exception"}))


class Json(unittest.TestCase):
    def test_bodies_are_read_as_the_standard_library_reads_them(self):
        texts = ["{}", ' [1, "é"] ', "\ufeff1", "", "nope", "1 2", '{"a":}', "NaN", '"\\ud800"', "[" * 100000]
        for body in [text.encode() for text in texts] + ["[1]".encode("utf-16"), b"\xff", b'"\xed\xa0\x80"']:
            self.assertEqual(outcome(bodies._from_json, body), outcome(json.loads, body), body[:20])

    def test_results_are_written_as_the_standard_library_writes_them(self):
        circular = {}
        circular["self"] = [circular]
        deep = []
        for _ in range(100000):
            deep = [deep]
        for value in ({"a": [1, 2.5, None, True]}, "é\ud800", float("nan"), {1: {2: 3}}, {(): 1}, (1, 2), {1, 2}, circular, deep):
            expected = outcome(json.JSONEncoder(default=bodies._json_default).encode, value)
            self.assertEqual(outcome(bodies.to_json, value), expected)


def outcome(function, argument):
    try:
        return repr(function(argument))
    except Exception as error:
        return type(error), str(error).split(" while ")[0]


if __name__ == "__main__":
    unittest.main()
