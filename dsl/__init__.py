"""The language: what a person writes in a flow module. It only builds a plan and never imports `flows`."""
