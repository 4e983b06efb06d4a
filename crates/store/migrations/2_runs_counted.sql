-- How many runs stand how, and how long they took, without looking at each: what a monitor asks every few seconds.
CREATE INDEX runs_counted ON runs (pipeline, state, started_at, finished_at);
