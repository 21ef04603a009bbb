"""A real Modbus TCP server (pymodbus) in a process of its own: `python modbus_server.py PORT [REGISTER=VALUE ...]`.

Prints `ready` when it listens.
"""

import socket
import sys
import threading
import time

from pymodbus import datastore

try:
    from pymodbus.server import StartTcpServer
except ImportError:  # 2.x
    from pymodbus.server.sync import StartTcpServer


def block(values):
    cells = [0] * 1000
    for address, value in values.items():
        cells[address] = value
    return datastore.ModbusSequentialDataBlock(1, cells)  # 1: the wire's address 0


def main():
    port = int(sys.argv[1])
    given = {int(address): int(value) for address, value in (word.split("=") for word in sys.argv[2:])}
    blocks = {"co": block({}), "di": block({}), "hr": block(given), "ir": block(given)}
    if hasattr(datastore, "ModbusDeviceContext"):
        context = datastore.ModbusServerContext(devices=datastore.ModbusDeviceContext(**blocks), single=True)
    else:
        context = datastore.ModbusServerContext(slaves=datastore.ModbusSlaveContext(**blocks), single=True)
    threading.Thread(target=tell_when_ready, args=(port,), daemon=True).start()
    StartTcpServer(context=context, address=("127.0.0.1", port))


def tell_when_ready(port):
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            return
        except OSError:
            time.sleep(0.02)


if __name__ == "__main__":
    main()
