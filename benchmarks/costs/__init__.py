"""The rows of the speed benchmark: each module measures some of them and returns plain numbers.

Nothing here is imported by the library, and nothing of the library is changed to be measured: these modules call its
public functions and its command line.
"""
