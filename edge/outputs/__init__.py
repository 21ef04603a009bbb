"""Where an ejector's signal goes: the log, a pin, a coil or register of a PLC."""

import os

from edge.errors import OutputError, UsageError
from edge.outputs import address
from edge.outputs.base import Output

ALLOWED = "log:NAME, gpio:PIN, gpiod:CHIP/LINE or modbus:HOST[:PORT]/coil|register/NUMBER is allowed"


def check_output(uri: str) -> None:
    """Raises UsageError when that is no address of an output; opens nothing."""
    kind = uri.partition(":")[0] if ":" in uri else ""
    if kind == "gpio":
        address.gpio_pin(uri)
    elif kind == "gpiod":
        address.gpiod_line(uri)
    elif kind == "modbus":
        address.modbus(uri, "coil", ("coil", "register"))
    elif kind != "log":
        raise UsageError("{}: {}".format(uri, ALLOWED))


def open_output(uri: str) -> Output:
    """Open an output; it is off. Raises UsageError for a wrong address, OutputError when it cannot be had.

    A PLC that cannot be reached is no error: its output's trouble says so, and it goes on trying.
    """
    check_output(uri)
    kind = uri.partition(":")[0]
    if kind == "gpio":
        from edge.outputs.gpio import JetsonOutput
        return JetsonOutput(uri)
    if kind == "gpiod":
        from edge.outputs.gpio import GpiodOutput
        return GpiodOutput(uri)
    if kind == "modbus":
        from edge.outputs.modbus import ModbusOutput
        return ModbusOutput(uri)
    from edge.outputs.log import LogOutput
    return LogOutput(uri)


def probe_output(uri: str) -> str:
    """How an output is, without switching anything; empty: its PLC does not answer. Raises as open_output."""
    check_output(uri)
    kind = uri.partition(":")[0]
    if kind == "log":
        return "writes lines"
    if kind == "modbus":
        from edge.outputs.modbus import answers
        return "the PLC answers" if answers(uri) else ""
    from edge.outputs import gpio
    if kind == "gpio":
        gpio.jetson_gpio(uri)
        return "Jetson.GPIO is there"
    chip = address.gpiod_line(uri)[0]
    gpio.gpiod_module(uri)
    if not os.access(chip, os.R_OK | os.W_OK):
        raise OutputError("{}: {}; `gpioinfo` lists chips and lines; {}".format(
            uri, "may not be used" if os.path.exists(chip) else "there is no " + chip, gpio.GROUP))
    return "the chip is there and may be used"


__all__ = ["Output", "check_output", "open_output", "probe_output"]
