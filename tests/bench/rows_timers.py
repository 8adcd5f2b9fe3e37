def timers(bench):
    pass
