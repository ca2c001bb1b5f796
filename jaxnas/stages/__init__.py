"""The stages of the main job, one file each.

Too long together for one page, and each a command of its own.
"""
