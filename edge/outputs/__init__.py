"""Where an ejector's signal goes: log:, gpio:PIN, gpiod:CHIP/LINE, modbus:HOST[:PORT]/COIL."""

from edge.errors import UsageError
from edge.outputs.base import Output

ALLOWED = "log:, gpio:PIN, gpiod:CHIP/LINE or modbus:HOST[:PORT]/COIL is allowed"


def open_output(uri: str) -> Output:
    """Open an output; it is off. Raises UsageError for a wrong address, OutputError when it is not there.

    A Modbus server that cannot be reached is no error: its output reports it and goes on trying.
    """
    kind, _, address = uri.partition(":")
    if kind == "log":
        from edge.outputs.log import LogOutput
        return LogOutput(address)
    if kind == "gpio" and address.isdigit():
        from edge.outputs.gpio import JetsonOutput
        return JetsonOutput(int(address))
    if kind == "gpiod" and address.rpartition("/")[2].isdigit() and "/" in address:
        from edge.outputs.gpio import GpiodOutput
        chip, _, line = address.rpartition("/")
        return GpiodOutput(chip, int(line))
    if kind == "modbus":
        from edge.outputs.modbus import ModbusOutput
        host, _, coil = address.rpartition("/")
        name, _, port = host.partition(":")
        if name and coil.isdigit() and int(coil) < 65536 and (not port or port.isdigit()):
            return ModbusOutput.of(name, int(port or 502), int(coil))
    raise UsageError("output {}: {}".format(uri, ALLOWED))


__all__ = ["Output", "open_output"]
