"""A camera on the network for the tests, a process of its own: MJPEG over HTTP, or silence.

usage: stream_server.py JSON   with port, what (belt, numbered, still, half, silent), fps, size [width, height] and, for
a belt, start_mono_s, truth, tiles (a folder) and options of the simulated belt. It says `ready` once it listens. A belt
goes on by the clock, also while its server is dead.
"""

import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn

import cv2
import numpy as np

BITS = 12  # of a frame's number, as black and white squares


def numbered(number, width, height):
    """A picture with its number in it and noise as a sensor has."""
    rng = np.random.RandomState(number)
    image = np.full((height, width, 3), 90, np.uint8) + rng.randint(0, 30, (height, width, 1)).astype(np.uint8)
    side = width // BITS
    for bit in range(BITS):
        image[:side, bit * side:(bit + 1) * side] = 255 if number >> bit & 1 else 0
    return image


def number_in(image):
    """The number in a picture of numbered."""
    side = image.shape[1] // BITS
    return sum(1 << bit for bit in range(BITS)
               if image[side // 4:side * 3 // 4, bit * side + side // 4:(bit + 1) * side - side // 4].mean() > 127)


def belt_frames(asked):
    """Frames of a belt that has been running since start_mono_s."""
    from edge.frames.simulated_belt import Options, SimulatedCamera
    with open(asked["truth"], "a", buffering=1) as truth:
        camera = SimulatedCamera(asked["tiles"], Options(**asked["options"]),
                                 on_item=lambda item: truth.write(json.dumps(item._asdict()) + "\n"))
        camera._start_mono_s = asked["start_mono_s"]
        while True:
            _, image = camera.read(threading.Event())
            yield image


def frames(asked):
    """The pictures of a server, (h, w, 3) uint8, at its rate."""
    if asked["what"] == "belt":
        yield from belt_frames(asked)
    width, height = asked["size"]
    for number in range(1 << BITS):
        time.sleep(1 / asked["fps"])
        yield numbered(0 if asked["what"] == "still" else number, width, height)


class Newest:
    """The newest picture as JPEG, for all who are connected."""

    def __init__(self, asked):
        self.asked, self.change, self.number, self.data = asked, threading.Condition(), 0, b""
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        for number, image in enumerate(frames(self.asked)):
            data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
            if self.asked["what"] == "half" and number % 100 >= self.asked["good"]:
                data = data[:len(data) // 2]
            with self.change:
                self.number, self.data = self.number + 1, data
                self.change.notify_all()

    def after(self, number):
        with self.change:
            while self.number <= number:
                self.change.wait()
            return self.number, self.data


class Handler(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()

    def do_GET(self):
        if not self.headers.get("Authorization", "").startswith(self.server.asked.get("user", "")):
            self.send_response(401)
            self.send_header("WWW-Authenticate", self.server.asked.get("challenge", "Basic realm=\"x\""))
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=--frame")
        self.end_headers()
        number = 0
        try:
            while True:
                number, data = self.server.newest.after(number)
                head = "--frame\r\nContent-Type: image/jpeg\r\n"
                if self.server.asked.get("lengths", True):
                    head += "Content-Length: {}\r\n".format(len(data))
                self.wfile.write(head.encode() + b"\r\n" + data + b"\r\n")
        except OSError:
            pass

    def log_message(self, *words):
        pass


class Server(ThreadingMixIn, HTTPServer):
    daemon_threads = allow_reuse_address = True


def main():
    asked = json.loads(sys.argv[1])
    if asked["what"] == "silent":
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", asked["port"]))
        listening.listen(50)
        print("ready", flush=True)
        kept = []
        while True:
            kept.append(listening.accept())
    server = Server(("127.0.0.1", asked["port"]), Handler)
    server.asked, server.newest = asked, Newest(asked)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
