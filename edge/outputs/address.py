"""Addresses of outputs and inputs: log:, gpio:PIN, gpiod:CHIP/LINE, modbus:HOST[:PORT]/KIND/NUMBER[?unit=U]."""

import re
from typing import NamedTuple, Tuple

from edge.errors import UsageError

MODBUS_PORT = 502
_MODBUS = re.compile(r"^modbus:(?P<host>\[[^\]]+\]|[^:/\[\]]+)(:(?P<port>\d{1,5}))?/((?P<kind>[a-z]+)/)?"
                     r"(?P<number>\d{1,5})(\?unit=(?P<unit>\d{1,3}))?$")


class Modbus(NamedTuple):
    """One coil or register of a PLC."""

    host: str
    port: int
    kind: str  # coil, register (holding) or input (input register)
    number: int  # from 0, as on the wire
    unit: int


def modbus(uri: str, default: str, kinds: Tuple[str, ...]) -> Modbus:
    """modbus:HOST[:PORT]/KIND/NUMBER?unit=U; KIND may be left out for the default. Raises UsageError."""
    found = _MODBUS.match(uri)
    if found is not None:
        port, number = int(found.group("port") or MODBUS_PORT), int(found.group("number"))
        kind, unit = found.group("kind") or default, int(found.group("unit") or 1)
        if kind in kinds and 0 < port < 65536 and number < 65536 and unit < 248:
            return Modbus(found.group("host").strip("[]"), port, kind, number, unit)
    raise UsageError("{}: modbus:HOST[:PORT]/{}/NUMBER[?unit=U] is allowed, NUMBER from 0 to 65535".format(
        uri, "|".join(kinds)))


def gpio_pin(uri: str) -> int:
    """PIN of gpio:PIN, in the numbering of the 40-pin header's BCM names. Raises UsageError."""
    pin = uri[len("gpio:"):]
    if not pin.isdigit() or int(pin) > 999:
        raise UsageError("{}: gpio:PIN with the pin's BCM number is allowed, such as gpio:17".format(uri))
    return int(pin)


def gpiod_line(uri: str) -> Tuple[str, int]:
    """(path of the chip, line) of gpiod:CHIP/LINE; CHIP is gpiochip0 or a path. Raises UsageError."""
    chip, _, line = uri[len("gpiod:"):].rpartition("/")
    if not chip or not line.isdigit():
        raise UsageError("{}: gpiod:CHIP/LINE is allowed, such as gpiod:gpiochip0/17; `gpioinfo` lists them".format(
            uri))
    return (chip if chip.startswith("/") else "/dev/" + chip), int(line)


def normal(uri: str) -> str:
    """One text for each wire, however its address was written. Raises UsageError."""
    kind = uri.partition(":")[0]
    if kind == "gpio":
        return "gpio:{}".format(gpio_pin(uri))
    if kind == "gpiod":
        return "gpiod:{}/{}".format(*gpiod_line(uri))
    if kind == "modbus":
        return "modbus:{}:{}/{}/{}?unit={}".format(*modbus(uri, "register" if "/input/" in uri else "coil", (
            "coil", "register", "input")))
    return uri
