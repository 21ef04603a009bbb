"""Joins what comes by wire to those who use it: the photo-eye to the gate, the encoder to the ejector."""

from contextlib import ExitStack

from edge.clock import Clock
from edge.ejector.link import Ejector, NoEjector
from edge.errors import SettingsError
from edge.gate import Gate
from edge.gate.trigger import TriggerGate
from edge.health import State
from edge.inputs.edges import open_edges
from edge.inputs.encoder import open_encoder
from edge.settings import Settings


def wire(settings: Settings, gate: Gate, ejector: NoEjector, conditions: State, opened: ExitStack,
         clock: Clock = Clock()) -> None:
    """Open the inputs that the settings name; opened closes them. Raises SettingsError, UsageError or OutputError."""
    if isinstance(gate, TriggerGate):
        conditions.condition("photo-eye")
        opened.callback(open_edges(settings.gate.trigger, gate.signal,
                                   lambda trouble: conditions.condition("photo-eye", trouble)).close)
    if settings.gate.encoder:
        if not isinstance(ejector, Ejector):
            raise SettingsError("[gate] encoder: goes with [ejector] enabled = true; nothing else needs the speed")
        encoder = open_encoder(settings.gate.encoder, settings.gate.encoder_pulses_per_metre, ejector.wheel,
                               conditions, clock)
        opened.callback(encoder.close)
        encoder.start()
