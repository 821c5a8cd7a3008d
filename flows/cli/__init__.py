"""The command line: one file per command, each a thin shell around the engine."""

from flows.cli.commands import main as main
