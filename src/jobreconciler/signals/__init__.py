"""Documents, their usage events, and the batch jobs that turn events into signals and tiers.

Built for the job types in `jobtypes`; knows nothing of the daemon, its store or its repository.
"""
