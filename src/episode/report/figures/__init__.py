"""The figures of a report, by theme, each from the JSON of the folder alone, so that a reader can redraw them.

A figure whose numbers are not there is left out. Nothing in here knows HTML or where files go.
"""
