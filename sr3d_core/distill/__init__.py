"""Teach a network of color images with one of point clouds: `sr3d distill`.

settings   the configuration of such a training
views      random changes of an image with its scene
teachers   what the teacher says of a step's scenes
terms      what of that the student learns
learner    the student in training; the loop is that of `sr3d train`
"""
