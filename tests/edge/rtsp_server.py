"""A simulated belt as an RTSP camera, run by the system's Python with its GStreamer.

usage: /usr/bin/python3 rtsp_server.py JSON   with port, start_mono_s, truth, tiles and options, as stream_server.py
"""

import json
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402  # after their versions are chosen
from stream_server import belt_frames  # noqa: E402  # after its folder is on the path

LAUNCH = ("( appsrc name=belt is-live=true do-timestamp=true format=time caps=video/x-raw,format=BGR,width={width},"
          "height={height},framerate={fps:.0f}/1 ! videoconvert ! x264enc tune=zerolatency speed-preset=ultrafast "
          "key-int-max=15 bitrate=4000 ! rtph264pay name=pay0 pt=96 config-interval=1 )")


def main():
    asked = json.loads(sys.argv[1])
    Gst.init(None)
    sources, lock = [], threading.Lock()

    def configure(factory, media):
        with lock:
            sources[:] = [media.get_element().get_child_by_name("belt")]

    def work():
        for image in belt_frames(asked):
            with lock:
                for source in sources:
                    source.emit("push-buffer", Gst.Buffer.new_wrapped(image.tobytes()))

    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(str(asked["port"]))
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(LAUNCH.format(**asked["options"]))
    factory.set_shared(True)
    factory.connect("media-configure", configure)
    server.get_mount_points().add_factory("/belt", factory)
    server.attach(None)
    threading.Thread(target=work, daemon=True).start()
    print("ready", flush=True)
    GLib.MainLoop().run()


main()
