"""--download against a real server on loopback: whole, resumed, damaged, refused."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from trainer.download import download
from trainer.errors import TrainerError

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    """A server with and without ranges: server.ranges; it notes what it was asked in server.asked."""
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range")
            self.server.asked.append(asked)
            start = int(asked[len("bytes="):-1]) if asked and self.server.ranges else 0
            if start >= len(CONTENT):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start:start + self.server.at_most])

        def log_message(self, *arguments):
            pass

    instance = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    instance.ranges, instance.asked, instance.at_most = True, [], len(CONTENT)
    thread = threading.Thread(target=instance.serve_forever)
    thread.start()
    instance.url = f"http://127.0.0.1:{instance.server_port}/dataset-resized.zip"
    yield instance
    instance.shutdown()
    instance.server_close()
    thread.join()


def test_fetches_once(server, tmp_path):
    path = download(tmp_path, server.url, SHA256)
    assert path.read_bytes() == CONTENT and path.name == "dataset-resized.zip"
    assert download(tmp_path, server.url, SHA256) == path and len(server.asked) == 1


@pytest.mark.parametrize("ranges", [True, False])
def test_goes_on_where_it_stopped(server, tmp_path, ranges):
    server.ranges = ranges
    (tmp_path / "dataset-resized.zip.part").write_bytes(CONTENT[:100_000])
    assert download(tmp_path, server.url, SHA256).read_bytes() == CONTENT
    assert server.asked == ["bytes=100000-"]


def test_a_run_stopped_before_the_rename_needs_no_new_byte(server, tmp_path):
    (tmp_path / "dataset-resized.zip.part").write_bytes(CONTENT)
    assert download(tmp_path, server.url, SHA256).read_bytes() == CONTENT


def test_a_connection_that_ends_early_is_gone_on_with(server, tmp_path):
    server.at_most = 200_000
    with pytest.raises(TrainerError, match="connection lost at 200000"):
        download(tmp_path, server.url, SHA256)
    with pytest.raises(TrainerError, match="connection lost at 400000"):
        download(tmp_path, server.url, SHA256)
    assert download(tmp_path, server.url, SHA256).read_bytes() == CONTENT


def test_a_wrong_hash_is_refused_and_the_file_deleted(server, tmp_path):
    with pytest.raises(TrainerError, match="sha256 .* instead of 0000"):
        download(tmp_path, server.url, "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_it_says_what_to_fetch_and_where_to_put_it(tmp_path):
    url = "http://127.0.0.1:9/dataset-resized.zip"
    with pytest.raises(TrainerError) as caught:
        download(tmp_path, url, SHA256)
    text = str(caught.value)
    assert url in text and str(tmp_path / "dataset-resized.zip") in text and SHA256 in text
    assert len(text.splitlines()) == 1
