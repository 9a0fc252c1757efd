"""Typer alone: parse, call one function, hand the result to render. One module a component."""
