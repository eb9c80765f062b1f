-- What happens to requests when every replica is busy.

ALTER TABLE environments ADD COLUMN backpressure TEXT;
ALTER TABLE deployments ADD COLUMN backpressure TEXT;
