"""Plans reassignments: which replica goes where, with the fewest bytes moved, and how far that is from the best.

Pure: arrays in, arrays out. Nothing here speaks to a cluster, and nothing but `model` is imported before a plan is
asked for.
"""
