"""The packages that every path needs: NumPy, OpenCV, ONNX Runtime."""

import contextlib
import sys
from typing import Any, List, Tuple

from edge import board
from edge.health.checks.finding import NOTE, OK, WRONG, Finding
from edge.health.checks.place import Place

PIP_OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
# Compiled for NumPy 1, met by NumPy 2: JetPack 6's OpenCV does
OF_NUMPY_1 = ("_ARRAY_API", "multiarray failed to import", "compiled using NumPy 1")


def packages(place: Place) -> List[Finding]:
    """What is there and what it was built with. Sets OPENBLAS_CORETYPE in place.environ where NumPy needs it."""
    findings = _numpy_that_kills(place)
    for name, pip in (("numpy", "numpy"), ("cv2", "opencv-python-headless"), ("onnxruntime", "onnxruntime")):
        try:
            with contextlib.redirect_stdout(sys.stderr):  # OpenCV tells there what it lacks, and stdout is for machines
                module = place.python.load(name)
        except Exception as error:  # an old OpenCV and a new NumPy raise AttributeError, a missing library OSError
            text = (str(error).strip() or type(error).__name__).splitlines()[0]
            findings.append(Finding(WRONG, name, text, "python3 -m pip install 'numpy<2'" if any(
                word in str(error) for word in OF_NUMPY_1) else "python3 -m pip install " + pip))
            continue
        findings.append(Finding(OK, name, str(getattr(module, "__version__", "?"))))
        if name == "cv2":
            findings += _opencv(place, module)
        if name == "onnxruntime":
            findings.append(Finding(OK, "providers", ", ".join(module.get_available_providers())))
    return findings


def _numpy_that_kills(place: Place) -> List[Finding]:
    """NumPy 1.19.5 ends with SIGILL when it is imported on a Jetson (numpy issue 18131): so ask its metadata."""
    chip = board.read(place.root).chip
    if not chip or place.version("numpy") != "1.19.5" or place.environ.get("OPENBLAS_CORETYPE"):
        return []
    place.environ["OPENBLAS_CORETYPE"] = "ARMV8"  # for this process, so that doctor can go on
    return [Finding(WRONG, "numpy", "1.19.5 dies here with \"Illegal instruction\" when it is imported",
                    "python3 -m pip install numpy==1.19.4\n"
                    "or keep it, and: echo 'export OPENBLAS_CORETYPE=ARMV8' >> ~/.bashrc, then log in again")]


def _opencv(place: Place, cv2: Any) -> List[Finding]:
    line = next((line for line in cv2.getBuildInformation().splitlines() if "GStreamer" in line), "")
    if "YES" in line:
        return [Finding(OK, "gstreamer", "OpenCV has it")]
    text = "OpenCV was built without it; only csi:// and gst: need it"
    if not board.read(place.root).is_jetson:
        return [Finding(NOTE, "gstreamer", text)]
    return [Finding(NOTE, "gstreamer", *_jetpacks_opencv(place, text))]


def _jetpacks_opencv(place: Place, text: str) -> Tuple[str, str]:
    """Why Python finds an OpenCV without GStreamer on a Jetson, and how it finds JetPack's."""
    of_pip = [name for name in PIP_OPENCV if place.version(name)]
    systems = place.glob("/usr/lib/python3*/dist-packages/cv2*")
    found_in_path = any(path.startswith(folder.rstrip("/") + "/") for path in systems for folder in place.python.path)
    if systems and of_pip and found_in_path:
        return ("OpenCV from pip ({}) hides JetPack's, which has it".format(", ".join(of_pip)),
                "python3 -m pip uninstall -y " + " ".join(of_pip))
    if systems and place.python.in_venv:
        return ("JetPack's OpenCV has it, but this virtual environment shuts the system's packages out",
                "sed -i 's/^include-system-site-packages = false/include-system-site-packages = true/' {}/pyvenv.cfg"
                "{}".format(place.python.prefix, "\npython3 -m pip uninstall -y " + " ".join(of_pip) if of_pip else ""))
    return text, "sudo apt-get install -y libopencv-python (JetPack's), and then python3 -m pip uninstall -y {}".format(
        " ".join(of_pip)) if of_pip else "sudo apt-get install -y libopencv-python"
