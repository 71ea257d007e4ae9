"""Pictures of what was compiled: one model of boxes, arrows and frames, and a file for each way to write it."""
