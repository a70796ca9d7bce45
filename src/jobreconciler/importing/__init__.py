"""Job files out of crontabs, Kubernetes CronJobs and systemd timers.

Pure: text in, drafts of jobs and findings out. Nothing is read, written or started here. Whatever
cannot carry over becomes a finding, which is a comment in the job file and a line of the report;
nothing is dropped silently. One module a source: crontab, cronjob, systemd.
"""
