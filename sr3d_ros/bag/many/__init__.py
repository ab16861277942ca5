"""Many recordings at once, one to a worker: processes of this machine, or Ray.

`job` is what a worker does with one recording, `schedule` hands jobs out and does again what a
lost worker had, `processes` and `on_ray` are the two kinds of workers, `folder` is where results
go. What workers are told and what they answer are plain JSON values.
"""
