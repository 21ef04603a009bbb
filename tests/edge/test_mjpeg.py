"""MJPEG over HTTP, byte by byte, and its user and password."""

import pytest
from cameras import take

from edge.frames import capture, mjpeg


class Response:
    """An HTTP answer that comes in small pieces."""

    def __init__(self, data, piece):
        self.data, self.piece = data, piece

    def read1(self, most):
        data, self.data = self.data[:self.piece], self.data[self.piece:]
        return data


@pytest.mark.parametrize("piece", [1, 7, 10 ** 6])
@pytest.mark.parametrize("word, stream, parts", [
    ("with lengths", b"--b\r\nContent-Length: 3\r\n\r\nabc\r\n--b\r\ncontent-length:2\r\n\r\nde\r\n--b",
     [b"abc", b"de"]),
    ("without", b"junk--b\r\nX: 1\r\n\r\nabc\r\n--b\r\n\r\nde\r\n--b--", [b"abc\r\n", b"de\r\n"]),
    ("shorter than claimed", b"--b\r\nContent-Length: 20\r\n\r\nabc\r\n--b\r\nContent-Length: 2\r\n\r\nde\r\n--b",
     [b"abc", b"de"]),
    ("cut off", b"--b\r\nContent-Length: 9\r\n\r\nabc", []),
    ("a length beyond reason", b"--b\r\nContent-Length: 99999999999\r\n\r\nabc", []),
])
def test_parts_of_a_multipart_answer(word, stream, parts, piece):
    reader, found = mjpeg.Parts(Response(stream, piece), b"--b"), []
    while True:
        part = reader.next()
        if part is None:
            break
        found.append(part[1])
    assert found == parts


@pytest.mark.parametrize("header, boundary", [
    ("multipart/x-mixed-replace; boundary=frame", b"--frame"), ("Multipart/X; boundary=\"--a b\"", b"--a b"),
    ("multipart/x-mixed-replace;boundary=--x;charset=y", b"--x"), ("video/mp4", None), ("", None)])
def test_boundaries_as_cameras_write_them(header, boundary):
    assert mjpeg.boundary_of(header) == boundary


@pytest.mark.parametrize("word, user, challenge, fine", [
    ("Basic", "Basic bWU6c2VjcmV0", "Basic realm=\"x\"", True),
    ("Basic, another password", "Basic AAAA", "Basic realm=\"x\"", False),
    ("Digest", "Digest username=\"me\"", "Digest realm=\"x\", nonce=\"abc\", qop=\"auth\"", True),
    ("Digest, another name", "Digest username=\"you\"", "Digest realm=\"x\", nonce=\"abc\", qop=\"auth\"", False)])
def test_name_and_password_in_the_address(server, opened, word, user, challenge, fine):
    uri = server(user=user, challenge=challenge).replace("http://", "http://me:secret@")
    if fine:
        assert len(take(opened(uri), 2)) == 2
        return
    with pytest.raises(capture.CameraError, match="answers 401 .* user and password go into the address"):
        capture.open_capture({"uri": uri})
